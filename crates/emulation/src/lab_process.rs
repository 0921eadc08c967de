//! The lab: owns the bridges, starts the hosts and makes the faults, one order after the other.
//!
//! One thread, as `namespaces::spawn` demands: nothing here may use the runtime's blocking pool.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::process::ExitCode;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use crate::control::{Answer, ChildOrder, Greeting, Incoming, Order, Reply, Request, send};
use crate::disk::Disk;
use crate::error::LabError;
use crate::host_init::reap_one;
use crate::hosts::{ANSWER_TIME, Hosts, SpawnFailed};
use crate::namespaces::{die_with_parent, dies_with_parent, mount_own_proc};
use crate::netlink::{Netlink, lab_address};
use crate::processes::kill_descendants;
use crate::spec::Exit;

/// Most children whose end nobody has asked for. Beyond it no more are started.
const MAX_CHILDREN: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Namespaces,
    Loopback,
}

/// What the hosts are joined by.
pub(crate) enum Ground {
    /// Two bridges; hosts are on the first unless split off.
    Namespaces {
        netlink: Netlink,
        main: u32,
        aside: u32,
    },
    Loopback,
}

const MAIN_BRIDGE: &str = "br0";
const ASIDE_BRIDGE: &str = "br1";

/// The first steps in new namespaces.
pub(crate) fn prepare() -> io::Result<()> {
    Ok(die_with_parent()?)
}

/// Serves the caller at the other end of `control` until it says stop or is gone.
pub(crate) async fn serve(control: UnixStream, kind: Kind) -> io::Result<ExitCode> {
    let mut deaths = signal(SignalKind::child())?;
    let (reader, mut writer) = control.into_split();
    let ground = match ground(kind).await {
        Ok(ground) => ground,
        Err(reason) => {
            send(&mut writer, &Greeting::Refused { reason }).await?;
            return Ok(ExitCode::FAILURE);
        }
    };
    send(&mut writer, &Greeting::Ready).await?;
    let mut lab = LabProcess { hosts: Hosts::new(ground), children: BTreeMap::new(), caller: writer };
    let served = lab.serve(Incoming::new(reader), &mut deaths).await;
    // With namespaces this process is PID 1, and everything in them dies with it.
    if kind == Kind::Loopback {
        kill_descendants(getpid()).await?;
    }
    served.map(|()| ExitCode::SUCCESS)
}

async fn ground(kind: Kind) -> Result<Ground, String> {
    if kind == Kind::Loopback {
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|error| format!("becoming a subreaper: {error}"))?;
        return Ok(Ground::Loopback);
    }
    mount_own_proc()?;
    let netlink = Netlink::open().map_err(|error| format!("opening netlink: {error}"))?;
    netlink.set_up("lo", true).await?;
    let main = netlink.add_bridge(MAIN_BRIDGE).await?;
    let aside = netlink.add_bridge(ASIDE_BRIDGE).await?;
    netlink.add_address(MAIN_BRIDGE, lab_address()).await?;
    Ok(Ground::Namespaces { netlink, main, aside })
}

/// A program on the lab's network, outside any host.
struct Child {
    pid: Pid,
    end: Option<Exit>,
    /// The request that waits for the end.
    waiter: Option<u64>,
}

struct LabProcess {
    hosts: Hosts,
    children: BTreeMap<u64, Child>,
    caller: OwnedWriteHalf,
}

impl LabProcess {
    async fn serve(&mut self, mut requests: Incoming<OwnedReadHalf>, deaths: &mut Signals) -> io::Result<()> {
        loop {
            tokio::select! {
                request = requests.next() => match request? {
                    None | Some(Request { order: Order::Stop, .. }) => return Ok(()),
                    Some(request) => self.obey(request, deaths).await?,
                },
                _ = deaths.recv() => self.bury().await?,
            }
        }
    }

    async fn obey(&mut self, Request { id, order }: Request, deaths: &mut Signals) -> io::Result<()> {
        let hosts = &mut self.hosts;
        let result = match order {
            Order::Spawn(orders) => match hosts.spawn(orders).await {
                Ok(()) => Ok(()),
                Err(SpawnFailed { error, struck }) => {
                    // A burial that fails too leaves the first trouble the one to tell.
                    let _ = self.until_buried(&struck, deaths).await;
                    Err(error)
                }
            },
            Order::KillHost(index) => match hosts.strike(index).await {
                Ok(pid) => self.until_buried(&[pid], deaths).await,
                Err(error) => Err(error),
            },
            Order::KillAgent(index) => hosts.kill_agent(index).await,
            Order::TerminateAgent(index) => hosts.terminate_agent(index).await,
            Order::RestartAgent(index) => hosts.restart_agent(index).await,
            Order::Pause(index) => hosts.pause(index).await,
            Order::Resume(index) => hosts.resume(index),
            Order::Cut(index) => hosts.set_cut(index, true).await,
            Order::Heal(index) => hosts.set_cut(index, false).await,
            Order::Split(indexes) => hosts.split(&indexes).await,
            Order::Merge => hosts.merge().await,
            Order::FillDisk(index) => hosts.disk(index, Disk::fill),
            Order::FreeDisk(index) => hosts.disk(index, Disk::free),
            Order::Status => {
                let (status, dead) = hosts.status().await;
                // What is not listed can be started again. One that cannot be buried is not live either.
                let _ = self.until_buried(&dead, deaths).await;
                return self.reply(id, Ok(Answer::Hosts(status))).await;
            }
            Order::RunChild(order) => self.run_child(order),
            Order::KillChild(child) => self.kill_child(child),
            Order::WaitChild(child) => match self.children.get_mut(&child) {
                None => Err(LabError::NoSuchChild),
                Some(found) => {
                    found.waiter = Some(id);
                    return self.report_ends().await;
                }
            },
            // The caller's loop has ended at it.
            Order::Stop => Ok(()),
        };
        self.reply(id, result.map(|()| Answer::Done)).await
    }

    async fn reply(&mut self, id: u64, result: Result<Answer, LabError>) -> io::Result<()> {
        send(&mut self.caller, &Reply { id, result }).await
    }

    /// Reaps the dead, hosts, children and orphans alike.
    async fn bury(&mut self) -> io::Result<()> {
        while let Some((pid, exit)) = reap_one() {
            self.hosts.buried(pid).await;
            if let Some(child) = self.children.values_mut().find(|child| child.pid == pid) {
                child.end = Some(exit);
            }
        }
        self.report_ends().await
    }

    /// Waits for the end of hosts' inits. One can be reaped only when its whole namespace is dead
    /// (`zap_pid_ns_processes` in the kernel's `kernel/pid_namespace.c`), so this proves the hosts gone.
    async fn until_buried(&mut self, inits: &[Pid], deaths: &mut Signals) -> Result<(), LabError> {
        let gone = async {
            while self.hosts.has_init(inits) {
                deaths.recv().await;
                self.bury().await?;
            }
            io::Result::Ok(())
        };
        match tokio::time::timeout(ANSWER_TIME, gone).await {
            Ok(result) => result.map_err(|error| LabError::failed("killing the host", error)),
            Err(_) => Err(LabError::Timeout),
        }
    }

    fn run_child(&mut self, order: ChildOrder) -> Result<(), LabError> {
        if self.children.len() >= MAX_CHILDREN {
            return Err(LabError::TooManyChildren);
        }
        let failed = |error: io::Error| LabError::failed("starting a child of the lab", error);
        let stdin = BlockingUnixStream::connect(&order.socket).map_err(failed)?;
        let stdout = stdin.try_clone().map_err(failed)?;
        let mut command = order.program.command();
        command.stdin(OwnedFd::from(stdin)).stdout(OwnedFd::from(stdout));
        // The handle is dropped: `bury` reaps it.
        let child = dies_with_parent(&mut command).spawn().map_err(failed)?;
        let pid = Pid::from_raw(child.id().cast_signed());
        self.children.insert(order.id, Child { pid, end: None, waiter: None });
        Ok(())
    }

    fn kill_child(&self, id: u64) -> Result<(), LabError> {
        match self.children.get(&id) {
            Some(Child { pid, end: None, .. }) => {
                kill(*pid, Signal::SIGKILL).map_err(|error| LabError::failed("killing a child", error))
            }
            Some(_) => Ok(()),
            None => Err(LabError::NoSuchChild),
        }
    }

    async fn report_ends(&mut self) -> io::Result<()> {
        let reported = |child: &Child| Some((child.waiter?, child.end?));
        while let Some((id, (waiter, exit))) =
            self.children.iter().find_map(|(id, child)| Some((*id, reported(child)?)))
        {
            self.children.remove(&id);
            self.reply(waiter, Ok(Answer::Exit(exit))).await?;
        }
        Ok(())
    }
}
