//! What a connection may do.

use alloc::vec;
use alloc::vec::Vec;

use crate::Pattern;

/// Who a connection belongs to, and the topics that it may publish to and subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Names it among the publishers of this server: a user, or a run of a slot. Shown to subscribers.
    pub who: alloc::string::String,
    pub publish: Vec<Pattern<'static>>,
    pub subscribe: Vec<Pattern<'static>>,
}

impl Access {
    /// Everything is allowed.
    pub fn all(who: &str) -> Access {
        Access { who: who.into(), publish: vec![Pattern::All], subscribe: vec![Pattern::All] }
    }

    /// Nothing is.
    pub fn none(who: &str) -> Access {
        Access { who: who.into(), publish: Vec::new(), subscribe: Vec::new() }
    }

    pub fn may_publish(&self, to: &Pattern<'_>) -> bool {
        self.publish.iter().any(|allowed| allowed.covers(to))
    }

    pub fn may_subscribe(&self, to: &Pattern<'_>) -> bool {
        self.subscribe.iter().any(|allowed| allowed.covers(to))
    }
}
