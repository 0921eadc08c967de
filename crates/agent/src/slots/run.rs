//! One run of one slot, from its order to its end.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use xtreem_allocation::{Exit, SlotRun, Trouble};

use super::failure::Failure;
use super::{Grace, Order};
use crate::agent::Agent;
use crate::api::slot_socket::SlotSocket;
use crate::bulk;
use crate::deploy;
use crate::environment::{Place, environment};
use crate::exec::{self, Plan, Running, StartError};
use crate::members::Members;
use crate::program::{ExecBy, Program, SELF_COMMAND};
use crate::store::FileKind;
use crate::trash::Trash;

/// Between two words of progress to the node (our guess: it waits 60 s for one).
const PROGRESS_PERIOD: Duration = Duration::from_secs(5);

/// What one run has on this machine; given to be removed when dropped.
struct Premises {
    dir: PathBuf,
    log_dir: PathBuf,
    trash: Trash,
}

impl Drop for Premises {
    fn drop(&mut self) {
        self.trash.discard(std::mem::take(&mut self.dir));
    }
}

/// How often files have moved on towards the start of the program.
#[derive(Clone, Debug, Default)]
struct Progress(Arc<AtomicU64>);

impl Progress {
    fn tell(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells the node now and then, so that it does not take a slow start for a stuck one. Never returns.
    async fn pass_on(&self, agent: &Agent, run: SlotRun) {
        let mut told = 0;
        loop {
            tokio::time::sleep(PROGRESS_PERIOD).await;
            let now = self.0.load(Ordering::Relaxed);
            if now != told {
                told = now;
                agent.tell(move |node, now, out| node.program_progress(now, run, out)).await;
            }
        }
    }
}

/// Fetches, lays out, starts, waits, and tells the node how it went.
pub(super) async fn carry_out(
    agent: Arc<Agent>,
    order: Order,
    number: u64,
    mut stop: watch::Receiver<Option<Grace>>,
) {
    let run = order.run;
    tracing::info!(app = ?run.app, slot = run.slot, name = %order.name, epoch = %run.epoch,
        restarts = order.restarts, "slot confirmed here, its program is being prepared");
    let name = agent.state.name_of(number);
    let premises = Arc::new(Premises {
        dir: agent.state.slots_dir().join(&name),
        log_dir: agent.state.logs_dir().join(&name),
        trash: agent.trash.clone(),
    });
    let progress = Progress::default();
    let prepared = tokio::select! {
        prepared = prepare(&agent, &order, &premises, number, &progress) => prepared,
        () = progress.pass_on(&agent, run) => return,
        _ = asked_to_stop(&mut stop) => {
            let trouble = "stopped before it was started".to_owned();
            agent.slots.has_ended(&agent.trash, run, premises.log_dir.clone(), Some(trouble));
            tracing::info!(app = ?run.app, slot = run.slot, "slot stopped before its program was started");
            // SIGTERM is what a program that had started would have got.
            let exit = Exit::Signal(15);
            agent.tell(move |node, now, out| node.program_exited(now, run, exit, out)).await;
            return;
        }
    };
    let (running, socket, may_exec) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return not_started(&agent, run, &premises, failure).await,
    };
    agent.slots.has_started(run, running.log().clone(), running.door().clone(), may_exec);
    tracing::info!(app = ?run.app, slot = run.slot, pid = running.pid(), "slot started");
    agent.tell(move |node, now, out| node.program_started(now, run, out)).await;
    let exit = attend(running, &mut stop).await;
    let exit = match exit {
        exec::Exit::Code(code) => Exit::Code(code),
        exec::Exit::Signal(signal) => Exit::Signal(signal),
    };
    tracing::info!(app = ?run.app, slot = run.slot, %exit, "slot ended");
    // Whoever was asked to end has not failed at what it was doing.
    let was_asked = stop.borrow().is_some() || stop.has_changed().is_err();
    let how = match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
    };
    let ended = (!was_asked).then(|| format!("the program ended with {how}"));
    socket.collections().close(ended).await;
    drop(socket);
    // Removed before the node is told, as it may start the slot again at once.
    agent.slots.has_ended(&agent.trash, run, premises.log_dir.clone(), None);
    agent.tell(move |node, now, out| node.program_exited(now, run, exit, out)).await;
}

async fn not_started(agent: &Agent, run: SlotRun, premises: &Premises, failure: Failure) {
    let Failure { why, reason } = failure;
    tracing::warn!(app = ?run.app, slot = run.slot, %reason, "slot not started");
    agent.slots.has_ended(&agent.trash, run, premises.log_dir.clone(), Some(reason));
    agent.tell(move |node, now, out| node.program_not_started(now, run, why, out)).await;
}

/// Waits for the end of the program, which may be asked for meanwhile, and then more urgently.
async fn attend(mut running: Running, stop: &mut watch::Receiver<Option<Grace>>) -> exec::Exit {
    let mut grace = tokio::select! {
        exit = running.wait() => return exit,
        grace = asked_to_stop(stop) => grace,
    };
    loop {
        tokio::select! {
            exit = running.stop(grace) => return exit,
            // A yield that comes after a stop shortens the grace.
            changed = stop.changed() => {
                if changed.is_err() {
                    return running.stop(grace).await;
                }
                grace = grace.min((*stop.borrow_and_update()).unwrap_or(grace));
            }
        }
    }
}

/// Returns when the run shall end. When the table is gone, the agent is ending.
async fn asked_to_stop(stop: &mut watch::Receiver<Option<Grace>>) -> Grace {
    match stop.wait_for(Option::is_some).await {
        Ok(grace) => grace.unwrap_or_default(),
        Err(_) => Grace::ZERO,
    }
}

async fn prepare(
    agent: &Arc<Agent>,
    order: &Order,
    premises: &Arc<Premises>,
    number: u64,
    progress: &Progress,
) -> Result<(Running, SlotSocket, ExecBy), Failure> {
    let program = Program::from_payload(&order.spec.payload)
        .map_err(|error| Failure::of_node(Trouble::Other, error))?;
    if order.spec.ports != program.fixed_ports() {
        return Err(Failure::of_node(
            Trouble::Other,
            "the specification's ports are not those of its program",
        ));
    }
    let application = Members { agent, app: order.run.app };
    let mut rng = crate::agent::random();
    let tell = || progress.tell();
    let files = &program.files;
    deploy::fetch_all(&agent.store, &application, files, &order.sources, &mut rng, &tell).await?;
    let on_disk = |error: io::Error| Failure::of_io(&error, Trouble::Disk);
    lay_out(agent, &program, premises, progress).await.map_err(on_disk)?;
    let address: IpAddr = agent.net.local_addr().ip();
    let ports = agent.ports.reserve(order.run, &program.ports, address);
    let ports = ports.map_err(|error| Failure::of_io(&error, Trouble::Port))?;
    let path = agent.state.sockets_dir().join(number.to_string());
    let socket = SlotSocket::open(agent, order, path, ports).map_err(on_disk)?;
    let declared = socket.collections().join_declared(&program.collections, order.slots).await;
    declared.map_err(|error| Failure::of_node(Trouble::Other, error))?;
    let place = Place {
        run: order.run,
        app_name: &order.name,
        slots: order.slots,
        socket: socket.path(),
        token: socket.token(),
        address,
        ports: socket.ports(),
    };
    let plan = Plan {
        env: environment(&program, &place),
        hidden: agent.hidden(),
        visible: vec![socket.path().to_owned()],
        isolation: agent.config.isolation,
        user: agent.standing.user,
        ..Plan::new(command(&program), premises.dir.clone(), premises.log_dir.clone())
    };
    // Asked again here: a hold may be older than what was found since.
    agent.standing.may_take_slots().map_err(|why| Failure::of_node(Trouble::Isolation, why))?;
    let running = exec::start(plan, Path::new(crate::SELF_EXE)).await.inspect_err(|error| {
        if matches!(error, StartError::NotIsolated { .. }) {
            agent.standing.doubt();
        }
    })?;
    Ok((running, socket, program.exec))
}

/// The agent's own binary is what this process runs, also when its file was replaced by an update.
fn command(program: &Program) -> Vec<String> {
    let mut command = program.command.clone();
    if command.first().is_some_and(|first| first == SELF_COMMAND) {
        command[0] = crate::SELF_EXE.to_owned();
    }
    command
}

/// Makes the slot's directory and puts the program's files there.
///
/// When it is dropped the copying goes on to its end, and only then the directory goes.
async fn lay_out(
    agent: &Arc<Agent>,
    program: &Program,
    premises: &Arc<Premises>,
    progress: &Progress,
) -> io::Result<()> {
    let progress = progress.clone();
    let (store, files, premises) = (agent.store.clone(), program.files.clone(), premises.clone());
    let user = agent.standing.user;
    let laid_out = bulk::LAYING_OUT.run(move || {
        // A new one: nothing that another program left is in it.
        let dir = &premises.dir;
        fs::create_dir(dir)?;
        for file in &files {
            // A checked path: relative, and never upwards.
            let target = dir.join(&file.path);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            let kind = if file.executable { FileKind::Program } else { FileKind::Data };
            store.place(file.digest, &target, kind, &|| progress.tell()).map_err(io::Error::other)?;
        }
        user.map_or(Ok(()), |user| exec::give(dir, user))
    });
    laid_out.await?
}
