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
    let publish = Rules { allowed: vec![Pattern::All], except: below("grid"), own: Vec::new() };
    Access { who: "operator".into(), publish, subscribe: Rules::all() }
}

/// The program of a slot, once it has shown its token.
pub(crate) fn slot(run: SlotRun) -> Access {
    let except = [below("grid"), below("app")].concat();
    let own: Vec<_> = subtree(format!("app/{}", run.app)).into_iter().collect();
    let publish = Rules { allowed: vec![Pattern::All], except, own: own.clone() };
    let subscribe = Rules { allowed: vec![Pattern::All], except: below("app"), own };
    Access { who: format!("app:{}.{}", run.app, run.slot), publish, subscribe }
}

/// Whoever has not said who he is, at a door where that has to be said.
pub(crate) fn nobody() -> Access {
    Access::none("nobody")
}

/// Whoever comes by TCP and has not said who he is.
pub(super) fn guest(allowed: &[Pattern<'static>]) -> Access {
    let allowed = allowed.to_vec();
    let publish =
        Rules { allowed: allowed.clone(), except: [below("grid"), below("app")].concat(), own: Vec::new() };
    let subscribe = Rules { allowed, except: below("app"), own: Vec::new() };
    Access { who: "guest".into(), publish, subscribe }
}
