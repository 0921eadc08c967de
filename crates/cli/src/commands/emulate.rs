//! `xtreem emulate`: a grid of many emulated hosts on this machine, until Ctrl-C.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::Serialize;
use xtreem_emulation::{MAX_HOSTS, Network, NetworkChoice};

use crate::demo::grid::{Grid, GridHost};
use crate::demo::interrupt::Interrupt;
use crate::demo::measure::{Measured, measure};
use crate::demo::measure_ring::{MeasuredRing, measure_ring};
use crate::demo::show::Show;
use crate::demo::state_dir::StateDir;
use crate::demo::storm;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::runtime::block_on;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  xtreem emulate --hosts 50\n  xtreem emulate --hosts 16 --dir /tmp/grid --json\n  xtreem \
                  emulate --hosts 200 --measure\n  xtreem emulate --hosts 64 --measure-ring --json\n  xtreem emulate --hosts 20 --storm 10m --seed 7\n\nEvery host has an \
                  agent and its own namespaces, where the kernel allows them. What it says of its cores, memory, \
                  disk, architecture and site is declared, not measured; its attribute `emulated` tells so. Ctrl-C \
                  ends the grid; nothing is left behind, whatever way this command ends.\n\n--measure ends with 0 \
                  when every query was answered right, else with 1; so does --measure-ring with look-ups, puts and \
                     gets. --storm ends with 0 when every slot ran once \
                  within a minute of every gust and nothing was left behind, else with 1."
)]
pub struct Arguments {
    /// How many hosts; they declare different attributes
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_HOSTS)))]
    hosts: u16,
    /// Directory for the hosts, new or empty, which is kept [default: a temporary one, which is removed]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How the hosts are told apart
    #[arg(long, value_enum, default_value_t = Kind::Auto)]
    network: Kind,
    /// Decides what the hosts from the seventeenth on declare, what --measure asks, and how it storms
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ask queries of random hosts, print how fast they were answered, and end
    #[arg(long)]
    measure: bool,
    /// How many queries --measure asks
    #[arg(long, default_value_t = 200, requires = "measure", value_parser = clap::value_parser!(u16).range(1..))]
    queries: u16,
    /// Measure the ring of all hosts (look-ups, puts, gets) and messages between two members of an
    /// application, print how fast they were, and end
    #[arg(long, conflicts_with = "measure")]
    measure_ring: bool,
    /// Let it storm for so long: hosts and agents die, stand still, lose network, power and room on their
    /// disks, many at once, while five applications run; print what came of it, and end
    #[arg(long, value_name = "TIME", conflicts_with_all = ["measure", "measure_ring"], value_parser = humantime::parse_duration)]
    storm: Option<Duration>,
    /// Print one JSON object: the grid once it has formed, or what was measured
    #[arg(long)]
    json: bool,
}

/// How emulated hosts are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Namespaces, or loopback addresses where the kernel forbids them
    Auto,
    /// Namespaces or an error
    Namespaces,
    /// Loopback addresses
    Loopback,
}

impl From<Kind> for NetworkChoice {
    fn from(kind: Kind) -> NetworkChoice {
        match kind {
            Kind::Auto => NetworkChoice::Auto,
            Kind::Namespaces => NetworkChoice::Namespaces,
            Kind::Loopback => NetworkChoice::Loopback,
        }
    }
}

/// The JSON object.
#[derive(Serialize)]
struct Emulated<'a> {
    network: &'static str,
    credential: &'a Path,
    hosts: Vec<HostLine>,
}

#[derive(Serialize)]
struct MeasuredLine<'a> {
    network: &'static str,
    #[serde(flatten)]
    measured: &'a Measured,
}

#[derive(Serialize)]
struct MeasuredRingLine<'a> {
    network: &'static str,
    #[serde(flatten)]
    measured: &'a MeasuredRing,
}

#[derive(Serialize)]
struct HostLine {
    name: String,
    address: SocketAddr,
    socket: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.storm.is_some() && arguments.hosts < storm::HOSTS_MIN {
        let least = storm::HOSTS_MIN;
        return Err(Failure::usage(format!("--storm needs at least {least} hosts: add --hosts {least}")));
    }
    let dir = StateDir::new(arguments.dir.as_deref())?;
    block_on(async {
        let mut interrupt = Interrupt::take()?;
        let (show, started) = (Show::new(), Instant::now());
        let mut grid = Grid::start(dir.path(), arguments.network.into(), arguments.seed, &show).await?;
        if arguments.storm.is_some() && matches!(grid.lab.network(), Network::Namespaces) {
            grid.disk_bytes = Some(storm::DISK_BYTES);
        }
        let lasted = async {
            grid.form(arguments.hosts, &show).await?;
            if arguments.measure {
                let measured = measure(&grid, arguments.queries, started, &show).await?;
                show.end();
                print_measured(arguments, &grid, &measured)?;
                return Ok(if measured.is_right() { Exit::Success } else { Exit::Failed });
            }
            if arguments.measure_ring {
                let measured = measure_ring(&grid, started, &show).await?;
                show.end();
                if arguments.json {
                    let network = network_word(grid.lab.network());
                    output::print_json(&MeasuredRingLine { network, measured: &measured })?;
                } else {
                    output::print(&measured.text())?;
                }
                return Ok(if measured.is_right() { Exit::Success } else { Exit::Failed });
            }
            if let Some(span) = arguments.storm {
                let report = storm::storm(&grid, span, arguments.seed, &show).await?;
                show.end();
                if arguments.json {
                    output::print_json(&report)?
                } else {
                    output::print(&report.text())?
                }
                return Ok(if report.is_well() { Exit::Success } else { Exit::Failed });
            }
            show.end();
            print(arguments, &grid)?;
            // Until the signal.
            std::future::pending::<Result<Exit, Failure>>().await
        };
        let ended = tokio::select! {
            ended = lasted => ended,
            () = interrupt.come() => Ok(Exit::Interrupted),
        };
        show.end();
        // Only when all is gone can the directory be removed.
        grid.stop().await;
        ended
    })
}

fn print_measured(arguments: &Arguments, grid: &Grid, measured: &Measured) -> Result<(), Failure> {
    if arguments.json {
        let network = network_word(grid.lab.network());
        output::print_json(&MeasuredLine { network, measured })
    } else {
        output::print(&measured.text())
    }
}

fn print(arguments: &Arguments, grid: &Grid) -> Result<(), Failure> {
    if arguments.json {
        output::print_json(&emulated(grid))
    } else {
        output::print(&(how_to_talk(grid) + "\nCtrl-C ends the grid.\n"))
    }
}

fn emulated(grid: &Grid) -> Emulated<'_> {
    let line = |host: &GridHost| HostLine {
        name: host.name.clone(),
        address: host.address,
        socket: host.socket.clone(),
    };
    Emulated {
        network: network_word(grid.lab.network()),
        credential: &grid.credential,
        hosts: grid.hosts.iter().map(line).collect(),
    }
}

/// The network in one word.
pub fn network_word(network: &Network) -> &'static str {
    match network {
        Network::Namespaces => "namespaces",
        Network::Loopback { .. } => "loopback",
    }
}

/// What to type to use the grid.
pub fn how_to_talk(grid: &Grid) -> String {
    let Some(first) = grid.hosts.first() else { return String::new() };
    let hosts = match &grid.hosts[..] {
        [first, .., last] => {
            format!("{} ({}) to {} ({})", first.name, first.address, last.name, last.address)
        }
        _ => format!("{} ({})", first.name, first.address),
    };
    let sockets = first.socket.display().to_string().replace(&first.name, "HOST");
    format!(
        "\nHosts: {hosts}, on {network}.\nTalk to any of them by its socket, {sockets}:\n\n  export \
         XTREEM_CONTROL={socket}\n  export XTREEM_CREDENTIAL={credential}\n  xtreem nodes 'cpu.cores >= 4'\n  xtreem run \
         examples/web/app.toml\n  xtreem apps\n",
        network = grid.lab.network(),
        socket = first.socket.display(),
        credential = grid.credential.display(),
    )
}
