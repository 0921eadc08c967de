//! The arithmetic: one sample pulls the coordinate by a spring whose rest length is the round trip (Vivaldi,
//! figure 3).

use xtreem_base::{Coordinate, Rng};

/// Millionths in one.
const WHOLE: i64 = 1_000_000;
/// c_c and c_e of the paper (section 4.3 finds 0.25 good for both), in millionths.
const STEP: i64 = WHOLE / 4;
/// Samples over which the adjustment is averaged, as in Serf (Ledlie and others, section 5.2).
const ADJUSTMENT_WINDOW: usize = 20;
/// At this distance from the origin gravity pulls as much as it is away, in seconds of round trip: Serf's ρ.
const GRAVITY_RHO_SECS: i64 = 150;
/// Nobody is believed to be surer than this, so that one peer's word never counts for all: 1 %, our guess.
const ERROR_MIN: i64 = WHOLE / 100;
/// Most that one sample moves a node: 100 ms, the bound on forces of Newton (Seibert and others, IEEE/ACM ToN
/// 22(3), 2014).
const FORCE_MAX: i64 = 100_000 * 64;
/// Units of a second.
const SECOND: i64 = 64 * WHOLE;

#[derive(Clone, Debug)]
pub(super) struct Spring {
    me: Coordinate,
    /// What the distances of the last samples were too short by.
    shortfalls: [i32; ADJUSTMENT_WINDOW],
    next: u8,
}

impl Default for Spring {
    fn default() -> Self {
        Spring { me: Coordinate::ORIGIN, shortfalls: [0; ADJUSTMENT_WINDOW], next: 0 }
    }
}

impl Spring {
    pub(super) fn coordinate(&self) -> Coordinate {
        self.me
    }

    /// Takes one sample: a round trip of this length, to a node that stands there.
    pub(super) fn pull(&mut self, round_trip: i64, theirs: &Coordinate, rng: &mut Rng) {
        let round_trip = round_trip.clamp(1, Coordinate::LENGTH_MAX.into());
        let distance = self.me.distance(theirs);
        let wrongness = ((distance - round_trip).abs() * WHOLE / round_trip).min(WHOLE * WHOLE / STEP);
        let (mine, other) = (i64::from(self.me.error).max(ERROR_MIN), i64::from(theirs.error).max(ERROR_MIN));
        let weight = mine * WHOLE / (mine + other);
        let share = STEP * weight / WHOLE;
        let error = (share * wrongness + (WHOLE - share) * mine) / WHOLE;
        self.me.error = error.clamp(0, Coordinate::ERROR_MAX.into()) as u32;
        let force = (round_trip - distance).clamp(-FORCE_MAX * 4, FORCE_MAX * 4) * share / WHOLE;
        self.push(force, theirs, rng);
        self.adjust(round_trip, theirs);
        self.fall(rng);
    }

    /// Moves by `force` away from `other`, or towards it when that is negative. Height goes with it in its
    /// share.
    fn push(&mut self, force: i64, other: &Coordinate, rng: &mut Rng) {
        let apart = self.me.plane_distance(other);
        let length = apart.max(1);
        for (mine, theirs) in self.me.at.iter_mut().zip(other.at) {
            // Two of one place part into a random direction.
            let direction = match apart {
                0 => rng.between(0, 2) as i64 - 1,
                _ => i64::from(*mine) - i64::from(theirs),
            };
            *mine = bounded(i64::from(*mine) + direction * force / length);
        }
        if apart > 0 {
            let heights = i64::from(self.me.height) + i64::from(other.height);
            // Of two in nearly one place the share would have no end.
            let lift = (heights * force / apart).clamp(-force.abs(), force.abs());
            let height = i64::from(self.me.height) + lift;
            self.me.height = bounded(height).max(Coordinate::HEIGHT_MIN);
        }
    }

    /// What no place in space explains, such as nodes of one rack that are nearer to each other than their
    /// heights say, is kept as a mean beside the coordinate.
    fn adjust(&mut self, round_trip: i64, theirs: &Coordinate) {
        let shortfall = bounded(round_trip - self.me.raw_distance(theirs));
        self.shortfalls[usize::from(self.next)] = shortfall;
        self.next = (self.next + 1) % ADJUSTMENT_WINDOW as u8;
        let sum: i64 = self.shortfalls.iter().map(|shortfall| i64::from(*shortfall)).sum();
        self.me.adjustment = bounded(sum / (2 * ADJUSTMENT_WINDOW as i64));
    }

    /// Pulls a little to the origin, so that all of them together do not drift away.
    fn fall(&mut self, rng: &mut Rng) {
        let away = self.me.distance(&Coordinate { error: 0, ..Coordinate::ORIGIN });
        // (away / ρ)² seconds; milliseconds in between keep it within 64 bits.
        let milliseconds = away / (SECOND / 1_000);
        let force = milliseconds * milliseconds * 64 / (GRAVITY_RHO_SECS * GRAVITY_RHO_SECS);
        self.push(-force.min(away), &Coordinate::ORIGIN, rng);
    }
}

fn bounded(length: i64) -> i32 {
    let max = i64::from(Coordinate::LENGTH_MAX);
    length.clamp(-max, max) as i32
}
