//! A place in the network, from which round-trip times between nodes that never met can be told about.

use minicbor::{Decode, Encode};

use crate::Duration;

/// Axes beside the height. The paper (Vivaldi, section 5.4) finds two and a height as good as more; one more
/// costs 4 bytes.
pub const AXES: usize = 3;
/// Units in a microsecond: fine enough for the pull of gravity, coarse enough for 32 bits.
const UNITS_PER_MICRO: i64 = 64;

/// A Vivaldi coordinate with height (Dabek, Cox, Kaashoek, Morris: Vivaldi, SIGCOMM 2004). Lengths are 1/64
/// µs of round trip. What another node says is within bounds only if [`Coordinate::is_within_bounds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Coordinate {
    #[n(0)]
    pub at: [i32; AXES],
    /// The part of each round trip that is the node's own: its access link. At least
    /// [`Coordinate::HEIGHT_MIN`].
    #[n(1)]
    pub height: i32,
    /// What distances of late were too short by, halved: added to every distance from here.
    #[n(2)]
    pub adjustment: i32,
    /// How wrong the node thinks it stands, in millionths of the distance.
    #[n(3)]
    pub error: u32,
}

impl Coordinate {
    /// 10 s, to each side and up: round trips that are longer are no use to anybody (Serf has the same
    /// bound).
    pub const LENGTH_MAX: i32 = 10_000_000 * UNITS_PER_MICRO as i32;
    /// 10 µs, as in Serf.
    pub const HEIGHT_MIN: i32 = 10 * UNITS_PER_MICRO as i32;
    /// As in Serf: 150 %.
    pub const ERROR_MAX: u32 = 1_500_000;
    /// Where a node stands that has measured nothing yet.
    pub const ORIGIN: Coordinate =
        Coordinate { at: [0; AXES], height: Self::HEIGHT_MIN, adjustment: 0, error: Self::ERROR_MAX };

    /// False for what no honest node can say.
    pub fn is_within_bounds(&self) -> bool {
        let is_length = |length: i32| length.unsigned_abs() <= Self::LENGTH_MAX.unsigned_abs();
        self.at.iter().all(|length| is_length(*length))
            && (Self::HEIGHT_MIN..=Self::LENGTH_MAX).contains(&self.height)
            && is_length(self.adjustment)
            && self.error <= Self::ERROR_MAX
    }

    /// Length of a time.
    pub fn length_of(time: Duration) -> i64 {
        i64::try_from(time.as_micros()).unwrap_or(i64::MAX).saturating_mul(UNITS_PER_MICRO)
    }

    /// Distance along the axes alone.
    pub fn plane_distance(&self, other: &Coordinate) -> i64 {
        let squares = self.at.iter().zip(other.at).map(|(mine, theirs)| {
            let apart = u64::from(mine.abs_diff(theirs));
            apart.saturating_mul(apart)
        });
        squares.fold(0u64, u64::saturating_add).isqrt() as i64
    }

    /// Distance without adjustments.
    pub fn raw_distance(&self, other: &Coordinate) -> i64 {
        self.plane_distance(other) + i64::from(self.height) + i64::from(other.height)
    }

    /// The length of a round trip between the two, about.
    pub fn distance(&self, other: &Coordinate) -> i64 {
        let raw = self.raw_distance(other);
        let adjusted = raw + i64::from(self.adjustment) + i64::from(other.adjustment);
        if adjusted > 0 { adjusted } else { raw }
    }

    /// The round trip between the two, about.
    pub fn round_trip(&self, other: &Coordinate) -> Duration {
        Duration::from_micros((self.distance(other) / UNITS_PER_MICRO).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: i32, y: i32, height: i32) -> Coordinate {
        Coordinate { at: [x, y, 0], height, ..Coordinate::ORIGIN }
    }

    #[test]
    fn distances_are_the_plane_and_both_heights() {
        let (a, b) = (at(0, 0, 640), at(3_000, 4_000, 1_000));
        assert_eq!((a.plane_distance(&b), a.raw_distance(&b), a.distance(&b)), (5_000, 6_640, 6_640));
        let near = Coordinate { adjustment: -600, ..a };
        assert_eq!(near.distance(&b), 6_040);
        assert_eq!(near.distance(&b), b.distance(&near));
        let absurd = Coordinate { adjustment: -7_000, ..a };
        assert_eq!(absurd.distance(&b), 6_640, "an adjustment below nothing says nothing");
        assert_eq!(a.round_trip(&b), Duration::from_micros(6_640 / 64));
    }

    #[test]
    fn what_no_honest_node_can_say_is_seen_and_overflows_nothing() {
        let good = at(5, -5, 640);
        assert!(good.is_within_bounds() && Coordinate::ORIGIN.is_within_bounds());
        let hostile = [
            Coordinate { at: [i32::MIN, i32::MAX, 0], ..good },
            Coordinate { height: -1, ..good },
            Coordinate { height: i32::MAX, ..good },
            Coordinate { adjustment: i32::MIN, ..good },
            Coordinate { error: u32::MAX, ..good },
        ];
        for coordinate in hostile {
            assert!(!coordinate.is_within_bounds(), "{coordinate:?}");
            assert!(coordinate.distance(&good) >= -i64::from(u32::MAX));
        }
        let corner = |sign: i32| Coordinate {
            at: [sign * Coordinate::LENGTH_MAX; AXES],
            height: Coordinate::LENGTH_MAX,
            ..good
        };
        assert!(corner(1).is_within_bounds());
        assert_eq!(corner(1).round_trip(&corner(-1)).as_millis(), 54_641);
    }
}
