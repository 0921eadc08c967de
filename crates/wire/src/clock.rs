//! How far the wall clock of this node is from those of its peers.
//!
//! Only stamps in answers to our own nonces count, as a replayed datagram shows an old time. One wrong peer,
//! or a minority of them, must not move us: the median decides.

use alloc::vec::Vec;

use xtreem_base::NodeId;

/// Clocks that differ by less are taken to agree.
const TOLERANCE_MS: i64 = 30_000;

/// Peers that must have been heard before their median counts.
const SAMPLES_MIN: usize = 3;

/// Peers whose last sample is kept; the oldest goes. Few, so that a clock that was set right is believed
/// again after a handful of answers (our guess).
const SAMPLES_MAX: usize = 9;

/// The correction has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockReport {
    /// The clock differs by `offset_ms` (peers minus ours) from the median; stamps are corrected by it.
    Corrected { offset_ms: i64 },
    /// The clock agrees with the median again.
    Agrees,
}

/// Samples of peers' clocks and the correction that follows from them.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Peer and its clock minus ours, in milliseconds; the newest last.
    samples: Vec<(NodeId, i64)>,
    correction_ms: i64,
}

impl Clock {
    /// What to add to the wall clock, in milliseconds.
    pub fn correction_ms(&self) -> i64 {
        self.correction_ms
    }

    /// Takes note that `peer` just showed a clock that is ahead of ours by `offset_ms`.
    pub fn sample(&mut self, peer: NodeId, offset_ms: i64) -> Option<ClockReport> {
        self.samples.retain(|(other, _)| *other != peer);
        if self.samples.len() == SAMPLES_MAX {
            self.samples.remove(0);
        }
        self.samples.push((peer, offset_ms));
        let median = self.median()?;
        let correction = if is_apart(median, 0) { median } else { 0 };
        // Jitter of the median is not worth a word, and a steady correction keeps stamps steady.
        let is_small_change =
            (correction == 0) == (self.correction_ms == 0) && !is_apart(correction, self.correction_ms);
        if is_small_change {
            return None;
        }
        self.correction_ms = correction;
        Some(match correction {
            0 => ClockReport::Agrees,
            offset_ms => ClockReport::Corrected { offset_ms },
        })
    }

    fn median(&self) -> Option<i64> {
        if self.samples.len() < SAMPLES_MIN {
            return None;
        }
        let mut offsets: Vec<i64> = self.samples.iter().map(|(_, offset)| *offset).collect();
        offsets.sort_unstable();
        Some(offsets[offsets.len() / 2])
    }
}

/// Whether two offsets differ by more than the tolerance.
pub(crate) fn is_apart(a_ms: i64, b_ms: i64) -> bool {
    a_ms.abs_diff(b_ms) > TOLERANCE_MS as u64
}

/// `wall_ms` moved by `offset_ms`.
pub(crate) fn shift(wall_ms: u64, offset_ms: i64) -> u64 {
    wall_ms.saturating_add_signed(offset_ms)
}

/// How far `theirs_ms` is ahead of `ours_ms`, whatever the two are.
pub(crate) fn ahead(theirs_ms: u64, ours_ms: u64) -> i64 {
    let ahead = i128::from(theirs_ms) - i128::from(ours_ms);
    ahead.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    #[test]
    fn three_peers_correct_a_clock_that_is_an_hour_off() {
        let mut clock = Clock::default();
        assert_eq!(clock.sample(peer(1), 3_600_000), None);
        assert_eq!(clock.sample(peer(1), 3_600_000), None, "the same peer twice is one peer");
        assert_eq!(clock.sample(peer(2), 3_600_200), None);
        let report = ClockReport::Corrected { offset_ms: 3_600_100 };
        assert_eq!(clock.sample(peer(3), 3_600_100), Some(report));
        assert_eq!(clock.sample(peer(4), 3_600_900), None, "jitter is not news");
        assert_eq!(clock.correction_ms(), 3_600_100);
    }

    #[test]
    fn one_wrong_peer_moves_nobody() {
        let mut clock = Clock::default();
        for (number, offset) in [(1, 10), (2, -400), (3, 86_400_000), (4, 0)] {
            assert_eq!(clock.sample(peer(number), offset), None);
        }
        assert_eq!(clock.correction_ms(), 0);
    }

    #[test]
    fn a_clock_set_right_agrees_after_five_answers() {
        let mut clock = Clock::default();
        (1..=9).for_each(|number| {
            clock.sample(peer(number), -3_600_000);
        });
        let reports: Vec<_> = (1..=5).map(|number| clock.sample(peer(number), 0)).collect();
        assert_eq!(reports, [None, None, None, None, Some(ClockReport::Agrees)]);
    }

    #[test]
    fn no_stamp_overflows() {
        let mut clock = Clock::default();
        for (number, stamp) in [(1, u64::MAX), (2, 0), (3, u64::MAX), (4, 1 << 63)] {
            let offset = ahead(stamp, 1_800_000_000_000);
            clock.sample(peer(number), offset);
            shift(stamp, offset);
        }
        assert_eq!(shift(5, i64::MIN), 0);
        assert_eq!((ahead(0, u64::MAX), ahead(u64::MAX, 0)), (i64::MIN, i64::MAX));
    }
}
