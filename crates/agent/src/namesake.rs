//! What an agent does about other machines with its key, and about runs of its own that it does not remember.
//!
//! `xtreem_net` has made sure: a second machine proved possession of the key while this one was running.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use xtreem_net::{Contact, Doubts};

use crate::SELF_EXE;
use crate::agent::Agent;

/// A node that hears so soon after its start of a higher run of itself has lost its state: it has no slots to
/// lose by starting anew. Later that may be a copy which it cannot reach, and the two must not outbid each
/// other (our guess: some rounds of gossip).
const YOUNG: Duration = Duration::from_secs(60);

/// Attribute that marks a node whose key is used by two machines; its value is the other one's address.
pub(crate) const ATTRIBUTE: &str = "identity.cloned";

/// Whether this node takes no new slots: it started later than the other machine, or none of them did.
fn is_shy(own: Contact, doubts: &Doubts) -> bool {
    doubts.namesake.is_some_and(|other| own.incarnation >= other.incarnation)
}

/// The other machine's address, for the mark in searches.
pub(crate) fn mark(agent: &Agent) -> Option<SocketAddr> {
    agent.net.doubts().borrow().namesake.map(|other| other.addr)
}

/// Why this node takes no new slots, if that is for another machine's sake.
pub(crate) fn why_no_slots(agent: &Agent) -> Option<String> {
    let doubts = *agent.net.doubts().borrow();
    is_shy(agent.net.own_contact(), &doubts).then(|| "its key is used by two machines, see below".to_owned())
}

/// What is wrong and what to do, in words.
pub(crate) fn trouble(agent: &Agent) -> Option<String> {
    let doubts = *agent.net.doubts().borrow();
    words(agent.net.own_contact(), &doubts)
}

fn words(own: Contact, doubts: &Doubts) -> Option<String> {
    if let Some(other) = doubts.namesake {
        let consequence = if own.incarnation == other.incarnation {
            "neither of them takes new slots"
        } else if is_shy(own, doubts) {
            "this one, which started later, takes no new slots"
        } else {
            "the other one started later, and the grid listens to it and not to this one"
        };
        return Some(format!(
            "this node's key is used by two machines, here ({}, incarnation {}) and at {} (incarnation {}): \
             {consequence}. Stop the agent of one of them, and give it a credential and a state directory of its own",
            own.addr, own.incarnation, other.addr, other.incarnation
        ));
    }
    let higher = doubts.outlived?;
    Some(format!(
        "the grid knows a later start of this node than this one (incarnation {} at {}; here {}), and nobody answers \
         there: it takes this one for an older run. Restart this agent when its clock is right and no other machine \
         has its key",
        higher.incarnation, higher.addr, own.incarnation
    ))
}

/// Tells the node and the log of other machines with its key. Returns when this run is to be followed by one
/// with an incarnation above the number.
pub(crate) async fn watch(agent: &Arc<Agent>) -> u32 {
    let start = Instant::now();
    let mut doubts = agent.net.doubts();
    let (mut was_told, mut had_namesake) = (false, false);
    loop {
        let now = *doubts.borrow_and_update();
        let own = agent.net.own_contact();
        match words(own, &now) {
            Some(trouble) => tracing::error!("{trouble}"),
            None if was_told => tracing::info!("no other machine with this node's key is heard any more"),
            None => {}
        }
        was_told = now != Doubts::default();
        let shy = is_shy(own, &now);
        agent.tell(move |node, _, _| node.set_cloned(shy)).await;
        if let Some(higher) = now.outlived
            && (had_namesake || start.elapsed() < YOUNG)
        {
            return higher.incarnation;
        }
        had_namesake |= now.namesake.is_some();
        if doubts.changed().await.is_err() {
            // The node has stopped, which ends the agent.
            std::future::pending::<()>().await;
        }
    }
}

/// Replaces this process by the same command: nothing of this run is left over. Returns only when that fails.
pub(crate) fn start_again() -> std::io::Error {
    Command::new(SELF_EXE).args(std::env::args_os().skip(1)).exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_machine_or_both_of_one_incarnation_take_no_slots() {
        let contact = |port, incarnation| Contact {
            id: "00112233445566778899aabbccddeeff".parse().unwrap(),
            addr: ([10, 0, 0, 1], port).into(),
            incarnation,
        };
        let own = contact(1, 5);
        for (other, shy, consequence) in [
            (4, true, "this one, which started later"),
            (5, true, "neither of them"),
            (6, false, "the other one started later"),
        ] {
            let doubts = Doubts { namesake: Some(contact(2, other)), outlived: None };
            let words = words(own, &doubts).unwrap();
            assert_eq!(is_shy(own, &doubts), shy);
            for part in ["10.0.0.1:1", "10.0.0.1:2", consequence] {
                assert!(words.contains(part), "{words}");
            }
        }
        assert_eq!(words(own, &Doubts::default()), None);
    }
}
