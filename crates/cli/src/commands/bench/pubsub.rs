//! `xtreem bench pubsub`: one load generator for our publish/subscribe, NATS and Redis.
//!
//! All are measured in the same way on the same machine in one sitting, in turn: their ratios hold where the
//! figures themselves do not.

mod cluster;
mod histogram;
mod idle;
mod link;
mod load;
mod machine;
mod proto;
mod report;
mod server;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;

use self::cluster::Cluster;
use self::idle::IdleReport;
use self::load::{Load, LoadError, Plan, STAMP_LEN};
use self::machine::Cores;
use self::proto::Proto;
use self::report::{Report, Run};
use self::server::{Missing, Server};
use crate::demo::grid::failed;
use crate::demo::interrupt::Interrupt;
use crate::demo::show::Show;
use crate::demo::state_dir::StateDir;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::runtime::block_on;

/// Longest payload: beyond it the generator would measure how fast it copies.
const SIZE_MAX: i64 = 64 << 10;
/// Messages in one write, without a rate: clients of NATS and Redis buffer about so many (our guess).
const BATCH: u64 = 50;
/// Deliveries of a run, without a rate: seconds (our guess).
const DELIVERIES: u64 = 2_000_000;
/// How long a run with a rate is.
const RATE_SECONDS: u64 = 2;
/// Messages under way: so many deliveries, within bounds.
const WINDOW_DELIVERIES: u64 = 100_000;
const WINDOW: (u64, u64) = (100, 10_000);
/// Bytes under way to one subscriber: no server lets go what waits then.
const WINDOW_BYTES: u64 = 4 << 20;
/// Bytes that are delivered in a run, without a rate.
const DELIVERED_BYTES: u64 = 4 << 30;
/// The run before the first one has this part of its messages: the servers are warm then.
const WARM_UP: u64 = 10;
/// Longest time for servers to find each other (our guess for a loaded machine).
const MEET_MAX: Duration = Duration::from_secs(120);
/// Connections beside those of subscribers: the publisher's, and a few of which nothing is known here.
const OTHER_CLIENTS: usize = 32;

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  xtreem bench pubsub --proto xtreem,nats,redis --json
  xtreem bench pubsub --proto nats --subs 100
  xtreem bench pubsub --proto xtreem,redis --rate 10000
  xtreem bench pubsub --proto xtreem,nats --agents 3 --subs 4
  xtreem bench pubsub --proto nats --addr 127.0.0.1:4222 --server-pid 4711
  xtreem bench pubsub --idle-clients 10000

Without --rate messages go out as fast as the slowest subscriber takes them; the times p50 and p99 are told
with --rate only, from when a message was due to when it was read. Figures are medians over the runs, `lost`
and `reordered` are sums. A server runs on the first core and the generator on the second. With --agents the
publisher is at the first server and the subscribers are at the others, to which events go over TLS.")]
pub struct Arguments {
    /// What is measured, in turn
    #[arg(long, value_enum, value_delimiter = ',', default_value = "xtreem")]
    proto: Vec<Proto>,
    /// Use the server there instead of starting one
    #[arg(long, value_name = "IP:PORT")]
    addr: Option<SocketAddr>,
    /// The process of the server at --addr, whose processor time and memory are told
    #[arg(long, value_name = "PID", requires = "addr")]
    server_pid: Option<u32>,
    /// Servers that tell each other what is published: agents of one VO, NATS servers with routes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::<u32>(1..=16),
          conflicts_with = "addr")]
    agents: u32,
    /// Subscribers, all of the same topic
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::<u32>(1..=10_000))]
    subs: u32,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 128,
          value_parser = number::<u32>(STAMP_LEN as i64..=SIZE_MAX))]
    size: u32,
    /// Messages in one write [default: 50; with --rate 1]
    #[arg(long, value_name = "N", value_parser = number::<u64>(1..=1_000))]
    batch: Option<u64>,
    /// Messages a second, whether the server keeps up or not
    #[arg(long, value_name = "N", value_parser = number::<u64>(1..=10_000_000))]
    rate: Option<u64>,
    /// Messages of a run [default: 2,000,000 deliveries; with --rate 2 s]
    #[arg(long, value_name = "N", value_parser = number::<u64>(1..=1_000_000_000))]
    count: Option<u64>,
    /// Messages under way at most [default: 100,000 deliveries, and 10,000 messages at most]
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = number::<u64>(1..=10_000_000))]
    window: Option<u64>,
    /// Runs of each, after one that is not counted
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = number::<u32>(1..=100))]
    runs: u32,
    /// Measure the server's memory with so many clients that only listen, instead
    #[arg(long, value_name = "N", value_parser = number::<u32>(1..=60_000),
          conflicts_with_all = ["subs", "size", "batch", "rate", "count", "window", "runs", "agents"])]
    idle_clients: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn number<T>(range: std::ops::RangeInclusive<i64>) -> clap::builder::RangedI64ValueParser<T>
where
    T: TryFrom<i64> + Clone + Send + Sync,
{
    clap::builder::RangedI64ValueParser::new().range(range)
}

impl Arguments {
    fn plan(&self) -> Plan {
        let (subscribers, size) = (u64::from(self.subs), u64::from(self.size).max(1));
        let count = match self.rate {
            Some(rate) => rate * RATE_SECONDS,
            None => (DELIVERIES.min(DELIVERED_BYTES / size) / subscribers).max(1),
        };
        let window = (WINDOW_DELIVERIES / subscribers).clamp(WINDOW.0, WINDOW.1).min(WINDOW_BYTES / size);
        Plan {
            subscribers: self.subs as usize,
            size: self.size as usize,
            batch: self.batch.unwrap_or(if self.rate.is_some() { 1 } else { BATCH }),
            rate: self.rate,
            count: self.count.unwrap_or(count),
            window: self.window.unwrap_or(window),
        }
    }

    /// Each once, in the order that was asked for.
    fn protos(&self) -> Vec<Proto> {
        let mut seen = BTreeSet::new();
        self.proto.iter().copied().filter(|proto| seen.insert(*proto)).collect()
    }

    /// Connections that each server has at one time.
    fn clients(&self) -> usize {
        self.idle_clients.unwrap_or(self.subs) as usize + OTHER_CLIENTS
    }
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.addr.is_some() && arguments.protos().len() > 1 {
        return Err(Failure::usage("--addr is one server: name its protocol alone with --proto"));
    }
    if arguments.agents > 1 && arguments.protos().contains(&Proto::Redis) {
        let words = "--agents: servers of Redis do not tell each other what is published in this way";
        return Err(Failure::usage(words).with_hint("use --proto xtreem,nats"));
    }
    machine::allow_connections(arguments.clients())?;
    let dir = StateDir::new(None)?;
    block_on(async {
        let mut interrupt = Interrupt::take()?;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let work = {
            let (arguments, dir, is_stopped) = (arguments.clone(), dir.path().to_owned(), is_stopped.clone());
            move || measure(&arguments, &dir, &is_stopped)
        };
        let mut work = tokio::task::spawn_blocking(work);
        let done = tokio::select! {
            done = &mut work => done,
            () = interrupt.come() => {
                is_stopped.store(true, Ordering::Relaxed);
                // Its servers end with it.
                let _ = work.await;
                return Ok(Exit::Interrupted);
            }
        };
        output::print(&done.map_err(|e| failed(&e))??)?;
        Ok(Exit::Success)
    })
}

/// What is to be printed.
fn measure(arguments: &Arguments, dir: &Path, is_stopped: &AtomicBool) -> Result<String, Failure> {
    let show = Show::new();
    let cores = Cores::choose();
    if cores.is_none() {
        show.say("ONE CORE ONLY: server and generator take time from each other.");
    }
    if cfg!(debug_assertions) {
        show.say(
            "A DEVELOPMENT BUILD: the generator is slow, and so is an agent. For figures, build with \
             `--profile dist`.",
        );
    }
    let servers = start(arguments, dir, cores, &show)?;
    if let Some(cores) = cores {
        machine::stay_on(cores.generator)?;
    }
    let text = match arguments.idle_clients {
        Some(clients) => idle(arguments, &servers, clients as usize, is_stopped, &show)?,
        None => {
            let plan = arguments.plan();
            let runs = in_turn(&plan, arguments.runs as usize, &servers, is_stopped, &show)?;
            let report = Report::new(
                &plan,
                arguments.agents as usize,
                arguments.runs as usize,
                cores.is_some(),
                &runs,
            );
            printed(arguments, &report, Report::text)?
        }
    };
    show.end();
    Ok(text)
}

fn printed<T: serde::Serialize>(
    arguments: &Arguments,
    report: &T,
    text: fn(&T) -> String,
) -> Result<String, Failure> {
    if !arguments.json {
        return Ok(text(report));
    }
    let json = serde_json::to_string(report);
    json.map(|json| json + "\n").map_err(|e| failed(&format!("the figures have no JSON form: {e}")))
}

/// The servers to measure: those whose program is here.
fn start(
    arguments: &Arguments,
    dir: &Path,
    cores: Option<Cores>,
    show: &Show,
) -> Result<Vec<Cluster>, Failure> {
    let protos = arguments.protos();
    if let (Some(addr), Some(proto)) = (arguments.addr, protos.first()) {
        return Ok(vec![Cluster::there(Server::there(*proto, addr, arguments.server_pid))]);
    }
    if let Some(cores) = cores {
        // Servers inherit it, with all threads that they start.
        machine::stay_on(cores.server)?;
    }
    let (mut servers, mut packages) = (Vec::new(), Vec::new());
    for proto in protos {
        if let Err(Missing { program, package }) = server::find(proto) {
            show.say(&format!("{} is left out: there is no {program} here", proto.name()));
            packages.push(package);
            continue;
        }
        show.now(&format!("{} starts", proto.name()));
        let (dir, count) = (dir.join(proto.name()), arguments.agents as usize);
        servers.push(Cluster::start(proto, &dir, count, arguments.clients())?);
    }
    let install = format!("`apt-get install {}` brings what is missing", packages.join(" "));
    if servers.is_empty() {
        return Err(failed(&"there is no server to measure").with_hint(install));
    }
    if !packages.is_empty() {
        show.say(&install);
    }
    Ok(servers)
}

/// All servers one after the other, and again.
fn in_turn(
    plan: &Plan,
    runs: usize,
    servers: &[Cluster],
    is_stopped: &AtomicBool,
    show: &Show,
) -> Result<BTreeMap<&'static str, Vec<Run>>, Failure> {
    let warm_up = Plan { count: plan.count.div_ceil(WARM_UP), ..plan.clone() };
    for cluster in servers.iter().filter(|cluster| cluster.servers.len() > 1) {
        show.now(&format!("servers of {} find each other", cluster.proto.name()));
        meet(plan, cluster, is_stopped)?;
    }
    let mut all = BTreeMap::<_, Vec<Run>>::new();
    for number in 0..=runs {
        for server in servers {
            let name = server.proto.name();
            show.now(&format!("{name}, run {number} of {runs}"));
            let plan = if number == 0 { &warm_up } else { plan };
            let run = one(plan, server, is_stopped).map_err(|error| {
                let exit =
                    if matches!(error, LoadError::Interrupted) { Exit::Interrupted } else { Exit::Failed };
                Failure::new(exit, format!("{name} at {:?}: {error}", server.addrs()))
            })?;
            if number > 0 {
                all.entry(name).or_default().push(run);
            }
        }
    }
    Ok(all)
}

/// Waits until what is published at the first server comes to all others.
fn meet(plan: &Plan, cluster: &Cluster, is_stopped: &AtomicBool) -> Result<(), Failure> {
    let name = cluster.proto.name();
    let one_each = Plan { subscribers: cluster.servers.len() - 1, count: 1, rate: None, ..plan.clone() };
    let deadline = Instant::now() + MEET_MAX;
    loop {
        let run = one(&one_each, cluster, is_stopped).map_err(|e| failed(&format!("{name}: {e}")))?;
        if run.0.lost == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let words = format!("the servers of {name} do not tell each other anything");
            return Err(failed(&format!("{words} within {} s", MEET_MAX.as_secs())));
        }
    }
}

fn one(plan: &Plan, server: &Cluster, is_stopped: &AtomicBool) -> Result<Run, LoadError> {
    let load = Load::connect(plan, server.proto, &server.addrs())?;
    let before = server.cpu();
    let outcome = load.run(is_stopped)?;
    let cpu = server.cpu().zip(before).map(|(after, before): (Duration, _)| after.saturating_sub(before));
    Ok((outcome, cpu))
}

fn idle(
    arguments: &Arguments,
    servers: &[Cluster],
    clients: usize,
    is_stopped: &AtomicBool,
    show: &Show,
) -> Result<String, Failure> {
    let mut protocols = BTreeMap::new();
    for server in servers.iter().flat_map(|cluster| &cluster.servers) {
        show.now(&format!("{clients} clients connect to {}", server.proto.name()));
        protocols.insert(server.proto.name(), idle::measure(server, clients, is_stopped)?);
    }
    printed(arguments, &IdleReport { idle_clients: clients, protocols }, IdleReport::text)
}
