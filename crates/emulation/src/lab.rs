//! The caller's side of a lab. Asynchronous, within a tokio runtime; nothing here blocks a thread of it.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::control::{Answer, ChildOrder, Greeting, HostOrder, Incoming, Order, Program};
use crate::conversation::{Control, start_and_wait};
use crate::error::{LabError, StartError};
use crate::host_init::LOG;
use crate::internal::{COMMAND, LAUNCHER, LOOPBACK_LAB};
use crate::spec::{
    ChildSpec, Exit, Host, HostSpec, HostStatus, LabOptions, LabUser, MAX_HOSTS, MAX_NAME_BYTES,
    MAX_STATE_DIR_BYTES, Network, NetworkChoice,
};
use crate::{fallback, netlink};

/// Labs that this process has started.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// Hosts on this machine. They live as long as this does: dropping it, or the end of this process however it
/// comes, kills them all.
pub struct Lab {
    network: Network,
    /// Labs that this process had started before.
    number: u32,
    hosts_dir: PathBuf,
    state_dir: PathBuf,
    user: Option<LabUser>,
    control: Arc<Control>,
    /// A second handle of the control socket, to close it whatever else holds it.
    socket: BlockingUnixStream,
    ended: watch::Receiver<bool>,
}

impl Lab {
    /// Starts a lab without hosts.
    pub async fn start(options: LabOptions) -> Result<Self, StartError> {
        // A lab within the start of a lab: `main` does not call `internal_main`, and would do so without end.
        if std::env::args_os().nth(1).is_some_and(|arg| arg == COMMAND) {
            return Err(StartError::Died);
        }
        let LabOptions { state_dir, network, user } = options;
        let state_dir = make_dir(&state_dir, user)?;
        match network {
            NetworkChoice::Namespaces => Self::launch(state_dir, user, Network::Namespaces).await,
            NetworkChoice::Loopback => {
                let reason = "asked for".to_owned();
                Self::launch(state_dir, user, Network::Loopback { reason }).await
            }
            NetworkChoice::Auto => match Self::launch(state_dir.clone(), user, Network::Namespaces).await {
                Err(StartError::NoNamespaces { reason }) => {
                    Self::launch(state_dir, user, Network::Loopback { reason }).await
                }
                result => result,
            },
        }
    }

    async fn launch(state_dir: PathBuf, user: Option<LabUser>, network: Network) -> Result<Self, StartError> {
        let (ours, theirs) = BlockingUnixStream::pair()?;
        let role = if network == Network::Namespaces { LAUNCHER } else { LOOPBACK_LAB };
        let ended = start_and_wait(role, theirs, user).await?;
        let socket = ours.try_clone()?;
        ours.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(ours)?.into_split();
        let mut incoming = Incoming::new(reader);
        match incoming.next().await {
            Ok(Some(Greeting::Ready)) => {}
            Ok(Some(Greeting::Refused { reason })) => return Err(StartError::NoNamespaces { reason }),
            // What is not a greeting comes from a program that does not call `internal_main`.
            Ok(None) | Err(_) => return Err(StartError::Died),
        }
        let control = Control::start(incoming, writer);
        let hosts_dir = state_dir.join("hosts");
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        Ok(Self { network, number, hosts_dir, state_dir, user, control, socket, ended })
    }

    /// Which kind of network the hosts are on, and why. To be told to the user.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The address that a host has or will have.
    pub fn address(&self, index: u16) -> IpAddr {
        match self.network {
            Network::Namespaces => netlink::host_address(index).into(),
            Network::Loopback { .. } => fallback::host_address(std::process::id(), self.number, index).into(),
        }
    }

    /// The address from which the lab's children speak to the hosts.
    pub fn lab_address(&self) -> IpAddr {
        match self.network {
            Network::Namespaces => netlink::lab_address().into(),
            Network::Loopback { .. } => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// The directory that a host of this name has or will have.
    pub fn host_dir(&self, name: &str) -> PathBuf {
        self.hosts_dir.join(name)
    }

    /// Starts one host and its agent.
    pub async fn spawn_host(&self, spec: HostSpec) -> Result<Host, LabError> {
        let mut hosts = self.spawn_hosts(vec![spec]).await?;
        // One spec, one host.
        hosts.pop().ok_or(LabError::Gone)
    }

    /// Starts hosts and their agents side by side; all or none: after an error nothing of them is left but
    /// their directories. Index and name of a killed host may be used again, its directory is then found as
    /// it was left.
    pub async fn spawn_hosts(&self, specs: Vec<HostSpec>) -> Result<Vec<Host>, LabError> {
        let mut hosts = Vec::with_capacity(specs.len());
        let mut orders = Vec::with_capacity(specs.len());
        for spec in specs {
            let (host, order) = self.check(spec)?;
            hosts.push(host);
            orders.push(order);
        }
        for host in &hosts {
            make_private_dir(&host.dir)
                .and_then(|()| give(&host.dir, self.user))
                .map_err(|error| LabError::failed(format!("making {}", host.dir.display()), error))?;
        }
        self.control.done(Order::Spawn(orders)).await?;
        Ok(hosts)
    }

    fn check(
        &self,
        HostSpec { index, name, command, env, disk_bytes }: HostSpec,
    ) -> Result<(Host, HostOrder), LabError> {
        if index == 0 || index > MAX_HOSTS {
            return Err(LabError::BadIndex(index));
        }
        let is_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_label) {
            return Err(LabError::BadName(name));
        }
        let program = Program::checked(command, env)?;
        let dir = self.host_dir(&name);
        let order =
            HostOrder { index, name: name.clone(), dir: dir.clone().into_os_string(), program, disk_bytes };
        let host = Host { index, name, address: self.address(index), log: dir.join(LOG), dir };
        Ok((host, order))
    }

    /// Kills a host, like a power cut. On return nothing of it is left.
    pub async fn kill_host(&self, index: u16) -> Result<(), LabError> {
        self.control.done(Order::KillHost(index)).await
    }

    /// Kills a host's agent alone. What the agent has started is its own to take along.
    pub async fn kill_agent(&self, index: u16) -> Result<(), LabError> {
        self.control.done(Order::KillAgent(index)).await
    }

    /// Asks a host's agent to end (SIGTERM) and does not wait for it: [`Lab::status`] tells when it has.
    pub async fn terminate_agent(&self, index: u16) -> Result<(), LabError> {
        self.control.done(Order::TerminateAgent(index)).await
    }

    /// Starts a host's agent again, after killing it if it runs.
    pub async fn restart_agent(&self, index: u16) -> Result<(), LabError> {
        self.control.done(Order::RestartAgent(index)).await
    }

    /// Stops all processes of a host. Its kernel still answers: connections stay, and are accepted.
    pub async fn pause_host(&self, index: u16) -> Result<(), LabError> {
        self.control.done(Order::Pause(index)).await
    }

    /// Continues all processes of a host.
    pub async fn resume_host(&self, index: u16) -> Result<(), LabError> {
        self.control.done(Order::Resume(index)).await
    }

    /// Pulls a host's cable: nothing comes or goes. In a loopback lab the agent has to do it, see
    /// [`FaultSwitch`].
    ///
    /// [`FaultSwitch`]: crate::FaultSwitch
    pub async fn cut(&self, index: u16) -> Result<(), LabError> {
        self.control.done(Order::Cut(index)).await
    }

    /// Plugs a host's cable in again.
    pub async fn heal(&self, index: u16) -> Result<(), LabError> {
        self.control.done(Order::Heal(index)).await
    }

    /// Splits the network in two: `aside`, and all other hosts with the lab's children. A split replaces the
    /// one before it. Hosts started later are not aside.
    pub async fn split(&self, aside: &[u16]) -> Result<(), LabError> {
        self.control.done(Order::Split(aside.to_vec())).await
    }

    /// Ends a split.
    pub async fn merge(&self) -> Result<(), LabError> {
        self.control.done(Order::Merge).await
    }

    /// Leaves no room on a host's disk.
    pub async fn fill_disk(&self, index: u16) -> Result<(), LabError> {
        self.control.done(Order::FillDisk(index)).await
    }

    /// Gives back the room that [`Lab::fill_disk`] took.
    pub async fn free_disk(&self, index: u16) -> Result<(), LabError> {
        self.control.done(Order::FreeDisk(index)).await
    }

    /// The live hosts, by index. The index of a host that is not listed can be used again.
    pub async fn status(&self) -> Result<Vec<HostStatus>, LabError> {
        match self.control.ask(Order::Status).await? {
            Answer::Hosts(hosts) => Ok(hosts),
            _ => Err(LabError::Gone),
        }
    }

    /// Runs a program on the lab's network, outside any host, so that it reaches all hosts (but those aside).
    pub async fn exec_in_lab(&self, spec: ChildSpec) -> Result<LabChild, LabError> {
        let program = Program::checked(spec.command, spec.env)?;
        let id = self.control.next_id();
        let path = self.state_dir.join(format!("child-{id}"));
        let failed = |error: io::Error| LabError::failed("making a child's socket", error);
        // A lab that was killed here earlier may have left one.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(failed)?;
        give(&path, self.user).map_err(failed)?;
        let order = ChildOrder { id, socket: path.clone().into_os_string(), program };
        let started = self.control.done(Order::RunChild(order)).await;
        let accepted = match started {
            Ok(()) => listener.accept().await.map_err(failed),
            Err(error) => Err(error),
        };
        // Only the two ends are needed from here on.
        let _ = std::fs::remove_file(path);
        let (stdio, _) = accepted?;
        Ok(LabChild { id, stdio, control: Arc::clone(&self.control) })
    }

    /// Kills all hosts and children. On return nothing of the lab is left but its state directory.
    pub async fn stop(mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        // An error means that the thread that tells of the end has ended, which it does after the lab.
        let _ = self.ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// A program that runs on the lab's network. Dropping this closes its stdin and stdout but does not kill it.
pub struct LabChild {
    id: u64,
    stdio: UnixStream,
    control: Arc<Control>,
}

impl LabChild {
    /// The other end of the program's stdin and stdout. Its stderr is that of this process.
    pub fn stdio(&mut self) -> &mut UnixStream {
        &mut self.stdio
    }

    /// Kills the program.
    pub async fn kill(&self) -> Result<(), LabError> {
        self.control.done(Order::KillChild(self.id)).await
    }

    /// Waits for the program's end, however long it takes.
    pub async fn wait(self) -> Result<Exit, LabError> {
        match self.control.ask_patiently(Order::WaitChild(self.id)).await? {
            Answer::Exit(exit) => Ok(exit),
            _ => Err(LabError::Gone),
        }
    }
}

/// Makes the state directory with the hosts' directory in it; returns its absolute path.
fn make_dir(path: &Path, user: Option<LabUser>) -> Result<PathBuf, StartError> {
    let failed = |source| StartError::StateDir { path: path.to_owned(), source };
    make_private_dir(&path.join("hosts")).map_err(failed)?;
    let path = path.canonicalize().map_err(failed)?;
    if let Some(user) = user {
        lchown(&path, Some(user.uid), Some(user.gid)).map_err(failed)?;
        give(&path.join("hosts"), Some(user)).map_err(failed)?;
        if let Some(closed) = path.ancestors().skip(1).find(|dir| !lets_in(dir, user)) {
            return Err(StartError::StateDirClosed { path: path.clone(), closed: closed.to_owned(), user });
        }
    }
    let bytes: &OsStr = path.as_os_str();
    if bytes.as_bytes().len() > MAX_STATE_DIR_BYTES {
        Err(StartError::StateDirTooLong(path))
    } else {
        Ok(path)
    }
}

/// Whether the user may pass through a directory.
fn lets_in(dir: &Path, user: LabUser) -> bool {
    dir.metadata().is_ok_and(|found| {
        let bit = match (found.uid() == user.uid, found.gid() == user.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        found.mode() & bit != 0
    })
}

/// Gives `path`, and what is below it, to the lab's user, if it has one. For what only this process changes
/// meanwhile: links in it are not followed.
fn give(path: &Path, user: Option<LabUser>) -> io::Result<()> {
    let Some(LabUser { uid, gid }) = user else { return Ok(()) };
    lchown(path, Some(uid), Some(gid))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
