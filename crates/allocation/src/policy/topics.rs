//! What a policy says of topics of publish/subscribe. What a topic is the driver knows.

use alloc::string::{String, ToString as _};

use super::{Limit, Policy, Subject};

/// Longest pattern of a rule: the longest topic and what stands behind it.
pub const TOPICS_MAX_BYTES: usize = 258;

/// Topics that a rule keeps from somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTopics<'a> {
    pub rule: &'a str,
    /// A topic, or several: `a/b`, `a/*`, `a/**`, `**`.
    pub topics: &'a str,
    /// Who may, in words.
    pub whose: String,
    /// From publishing there, or from subscribing.
    pub is_publish: bool,
}

impl Policy {
    /// What is kept from `by`; none is somebody who has not said who he is, and whom no rule includes.
    pub fn topics_kept_from<'a>(
        &'a self,
        by: Option<Subject<'a>>,
    ) -> impl Iterator<Item = KeptTopics<'a>> + 'a {
        self.rules.iter().filter_map(move |rule| {
            let (topics, is_publish) = match &rule.limit {
                Limit::Publish(topics) => (topics, true),
                Limit::Subscribe(topics) => (topics, false),
                _ => return None,
            };
            let is_kept = by.is_none_or(|by| !rule.who.includes(&by));
            let whose = rule.who.to_string();
            is_kept.then_some(KeptTopics { rule: &rule.name, topics, whose, is_publish })
        })
    }
}
