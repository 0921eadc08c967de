//! Where subscriptions and publishers lie in the order of topics, and where to look for those that matter.
//!
//! A pattern lies at one *place*: a topic above all that it may mean, or the empty place above all topics. At
//! a place, kinds of patterns lie in such an order that those which may mean a topic further down lie
//! together: whoever looks reads one section of keys at each place above, and one of all that lies below.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use xtreem_base::NodeId;

use super::Interest;
use crate::{Pattern, Topic};

const ALL: u8 = b'A';
const CHILDREN: u8 = b'C';
const RANGE: u8 = b'R';
const SUBTREE: u8 = b'S';
const TOPIC: u8 = b'T';

/// Between a place and what lies there: no topic has it.
const END: u8 = 0;
/// Bytes of a node's id.
const NODE_BYTES: usize = 16;
/// Bytes of a digest that tells ranges and groups of one place and server apart.
const DIGEST_BYTES: usize = 8;

/// Keys from the first on, up to but without the second; without one to the end of all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Section {
    pub from: Vec<u8>,
    pub to: Option<Vec<u8>>,
}

impl Section {
    pub fn contains(&self, key: &[u8]) -> bool {
        *self.from <= *key && self.to.as_ref().is_none_or(|to| key < &to[..])
    }

    /// Of what lies at a place, these kinds and those between.
    fn at(place: &[u8], first: u8, last: u8) -> Section {
        Section { from: [place, &[END, first]].concat(), to: Some([place, &[END, last + 1]].concat()) }
    }
}

/// Where it lies that a node wants or publishes this.
pub fn key_of(interest: &Interest, node: NodeId) -> Vec<u8> {
    let (mut key, kind) = match &interest.pattern {
        Pattern::Topic(topic) => (topic.order_key(), TOPIC),
        Pattern::Children(above) => (above.order_key(), CHILDREN),
        Pattern::Subtree(above) => (above.order_key(), SUBTREE),
        Pattern::All => (Vec::new(), ALL),
        Pattern::Range(from, to) => (above_both(from, to), RANGE),
    };
    key.extend([END, kind]);
    key.extend(node.as_bytes());
    if kind == RANGE || interest.group.is_some() {
        let digest = blake3::hash(interest.to_string().as_bytes());
        key.extend(&digest.as_bytes()[..DIGEST_BYTES]);
    }
    key
}

/// The node that has something to say at this key.
pub fn node_of(key: &[u8]) -> Option<NodeId> {
    let end = key.iter().position(|byte| *byte == END)?;
    let node = key.get(end + 2..end + 2 + NODE_BYTES)?;
    Some(NodeId::from_bytes(node.try_into().ok()?))
}

/// Where all lie that may mean a topic which this one means, too. Others lie there as well.
pub fn sections(pattern: &Pattern<'_>) -> Vec<Section> {
    let (from, to) = pattern.extent();
    let (first, is_topic, kinds) = match pattern {
        Pattern::All => return [Section { from, to }].into(),
        Pattern::Topic(topic) => (topic, true, RANGE),
        Pattern::Children(topic) | Pattern::Subtree(topic) => (topic, false, RANGE),
        Pattern::Range(from, _) => (from, false, CHILDREN),
    };
    let mut found = Vec::new();
    found.push(match pattern {
        _ if is_topic => Section::at(&from, RANGE, TOPIC),
        _ => Section { from, to },
    });
    if let Pattern::Children(above) = pattern {
        found.push(Section::at(&above.order_key(), CHILDREN, SUBTREE));
    }
    for above in first.ancestors() {
        // What is one level below a place is meant by a pattern there that means none deeper.
        let kind = if first.parent() == Some(above) { CHILDREN } else { kinds };
        found.push(Section::at(&order_key(above), kind, SUBTREE));
    }
    found.push(Section::at(&[], ALL, RANGE));
    found
}

/// The deepest place above both, which may be one of them.
fn above_both(from: &Topic<'_>, to: &Topic<'_>) -> Vec<u8> {
    let mut len = 0;
    let mut levels = from.as_str().split('/').zip(to.as_str().split('/'));
    while let Some((level, _)) = levels.next().filter(|(a, b)| a == b) {
        len += level.len() + usize::from(len > 0);
    }
    order_key(&from.as_str()[..len])
}

fn order_key(topic: &str) -> Vec<u8> {
    // What stands above a topic is one.
    Topic::new(topic).map(|topic| topic.order_key()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString as _};
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn topics() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "a b", "ab"]), 1..4)
            .prop_map(|levels| levels.join("/"))
    }

    fn patterns() -> impl Strategy<Value = Pattern<'static>> {
        let one = (topics(), prop::sample::select(vec!["", "/*", "/**"]))
            .prop_map(|(topic, end)| Pattern::new(topic + end).expect("a pattern"));
        let range = (topics(), topics()).prop_filter_map("empty", |(a, b)| {
            Pattern::range(a.clone(), b.clone()).or_else(|_| Pattern::range(b, a)).ok()
        });
        prop_oneof![8 => one, 4 => range, 1 => Just(Pattern::All)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn whoever_may_mean_the_same_topic_is_found(
            asked in patterns(),
            other in patterns(),
            is_group in any::<bool>(),
        ) {
            let group = is_group.then(|| "g".into());
            let interest = Interest { pattern: other.clone(), group };
            let key = key_of(&interest, NodeId::from_bytes([7; 16]));
            let sections = sections(&asked);
            prop_assert!(sections.len() <= 19);
            let is_found = sections.iter().any(|section| section.contains(&key));
            prop_assert!(is_found || !asked.overlaps(&other), "{asked} {other}");
        }

        #[test]
        fn a_key_names_its_node(pattern in patterns(), node in any::<[u8; 16]>()) {
            let node = NodeId::from_bytes(node);
            prop_assert_eq!(node_of(&key_of(&pattern.into(), node)), Some(node));
        }
    }

    #[test]
    fn one_topic_is_looked_for_at_each_place_above_it_and_nowhere_else() {
        let deep = Pattern::new("1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16").expect("a topic");
        assert_eq!(sections(&deep).len(), 17);
        let node = NodeId::from_bytes([0; 16]);
        let is_found = |other: &str| {
            let other = Pattern::new(other.to_string()).expect("a pattern");
            let key = key_of(&other.into(), node);
            sections(&Pattern::new("a/b/c").expect("a topic")).iter().any(|section| section.contains(&key))
        };
        assert!(["a/b/c", "a/b/*", "a/**", "**"].iter().all(|other| is_found(other)));
        assert!(["a", "a/b", "a/*", "a/b/c/*", "a/b/c/d"].iter().all(|other| !is_found(other)));
    }
}
