//! `xtreem sim tman`.

use clap::Args;
use xtreem_sim::tman::{self, Options, Report};

use crate::exit::{Exit, Failure};
use crate::output;
use crate::text::{Table, bytes};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  xtreem sim tman --nodes 65536 --view 40 --json\n  xtreem sim tman --nodes 2000 \
                  --kill 0.5 --split 30"
)]
pub struct Arguments {
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Peers that a node keeps
    #[arg(long, default_value_t = 40)]
    view: u8,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of the datagrams that get lost
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    loss: f64,
    /// Rounds after which a ring that is not right is given up
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// The same of the plain algorithm beside it; 0 leaves it out
    #[arg(long, value_name = "ROUNDS", default_value_t = 200)]
    baseline_rounds: u32,
    /// Kill this share of the nodes when the ring is right
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    kill: f64,
    /// Then split the network into halves for so many rounds
    #[arg(long, value_name = "ROUNDS", default_value_t = 0)]
    split: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { nodes, view, seed, loss, rounds, baseline_rounds, kill, split, json } = *arguments;
    let options = Options { nodes, view, seed, loss, rounds, baseline_rounds, kill, split };
    let report = tman::run(&options).map_err(Failure::usage)?;
    if json {
        output::print_json(&report)?
    } else {
        output::print(&table(&options, &report))?
    }
    Ok(Exit::Success)
}

fn table(options: &Options, report: &Report) -> String {
    let mut table = Table::new(["FIGURE", "VALUE"]);
    let rounds = |rounds: Option<u32>| rounds.map_or("not in time".to_owned(), |rounds| rounds.to_string());
    table.row(["rounds until all were right".to_owned(), rounds(report.rounds_to_perfect)]);
    if options.baseline_rounds > 0 {
        table.row(["the same, plain algorithm".to_owned(), rounds(report.baseline_rounds)]);
    }
    if options.kill > 0.0 {
        table.row(["rounds after the kill".to_owned(), rounds(report.rounds_after_kill)]);
    }
    if options.split > 0 {
        table.row(["rounds until both halves were right".to_owned(), rounds(report.rounds_split)]);
        table.row(["rounds after the split".to_owned(), rounds(report.rounds_after_heal)]);
    }
    let size = |value: f64| bytes(value.round() as u64);
    table.row(["sent a node and round".to_owned(), size(report.bytes_per_node_round)]);
    if let Some(kept) = report.bytes_per_node_round_kept {
        table.row(["the same when all were right".to_owned(), size(kept)]);
    }
    table.row(["of CYCLON a node and round".to_owned(), size(report.cyclon_bytes_per_node_round)]);
    table.row(["exchanges a node and round".to_owned(), format!("{:.2}", report.exchanges_per_node_round)]);
    table.row(["events".to_owned(), report.events.to_string()]);
    table.row(["digest".to_owned(), report.digest.clone()]);
    table.to_string()
}
