//! `xtreem agent`: this machine as a node of the grid, until SIGTERM.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use xtreem_agent::config::{Config, DEFAULT_STATE_DIR};
use xtreem_agent::{AgentError, run as run_agent};

use crate::exit::{Exit, Failure};

/// Most threads of an agent (our guess: its work is small, and many agents share the machine of an
/// emulation).
const WORKERS_MAX: usize = 4;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  xtreem agent --config /etc/xtreem/agent.toml --join node1.physics.example:7227\n  xtreem \
                  agent --state-dir ~/xtreem      # a development VO of its own, to try things out\n\nThe agent runs \
                  until SIGTERM or Ctrl-C; the programs that it runs end with it."
)]
pub struct Arguments {
    /// Configuration; everything in it has a default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Without a configuration: where the agent keeps its state
    #[arg(long, value_name = "DIR", conflicts_with = "config", default_value = DEFAULT_STATE_DIR)]
    state_dir: PathBuf,
    /// Address of a node of the grid, as HOST:PORT; may be given several times
    #[arg(long, value_name = "ADDR")]
    join: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let config = configuration(arguments.config.as_deref(), &arguments.state_dir, &arguments.join)?;
    log_to_standard_error(&config.log)?;
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get().min(WORKERS_MAX));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("no async runtime: {e}")))?;
    runtime.block_on(run_agent(config)).map_err(|e| Failure::new(exit(&e), e))?;
    Ok(Exit::Success)
}

fn configuration(file: Option<&Path>, state_dir: &Path, join: &[String]) -> Result<Config, Failure> {
    let mut config = match file {
        Some(file) => Config::load(file).map_err(Failure::usage)?,
        None => Config::new(state_dir.to_owned()),
    };
    for address in join {
        config.add_join(address).map_err(|why| Failure::usage(format!("--join {address}: {why}")))?;
    }
    Ok(config)
}

fn log_to_standard_error(filter: &str) -> Result<(), Failure> {
    let filter = targets(filter).map_err(|e| {
        Failure::usage(format!("[log] filter = {filter:?}: {e}"))
            .with_hint("for example filter = \"info,xtreem_agent=debug\"")
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
}

/// Levels by target. A part without `=` is a level: a target alone would silence all others.
fn targets(filter: &str) -> Result<Targets, String> {
    let mut targets = Targets::new();
    let parts: Vec<&str> = filter.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err("it names no level: error, warn, info, debug, trace or off".to_owned());
    }
    for part in parts {
        let (target, level) =
            part.split_once('=').map_or((None, part), |(target, level)| (Some(target), level));
        let level: LevelFilter = level
            .trim()
            .parse()
            .map_err(|_| format!("`{level}` is none of error, warn, info, debug, trace, off"))?;
        targets = match target.map(str::trim) {
            None => targets.with_default(level),
            Some(target) if target.contains(['[', ']', '{', '}']) => {
                return Err(format!("`{target}` is no target: spans and fields cannot be chosen"));
            }
            Some(target) => targets.with_target(target, level),
        };
    }
    Ok(targets)
}

/// What the machine's operator has to put right is bad input; the rest is trouble with the machine.
fn exit(error: &AgentError) -> Exit {
    match error {
        AgentError::Identity(_) | AgentError::Declared(_) => Exit::Usage,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_by_target_and_no_typo_silences_an_agent() {
        for good in ["info", "info,", "info,,xtreem_net=debug", "off", " warn , xtreem_agent = trace"] {
            assert!(targets(good).is_ok(), "{good}");
        }
        let info = targets("info,").expect("a good filter");
        assert_eq!(info.default_level(), Some(LevelFilter::INFO));
        for bad in ["", ",", "infoo", "xtreem_agent", "info,xtreem_agent=debgu", "a[b]=debug"] {
            assert!(targets(bad).is_err(), "{bad}");
        }
    }
}
