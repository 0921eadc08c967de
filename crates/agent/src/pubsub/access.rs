//! Who may publish and subscribe to what, by where a connection comes from.
//!
//! Topics below `grid/` are the agents' own: what they say there others may believe. Topics below `app/ID/`
//! are the application's.

use xtreem_allocation::SlotRun;
use xtreem_pubsub::broker::{Access, Rules};
use xtreem_pubsub::{Pattern, Topic};

fn subtree(topic: String) -> Option<Pattern<'static>> {
    Topic::new(topic).ok().map(Pattern::Subtree)
}

fn below(topic: &str) -> Vec<Pattern<'static>> {
    subtree(topic.to_owned()).into_iter().collect()
}

/// Whoever may write to the operator's socket.
pub(crate) fn operator() -> Access {
    Access::all("operator")
}

/// The program of a slot, once it has shown its token.
pub(crate) fn slot(run: SlotRun) -> Access {
    let own: Vec<_> = subtree(format!("app/{}", run.app)).into_iter().collect();
    let rules = Rules { except: below("app"), own, ..Rules::all() };
    let hint = "below app/ a program has app/ID/ of its own application and no other";
    let who = format!("app:{}.{}", run.app, run.slot);
    Access { publish: rules.clone(), subscribe: rules, hint, ..Access::none(&who) }
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
