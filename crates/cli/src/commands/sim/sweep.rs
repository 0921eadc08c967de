//! `xtreem sim sweep`.

use std::io::IsTerminal as _;
use std::ops::Range;
use std::thread;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use xtreem_sim::grid::{self, SweepReport};

use super::grid::World;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::text::Table;

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  xtreem sim sweep --seeds 0..200 --nodes 1000 --apps 20\n\nEnds with 1 when a seed broke \
                        an invariant; the command that replays it is printed."
)]
pub struct Arguments {
    /// The end is excluded
    #[arg(long, value_name = "FROM..TO", value_parser = seeds)]
    seeds: Range<u64>,
    #[command(flatten)]
    world: World,
    /// Worlds that run at once [default: one a core]
    #[arg(long)]
    threads: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parse = || {
        let (from, to) = text.split_once("..")?;
        let range = from.trim().parse().ok()?..to.trim().parse().ok()?;
        (range.start < range.end).then_some(range)
    };
    parse().ok_or_else(|| "expected FROM..TO such as 0..200, the end excluded and larger".to_owned())
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let threads =
        arguments.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, |cores| cores.get()));
    let options = arguments.world.options(0);
    options.check_sweep(&arguments.seeds, threads).map_err(Failure::usage)?;
    let bar = std::io::stderr().is_terminal().then(|| {
        let seeds = arguments.seeds.end - arguments.seeds.start;
        ProgressBar::with_draw_target(Some(seeds), ProgressDrawTarget::stderr())
    });
    let report = grid::sweep(arguments.seeds.clone(), &options, threads, |seed, one| {
        if let Some(bar) = &bar {
            bar.inc(1);
        }
        if !one.ok {
            let line = format!("seed {seed} broke an invariant; again: {}", one.replay);
            match &bar {
                Some(bar) => bar.println(line),
                None => eprintln!("{line}"),
            }
        }
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    if arguments.json {
        output::print_json(&report)?;
    } else {
        output::print(&told(&report))?;
    }
    Ok(if report.failed == 0 { Exit::Success } else { Exit::Failed })
}

fn told(report: &SweepReport) -> String {
    let mut text = format!("{} seeds, {} failed\n", report.seeds, report.failed);
    if !report.failures.is_empty() {
        let mut table = Table::new(["SEED", "CHECKER", "AT", "AGAIN"]);
        for failure in &report.failures {
            table.row([
                failure.seed.to_string(),
                failure.checker.clone(),
                format!("{} ms", failure.at_ms),
                failure.replay.clone(),
            ]);
        }
        text.push_str(&table.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_seeds_exclude_their_end_and_are_not_empty() {
        assert_eq!(seeds("0..200"), Ok(0..200));
        for text in ["", "5", "5..5", "7..5", "a..b", "-1..3", "0..=3"] {
            assert!(seeds(text).is_err(), "{text}");
        }
    }
}
