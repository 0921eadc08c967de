//! What is asked of the ring: a few questions at one time. Questions that wait are asked once for all who
//! have them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Interest, Section};
use crate::Pattern;

/// Questions under way: an eighth of what a node may have. Our guess.
const RUNNING_MAX: usize = 32;

/// Who lies where: two namespaces of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    Subscribers,
    Publishers,
}

/// One operation on the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Writes that this server subscribes to this, or publishes.
    Put(Space, Arc<Interest>),
    /// Removes it.
    Remove(Space, Arc<Interest>),
    /// Reads what lies there.
    Scan(Space, Section),
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The ring does not take it, and why.
    Refused(alloc::string::String),
    /// It may work the next time.
    Unanswered,
}

/// Who waits: a subscription of this server, or a topic that it publishes to, and for which time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    Want(Arc<Interest>, u64),
    Outlet(Arc<Pattern<'static>>, u64),
}

/// At most as many wait as the topics and subscriptions of this server have: each has one cycle at a time.
#[derive(Debug, Default)]
pub(super) struct Ops {
    waiting: VecDeque<(What, Option<Waiter>)>,
    /// Who waits for the questions among them.
    askers: BTreeMap<(Space, Section), Vec<Waiter>>,
    running: BTreeMap<u64, (What, Vec<Waiter>)>,
    requests: u64,
}

impl Ops {
    pub(super) fn add(&mut self, what: What, waiter: Option<Waiter>) {
        let What::Scan(space, section) = &what else {
            self.waiting.push_back((what, waiter));
            return;
        };
        let key = (*space, section.clone());
        if let Some(askers) = self.askers.get_mut(&key) {
            askers.extend(waiter);
            return;
        }
        self.askers.insert(key, waiter.into_iter().collect());
        self.waiting.push_back((what, None));
    }

    /// The next one to begin, with the number by which its end is known.
    pub(super) fn start(&mut self) -> Option<(u64, What)> {
        if self.running.len() >= RUNNING_MAX {
            return None;
        }
        // Two writes of one item would not be in order.
        let is_free =
            |(what, _): &(What, _)| !self.running.values().any(|(other, _)| is_same_item(other, what));
        let at = self.waiting.iter().position(is_free)?;
        let (what, waiter) = self.waiting.remove(at)?;
        let waiters = match &what {
            What::Scan(space, section) => self.askers.remove(&(*space, section.clone())).unwrap_or_default(),
            _ => waiter.into_iter().collect(),
        };
        self.requests += 1;
        self.running.insert(self.requests, (what.clone(), waiters));
        Some((self.requests, what))
    }

    /// Who waited for it.
    pub(super) fn end(&mut self, request: u64) -> Option<Vec<Waiter>> {
        self.running.remove(&request).map(|(_, waiters)| waiters)
    }
}

fn is_same_item(one: &What, other: &What) -> bool {
    use What::{Put, Remove};
    match (one, other) {
        (Put(a, one) | Remove(a, one), Put(b, other) | Remove(b, other)) => a == b && one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_of_one_item_are_in_order_and_questions_are_shared() {
        let mut ops = Ops::default();
        let all: Arc<Interest> = Arc::new(Pattern::All.into());
        ops.add(What::Put(Space::Subscribers, all.clone()), None);
        ops.add(What::Remove(Space::Subscribers, all.clone()), None);
        let section = Section { from: Vec::new(), to: None };
        for number in 0..3 {
            let waiter = Waiter::Want(all.clone(), number);
            ops.add(What::Scan(Space::Publishers, section.clone()), Some(waiter));
        }
        let (first, what) = ops.start().expect("the first");
        assert!(matches!(what, What::Put(..)));
        let (second, what) = ops.start().expect("the question");
        assert!(matches!(what, What::Scan(..)) && ops.start().is_none());
        assert_eq!(ops.end(second).map(|waiters| waiters.len()), Some(3));
        assert!(ops.end(first).is_some() && ops.end(first).is_none());
        assert!(matches!(ops.start(), Some((_, What::Remove(..)))));
    }
}
