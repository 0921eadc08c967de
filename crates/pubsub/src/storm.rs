//! How many events of the grid one agent says in a second, whatever happens: a thousand slots that fail
//! together must not keep the network from what comes after.

use alloc::collections::BTreeMap;
use alloc::string::String;

use xtreem_base::{Duration, Instant};

/// Events of the grid that one agent says in a second; what is more is counted. Our guess: far more than what
/// happens to one machine's own slots, and little for the network.
pub const GRID_EVENTS_MAX: u32 = 256;
/// Families whose events are counted apart; those of more are counted as the grid's.
pub const FAMILIES_MAX: usize = 64;

const SECOND: Duration = Duration::from_secs(1);

/// One agent's events. A family is an application, or the grid: the empty name.
#[derive(Debug, Default)]
pub struct Storm {
    begun: Option<Instant>,
    said: u32,
    unsaid: BTreeMap<String, u64>,
}

impl Storm {
    /// Whether an event of this family may be said now; otherwise it is counted.
    pub fn admit(&mut self, now: Instant, family: &str) -> bool {
        if self.begun.is_none_or(|begun| now >= begun + SECOND) {
            (self.begun, self.said) = (Some(now), 0);
        }
        if self.said < GRID_EVENTS_MAX {
            self.said += 1;
            return true;
        }
        self.count(family, 1);
        false
    }

    /// So many were not said.
    pub fn count(&mut self, family: &str, more: u64) {
        let is_full = self.unsaid.len() >= FAMILIES_MAX && !self.unsaid.contains_key(family);
        let family = if is_full { "" } else { family };
        let count = self.unsaid.entry(family.into()).or_default();
        *count = count.saturating_add(more);
    }

    /// How many of each family were not said since the last call. Asked for about once a second: one event
    /// says it of each.
    pub fn take_unsaid(&mut self) -> BTreeMap<String, u64> {
        core::mem::take(&mut self.unsaid)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn what_is_more_than_a_second_may_have_is_counted_and_nothing_is_forgotten() {
        let mut storm = Storm::default();
        let at = Instant::from_millis;
        let said = (0..1_000).filter(|_| storm.admit(at(0), "a")).count();
        assert_eq!(said, GRID_EVENTS_MAX as usize);
        assert!(!storm.admit(at(999), "b") && storm.admit(at(1_000), "b"));
        let unsaid: Vec<(String, u64)> = storm.take_unsaid().into_iter().collect();
        assert_eq!(unsaid, [("a".into(), 1_000 - u64::from(GRID_EVENTS_MAX)), ("b".into(), 1)]);
        assert!(storm.take_unsaid().is_empty());
    }

    #[test]
    fn families_are_bounded() {
        let mut storm = Storm::default();
        (0..1_000).for_each(|family| storm.count(&format!("{family}"), 1));
        let unsaid = storm.take_unsaid();
        assert!(unsaid.len() <= FAMILIES_MAX + 1);
        assert_eq!(unsaid.values().sum::<u64>(), 1_000);
    }
}
