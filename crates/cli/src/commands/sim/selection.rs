//! `xtreem sim selection`.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use xtreem_sim::selection::classes::{self, BUILTIN, Class};
use xtreem_sim::selection::data::Data;
use xtreem_sim::selection::{self, ClassReport, Options, Report, Scheme};

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
    /// The structure that searches follow: `trie`, or only the baseline, `cells`
    #[arg(long, default_value_t = Scheme::Trie)]
    scheme: Scheme,
    /// Nodes that a query asks for; several numbers are asked for one after the other
    #[arg(long, value_delimiter = ',', default_values_t = Options::default().wanted)]
    wanted: Vec<u32>,
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
    let Arguments { nodes, scheme, data, data_seed, seed, rounds, churn, loss, load, json, .. } = *arguments;
    let classes = classes(&arguments.queries)?;
    let wanted = arguments.wanted.clone();
    let options = Options {
        nodes,
        scheme,
        data,
        data_seed,
        seed,
        wanted,
        rounds,
        churn,
        loss,
        load,
        ..Options::default()
    };
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
    let unknown = || "-".to_owned();
    for (figure, value) in [
        ("links a node", bytes(report.link_memory_bytes_mean as u64)),
        ("sent a node and round", report.bytes_sent_per_node.map_or_else(unknown, |sent| bytes(sent as u64))),
        (
            "recall when links had filled",
            report.recall_by_round.last().map_or_else(unknown, |last| format!("{:.4}", last.recall)),
        ),
        (
            "newcomers found after",
            report.newcomer_rounds.map_or_else(unknown, |rounds| format!("{rounds} rounds")),
        ),
        (
            "busiest node over mean",
            report.load.as_ref().map_or_else(unknown, |load| format!("{:.1}", load.worst_over_mean)),
        ),
    ] {
        figures.row([figure.to_owned(), value]);
    }
    if let Some(aggregates) = &report.aggregates {
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        for (figure, value) in [
            ("of that, aggregation", bytes(report.aggregation_bytes_per_node.unwrap_or_default() as u64)),
            ("size off by", percent(aggregates.size_error)),
            ("histograms off by, mean", percent(aggregates.histogram_error_mean)),
            ("histograms off by, most", percent(aggregates.histogram_error_max)),
        ] {
            figures.row([figure.to_owned(), value]);
        }
    }
    let mut classes = Table::new([
        "CLASS",
        "SCHEME",
        "MATCHES",
        "WANTED",
        "VISITS",
        "P99",
        "ROUND TRIPS",
        "SATISFIED",
        "RECALL",
        "VISITS A MATCH",
        "VISITS A SET",
        "SETS FOUND",
    ]);
    let mut rows = |scheme: Scheme, class: &ClassReport| {
        for wanted in [&class.wanted].into_iter().chain(&class.also) {
            classes.row([
                class.name.clone(),
                scheme.to_string(),
                format!("{:.0}", class.matches_mean),
                wanted.wanted.to_string(),
                format!("{:.1}", wanted.visits_mean),
                wanted.visits_p99.to_string(),
                format!("{:.1}", wanted.round_trips_mean),
                format!("{:.3}", wanted.satisfied),
                format!("{:.4}", class.recall),
                format!("{:.2}", class.visits_per_match),
                class.set.as_ref().map_or_else(unknown, |set| format!("{:.1}", set.set_visits_mean)),
                class.set.as_ref().map_or_else(unknown, |set| format!("{:.3}", set.set_solved)),
            ]);
        }
    };
    report.classes.iter().chain(&report.scarce).for_each(|class| rows(report.scheme, class));
    if let Some(baseline) = &report.baseline {
        baseline.classes.iter().chain(&baseline.scarce).for_each(|class| rows(baseline.scheme, class));
    }
    format!("{figures}\n{classes}")
}
