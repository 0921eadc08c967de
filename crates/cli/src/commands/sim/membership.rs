//! `xtreem sim membership`.

use std::path::PathBuf;

use clap::Args;
use xtreem_sim::membership::{self, Kill, Options, Report};
use xtreem_sim::queue::Kind;

use crate::exit::{Exit, Failure};
use crate::output;
use crate::text::{Table, bytes};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  xtreem sim membership --nodes 100000 --rounds 100 --seed 1\n  xtreem sim membership \
                        --nodes 10000 --rounds 120 --seed 1 --kill 0.8@60 --json"
)]
pub struct Arguments {
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Periods of virtual time
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kill this share of the nodes after this round, such as 0.8@60
    #[arg(long, value_name = "SHARE@ROUND")]
    kill: Option<Kill>,
    /// Share of the nodes that is replaced by newcomers each round
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    churn: f64,
    /// Share of the messages that get lost
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    loss: f64,
    /// How events are kept in order: wheel, or heap to compare the speed; all else stays the same
    #[arg(long, value_name = "KIND", default_value = "wheel")]
    queue: Kind,
    /// Threads that share the world: 1, 2, 4 or 8; all but the speed stays the same
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    shards: u32,
    /// Draw in-degree, path, clustering and dead links into this directory, as SVG
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { nodes, rounds, seed, kill, churn, loss, queue, shards, ref plot, json } = *arguments;
    let options = Options { nodes, rounds, seed, kill, churn, loss, queue, shards, series: plot.is_some() };
    let report = membership::run(&options).map_err(Failure::usage)?;
    if let Some(directory) = plot {
        for file in membership::plot(&report, directory)
            .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", directory.display())))?
        {
            eprintln!("{}", file.display());
        }
    }
    if json {
        output::print_json(&report)?
    } else {
        output::print(&table(&report))?
    }
    Ok(Exit::Success)
}

fn table(report: &Report) -> String {
    let mut table = Table::new(["FIGURE", "VALUE", "RANDOM GRAPH"]);
    let number = |value: f64| format!("{value:.4}");
    table.row(["in-degree, mean".to_owned(), number(report.in_degree_mean)]);
    table.row(["in-degree, sd".to_owned(), number(report.in_degree_sd)]);
    table.row(["path, mean".to_owned(), number(report.mean_path), number(report.random_mean_path)]);
    table.row(["clustering".to_owned(), number(report.clustering), number(report.random_clustering)]);
    if let Some(share) = report.survivors_cut_off {
        table.row(["survivors cut off".to_owned(), format!("{share:.6}")]);
    }
    for (what, links) in [("first", report.dead_links.first()), ("last", report.dead_links.last())] {
        if let Some(links) = links {
            table.row([
                format!("dead links, {what} (round {})", links.round),
                format!("{:.6}", links.fraction),
            ]);
        }
    }
    table.row(["memory a node".to_owned(), bytes(report.bytes_per_node)]);
    table.row(["node-rounds a CPU second".to_owned(), report.node_rounds_per_cpu_second.to_string()]);
    table.row(["events".to_owned(), report.events.to_string()]);
    table.row(["digest".to_owned(), report.digest.clone()]);
    table.to_string()
}
