//! What the measurement needs of this machine: a core for each side, and open files.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use crate::demo::grid::failed;
use crate::exit::Failure;

/// Open files beside the connections: standard ones, logs, the loop's own.
const OTHER_FILES: u64 = 64;

/// The server's core and the generator's: neither takes time from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    pub server: usize,
    pub generator: usize,
}

impl Cores {
    /// The first two that this process may use; none if there is one only.
    pub fn choose() -> Option<Cores> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        Some(Cores { server: cores.next()?, generator: cores.next()? })
    }
}

/// Keeps this thread, and what it starts from now on, on one core.
pub fn stay_on(core: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    let stays = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    stays.map_err(|e| failed(&format!("core {core} cannot be had alone: {e}")))
}

/// Lets this process, and what it starts, have so many connections.
pub fn allow_connections(count: usize) -> Result<(), Failure> {
    let wanted = count as u64 + OTHER_FILES;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| failed(&e))?;
    if wanted > hard {
        let words = format!("{count} connections need {wanted} open files; this machine allows {hard}");
        let most = hard.saturating_sub(OTHER_FILES);
        return Err(Failure::usage(words)
            .with_hint(format!("ask for {most} at most, or raise the hard limit (`ulimit -Hn`) as root")));
    }
    // The servers inherit it, and each has its own files: as many as can be.
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(|e| failed(&e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_the_machine_allows_are_refused_with_what_is_possible() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("known");
        let Ok(too_many) = usize::try_from(hard.saturating_add(1)) else { return };
        if hard < u64::MAX / 2 {
            let failure = allow_connections(too_many).expect_err("too many").to_string();
            assert!(failure.contains(&hard.to_string()) && failure.contains("at most"), "{failure}");
        }
        allow_connections(1).expect("one is possible");
    }
}
