//! When machines lose their power, which of them, and when each is back: drawn from a stream of its own, so
//! that the other faults of a seed are the same with it and without.

use xtreem_base::{Duration, Instant, Rng};

use super::host::HostNo;
use super::schedule::{Action, FAULTS_BEGIN};

/// Who is hit. Machines that are switched off already stay so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    All,
    /// Every fourth host: those of one power line.
    Site(u32),
    /// So many of a hundred, by lot.
    Percent(u32),
}

/// Sites of the power supply; our guess: a few.
const SITES: u32 = 4;
/// A machine takes at least that long to boot.
const BOOT: Duration = Duration::from_secs(1);

impl Hit {
    fn draw(rng: &mut Rng) -> Hit {
        match rng.below(4) {
            0 | 1 => Hit::All,
            2 => Hit::Site(rng.below(SITES)),
            _ => Hit::Percent(rng.between(10, 90) as u32),
        }
    }

    pub fn hits(self, host: HostNo, rng: &mut Rng) -> bool {
        match self {
            Hit::All => true,
            Hit::Site(site) => host % SITES == site,
            Hit::Percent(percent) => rng.chance(percent, 100),
        }
    }
}

/// How long one machine stays down.
pub(crate) fn outage(within: Duration, rng: &mut Rng) -> Duration {
    BOOT + Duration::from_micros(rng.between(0, within.as_micros()))
}

/// One power cut whose last machine is back within half a minute, or two shorter ones. The last start lies a
/// minute before the end of the run: by then all applications run again.
pub(super) fn cuts(rng: &mut Rng) -> Vec<(Instant, Action)> {
    let windows: &[(u64, u64, u64)] =
        if rng.chance(1, 3) { &[(31, 45, 9), (56, 75, 13)] } else { &[(33, 58, 29)] };
    windows
        .iter()
        .map(|(from, to, spread)| {
            let at = FAULTS_BEGIN + Duration::from_micros(rng.between(from * 1_000_000, to * 1_000_000));
            let within = Duration::from_secs([2, 10, *spread][rng.below(3) as usize].min(*spread));
            (at, Action::Power { hit: Hit::draw(rng), within })
        })
        .collect()
}
