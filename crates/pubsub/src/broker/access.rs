//! What a connection may do.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use xtreem_base::NodeId;

use crate::{Pattern, reserved};

/// Who a connection belongs to, and the topics that it may publish to and subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Names it among the publishers of this server: a user, or a run of a slot. Shown to subscribers.
    pub who: String,
    /// Whom rules of the VO know it as; none for somebody who has not said who he is.
    pub member: Option<Member>,
    pub publish: Rules,
    pub subscribe: Rules,
    /// What to do when a topic is not among those that are allowed.
    pub hint: &'static str,
    /// The agent itself: it says what happens in the grid.
    pub is_agent: bool,
}

/// A member of the VO, as its credential has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub key: NodeId,
    pub name: String,
    pub roles: u8,
}

/// Which topics are allowed: what `own` covers, and what `allowed` covers unless it is one of `except`; and
/// nothing of what is kept for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub allowed: Vec<Pattern<'static>>,
    pub except: Vec<Pattern<'static>>,
    pub own: Vec<Pattern<'static>>,
    pub kept: Vec<Kept>,
}

/// Topics that a rule of the VO keeps for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub topics: Pattern<'static>,
    pub rule: String,
    pub whose: String,
}

/// Why a topic is not allowed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("agents alone say what is below grid/ and app/ID/slot/; publish to another topic")]
    Reserved,
    #[error(
        "VO rule {:?} keeps {} for {}; use another topic, or ask the VO's owner (`xtreem vo policy show`)",
        .0.rule, .0.topics.text(), .0.whose
    )]
    Kept(Kept),
    #[error("{0}")]
    NotAllowed(&'static str),
}

fn any_covers(rules: &[Pattern<'_>], pattern: &Pattern<'_>) -> bool {
    rules.iter().any(|rule| rule.covers(pattern))
}

fn any_overlaps(rules: &[Pattern<'_>], pattern: &Pattern<'_>) -> bool {
    rules.iter().any(|rule| rule.overlaps(pattern))
}

impl Rules {
    /// Everything.
    pub fn all() -> Rules {
        Rules { allowed: vec![Pattern::All], ..Rules::default() }
    }

    /// Everything but what may mean one of `except`.
    fn cover(&self, pattern: &Pattern<'_>) -> bool {
        any_covers(&self.own, pattern)
            || any_covers(&self.allowed, pattern) && !any_overlaps(&self.except, pattern)
    }

    /// At least a part, and the rest can be left out.
    fn cover_a_part(&self, pattern: &Pattern<'_>) -> bool {
        any_overlaps(&self.own, pattern)
            || any_covers(&self.allowed, pattern) && !any_covers(&self.except, pattern)
    }
}

impl Access {
    /// Everything is allowed but what is the agents'.
    pub fn all(who: &str) -> Access {
        let (publish, subscribe) = (Rules::all(), Rules::all());
        Access { publish, subscribe, ..Access::none(who) }
    }

    /// Nothing is.
    pub fn none(who: &str) -> Access {
        let (publish, subscribe) = (Rules::default(), Rules::default());
        let hint = "say who you are with `AUTH` and a token first";
        Access { who: who.into(), member: None, publish, subscribe, hint, is_agent: false }
    }

    /// The agent's own: it publishes what happens in the grid, and hears nothing.
    pub fn agent() -> Access {
        Access { publish: Rules::all(), is_agent: true, ..Access::none("agent") }
    }

    /// # Errors
    /// It may not publish to all that is meant.
    pub fn check_publish(&self, to: &Pattern<'_>) -> Result<(), Forbidden> {
        if self.is_agent {
            return Ok(());
        }
        if reserved::is_reserved(to) {
            return Err(Forbidden::Reserved);
        }
        if let Some(kept) = self.publish.kept.iter().find(|kept| kept.topics.overlaps(to)) {
            return Err(Forbidden::Kept(kept.clone()));
        }
        if self.publish.cover(to) { Ok(()) } else { Err(Forbidden::NotAllowed(self.hint)) }
    }

    /// What is not allowed of a pattern does not come; see [`Access::hears`].
    ///
    /// # Errors
    /// Nothing of what is meant would come.
    pub fn check_subscribe(&self, pattern: &Pattern<'_>) -> Result<(), Forbidden> {
        if let Some(kept) = self.subscribe.kept.iter().find(|kept| kept.topics.covers(pattern)) {
            return Err(Forbidden::Kept(kept.clone()));
        }
        if self.subscribe.cover_a_part(pattern) { Ok(()) } else { Err(Forbidden::NotAllowed(self.hint)) }
    }

    /// Whether what is published to this comes to it, if it subscribed to it.
    pub fn hears(&self, topic: &Pattern<'_>) -> bool {
        let Rules { allowed, except, own, kept } = &self.subscribe;
        if except.is_empty() && kept.is_empty() && allowed.first() == Some(&Pattern::All) {
            return true;
        }
        let is_open = any_overlaps(own, topic) || any_overlaps(allowed, topic) && !any_covers(except, topic);
        is_open && !kept.iter().any(|kept| kept.topics.covers(topic))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    fn pattern(text: &str) -> Pattern<'static> {
        Pattern::new(text).expect("a pattern").into_owned()
    }

    fn program() -> Access {
        let own = vec![pattern("app/1/**")];
        let rules = Rules { except: vec![pattern("app/**")], own, ..Rules::all() };
        Access { publish: rules.clone(), subscribe: rules, hint: "a hint", ..Access::none("app:1.0") }
    }

    #[test]
    fn a_program_has_its_own_applications_topics_and_nobody_elses() {
        let program = program();
        let may_publish = |text: &str| program.check_publish(&pattern(text)).is_ok();
        assert!(["news", "app/1/x", "app/1/x/**"].iter().all(|text| may_publish(text)));
        for text in ["app/2/x", "app/1/slot/0/failed", "app/1/**", "app/**", "**", "grid/x", "grid/**"] {
            assert!(!may_publish(text), "{text}");
        }
        let may_subscribe = |text: &str| program.check_subscribe(&pattern(text)).is_ok();
        for text in ["news", "**", "app/**", "app/1/**", "app/1/slot/**", "grid/**"] {
            assert!(may_subscribe(text), "{text}");
        }
        assert!(!may_subscribe("app/2/**") && !may_subscribe("app/2/slot/0/failed"));
        for (topic, comes) in [
            ("news", true),
            ("app/1/x", true),
            ("app/2/x", false),
            ("app/2/slot/0/failed", false),
            ("grid/node/x/left", true),
            ("app/2/**", false),
            ("**", true),
        ] {
            assert_eq!(program.hears(&pattern(topic)), comes, "{topic}");
        }
    }

    #[test]
    fn what_a_rule_keeps_for_others_is_refused_by_its_name_and_left_out_of_wider_patterns() {
        let kept = Kept { topics: pattern("news/**"), rule: "desk".into(), whose: "user alice".into() };
        let mut access = Access::all("bob");
        access.publish.kept.push(kept.clone());
        let words = access.check_publish(&pattern("news/sport")).expect_err("kept").to_string();
        assert!(words.contains("\"desk\" keeps news/** for user alice"), "{words}");
        assert!(
            access.check_publish(&pattern("**")).is_err() && access.check_publish(&pattern("new")).is_ok()
        );
        assert!(access.hears(&pattern("news/sport")), "publishing and subscribing have rules of their own");
        access.subscribe.kept.push(kept.clone());
        assert_eq!(access.check_subscribe(&pattern("news/*")), Err(Forbidden::Kept(kept.clone())));
        assert_eq!(access.check_subscribe(&pattern("**")), Ok(()));
        assert!(!access.hears(&pattern("news/sport")) && access.hears(&pattern("new")));
        // A rule of the VO holds for a program's own topics as well.
        let mut program = program();
        program.publish.kept.push(Kept { topics: Pattern::All, ..kept });
        assert!(matches!(program.check_publish(&pattern("app/1/x")), Err(Forbidden::Kept(_))));
    }

    #[test]
    fn whoever_may_hear_some_topics_only_does_not_subscribe_to_more() {
        let guest = Access {
            subscribe: Rules { allowed: vec![pattern("public/**")], ..Rules::default() },
            ..Access::none("guest")
        };
        assert_eq!(guest.check_subscribe(&pattern("public/x")), Ok(()));
        assert!(
            guest.check_subscribe(&pattern("**")).is_err() && guest.check_publish(&pattern("a")).is_err()
        );
        assert!(guest.hears(&pattern("public/x")) && !guest.hears(&pattern("private")));
    }
}
