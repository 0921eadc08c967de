//! The lab's hosts: their inits and cables, and what is done to them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::control::{Begin, HostOrder, Incoming, InitOrder, InitReply, send};
use crate::disk::Disk;
use crate::error::LabError;
use crate::fallback::{FAULT_SWITCH_ENV, FaultSwitch};
use crate::internal::{COMMAND, HOST, this_program};
use crate::lab_process::Ground;
use crate::namespaces::{host_flags, spawn};
use crate::netlink::host_address;
use crate::processes::{continue_tree, kill_descendants, stop_tree};
use crate::spec::{AgentState, HostStatus};

/// How long an init may take to answer, and a host to die: milliseconds as a rule; our guess for a machine
/// that swaps.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(20);

struct Host {
    name: String,
    init: Pid,
    orders: OwnedWriteHalf,
    replies: Incoming<OwnedReadHalf>,
    dir: OsString,
    paused: bool,
    cut: bool,
}

impl Host {
    async fn ask(&mut self, order: InitOrder) -> Result<AgentState, LabError> {
        let failed =
            |reason: &str| LabError::failed(format!("speaking to the init of {}", self.name), reason);
        send(&mut self.orders, &order).await.map_err(|error| failed(&error.to_string()))?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<AgentState, LabError> {
        let failed = |reason: &str| LabError::failed(format!("hearing the init of {}", self.name), reason);
        match tokio::time::timeout(ANSWER_TIME, self.replies.next::<InitReply>()).await {
            Ok(Ok(Some(reply))) => reply,
            Ok(Ok(None)) => Err(failed("it has died")),
            Ok(Err(error)) => Err(failed(&error.to_string())),
            Err(_) => {
                // A late answer would be taken for that to a later order.
                let _ = kill(self.init, Signal::SIGKILL);
                Err(failed("no answer in time, so the host was killed"))
            }
        }
    }
}

/// Why hosts were not started, and the inits whose burial means that nothing of them is left.
pub(crate) struct SpawnFailed {
    pub error: LabError,
    pub struck: Vec<Pid>,
}

pub(crate) struct Hosts {
    ground: Ground,
    hosts: BTreeMap<u16, Host>,
    /// Those of dead hosts too.
    disks: BTreeMap<u16, Disk>,
}

impl Hosts {
    pub fn new(ground: Ground) -> Self {
        Self { ground, hosts: BTreeMap::new(), disks: BTreeMap::new() }
    }

    /// Starts hosts side by side; all or none.
    pub async fn spawn(&mut self, orders: Vec<HostOrder>) -> Result<(), SpawnFailed> {
        let indexes: Vec<u16> = orders.iter().map(|order| order.index).collect();
        for (at, order) in orders.iter().enumerate() {
            let mut taken = self.hosts.values().map(|host| &host.name);
            let mut earlier = orders.iter().take(at);
            if self.hosts.contains_key(&order.index)
                || taken.any(|name| *name == order.name)
                || earlier.any(|other| other.index == order.index || other.name == order.name)
            {
                return Err(SpawnFailed { error: LabError::HostExists(order.index), struck: Vec::new() });
            }
        }
        let mut result = Ok(());
        for order in orders {
            result = match result {
                Ok(()) => self.begin(order).await,
                Err(_) => break,
            };
        }
        for index in &indexes {
            result = match (result, self.hosts.get_mut(index)) {
                (Ok(()), Some(host)) => host.answer().await.map(drop),
                (result, _) => result,
            };
        }
        let Err(error) = result else { return Ok(()) };
        let mut struck = Vec::new();
        for index in indexes {
            // One that was not begun has no init.
            struck.extend(self.strike(index).await);
        }
        Err(SpawnFailed { error, struck })
    }

    /// Starts a host's init and tells it what to be, without waiting for its answer.
    async fn begin(
        &mut self,
        HostOrder { index, name, dir, mut program, disk_bytes }: HostOrder,
    ) -> Result<(), LabError> {
        let failed =
            |reason: &dyn std::fmt::Display| LabError::failed(format!("starting host {name}"), reason);
        if let Some(bytes) = disk_bytes
            && !self.disks.contains_key(&index)
        {
            if matches!(self.ground, Ground::Loopback) {
                return Err(LabError::NeedsNamespaces("a disk".to_owned()));
            }
            let disk = Disk::mount(Path::new(&dir), bytes).map_err(|error| failed(&error))?;
            self.disks.insert(index, disk);
        }
        let (ours, theirs) = BlockingUnixStream::pair().map_err(|error| failed(&error))?;
        ours.set_nonblocking(true).map_err(|error| failed(&error))?;
        let (replies, orders) = UnixStream::from_std(ours).map_err(|error| failed(&error))?.into_split();
        let init = match self.ground {
            Ground::Namespaces { .. } => spawn(host_flags(), &[COMMAND, HOST, &name], Some(theirs.into())),
            Ground::Loopback => {
                let path = FaultSwitch::path(Path::new(&dir)).into_os_string();
                program.env.push((FAULT_SWITCH_ENV.into(), path));
                FaultSwitch { cut: false }.write(Path::new(&dir)).and_then(|()| start_init(&name, theirs))
            }
        };
        let init = init.map_err(|error| failed(&error))?;
        let (paused, cut) = (false, false);
        let replies = Incoming::new(replies);
        self.hosts
            .insert(index, Host { name: name.clone(), init, orders, replies, dir: dir.clone(), paused, cut });
        let address = match &self.ground {
            Ground::Namespaces { netlink, main, .. } => {
                netlink.add_cable(index, init, *main).await.map_err(|error| failed(&error))?;
                Some(host_address(index))
            }
            Ground::Loopback => None,
        };
        let order = InitOrder::Begin(Begin { name: name.clone(), address, dir, program });
        let host = self.live(index)?;
        send(&mut host.orders, &order).await.map_err(|error| failed(&error))
    }

    fn live(&mut self, index: u16) -> Result<&mut Host, LabError> {
        self.hosts.get_mut(&index).ok_or(LabError::NoSuchHost(index))
    }

    fn running(&mut self, index: u16) -> Result<&mut Host, LabError> {
        let host = self.live(index)?;
        if host.paused { Err(LabError::Paused(index)) } else { Ok(host) }
    }

    /// Kills a host, like a power cut. Returns the init whose burial means that all of it is dead.
    pub async fn strike(&mut self, index: u16) -> Result<Pid, LabError> {
        let loopback = matches!(self.ground, Ground::Loopback);
        let host = self.live(index)?;
        let failed = |error: io::Error| LabError::failed(format!("killing host {}", host.name), error);
        if loopback {
            // The init must run to adopt and bury the orphans that this makes.
            kill(host.init, Signal::SIGCONT).map_err(|error| failed(error.into()))?;
            kill_descendants(host.init).await.map_err(failed)?;
        }
        match kill(host.init, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(host.init),
            Err(error) => Err(failed(error.into())),
        }
    }

    pub fn has_init(&self, pids: &[Pid]) -> bool {
        self.hosts.values().any(|host| pids.contains(&host.init))
    }

    /// Forgets the host whose init was reaped, and removes its cable so that its index can be used again at
    /// once.
    pub async fn buried(&mut self, pid: Pid) {
        let Some(index) = self.hosts.iter().find(|(_, host)| host.init == pid).map(|(index, _)| *index)
        else {
            return;
        };
        self.hosts.remove(&index);
        if let Ground::Namespaces { netlink, .. } = &self.ground {
            // The kernel may have removed it already, with the far end's namespace.
            let _ = netlink.remove_cable(index).await;
        }
    }

    pub async fn kill_agent(&mut self, index: u16) -> Result<(), LabError> {
        self.running(index)?.ask(InitOrder::KillAgent).await.map(drop)
    }

    pub async fn terminate_agent(&mut self, index: u16) -> Result<(), LabError> {
        self.running(index)?.ask(InitOrder::TerminateAgent).await.map(drop)
    }

    pub async fn restart_agent(&mut self, index: u16) -> Result<(), LabError> {
        self.running(index)?.ask(InitOrder::RestartAgent).await.map(drop)
    }

    pub async fn pause(&mut self, index: u16) -> Result<(), LabError> {
        let host = self.live(index)?;
        // Even if it comes to a halt half-way the host is to be resumed before anything else.
        host.paused = true;
        let stopped = stop_tree(host.init).await;
        stopped.map_err(|error| LabError::failed(format!("pausing host {}", host.name), error))
    }

    pub fn resume(&mut self, index: u16) -> Result<(), LabError> {
        let host = self.live(index)?;
        let failed = |error| LabError::failed(format!("resuming host {}", host.name), error);
        continue_tree(host.init).map_err(failed)?;
        host.paused = false;
        Ok(())
    }

    pub async fn set_cut(&mut self, index: u16, cut: bool) -> Result<(), LabError> {
        let host = self.hosts.get_mut(&index).ok_or(LabError::NoSuchHost(index))?;
        let result = match &self.ground {
            Ground::Namespaces { netlink, .. } => netlink.set_cable(index, !cut).await,
            Ground::Loopback => {
                FaultSwitch { cut }.write(Path::new(&host.dir)).map_err(|error| error.to_string())
            }
        };
        result.map_err(|reason| LabError::failed(format!("the cable of host {}", host.name), reason))?;
        host.cut = cut;
        Ok(())
    }

    /// Moves exactly the hosts of `aside` to the second bridge, all others to the first.
    pub async fn split(&mut self, aside: &[u16]) -> Result<(), LabError> {
        if let Some(missing) = aside.iter().find(|index| !self.hosts.contains_key(index)) {
            return Err(LabError::NoSuchHost(*missing));
        }
        let Ground::Namespaces { netlink, main, aside: second } = &self.ground else {
            return Err(LabError::NeedsNamespaces("a split".to_owned()));
        };
        for index in self.hosts.keys() {
            let bridge = if aside.contains(index) { *second } else { *main };
            let moved = netlink.move_cable(*index, bridge).await;
            moved.map_err(|reason| LabError::failed("splitting the network", reason))?;
        }
        Ok(())
    }

    /// Fills or frees a host's disk, whether the host lives or not.
    pub fn disk(&self, index: u16, act: impl Fn(&Disk) -> io::Result<()>) -> Result<(), LabError> {
        let disk = self.disks.get(&index).ok_or(LabError::NoDisk(index))?;
        act(disk).map_err(|error| LabError::failed(format!("the disk of host {index}"), error))
    }

    pub async fn merge(&mut self) -> Result<(), LabError> {
        self.split(&[]).await
    }

    /// The live hosts, and the inits of those that are dead and not buried yet.
    pub async fn status(&mut self) -> (Vec<HostStatus>, Vec<Pid>) {
        let mut all = Vec::with_capacity(self.hosts.len());
        let mut dead = Vec::new();
        for (index, host) in &mut self.hosts {
            let agent = if host.paused {
                None
            } else {
                match host.ask(InitOrder::Status).await {
                    Ok(state) => Some(state),
                    Err(_) => {
                        dead.push(host.init);
                        continue;
                    }
                }
            };
            let name = host.name.clone();
            all.push(HostStatus { index: *index, name, paused: host.paused, cut: host.cut, agent });
        }
        (all, dead)
    }
}

/// An init without namespaces, in a process group of its own.
fn start_init(name: &str, control: BlockingUnixStream) -> io::Result<Pid> {
    let mut command = Command::new(this_program());
    command.args([COMMAND, HOST, name]).stdin(OwnedFd::from(control)).process_group(0);
    // The handle is dropped: the lab reaps all its children.
    Ok(Pid::from_raw(command.spawn()?.id().cast_signed()))
}
