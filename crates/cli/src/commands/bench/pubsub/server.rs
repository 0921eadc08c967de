//! Servers to measure: started on loopback with a free port and without persistence, ended by their number.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xtreem_emulation::this_program;

use super::proto::Proto;
use crate::demo::footprint::{TICKS_PER_SECOND, times};
use crate::demo::grid::failed;
use crate::exit::Failure;

/// Longest time for a server to take connections: seconds as a rule (our guess for a loaded machine).
const START_MAX: Duration = Duration::from_secs(60);
/// Longest time for a server to end when it is asked to; then it is killed.
const END_MAX: Duration = Duration::from_secs(10);
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of a server's log that are shown when it does not start.
const LAST_WORDS: usize = 5;
/// Where Debian puts servers, which is not in every user's `PATH`.
const SERVER_DIRS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A server that is measured: ours, which ends with this, or somebody's.
pub struct Server {
    pub proto: Proto,
    pub addr: SocketAddr,
    /// Of the process, if it is known.
    pub pid: Option<u32>,
    child: Option<Child>,
}

/// The program of a server is not on this machine: what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub program: &'static str,
    pub package: &'static str,
}

impl Server {
    /// One that runs already.
    pub fn there(proto: Proto, addr: SocketAddr, pid: Option<u32>) -> Server {
        Server { proto, addr, pid, child: None }
    }

    /// Starts one that will take connections at `addr`, with all its files in `dir`, which is there.
    pub fn start(
        proto: Proto,
        dir: &Path,
        addr: SocketAddr,
        mut command: Command,
    ) -> Result<Server, Failure> {
        let in_dir = |e: io::Error| failed(&format!("{}: {e}", dir.display()));
        let log = dir.join("log");
        let out = File::create(&log).map_err(in_dir)?;
        let err = out.try_clone().map_err(in_dir)?;
        command.current_dir(dir).stdin(Stdio::null()).stdout(out).stderr(err);
        // Ctrl-C at a terminal is for this process, which ends its servers in order.
        let child = command.process_group(0).spawn();
        let child = child.map_err(|e| failed(&format!("{}: {e}", command.get_program().display())))?;
        let pid = Some(child.id());
        let mut server = Server { proto, addr, pid, child: Some(child) };
        server.answering(&log)?;
        Ok(server)
    }

    fn answering(&mut self, log: &Path) -> Result<(), Failure> {
        let name = self.proto.name();
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(self.addr).is_err() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_none() && Instant::now() < deadline {
                thread::park_timeout(LOOK);
                continue;
            }
            let failure = match ended {
                Some(status) => format!("the {name} server does not start ({status})"),
                None => format!("the {name} server takes no connection within {} s", START_MAX.as_secs()),
            };
            let words = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = words.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n  ");
            return Err(failed(&failure).with_hint(format!("its last words:\n  {last}")));
        }
        Ok(())
    }

    /// Processor time of all its threads, up to now; none if its process is not known.
    pub fn cpu(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid?)).ok()?;
        let (ticks, _) = times(&stat)?;
        Some(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
    }

    /// KiB of memory that it has, up to now; none if its process is not known.
    pub fn resident_kib(&self) -> Option<u64> {
        resident(&fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let is_asked =
            i32::try_from(child.id()).is_ok_and(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok());
        let deadline = Instant::now() + END_MAX;
        while is_asked && Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            thread::park_timeout(LOOK);
        }
        // It is waited for until the kernel has ended it.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Whether the server's program is here.
pub fn find(proto: Proto) -> Result<PathBuf, Missing> {
    let (program, package) = match proto {
        Proto::Xtreem => return Ok(this_program()),
        Proto::Nats => ("nats-server", "nats-server"),
        Proto::Redis => ("redis-server", "redis-server"),
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(SERVER_DIRS.map(PathBuf::from));
    let is_program = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    dirs.map(|dir| dir.join(program)).find(is_program).ok_or(Missing { program, package })
}

/// One that nobody had a moment ago.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn resident(status: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        assert_eq!(resident("Name:\tx\nVmPeak:\t  9 kB\nVmRSS:\t   8123 kB\n"), Some(8_123));
        let own = Server::there(Proto::Nats, SocketAddr::from(([127, 0, 0, 1], 1)), Some(std::process::id()));
        assert!(own.cpu().is_some() && own.resident_kib() > Some(100));
    }

    #[test]
    fn a_server_that_does_not_start_says_why() {
        let home = tempfile::tempdir().expect("a directory");
        let log = home.path().join("log");
        fs::write(&log, "one\nno such key\n").expect("written");
        let child = Command::new("false").spawn().expect("started");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().expect("a port")));
        let mut server = Server { proto: Proto::Xtreem, addr, pid: None, child: Some(child) };
        let failure = server.answering(&log).expect_err("it has ended").to_string();
        assert!(failure.contains("does not start") && failure.contains("no such key"), "{failure}");
    }
}
