//! Deadlines that fire in a total order.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::Instant;

/// At most one deadline for each timer `T`; those due at one instant fire in the order of `T`.
///
/// After quinn's timer table and foca's rule for ties: an insertion order or hash order here would leak into
/// every trace.
#[derive(Clone, Debug)]
pub struct Deadlines<T> {
    due: BTreeSet<(Instant, T)>,
    at: BTreeMap<T, Instant>,
}

impl<T: Ord + Clone> Default for Deadlines<T> {
    fn default() -> Self {
        Deadlines { due: BTreeSet::new(), at: BTreeMap::new() }
    }
}

impl<T: Ord + Clone> Deadlines<T> {
    /// Sets or moves the deadline of `timer`.
    pub fn set(&mut self, timer: T, at: Instant) {
        if let Some(old) = self.at.insert(timer.clone(), at) {
            self.due.remove(&(old, timer.clone()));
        }
        self.due.insert((at, timer));
    }

    pub fn clear(&mut self, timer: &T) {
        if let Some(at) = self.at.remove(timer) {
            self.due.remove(&(at, timer.clone()));
        }
    }

    pub fn is_set(&self, timer: &T) -> bool {
        self.at.contains_key(timer)
    }

    /// The deadline that matters, and whose it is.
    pub fn next(&self) -> Option<(Instant, &T)> {
        self.due.first().map(|(at, timer)| (*at, timer))
    }

    /// Takes the first timer that is due at `now`.
    pub fn expire(&mut self, now: Instant) -> Option<T> {
        if self.next()?.0 > now {
            return None;
        }
        let (_, timer) = self.due.pop_first()?;
        self.at.remove(&timer);
        Some(timer)
    }

    pub fn len(&self) -> usize {
        self.due.len()
    }

    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_fire_in_timer_order_and_moving_leaves_no_trace() {
        let mut deadlines = Deadlines::default();
        let at = Instant::from_millis;
        deadlines.set('b', at(5));
        deadlines.set('a', at(5));
        deadlines.set('c', at(1));
        deadlines.set('c', at(9));
        deadlines.clear(&'x');
        assert_eq!(deadlines.next(), Some((at(5), &'a')));
        assert_eq!(deadlines.expire(at(4)), None);
        assert_eq!(deadlines.expire(at(5)), Some('a'));
        assert_eq!(deadlines.expire(at(5)), Some('b'));
        assert_eq!(deadlines.expire(at(8)), None);
        assert!(deadlines.is_set(&'c'));
        assert_eq!(deadlines.expire(at(9)), Some('c'));
        assert!(deadlines.is_empty());
    }
}
