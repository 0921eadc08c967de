//! What was acknowledged as written on the ring lies at its owner in the end, unless more of the nodes that
//! may have had it died within ten seconds than it had copies beside its owner's.
//!
//! Source: `docs/protocols/store.md`.

use std::collections::{BTreeMap, VecDeque};

use xtreem_base::{Duration, Instant};
use xtreem_overlay::ring::SUCCESSORS_MAX;
use xtreem_overlay::{Key, Position};

use super::{Checker, Findings};
use crate::grid::seen::{Seen, Snapshot};

pub(super) const NAME: &str = "acknowledged_puts_stay";

/// Copies are made anew within this time.
const WINDOW: Duration = Duration::from_secs(10);

/// A node that died, and who stood on the ring then, in its order.
struct Death {
    at: Instant,
    place: Position,
    ring: Vec<Position>,
}

#[derive(Default)]
pub(super) struct Puts {
    /// Key and copies of what was acknowledged, by number.
    kept: BTreeMap<u32, (Key, u8)>,
    deaths: VecDeque<Death>,
}

impl Puts {
    /// Whether so many of the owner and those behind it died lately that nobody may have it any more.
    fn may_be_gone(&self, key: &Key, copies: u8) -> bool {
        let Some(first) = self.deaths.front() else { return false };
        let owner = first.ring.partition_point(|place| place.key < *key);
        let count = (1 + SUCCESSORS_MAX).min(first.ring.len());
        let may_have = first.ring.iter().cycle().skip(owner).take(count);
        let dead = may_have.filter(|place| self.deaths.iter().any(|death| death.place == **place)).count();
        // Where there are fewer nodes than copies, all of them have it.
        dead > usize::from(copies) || dead == count
    }
}

impl Checker for Puts {
    fn observe(&mut self, at: Instant, seen: &Seen, _: &mut Findings) {
        match seen {
            Seen::Put { number, key, copies } => {
                self.kept.insert(*number, (key.clone(), *copies));
            }
            Seen::RingDeath { place, ring } => {
                while self.deaths.front().is_some_and(|death| death.at + WINDOW < at) {
                    self.deaths.pop_front();
                }
                self.deaths.push_back(Death { at, place: place.clone(), ring: ring.clone() });
                let mut gone = self.kept.clone();
                gone.retain(|_, (key, copies)| self.may_be_gone(key, *copies));
                self.kept.retain(|number, _| !gone.contains_key(number));
            }
            _ => {}
        }
    }

    fn finish(&mut self, at: Instant, end: &Snapshot, findings: &mut Findings) {
        for (number, (key, copies)) in &self.kept {
            if !end.puts.contains(number) {
                let what = format!("put {number} at {key:?} with {copies} copies is not at its owner");
                findings.add(NAME, at, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use xtreem_base::NodeId;

    use super::*;

    fn place(at: u8) -> Position {
        Position::new(Key::from_bytes(&[1, at]).expect("short"), NodeId::from_bytes([at; 16]))
    }

    fn judge(deaths: &[(u64, u8)], is_there: bool) -> usize {
        let (mut checker, mut findings) = (Puts::default(), Findings::default());
        let key = Key::from_bytes(&[1, 95]).expect("short");
        checker.observe(Instant::ZERO, &Seen::Put { number: 7, key, copies: 2 }, &mut findings);
        let mut ring: Vec<Position> = (0..25).map(|at| place(10 * at)).collect();
        for (second, at) in deaths {
            let seen = Seen::RingDeath { place: place(*at), ring: ring.clone() };
            checker.observe(Instant::from_secs(*second), &seen, &mut findings);
            ring.retain(|it| *it != place(*at));
        }
        let puts = is_there.then_some(7).into_iter().collect();
        checker.finish(Instant::from_secs(99), &Snapshot { puts, ..Snapshot::default() }, &mut findings);
        findings.list.len()
    }

    #[test]
    fn a_lost_put_counts_unless_three_that_may_have_had_it_died_at_once() {
        assert_eq!(judge(&[], true), 0);
        assert_eq!(judge(&[], false), 1);
        assert_eq!(judge(&[(1, 100), (2, 110)], false), 1, "two are dead, and there were three");
        assert_eq!(judge(&[(1, 100), (2, 110), (11, 120)], false), 0);
        assert_eq!(judge(&[(1, 100), (2, 110), (12, 120)], false), 1, "there was time to copy it");
        assert_eq!(judge(&[(1, 60), (2, 70), (3, 80)], false), 1, "they never had it");
        assert_eq!(judge(&[(1, 240), (2, 0), (3, 180)], false), 1, "nor had they");
    }
}
