//! Who subscribed to what, as one table: a server's own subscribers, or the servers that an owner knows.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::{Pattern, Topic};

/// Subscriptions of subscribers `S`. Its version grows with each change, so that what was found can be kept.
#[derive(Clone, Debug)]
pub struct Subscriptions<S> {
    exact: BTreeMap<String, Vec<S>>,
    children: BTreeMap<String, Vec<S>>,
    subtrees: BTreeMap<String, Vec<S>>,
    all: Vec<S>,
    ranges: Vec<(Pattern<'static>, S)>,
    version: u64,
    len: usize,
}

impl<S> Default for Subscriptions<S> {
    fn default() -> Self {
        Subscriptions {
            exact: BTreeMap::new(),
            children: BTreeMap::new(),
            subtrees: BTreeMap::new(),
            all: Vec::new(),
            ranges: Vec::new(),
            version: 0,
            len: 0,
        }
    }
}

impl<S: Copy + Ord> Subscriptions<S> {
    /// Whether it is new.
    pub fn add(&mut self, pattern: &Pattern<'_>, subscriber: S) -> bool {
        let is_new = match pattern {
            Pattern::Topic(topic) => put(self.exact.entry(topic.as_str().into()).or_default(), subscriber),
            Pattern::Children(topic) => {
                put(self.children.entry(topic.as_str().into()).or_default(), subscriber)
            }
            Pattern::Subtree(topic) => {
                put(self.subtrees.entry(topic.as_str().into()).or_default(), subscriber)
            }
            Pattern::All => put(&mut self.all, subscriber),
            Pattern::Range(..) => {
                let entry = (pattern.clone().into_owned(), subscriber);
                let at = self.ranges.binary_search(&entry);
                if let Err(at) = at {
                    self.ranges.insert(at, entry);
                }
                at.is_err()
            }
        };
        self.version += u64::from(is_new);
        self.len += usize::from(is_new);
        is_new
    }

    /// Whether it was there.
    pub fn remove(&mut self, pattern: &Pattern<'_>, subscriber: S) -> bool {
        let was_there = match pattern {
            Pattern::Topic(topic) => take(&mut self.exact, topic, subscriber),
            Pattern::Children(topic) => take(&mut self.children, topic, subscriber),
            Pattern::Subtree(topic) => take(&mut self.subtrees, topic, subscriber),
            Pattern::All => cut(&mut self.all, subscriber),
            Pattern::Range(..) => {
                let entry = (pattern.clone().into_owned(), subscriber);
                let at = self.ranges.binary_search(&entry);
                if let Ok(at) = at {
                    self.ranges.remove(at);
                }
                at.is_ok()
            }
        };
        self.version += u64::from(was_there);
        self.len -= usize::from(was_there);
        was_there
    }

    /// Whether anybody subscribed to just this.
    pub fn has(&self, pattern: &Pattern<'_>) -> bool {
        match pattern {
            Pattern::Topic(topic) => self.exact.contains_key(topic.as_str()),
            Pattern::Children(topic) => self.children.contains_key(topic.as_str()),
            Pattern::Subtree(topic) => self.subtrees.contains_key(topic.as_str()),
            Pattern::All => !self.all.is_empty(),
            Pattern::Range(..) => self.ranges.iter().any(|(range, _)| range == pattern),
        }
    }

    /// Everybody who hears what is published to `to`, once and in order: for several topics everybody who
    /// subscribed to one of them.
    pub fn hearers(&self, to: &Pattern<'_>) -> Vec<S> {
        let mut found = self.all.clone();
        match to {
            Pattern::Topic(topic) => self.of_topic(topic, &mut found),
            several => self.of_several(several, &mut found),
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What was found holds no more, for a reason outside of this table.
    pub fn touch(&mut self) {
        self.version += 1;
    }

    /// Grows with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn of_topic(&self, topic: &Topic<'_>, found: &mut Vec<S>) {
        let mut add = |list: Option<&Vec<S>>| found.extend(list.into_iter().flatten());
        add(self.exact.get(topic.as_str()));
        add(topic.parent().and_then(|parent| self.children.get(parent)));
        for above in topic.ancestors().chain([topic.as_str()]) {
            add(self.subtrees.get(above));
        }
        let matching = self.ranges.iter().filter(|(range, _)| range.matches(topic.as_str()));
        found.extend(matching.map(|(_, subscriber)| *subscriber));
    }

    /// Who subscribed to single topics that are meant, or to several of which one may be.
    fn of_several(&self, to: &Pattern<'_>, found: &mut Vec<S>) {
        for (topic, list) in &self.exact {
            if to.matches(topic) {
                found.extend(list);
            }
        }
        let mut wide = |of: &dyn Fn(Topic<'static>) -> Pattern<'static>, lists: &BTreeMap<String, Vec<S>>| {
            for (above, list) in lists {
                // What stands in the table was a topic when it came.
                if Topic::new(above.clone()).is_ok_and(|above| to.overlaps(&of(above))) {
                    found.extend(list);
                }
            }
        };
        wide(&Pattern::Children, &self.children);
        wide(&Pattern::Subtree, &self.subtrees);
        found.extend(
            self.ranges.iter().filter(|(range, _)| to.overlaps(range)).map(|(_, subscriber)| *subscriber),
        );
    }
}

fn put<S: Ord>(list: &mut Vec<S>, subscriber: S) -> bool {
    match list.binary_search(&subscriber) {
        Ok(_) => false,
        Err(at) => {
            list.insert(at, subscriber);
            true
        }
    }
}

fn cut<S: Ord>(list: &mut Vec<S>, subscriber: S) -> bool {
    list.binary_search(&subscriber).map(|at| list.remove(at)).is_ok()
}

fn take<S: Ord>(lists: &mut BTreeMap<String, Vec<S>>, topic: &Topic<'_>, subscriber: S) -> bool {
    let Some(list) = lists.get_mut(topic.as_str()) else { return false };
    let was_there = cut(list, subscriber);
    if list.is_empty() {
        lists.remove(topic.as_str());
    }
    was_there
}
