//! Which sizes can run: what would take more than the machine has, or never end, is refused by name.

use std::fmt;
use std::ops::Range;

use super::Options;
use super::report::machine;

/// Most hosts of a world. At [`NODE_BYTES`] each they take about 60 GiB.
pub const NODES_MAX: u32 = 1_000_000;
/// Most applications of a world; each has about ten slots.
pub const APPS_MAX: u32 = 100_000;
/// Latest end of a run, in seconds: a day.
pub const UNTIL_MAX: u64 = 86_400;
/// Most seeds of one sweep.
pub const SEEDS_MAX: u64 = 1_000_000;
/// Most worlds that a sweep runs at once.
pub const THREADS_MAX: usize = 1_024;
/// What one host takes, its messages on the way included: three times what a report tells of 1,000 nodes.
pub const NODE_BYTES: u64 = 64 << 10;

/// Options that cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    Nodes(u32),
    Apps(u32),
    Until(u64),
    /// Seeds of a sweep.
    Seeds(u64),
    /// Worlds at once.
    Threads(usize),
    /// In bytes.
    Memory {
        needed: u64,
        available: u64,
        worlds: usize,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        match *self {
            Unfit::Nodes(nodes) => write!(f, "{nodes} nodes: a world has 1 to {NODES_MAX}"),
            Unfit::Apps(apps) => write!(f, "{apps} applications: a world has at most {APPS_MAX}"),
            Unfit::Until(seconds) => write!(f, "until {seconds} s: a run ends after {UNTIL_MAX} s at most"),
            Unfit::Seeds(seeds) => {
                write!(f, "{seeds} seeds: a sweep has at most {SEEDS_MAX}; sweep the rest in further ranges")
            }
            Unfit::Threads(threads) => {
                write!(f, "{threads} worlds at once: at most {THREADS_MAX} are possible")
            }
            Unfit::Memory { needed, available, worlds } => write!(
                f,
                "{worlds} worlds of this size take about {:.1} GiB, and {:.1} GiB are free: take fewer nodes, or \
                 fewer worlds at once",
                gib(needed),
                gib(available)
            ),
        }
    }
}

impl std::error::Error for Unfit {}

impl Options {
    /// Whether `worlds` of them can run at once on this machine.
    pub fn check(&self, worlds: usize) -> Result<(), Unfit> {
        let until = self.until.unwrap_or_default();
        let needed = (u64::from(self.nodes) * NODE_BYTES).saturating_mul(worlds as u64);
        let available = machine::available_bytes();
        let unfit = [
            (!(1..=NODES_MAX).contains(&self.nodes), Unfit::Nodes(self.nodes)),
            (self.apps > APPS_MAX, Unfit::Apps(self.apps)),
            (until > UNTIL_MAX, Unfit::Until(until)),
            (worlds > THREADS_MAX, Unfit::Threads(worlds)),
            (
                available.is_some_and(|available| needed > available),
                Unfit::Memory { needed, available: available.unwrap_or_default(), worlds },
            ),
        ];
        unfit.into_iter().find(|(is_unfit, _)| *is_unfit).map_or(Ok(()), |(_, why)| Err(why))
    }

    /// Whether a sweep over these seeds can run, so many at once.
    pub fn check_sweep(&self, seeds: &Range<u64>, worlds: usize) -> Result<(), Unfit> {
        let count = seeds.end.saturating_sub(seeds.start);
        if count > SEEDS_MAX {
            return Err(Unfit::Seeds(count));
        }
        self.check(worlds.min(count as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_cannot_run_are_named() {
        let fits = Options::default();
        assert_eq!(fits.check(1), Ok(()));
        assert_eq!(Options { nodes: 0, ..fits.clone() }.check(1), Err(Unfit::Nodes(0)));
        assert_eq!(Options { nodes: 1 << 24, ..fits.clone() }.check(1), Err(Unfit::Nodes(1 << 24)));
        assert_eq!(Options { apps: 100_001, ..fits.clone() }.check(1), Err(Unfit::Apps(100_001)));
        let until = Some(u64::MAX);
        assert_eq!(Options { until, ..fits.clone() }.check(1), Err(Unfit::Until(u64::MAX)));
        assert_eq!(fits.check(usize::MAX), Err(Unfit::Threads(usize::MAX)));
        assert_eq!(fits.check_sweep(&(0..u64::MAX), 2), Err(Unfit::Seeds(u64::MAX)));
        assert_eq!(fits.check_sweep(&(u64::MAX - 3..u64::MAX), 2), Ok(()));
        // 60 TiB.
        let large = Options { nodes: 1_000_000, ..fits };
        assert!(matches!(large.check(1_000), Err(Unfit::Memory { worlds: 1_000, .. })));
    }
}
