//! Topics that the VO's policy keeps for some members.

use xtreem_allocation::policy::{Policy, Subject};
use xtreem_pubsub::Pattern;
use xtreem_pubsub::broker::{Access, Kept};

/// Makes an access what the policy in force leaves of it.
pub(super) fn apply(access: &mut Access, policy: Option<&Policy>) {
    let Access { member, publish, subscribe, is_agent, .. } = access;
    publish.kept.clear();
    subscribe.kept.clear();
    let Some(policy) = policy.filter(|_| !*is_agent) else { return };
    let by = member.as_ref().map(|it| Subject { owner: it.key, name: &it.name, roles: it.roles });
    for kept in policy.topics_kept_from(by) {
        // What cannot be read here was written for a newer agent: it is taken to mean all topics.
        let topics = Pattern::new(kept.topics.to_owned()).unwrap_or(Pattern::All);
        let rules = if kept.is_publish { &mut *publish } else { &mut *subscribe };
        rules.kept.push(Kept { topics, rule: kept.rule.to_owned(), whose: kept.whose });
    }
}

#[cfg(test)]
mod tests {
    use xtreem_allocation::policy::{Limit, Rule, Who};
    use xtreem_base::NodeId;
    use xtreem_pubsub::broker::Member;

    use super::*;
    use crate::pubsub::access;

    fn policy(limits: Vec<(&str, Limit)>) -> Policy {
        let who = || Who { names: vec!["alice".into()], ..Who::default() };
        let rule = |(name, limit): (&str, Limit)| Rule { name: name.into(), limit, who: who() };
        Policy { version: 1, rules: limits.into_iter().map(rule).collect() }
    }

    fn member(name: &str) -> Member {
        Member { key: NodeId::from_bytes([1; 16]), name: name.into(), roles: 2 }
    }

    #[test]
    fn a_rule_holds_for_members_and_guests_but_those_that_it_names() {
        let policy = policy(vec![
            ("desk", Limit::Publish("news/**".into())),
            ("secret", Limit::Subscribe("plans/**".into())),
        ]);
        let topic = |text: &'static str| Pattern::new(text).expect("a pattern");
        let all = [Pattern::All];
        let guest = || access::guest(&all);
        for (mut access, may) in [
            (access::operator(member("alice")), true),
            (access::operator(member("bob")), false),
            (guest(), false),
        ] {
            apply(&mut access, Some(&policy));
            assert_eq!(access.check_publish(&topic("news/sport")).is_ok(), may, "{access:?}");
            assert_eq!(access.check_subscribe(&topic("plans/x")).is_ok(), may, "{access:?}");
            assert_eq!(access.hears(&topic("plans/x")), may, "{access:?}");
            assert!(access.check_subscribe(&topic("news/sport")).is_ok());
            assert!(access.check_publish(&topic("plans/x")).is_ok());
            // A policy without the rules gives all back.
            apply(&mut access, None);
            assert!(access.check_publish(&topic("news/sport")).is_ok());
        }
    }

    #[test]
    fn what_cannot_be_read_keeps_everything() {
        let policy = policy(vec![("odd", Limit::Publish("a/*/b".into()))]);
        let mut access = access::operator(member("bob"));
        apply(&mut access, Some(&policy));
        assert!(access.check_publish(&Pattern::new("x").expect("a topic")).is_err());
    }
}
