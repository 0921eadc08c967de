//! `xtreem sim broadcast`.

use clap::Args;
use xtreem_sim::broadcast::{self, Options, Report};

use crate::exit::{Exit, Failure};
use crate::output;
use crate::text::Table;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  xtreem sim broadcast --nodes 100000 --stale 0.05 --json\n  xtreem sim \
                        broadcast --nodes 2000 --stale 0.2 --loss 0.02 --seed 7")]
pub struct Arguments {
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Share of the nodes that die just before the broadcast, before anybody has noticed
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    stale: f64,
    /// Share of the datagrams that get lost
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    loss: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { nodes, stale, loss, seed, json } = *arguments;
    let report = broadcast::run(&Options { nodes, stale, loss, seed }).map_err(Failure::usage)?;
    if json {
        output::print_json(&report)?;
    } else {
        output::print(&table(&report))?;
    }
    Ok(Exit::Success)
}

fn table(report: &Report) -> String {
    let mut table = Table::new(["FIGURE", "VALUE"]);
    table.row(["live nodes".to_owned(), report.live.to_string()]);
    table.row(["reached".to_owned(), report.reached.to_string()]);
    table.row(["told twice".to_owned(), report.told_twice.to_string()]);
    table.row(["delegations a live node".to_owned(), format!("{:.3}", report.messages_per_node)]);
    table.row(["answers a live node".to_owned(), format!("{:.3}", report.acks_per_node)]);
    table.row(["depth".to_owned(), report.depth.to_string()]);
    let seconds = (report.seconds_half, report.seconds_99, report.seconds_all);
    table.row([
        "seconds until half, 99 %, all were told".to_owned(),
        format!("{:.1}, {:.1}, {:.1}", seconds.0, seconds.1, seconds.2),
    ]);
    table.row(["contacts that were dead when it began".to_owned(), format!("{:.4}", report.dead_contacts)]);
    let rounds = report.rounds_to_right_ring.map_or("never".to_owned(), |rounds| rounds.to_string());
    table.row(["rounds until the ring was right".to_owned(), rounds]);
    table.to_string()
}
