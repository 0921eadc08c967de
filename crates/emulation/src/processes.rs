//! A process and all that descends from it, by `/proc`.
//!
//! A tree is whole because its root adopts orphans: as PID 1 of a namespace, or as a subreaper (prctl(2)).

use std::fs;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

/// How long processes may take to stop or to die. A signal acts within a scheduler tick; our guess for a
/// machine that swaps.
const DEADLINE: Duration = Duration::from_secs(10);

/// The pause between two looks at the tree.
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Clone, Copy)]
struct Process {
    pid: Pid,
    parent: Pid,
    state: u8,
}

impl Process {
    fn is_dead(self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    fn is_stopped(self) -> bool {
        matches!(self.state, b'T' | b't') || self.is_dead()
    }
}

/// Stops `root` and all its descendants. A stopped process cannot fork, so a look that finds none running is
/// final.
pub(crate) async fn stop_tree(root: Pid) -> io::Result<()> {
    until_none(|| Ok(running(&tree(root)?)), Signal::SIGSTOP).await
}

/// Those that are not stopped. Whoever waits in vfork(2) for a child that is stopped does not run either: it
/// stops when that child goes on, unless both are continued before.
fn running(tree: &[Process]) -> Vec<Process> {
    let waits = |process: &Process| {
        process.state == b'D' && tree.iter().any(|child| child.parent == process.pid && child.is_stopped())
    };
    tree.iter().copied().filter(|process| !process.is_stopped() && !waits(process)).collect()
}

/// Continues `root` and all its descendants.
pub(crate) fn continue_tree(root: Pid) -> io::Result<()> {
    tree(root)?.into_iter().try_for_each(|process| signal(process.pid, Signal::SIGCONT))
}

/// Kills all descendants of `root`, which must adopt orphans and stay alive meanwhile.
pub(crate) async fn kill_descendants(root: Pid) -> io::Result<()> {
    let alive =
        || Ok(tree(root)?.into_iter().filter(|process| process.pid != root && !process.is_dead()).collect());
    until_none(alive, Signal::SIGKILL).await
}

async fn until_none(look: impl Fn() -> io::Result<Vec<Process>>, how: Signal) -> io::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let found = look()?;
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{} processes ignore {how}", found.len()),
            ));
        }
        for process in found {
            signal(process.pid, how)?;
        }
        sleep(PAUSE).await;
    }
}

fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `root` first, if it is there, then its descendants, parents before children.
fn tree(root: Pid) -> io::Result<Vec<Process>> {
    let all = all()?;
    let mut found: Vec<Process> = all.iter().copied().filter(|process| process.pid == root).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.pid) {
        found.extend(all.iter().copied().filter(|process| process.parent == parent));
        next += 1;
    }
    Ok(found)
}

fn all() -> io::Result<Vec<Process>> {
    let entries = fs::read_dir("/proc")?.flatten();
    // A process that ends between the listing and the reading has no stat any more; it is no longer of
    // interest.
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    Ok(stats.filter_map(|stat| parse_stat(&stat)).collect())
}

/// proc_pid_stat(5): `PID (NAME) STATE PARENT …`, where the name may hold anything, brackets and spaces too.
fn parse_stat(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let state = words.next()?.bytes().next()?;
    let parent = words.next()?.parse().ok()?;
    Some(Process { pid: Pid::from_raw(pid.parse().ok()?), parent: Pid::from_raw(parent), state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_stopped_child_counts_as_stopped() {
        let process =
            |pid, parent, state| Process { pid: Pid::from_raw(pid), parent: Pid::from_raw(parent), state };
        let left =
            |tree: &[Process]| running(tree).iter().map(|process| process.pid.as_raw()).collect::<Vec<_>>();
        assert_eq!(left(&[process(1, 0, b'T'), process(2, 1, b'D'), process(3, 2, b'T')]), [0; 0]);
        assert_eq!(left(&[process(1, 0, b'S'), process(2, 1, b'D'), process(3, 2, b'R')]), [1, 2, 3]);
    }

    #[test]
    fn a_process_name_cannot_forge_its_parent() {
        let process = parse_stat("42 (evil) S 1 (x) T 7 42 42 0 -1").expect("a well-formed line");
        assert_eq!((process.pid.as_raw(), process.parent.as_raw(), process.state), (42, 7, b'T'));
        assert!(parse_stat("42 (half").is_none());
    }
}
