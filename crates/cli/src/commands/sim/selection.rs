//! `xtreem sim selection`.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use xtreem_sim::selection::classes::{self, BUILTIN, Class};
use xtreem_sim::selection::data::Data;
use xtreem_sim::selection::{self, Options, Report};

use crate::exit::{Exit, Failure};
use crate::output;
use crate::text::{Table, bytes};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  xtreem sim selection --nodes 10000 --data clustered
  xtreem sim selection --nodes 100000 --data uniform --wanted 10 --queries builtin --churn 0.002 --json
  xtreem sim selection --nodes 2000 --queries queries.txt

Links fill from nothing but five ring neighbours a node; then churn goes on while each class of queries is asked by 200
random requesters three times: for --wanted nodes, for all, and for a set of at most six nodes that has 30, 70 or 90 % of the
free disk that the best six have. A file holds one requirement a line over the attributes a0 to
a5, such as `a0 >= 32768 && a3 < 6554`. Its numbers are ranks: the share of nodes below, times 65,536. Classes with fewer
than 150 matches are listed as scarce.")]
pub struct Arguments {
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// `uniform`, or `clustered`: 60 % of the machines in groups of identical ones
    #[arg(long, default_value_t = Data::Uniform)]
    data: Data,
    #[arg(long, default_value_t = 1)]
    data_seed: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Nodes that a query asks for
    #[arg(long, default_value_t = Options::default().wanted)]
    wanted: u32,
    /// `builtin`, or a file of requirements
    #[arg(long, value_name = "builtin|FILE", default_value = "builtin")]
    queries: PathBuf,
    /// Periods in which links fill
    #[arg(long, default_value_t = Options::default().rounds)]
    rounds: u32,
    /// Share of the nodes that is replaced by newcomers each round after those
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    churn: f64,
    /// Share of the packets that get lost
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    loss: f64,
    /// Measure how so many queries of the first built-in class spread over the nodes
    #[arg(long, value_name = "QUERIES", default_value_t = 0)]
    load: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { nodes, data, data_seed, seed, wanted, rounds, churn, loss, load, json, .. } = *arguments;
    let classes = classes(&arguments.queries)?;
    let options =
        Options { nodes, data, data_seed, seed, wanted, rounds, churn, loss, load, ..Options::default() };
    let mut note = |note: &str| eprintln!("{note}");
    let report = selection::run(&options, &classes, &mut note).map_err(Failure::usage)?;
    if json {
        output::print_json(&report)?
    } else {
        output::print(&table(&report))?
    }
    Ok(Exit::Success)
}

fn classes(queries: &PathBuf) -> Result<Vec<Class>, Failure> {
    if queries.as_os_str() == "builtin" {
        return Ok(BUILTIN.to_vec());
    }
    let in_file = |error: String| Failure::usage(format!("{}: {error}", queries.display()));
    let text = fs::read_to_string(queries).map_err(|error| in_file(error.to_string()))?;
    classes::read(&text).map_err(in_file)
}

fn table(report: &Report) -> String {
    let mut figures = Table::new(["FIGURE", "VALUE"]);
    let last = report.recall_by_round.last();
    for (figure, value) in [
        ("links a node", bytes(report.link_memory_bytes_mean as u64)),
        ("sent a node and round", bytes(report.bytes_sent_per_node as u64)),
        ("recall when links had filled", last.map_or("-".into(), |last| format!("{:.4}", last.recall))),
        ("newcomers found after", format!("{} rounds", report.newcomer_rounds)),
    ] {
        figures.row([figure.to_owned(), value]);
    }
    if let Some(aggregates) = &report.aggregates {
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        for (figure, value) in [
            ("of that, aggregation", bytes(report.aggregation_bytes_per_node as u64)),
            ("size off by", percent(aggregates.size_error)),
            ("histograms off by, mean", percent(aggregates.histogram_error_mean)),
            ("histograms off by, most", percent(aggregates.histogram_error_max)),
        ] {
            figures.row([figure.to_owned(), value]);
        }
    }
    if let Some(load) = &report.load {
        figures.row(["busiest node over mean".to_owned(), format!("{:.1}", load.worst_over_mean)]);
    }
    let mut classes = Table::new([
        "CLASS",
        "MATCHES",
        "VISITS",
        "P99",
        "ROUND TRIPS",
        "SATISFIED",
        "RECALL",
        "VISITS A MATCH",
        "VISITS A SET",
        "SETS FOUND",
    ]);
    for class in report.classes.iter().chain(&report.scarce) {
        classes.row([
            class.name.clone(),
            format!("{:.0}", class.matches_mean),
            format!("{:.1}", class.visits_mean),
            class.visits_p99.to_string(),
            format!("{:.1}", class.round_trips_mean),
            format!("{:.3}", class.satisfied),
            format!("{:.4}", class.recall),
            format!("{:.2}", class.visits_per_match),
            format!("{:.1}", class.set.set_visits_mean),
            format!("{:.3}", class.set.set_solved),
        ]);
    }
    format!("{figures}\n{classes}")
}
