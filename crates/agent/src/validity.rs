//! Says in time that this node's credential runs out: without one no other node believes it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use xtreem_net::{Identity, date};
use xtreem_wire::CredentialError;

use crate::agent::Agent;

/// Days before the end of a credential from which on the operator is told (our guess: a holiday).
const WARN_DAYS: u64 = 14;
/// Between two looks, and so between two lines of the log (our guess: seldom enough to be read).
const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);

const RENEW: &str = "The VO's owner renews it with `xtreem vo renew`; then restart this agent";

/// What is wrong with the node's credential at this moment and what to do, in words.
pub(crate) fn trouble(identity: &Identity) -> Option<String> {
    words(identity, unix_now())
}

fn words(identity: &Identity, now: u64) -> Option<String> {
    let member = identity.member();
    match member.check_time(now) {
        Err(CredentialError::Expired { not_after }) => Some(format!(
            "this node's credential expired on {}, and no other node believes it. {RENEW}. If it is this machine's clock \
             that is wrong, set that",
            date(not_after)
        )),
        Err(CredentialError::NotYetValid { not_before }) => Some(format!(
            "this node's credential is valid from {} only, and no other node believes it: set this machine's clock",
            date(not_before)
        )),
        _ if member.not_after().saturating_sub(now) < WARN_DAYS * 86_400 => {
            Some(format!("this node's credential expires on {}. {RENEW}", date(member.not_after())))
        }
        _ => None,
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Tells the log while there is trouble. Never returns.
pub(crate) async fn watch(agent: Arc<Agent>) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if let Some(trouble) = trouble(agent.net.identity()) {
            tracing::error!("{trouble}");
        }
    }
}

#[cfg(test)]
mod tests {
    use xtreem_net::VoKey;

    use super::*;

    #[test]
    fn the_operator_is_told_two_weeks_before_the_end_and_afterwards() {
        let identity = VoKey::create("test").unwrap().issue_node("n1", 100).unwrap();
        let now = unix_now();
        let table = [
            (0, None),
            (85, None),
            (87, Some("expires on")),
            (99, Some("expires on")),
            (101, Some("expired on")),
            (-3, Some("set this machine's clock")),
        ];
        for (days, said) in table {
            let words = words(&identity, now.saturating_add_signed(days * 86_400));
            assert_eq!(words.is_some(), said.is_some(), "{days}: {words:?}");
            assert!(
                said.is_none_or(|said| words.as_ref().is_some_and(|words| words.contains(said))),
                "{words:?}"
            );
        }
    }
}
