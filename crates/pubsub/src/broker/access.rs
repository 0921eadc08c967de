//! What a connection may do.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::Pattern;

/// Who a connection belongs to, and the topics that it may publish to and subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Names it among the publishers of this server: a user, or a run of a slot. Shown to subscribers.
    pub who: String,
    pub publish: Rules,
    pub subscribe: Rules,
}

/// Which topics are allowed: what `own` covers, and what `allowed` covers unless it may mean one of `except`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub allowed: Vec<Pattern<'static>>,
    pub except: Vec<Pattern<'static>>,
    pub own: Vec<Pattern<'static>>,
}

impl Rules {
    /// Everything.
    pub fn all() -> Rules {
        Rules { allowed: vec![Pattern::All], ..Rules::default() }
    }

    pub fn allow(&self, pattern: &Pattern<'_>) -> bool {
        let covered = |by: &[Pattern<'_>]| by.iter().any(|rule| rule.covers(pattern));
        covered(&self.own)
            || covered(&self.allowed) && !self.except.iter().any(|except| except.overlaps(pattern))
    }
}

impl Access {
    /// Everything is allowed.
    pub fn all(who: &str) -> Access {
        Access { who: who.into(), publish: Rules::all(), subscribe: Rules::all() }
    }

    /// Nothing is.
    pub fn none(who: &str) -> Access {
        Access { who: who.into(), publish: Rules::default(), subscribe: Rules::default() }
    }
}
