//! A model of the agent's half: programs are fetched, run, end by themselves or are stopped.

use xtreem_allocation::{Exit, Resources, SlotRun, Trouble};
use xtreem_base::{Duration, Handle, Rng};

use super::host::HostNo;
use super::seen::Behaviour;

/// Time to fetch and start a program (our guess: small files over a LAN).
const FETCH_MILLIS: (u64, u64) = (20, 500);
/// Time until a program that was told to stop is gone.
const STOP_MILLIS: (u64, u64) = (50, 1_000);
/// Time between two attempts to find a live source of the files.
pub(super) const FETCH_RETRY: Duration = Duration::from_secs(1);
/// Attempts before the files count as lost.
pub(super) const FETCH_ATTEMPTS: u32 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its files are being fetched, for so many attempts by now.
    Fetching {
        attempts: u32,
    },
    Running,
    Gone,
}

/// What is wrong with a host, so that programs do not run there.
#[cfg_attr(not(test), expect(dead_code, reason = "sweeps keep hosts well, tests make them sick"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::grid) enum Sickness {
    /// They are started and end at once with an error.
    ProgramsFail,
    /// They cannot be started.
    CannotStart(Trouble),
}

/// What a process does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Fetched,
    /// Ends by itself.
    Ends,
    /// Ends because it was told to.
    Stopped,
}

/// One program on one host, from the order to start it to its end.
#[derive(Debug)]
pub(super) struct Process {
    pub host: HostNo,
    pub run: SlotRun,
    pub state: State,
    pub behaviour: Behaviour,
    pub resources: Resources,
    pub sources: Vec<Handle>,
    /// The node asked for its end.
    pub is_ordered: bool,
}

impl Process {
    /// Time from the order, or from a failed attempt, to the running program.
    pub fn fetch_time(rng: &mut Rng) -> Duration {
        Duration::from_millis(rng.between(FETCH_MILLIS.0, FETCH_MILLIS.1))
    }

    pub fn stop_time(rng: &mut Rng) -> Duration {
        Duration::from_millis(rng.between(STOP_MILLIS.0, STOP_MILLIS.1))
    }

    /// How long the program runs by itself, and how it ends then.
    pub fn life(behaviour: Behaviour, rng: &mut Rng) -> Option<Duration> {
        let millis = match behaviour {
            Behaviour::Service => return None,
            Behaviour::Batch => rng.between(20_000, 90_000),
            Behaviour::Task => rng.between(3_000, 8_000),
            Behaviour::Flaky => rng.between(5_000, 90_000),
            Behaviour::Broken => rng.between(20, 500),
        };
        Some(Duration::from_millis(millis))
    }

    pub fn exit(behaviour: Behaviour) -> Exit {
        match behaviour {
            Behaviour::Service | Behaviour::Batch | Behaviour::Task => Exit::Code(0),
            Behaviour::Flaky | Behaviour::Broken => Exit::Code(1),
        }
    }
}
