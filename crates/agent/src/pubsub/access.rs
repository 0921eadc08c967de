//! Who may publish and subscribe to what, by where a connection comes from.
//!
//! Topics below `app/ID/` are the application's. Those below `grid/` and `app/ID/slot/` are the agents': the
//! broker itself sees to that. Rules of the VO are in `rules.rs`.

use xtreem_allocation::{Record, SlotRun};
use xtreem_pubsub::broker::{Access, Member, Rules};
use xtreem_pubsub::{Pattern, Topic};

fn subtree(topic: String) -> Option<Pattern<'static>> {
    Topic::new(topic).ok().map(Pattern::Subtree)
}

fn below(topic: &str) -> Vec<Pattern<'static>> {
    subtree(topic.to_owned()).into_iter().collect()
}

/// Whoever may write to the operator's socket.
/// Rules of the VO's policy know it as the node itself.
pub(crate) fn operator(node: Member) -> Access {
    Access { member: Some(node), ..Access::all("operator") }
}

/// The program of a slot, once it has shown its token.
/// Rules of the VO's policy know it as who submitted the application.
pub(crate) fn slot(run: SlotRun, by: Member) -> Access {
    let own: Vec<_> = subtree(format!("app/{}", run.app)).into_iter().collect();
    let rules = Rules { except: below("app"), own, ..Rules::all() };
    let hint = "below app/ a program has app/ID/ of its own application and no other";
    let who = format!("app:{}.{}", run.app, run.slot);
    Access { publish: rules.clone(), subscribe: rules, hint, member: Some(by), ..Access::none(&who) }
}

/// Who submitted an application: its owner, with the name and roles of who signed its record.
pub(crate) fn submitter(record: &Record) -> Member {
    let (roles, name) = match xtreem_wire::claimed_signer(&record.proof) {
        Some(claims) => (claims.roles.as_bits(), claims.name),
        None => (0, String::new()),
    };
    Member { key: record.owner, name, roles }
}

/// Whoever has not said who he is, at a door where that has to be said.
pub(crate) fn nobody() -> Access {
    Access::none("nobody")
}

/// Whoever comes by TCP and has not said who he is.
pub(super) fn guest(allowed: &[Pattern<'static>]) -> Access {
    let rules = Rules { allowed: allowed.to_vec(), except: below("app"), ..Rules::default() };
    let hint = "say who you are with `AUTH`, or have the topic added to `pubsub.guests` of this agent";
    Access { publish: rules.clone(), subscribe: rules, hint, ..Access::none("guest") }
}
