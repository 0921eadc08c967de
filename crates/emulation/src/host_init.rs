//! A host's first process: furnishes the host, runs the agent as its child and outlives it, reaps, obeys the
//! lab.
//!
//! With namespaces it is PID 1, so its end is the end of everything in the host. Without, it is a subreaper,
//! and kills its descendants itself when the lab is gone.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::Ipv6Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, sethostname};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use crate::control::{Begin, Incoming, InitOrder, InitReply, Program, send};
use crate::error::LabError;
use crate::namespaces::mount_own_proc;
use crate::netlink::{HOST_LINK, Netlink};
use crate::processes::kill_descendants;
use crate::spec::{AgentState, Exit};

/// Where the agent's output goes, in the host's directory.
pub(crate) const LOG: &str = "agent.log";

/// Serves the lab at the other end of `lab` until it is gone.
pub(crate) async fn run(lab: UnixStream) -> io::Result<ExitCode> {
    // Before the first child, so that no death is missed.
    let mut deaths = signal(SignalKind::child())?;
    let (reader, mut writer) = lab.into_split();
    let mut orders = Incoming::new(reader);
    let Some(InitOrder::Begin(begin)) = orders.next().await? else { return Ok(ExitCode::FAILURE) };
    let is_pid_1 = begin.address.is_some();
    let mut agent = match start(begin).await {
        Ok(agent) => agent,
        Err(error) => {
            let refusal: InitReply = Err(error);
            send(&mut writer, &refusal).await?;
            return Ok(ExitCode::FAILURE);
        }
    };
    send(&mut writer, &InitReply::Ok(agent.state)).await?;
    loop {
        let order = tokio::select! {
            order = orders.next() => order?,
            _ = deaths.recv() => { agent.reap(); continue }
        };
        let reply: InitReply = match order {
            None => break,
            Some(InitOrder::Begin(_)) => Err(LabError::failed("starting the host", "it was started before")),
            Some(InitOrder::Status) => Ok(agent.state),
            Some(InitOrder::KillAgent) => agent.kill(&mut deaths).await.map(|()| agent.state),
            Some(InitOrder::TerminateAgent) => agent.terminate().map(|()| agent.state),
            Some(InitOrder::RestartAgent) => match agent.kill(&mut deaths).await {
                Ok(()) => agent.restart().map(|()| agent.state),
                Err(error) => Err(error),
            },
        };
        send(&mut writer, &reply).await?;
    }
    if !is_pid_1 {
        kill_descendants(getpid()).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn start(begin: Begin) -> Result<Agent, LabError> {
    match begin.address {
        Some(address) => furnish(&begin.name, address)
            .await
            .map_err(|reason| LabError::failed(format!("furnishing host {}", begin.name), reason))?,
        None => prctl::set_child_subreaper(true)
            .map_err(|error| LabError::failed("becoming a subreaper", error))?,
    }
    Agent::start(PathBuf::from(&begin.dir), begin.program)
}

/// Proc, name and network of a host with namespaces. The cable is there already.
async fn furnish(name: &str, address: Ipv6Addr) -> Result<(), String> {
    mount_own_proc()?;
    sethostname(name).map_err(|error| format!("setting the host name: {error}"))?;
    // The link-local address is a new one too: no detection (RFC 4862) for it, and no router to be asked for.
    for (setting, value) in [("accept_dad", "0"), ("router_solicitations", "0")] {
        for link in ["all", "default", HOST_LINK] {
            let path = format!("/proc/sys/net/ipv6/conf/{link}/{setting}");
            fs::write(&path, value).map_err(|error| format!("writing {path}: {error}"))?;
        }
    }
    let netlink = Netlink::open().map_err(|error| format!("opening netlink: {error}"))?;
    netlink.set_up("lo", true).await?;
    netlink.set_up(HOST_LINK, true).await?;
    netlink.add_address(HOST_LINK, address).await?;
    netlink.add_neighbours(HOST_LINK).await
}

/// The host's command.
struct Agent {
    dir: PathBuf,
    program: Program,
    pid: Pid,
    state: AgentState,
}

impl Agent {
    fn start(dir: PathBuf, program: Program) -> Result<Self, LabError> {
        let pid = spawn(&dir, &program)?;
        Ok(Self { dir, program, pid, state: AgentState::Running })
    }

    fn restart(&mut self) -> Result<(), LabError> {
        self.pid = spawn(&self.dir, &self.program)?;
        self.state = AgentState::Running;
        Ok(())
    }

    /// Kills the agent, not what it started, and returns when it is gone.
    async fn kill(&mut self, deaths: &mut Signals) -> Result<(), LabError> {
        while self.state == AgentState::Running {
            match kill(self.pid, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(LabError::failed("killing the agent", error)),
            }
            deaths.recv().await;
            self.reap();
        }
        Ok(())
    }

    /// Asks the agent to end, and does not wait for it.
    fn terminate(&self) -> Result<(), LabError> {
        if self.state != AgentState::Running {
            return Ok(());
        }
        match kill(self.pid, Signal::SIGTERM) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(LabError::failed("asking the agent to end", error)),
        }
    }

    /// Buries all dead children, adopted orphans among them.
    fn reap(&mut self) {
        while let Some((pid, exit)) = reap_one() {
            if pid == self.pid {
                self.state = AgentState::Ended(exit);
            }
        }
    }
}

/// A dead child, if there is one.
pub(crate) fn reap_one() -> Option<(Pid, Exit)> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, code)) => Some((pid, Exit::Code(code))),
        Ok(WaitStatus::Signaled(pid, signal, _)) => Some((pid, Exit::Signal(signal as i32))),
        _ => None,
    }
}

fn spawn(dir: &Path, program: &Program) -> Result<Pid, LabError> {
    let what = || format!("starting {}", Path::new::<OsStr>(&program.path).display());
    let log = File::options().create(true).append(true).open(dir.join(LOG));
    let log = log.map_err(|error| LabError::failed(format!("opening {}", dir.join(LOG).display()), error))?;
    let errors = log.try_clone().map_err(|error| LabError::failed(what(), error))?;
    let mut command = program.command();
    command.current_dir(dir).stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
    // The handle is dropped: `reap` buries the agent, as it does every child.
    let child = command.spawn().map_err(|error| LabError::failed(what(), error))?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}
