//! One file per subcommand: its arguments, and what it does with them.

mod agent;
mod agent_node;
mod apps;
pub mod bench;
mod demo;
mod emulate;
mod example;
mod exec;
mod grid;
mod logs;
mod mpirun;
mod nodes;
mod publish;
mod ring;
mod run;
mod show;
mod sim;
mod stop;
mod subscribe;
mod topics;
mod vo;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::demo::CLIENT_COMMAND;
use crate::exit::{self, Exit, Failure};

/// A grid without a control plane.
#[derive(Parser, Debug)]
#[command(name = "xtreem", version, after_help = exit::TABLE, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a virtual organisation (VO) and issue credentials
    Vo(vo::Arguments),
    /// Be a node of the grid
    Agent(agent::Arguments),
    /// Show the node that this machine's agent is
    Node(agent_node::Arguments),
    /// Show what all nodes of the grid are together: how many, and how their attributes are spread
    Grid(grid::Arguments),
    /// Show this node's place on the ring of all nodes, or who owns a key
    Ring(ring::Arguments),
    /// Publish an event to a topic
    Pub(publish::Arguments),
    /// Print the events of topics as they come
    Sub(subscribe::Arguments),
    /// List what the grid subscribes to and publishes to, and topics with a last value
    Topics(topics::Arguments),
    /// Find nodes that meet a requirement; holds nothing
    Nodes(nodes::Arguments),
    /// Submit an application
    Run(run::Arguments),
    /// List the applications of the grid
    Apps(apps::Arguments),
    /// Show one application: its slots, nodes and guardians
    Show(show::Arguments),
    /// Print what the programs of an application wrote
    Logs(logs::Arguments),
    /// Run a command beside a slot of an application
    Exec(exec::Arguments),
    /// Run an MPI program on the nodes of an application
    Mpirun(mpirun::Arguments),
    #[command(name = mpirun::HOLD_COMMAND, hide = true)]
    MpiHold(mpirun::HoldArguments),
    #[command(name = mpirun::HEAD_COMMAND, hide = true)]
    MpiHead(mpirun::HeadArguments),
    #[command(name = mpirun::DAEMON_COMMAND, hide = true)]
    MpiDaemon(mpirun::DaemonArguments),
    #[command(name = mpirun::LAUNCHER_COMMAND, hide = true)]
    MpiLaunch(mpirun::LauncherArguments),
    /// Stop an application for good
    Stop(stop::Arguments),
    /// See a grid lose hosts and an application survive it, on this machine
    Demo(demo::Arguments),
    #[command(name = CLIENT_COMMAND, hide = true)]
    DemoClient(demo::ClientArguments),
    /// Be a grid of many emulated hosts on this machine
    Emulate(emulate::Arguments),
    /// Measure real agents on this machine
    Bench(bench::Arguments),
    #[command(name = bench::MEMBER_COMMAND, hide = true)]
    BenchMember(bench::MemberArguments),
    /// Run protocols on many simulated nodes in this process
    Sim(sim::Arguments),
    /// Example applications, to be started by agents
    Example(example::Arguments),
}

/// The command, or why there is none, with what was probably meant.
pub fn parse(arguments: &[OsString]) -> Result<Cli, (clap::Error, Option<String>)> {
    Cli::try_parse_from(arguments).map_err(|error| {
        let hint = run::wait_meant(arguments).filter(|_| error.use_stderr());
        (error, hint)
    })
}

impl Cli {
    pub fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Vo(arguments) => vo::run(arguments),
            Command::Agent(arguments) => agent::run(&arguments),
            Command::Node(arguments) => agent_node::run(&arguments),
            Command::Grid(arguments) => grid::run(&arguments),
            Command::Ring(arguments) => ring::run(&arguments),
            Command::Pub(arguments) => publish::run(&arguments),
            Command::Sub(arguments) => subscribe::run(&arguments),
            Command::Topics(arguments) => topics::run(&arguments),
            Command::Nodes(arguments) => nodes::run(&arguments),
            Command::Run(arguments) => run::run(&arguments),
            Command::Apps(arguments) => apps::run(&arguments),
            Command::Show(arguments) => show::run(&arguments),
            Command::Logs(arguments) => logs::run(&arguments),
            Command::Exec(arguments) => exec::run(&arguments),
            Command::Mpirun(arguments) => mpirun::run(&arguments),
            Command::MpiHold(arguments) => mpirun::run_hold(&arguments),
            Command::MpiHead(arguments) => mpirun::run_head(&arguments),
            Command::MpiDaemon(arguments) => mpirun::run_daemon(&arguments),
            Command::MpiLaunch(arguments) => mpirun::run_launcher(&arguments),
            Command::Stop(arguments) => stop::run(&arguments),
            Command::Demo(arguments) => demo::run(&arguments),
            Command::DemoClient(arguments) => demo::run_client(&arguments),
            Command::Emulate(arguments) => emulate::run(&arguments),
            Command::Bench(arguments) => bench::run(&arguments),
            Command::BenchMember(arguments) => bench::run_member(&arguments),
            Command::Sim(arguments) => sim::run(arguments),
            Command::Example(arguments) => example::run(&arguments),
        }
    }
}

#[cfg(test)]
mod tests;
