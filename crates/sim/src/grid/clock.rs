//! A host's own clock: the core gets nothing but local instants.

use xtreem_base::{Instant, Rng};

/// Farthest that a clock is off under the `clock` fault: an hour, as a wrong time zone makes it.
const OFFSET_MAX_MICROS: u64 = 3_600_000_000;
/// Fastest drift under the `clock` fault, in parts per million: four times a bad quartz.
const DRIFT_MAX_PPM: i64 = 200;

/// Turns the world's time into a host's and back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalClock {
    /// The host's time when the world's is zero.
    origin_micros: u64,
    drift_ppm: i64,
}

impl LocalClock {
    /// A clock that is right: it still starts at an hour, so that no core may take zero for "never".
    pub const RIGHT: LocalClock = LocalClock { origin_micros: OFFSET_MAX_MICROS, drift_ppm: 0 };

    pub fn skewed(rng: &mut Rng) -> Self {
        LocalClock {
            origin_micros: rng.between(0, 2 * OFFSET_MAX_MICROS),
            drift_ppm: rng.between(0, 2 * DRIFT_MAX_PPM as u64) as i64 - DRIFT_MAX_PPM,
        }
    }

    pub fn local(&self, world: Instant) -> Instant {
        let micros = world.as_micros();
        let drift = micros as i64 / 1_000_000 * self.drift_ppm
            + micros as i64 % 1_000_000 * self.drift_ppm / 1_000_000;
        Instant::from_micros(self.origin_micros + micros.saturating_add_signed(drift))
    }

    /// The first world instant at which the host's clock shows at least `local`.
    pub fn world(&self, local: Instant) -> Instant {
        let span = local.as_micros().saturating_sub(self.origin_micros);
        if span >= u64::MAX / 4 {
            return Instant::FAR;
        }
        let rate = (1_000_000 + self.drift_ppm) as u128;
        // Two below the quotient, because `local` rounds; then up to the first that fits.
        let mut micros = (u128::from(span) * 1_000_000 / rate).saturating_sub(2) as u64;
        while self.local(Instant::from_micros(micros)) < local && micros < span.saturating_mul(2) + 10 {
            micros += 1;
        }
        Instant::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, proptest};

    proptest! {
        #[test]
        fn a_timer_never_fires_before_its_local_time(seed: u64, micros in 0..1_000_000_000_000u64) {
            let clock = LocalClock::skewed(&mut Rng::new(seed));
            let local = clock.local(Instant::from_micros(micros));
            let fires = clock.world(local);
            prop_assert!(clock.local(fires) >= local);
            prop_assert!(fires.as_micros() <= micros);
            prop_assert!(micros - fires.as_micros() <= 3);
        }
    }

    #[test]
    fn never_stays_never() {
        assert_eq!(LocalClock::RIGHT.world(Instant::FAR), Instant::FAR);
        assert_eq!(LocalClock::RIGHT.world(Instant::ZERO), Instant::ZERO);
    }
}
