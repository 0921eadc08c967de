//! One life of a member: a slot under an epoch, from one start of its program to its end.
//!
//! A program that is started again keeps its slot and epoch, but its collections begin anew: for the cores it
//! is another peer. So each life has a number that grows from one start to the next.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use minicbor::{Decode, Encode};
use xtreem_allocation::Epoch;

/// Which run of a slot, and which start of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(super) struct Life {
    #[n(0)]
    pub slot: u16,
    #[n(1)]
    pub epoch: Epoch,
    /// [`Life::UNKNOWN`]: heard of from others than itself.
    #[n(2)]
    pub start: u32,
}

impl Life {
    pub(super) const UNKNOWN: u32 = 0;

    /// Eight bytes that name it, or none in particular while its start is not known.
    pub(super) fn mark(&self) -> [u8; 8] {
        let mut mark = [0; 8];
        if self.start != Life::UNKNOWN {
            // Writing to a vector cannot fail.
            let bytes = minicbor::to_vec(self).unwrap_or_default();
            mark.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..8]);
        }
        mark
    }

    /// Grows as lives of one slot follow each other: by epoch, as far as its first parts tell, then by start.
    pub(super) fn incarnation(&self) -> u64 {
        let counter = u64::from(self.epoch.counter.min(u16::MAX.into()));
        let recruiter = self.epoch.recruiter.as_bytes();
        let recruiter = u64::from(u16::from_be_bytes([recruiter[0], recruiter[1]]));
        counter << 48 | recruiter << 32 | u64::from(self.start)
    }

    /// Whether two such numbers may be of one life: of the first the start is not known.
    pub(super) fn may_be(known: u64, told: u64) -> bool {
        known == told >> 32 << 32
    }
}

/// The number of the next start: unix seconds, or one more than the last one of this agent. Grows over
/// restarts of the agent, too, unless it starts more than a program a second for ever.
#[derive(Debug, Default)]
pub(crate) struct Starts(AtomicU32);

impl Starts {
    pub(super) fn next(&self) -> u32 {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = unix.map_or(1, |since| u32::try_from(since.as_secs()).unwrap_or(u32::MAX));
        let later = |last: u32| Some(now.max(last.saturating_add(1)));
        // It is given a value each time.
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).unwrap_or_default();
        now.max(last.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_base::NodeId;

    fn life(counter: u32, recruiter: u8, start: u32) -> Life {
        let recruiter = NodeId::from_bytes([recruiter; 16]);
        Life { slot: 3, epoch: Epoch { counter, recruiter, incarnation: 1, attempt: 1 }, start }
    }

    #[test]
    fn later_lives_have_higher_numbers_and_other_marks() {
        let lives = [life(1, 1, 9), life(1, 1, 10), life(1, 2, 3), life(2, 0, 1), life(u32::MAX, 0, 0)];
        assert!(lives.windows(2).all(|pair| pair[0].incarnation() < pair[1].incarnation()));
        assert!(lives.windows(2).all(|pair| pair[0].mark() != pair[1].mark()));
        assert_eq!(life(7, 7, Life::UNKNOWN).mark(), [0; 8]);
    }

    #[test]
    fn a_life_of_unknown_start_may_be_any_of_its_epoch() {
        let number = |counter, start| life(counter, 1, start).incarnation();
        assert!(Life::may_be(number(2, Life::UNKNOWN), number(2, 9)));
        assert!(!Life::may_be(number(2, 8), number(2, 9)) && !Life::may_be(number(2, 0), number(3, 9)));
    }

    #[test]
    fn starts_grow_within_one_second_and_follow_the_clock() {
        let starts = Starts::default();
        let first = starts.next();
        assert!(first > 1_600_000_000 && starts.next() > first);
    }
}
