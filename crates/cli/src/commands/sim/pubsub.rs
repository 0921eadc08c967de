//! `xtreem sim pubsub`.

use std::ops::Range;

use clap::Args;
use xtreem_sim::membership::Kill;
use xtreem_sim::pubsub::{self, Faults, Options, Report, SweepReport, Tree};

use super::sweep::seeds;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::text::Table;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  xtreem sim pubsub --nodes 10000 --subscribers 1000 --json\n  xtreem sim pubsub --nodes \
                        10000 --subscribers 1000 --kill-per-round 50 --rounds 60\n  xtreem sim pubsub --nodes 2000 \
                        --subscribers 200 --kill 0.5@20 --rounds 180\n  xtreem sim pubsub --nodes 10000 \
                        --subscribers 9000 --tree gossip\n  xtreem sim pubsub --seeds 0..100\n\nEnds with 1 when a \
                        promise was broken; of a seed of --seeds the command that replays it is printed."
)]
pub struct Arguments {
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Servers with a subscriber, on random nodes
    #[arg(long, default_value_t = 100)]
    subscribers: u32,
    /// Servers that publish an event in each round
    #[arg(long, default_value_t = 1)]
    publishers: u32,
    /// By which ways events go: list (the product's), reverse (Scribe) or gossip (Plumtree) to compare with
    #[arg(long, default_value = "list")]
    tree: Tree,
    /// Nodes that die in each round; publishers do not
    #[arg(long, value_name = "NODES", default_value_t = 0)]
    kill_per_round: u32,
    /// Kill a share of the nodes at once, such as 0.5@20, after 20 rounds; publishers do not die
    #[arg(long, value_name = "SHARE@ROUND")]
    kill: Option<Kill>,
    /// Rounds of two seconds
    #[arg(long, default_value_t = 30)]
    rounds: u32,
    /// Share of the datagrams that get lost
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    loss: f64,
    /// Some of loss, death, pause, split, restart, cancel: whom they meet is drawn, publishers too
    #[arg(long, value_name = "FAULTS", default_value = "")]
    faults: Faults,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Instead of all that: a world of 3, 5, 10 or 30 nodes with all faults for each seed, the end excluded
    #[arg(long, value_name = "FROM..TO", value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if let Some(seeds) = &arguments.seeds {
        return sweep(seeds.clone(), arguments.json);
    }
    let Arguments { nodes, subscribers, publishers, tree, kill_per_round, kill, rounds, .. } = *arguments;
    let Arguments { loss, faults, seed, json, .. } = *arguments;
    let options =
        Options { nodes, subscribers, publishers, tree, kill_per_round, kill, rounds, loss, faults, seed };
    let report = pubsub::run(&options).map_err(Failure::usage)?;
    if json {
        output::print_json(&report)?;
    } else {
        output::print(&table(&report))?;
    }
    Ok(if report.ok { Exit::Success } else { Exit::Failed })
}

fn sweep(seeds: Range<u64>, json: bool) -> Result<Exit, Failure> {
    let report = pubsub::sweep(seeds, |failure| {
        eprintln!("seed {} broke a promise: {}; again: {}", failure.seed, failure.wrong, failure.replay);
    });
    if json {
        output::print_json(&report)?;
    } else {
        let SweepReport { seeds, failed, expected, delivered, .. } = &report;
        output::print(&format!("{seeds} seeds, {failed} failed, {delivered} of {expected} events heard\n"))?;
    }
    Ok(if report.failed == 0 { Exit::Success } else { Exit::Failed })
}

fn table(report: &Report) -> String {
    let mut table = Table::new(["FIGURE", "VALUE"]);
    let mut row = |figure: &str, value: String| {
        table.row([figure.to_owned(), value]);
    };
    row("events heard", format!("{} of {}", report.delivered, report.expected));
    row("heard twice, out of order", format!("{}, {}", report.duplicates, report.out_of_order));
    row("fan-out at most", report.fan_out_max.to_string());
    row("depth at most, mean", format!("{}, {}", report.depth_max, report.depth_mean));
    row("others that had events in hand", report.bystanders_touched.to_string());
    row(
        "ms until half, 99 %, all heard",
        format!("{}, {}, {}", report.latency_half_ms, report.latency_99_ms, report.latency_max_ms),
    );
    row("copies an event", report.payloads_per_event.to_string());
    row("other messages an event", report.control_messages_per_event.to_string());
    row("of which of the store", report.store_messages_per_event.to_string());
    let after = |ms: Option<u64>| ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
    row("99.9 % hear again after", after(report.mostly_resumed_after_ms));
    row("all hear again after", after(report.resumed_after_ms));
    for words in &report.wrong {
        row("broken", words.clone());
    }
    table.to_string()
}
