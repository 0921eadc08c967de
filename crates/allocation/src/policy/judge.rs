//! What a policy says to a subject.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

use xtreem_discovery::Attributes;

use super::{Limit, Policy, Refusal, Rule, Subject, Who};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Slots of the whole application.
    pub slots: u16,
    /// Slots that the owner's applications have on the judging node already.
    pub here: u32,
}

impl Policy {
    /// Whether `by` may submit an application of so many slots at all.
    pub fn judge_submission(&self, by: &Subject<'_>, slots: u16) -> Result<(), Refusal> {
        self.rules.iter().try_for_each(|rule| rule.judge_submission(by, slots))
    }

    /// Whether a node with these attributes may hold a slot for `by`.
    pub fn judge_hold(
        &self,
        by: &Subject<'_>,
        extent: Extent,
        attributes: &Attributes,
    ) -> Result<(), Refusal> {
        self.judge_submission(by, extent.slots)?;
        for rule in &self.rules {
            match &rule.limit {
                Limit::Reserved(nodes) if !rule.who.includes(by) && nodes.includes(attributes) => {
                    let why = format!("nodes with {nodes} are reserved for {}", rule.who);
                    return Err(rule.refusal(why));
                }
                Limit::NodesPerUser(max) if rule.who.includes(by) && extent.here >= *max => {
                    return Err(rule.too_many(*max, extent.here, 1));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether `by`, whose applications have `held` slots elsewhere, may have so many more.
    pub fn judge_total(&self, by: &Subject<'_>, held: u32, slots: u16) -> Result<(), Refusal> {
        for rule in self.rules.iter().filter(|rule| rule.who.includes(by)) {
            if let Limit::NodesPerUser(max) = rule.limit
                && held.saturating_add(slots.into()) > max
            {
                return Err(rule.too_many(max, held, slots));
            }
        }
        Ok(())
    }

    /// Whether [`Policy::judge_total`] can say no to `by`: only then is it worth counting.
    pub fn limits_total(&self, by: &Subject<'_>) -> bool {
        self.rules.iter().any(|rule| matches!(rule.limit, Limit::NodesPerUser(_)) && rule.who.includes(by))
    }

    /// What the rule of that name would say about a node that it keeps for others.
    pub fn describe(&self, name: &str) -> Option<String> {
        let rule = self.rules.iter().find(|rule| rule.name == name)?;
        Some(match &rule.limit {
            Limit::Submit => format!("only {} may submit applications", rule.who),
            Limit::NodesPerApplication(max) => {
                let of = if rule.who.is_all() { String::new() } else { format!(" of {}", rule.who) };
                format!("an application{of} may hold {}", nodes(u32::from(*max)))
            }
            Limit::NodesPerUser(max) => {
                let of = if rule.who.is_all() { String::new() } else { format!(" (of {})", rule.who) };
                format!("each user{of} may hold {} in all", nodes(*max))
            }
            Limit::Reserved(nodes) => format!("nodes with {nodes} are reserved for {}", rule.who),
            Limit::Publish(topics) => format!("only {} may publish to {topics}", rule.who),
            Limit::Subscribe(topics) => format!("only {} may subscribe to {topics}", rule.who),
        })
    }
}

impl Rule {
    fn judge_submission(&self, by: &Subject<'_>, slots: u16) -> Result<(), Refusal> {
        match self.limit {
            Limit::Submit if !self.who.includes(by) => {
                Err(self.refusal(format!("only {} may submit applications", self.who)))
            }
            Limit::NodesPerApplication(max) if self.who.includes(by) && slots > max => Err(self.refusal(
                format!("an application may hold {}, and this one wants {slots}", nodes(u32::from(max))),
            )),
            Limit::NodesPerUser(max) if self.who.includes(by) && u32::from(slots) > max => {
                Err(self.too_many(max, 0, slots))
            }
            _ => Ok(()),
        }
    }

    fn too_many(&self, max: u32, held: u32, slots: u16) -> Refusal {
        self.refusal(format!(
            "a user may hold {} in all; {held} {} held already, and {slots} more {} wanted",
            nodes(max),
            is_or_are(held),
            is_or_are(u32::from(slots))
        ))
    }

    fn refusal(&self, why: String) -> Refusal {
        Refusal { rule: self.name.clone(), why }
    }
}

fn nodes(count: u32) -> String {
    format!("{count} {}", if count == 1 { "node" } else { "nodes" })
}

fn is_or_are(count: u32) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

impl Who {
    /// Everybody.
    pub fn is_all(&self) -> bool {
        self.roles == 0 && self.names.is_empty() && self.keys.is_empty()
    }

    pub fn includes(&self, by: &Subject<'_>) -> bool {
        self.is_all()
            || self.roles & by.roles != 0
            || self.names.iter().any(|name| name == by.name)
            || self.keys.contains(&by.owner)
    }
}

/// The roles of a credential, in the order of their bits.
const ROLES: [&str; 3] = ["node", "submit", "admin"];

/// As it stands in a refusal: `role admin, users alice and bob`, cut short where it is long.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("everybody");
        }
        let roles = ROLES.iter().enumerate().filter(|(bit, _)| self.roles >> bit & 1 == 1);
        let roles = roles.map(|(_, name)| format!("role {name}"));
        let names = self.names.iter().map(|name| format!("user {name}"));
        let keys = self.keys.iter().map(|key| format!("key {key}"));
        let unknown = (self.roles >> ROLES.len() != 0).then(|| "a role unknown here".to_owned());
        let total = roles.clone().count() + names.len() + keys.len() + usize::from(unknown.is_some());
        for (place, one) in roles.chain(unknown).chain(names).chain(keys).take(SHOWN_MAX).enumerate() {
            f.write_str(if place == 0 { "" } else { ", " })?;
            f.write_str(&one)?;
        }
        match total.saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Roles, names and keys in a refusal. Our guess: what fits a line.
const SHOWN_MAX: usize = 6;
