//! `xtreem sim ranks`.

use clap::Args;
use xtreem_sim::ranks::{self, Options, Report};

use crate::exit::{Exit, Failure};
use crate::output;
use crate::text::Table;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  xtreem sim ranks --nodes 100000 --json\n  xtreem sim ranks --nodes 10000 --churn \
                        0.01\n  xtreem sim ranks --nodes 10000 --kill 0.3 --loss 0.05 --seed 7"
)]
pub struct Arguments {
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Share of the datagrams that gets lost
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    loss: f64,
    /// Kill this share of the nodes at once when all is settled, and measure how it settles again
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    kill: f64,
    /// Replace this share of the nodes in 10 s, for a minute when all is settled, and measure how it settles
    /// again
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    churn: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { nodes, loss, kill, churn, seed, json } = *arguments;
    let report = ranks::run(&Options { nodes, loss, kill, churn, seed }).map_err(Failure::usage)?;
    if json {
        output::print_json(&report)?;
    } else {
        output::print(&table(&report))?;
    }
    Ok(Exit::Success)
}

fn table(report: &Report) -> String {
    let mut table = Table::new(["FIGURE", "VALUE"]);
    let rounds = |rounds: Option<u32>| rounds.map_or("never".to_owned(), |rounds| rounds.to_string());
    let mut row = |figure: &str, value: String| {
        table.row([figure.to_owned(), value]);
    };
    row("rounds until the ring was right", rounds(report.rounds_to_right_ring));
    row("rounds until all ranks were right", rounds(report.rounds_to_right));
    row("rounds until all were settled", rounds(report.rounds_to_settled));
    row("other nodes kept, mean", format!("{:.1}", report.state_entries_mean));
    row("other nodes kept, most", report.state_entries_max.to_string());
    row("messages a node and round, settled", format!("{:.1}", report.messages_per_node_round));
    if let Some(again) = &report.again {
        row("survivors that were moved", again.survivors_moved.to_string());
        row("rounds until all were right again", rounds(again.rounds_to_right));
        row("rounds until all were settled again", rounds(again.rounds_to_settled));
    }
    table.to_string()
}
