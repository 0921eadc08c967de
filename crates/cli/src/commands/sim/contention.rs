//! `xtreem sim contention`.

use clap::Args;
use xtreem_allocation::placement::Placements;
use xtreem_sim::contention::{self, Options, Report};
use xtreem_sim::grid::{Faults, Trace};

use crate::exit::{Exit, Failure};
use crate::output;
use crate::text::Table;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  xtreem sim contention --json
  xtreem sim contention --requests 50 --slots 20 --scarce 100 --faults loss,split --seed 7

Every request wants --slots of the --scarce nodes that match, each of which has room for one slot; programs end after
a few seconds. A round is the life of a hold, 10 s. Ends with 1 when a request was not granted, a hold leaked or an
invariant of the grid was broken.")]
pub struct Arguments {
    #[arg(long, default_value_t = Options::default().nodes)]
    nodes: u32,
    /// Applications submitted at once
    #[arg(long, default_value_t = Options::default().requests)]
    requests: u32,
    /// Nodes that each of them wants
    #[arg(long, default_value_t = Options::default().slots)]
    slots: u16,
    /// Nodes that match
    #[arg(long, default_value_t = Options::default().scarce)]
    scarce: u32,
    /// Placement of each request, as in app.toml: looks for more nodes than it needs
    #[arg(long, default_value = "")]
    placement: String,
    /// `none`, or some of loss,split
    #[arg(long, default_value_t = Faults::NONE)]
    faults: Faults,
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { nodes, requests, slots, scarce, faults, seed, json, .. } = *arguments;
    let placement = arguments.placement.clone();
    Placements::default().parse(&placement).map_err(Failure::usage)?;
    let options = Options { nodes, requests, slots, scarce, placement, faults, seed, trace: Trace::Off };
    let report = contention::run(&options).map_err(Failure::usage)?;
    if json {
        output::print_json(&report)?;
    } else {
        output::print(&table(&report))?;
    }
    let is_good =
        report.granted == report.requests && report.leaked_holds == 0 && report.violations.is_empty();
    Ok(if is_good { Exit::Success } else { Exit::Failed })
}

fn table(report: &Report) -> String {
    let seconds = |millis: u64| format!("{:.1} s", millis as f64 / 1_000.0);
    let mut table = Table::new(["FIGURE", "VALUE"]);
    for (figure, value) in [
        ("granted", format!("{} of {}", report.granted, report.requests)),
        ("refused", report.refused.to_string()),
        ("leaked holds", report.leaked_holds.to_string()),
        ("lapsed holds", report.lapsed_holds.to_string()),
        ("slots left", report.slots_left.to_string()),
        ("rounds without progress", format!("{} of {}", report.rounds_without_progress, report.rounds)),
        ("half granted within", seconds(report.time_to_grant_ms_p50)),
        ("last granted after", seconds(report.time_to_last_ms)),
        ("attempts", report.searches.to_string()),
        ("messages", report.messages.to_string()),
        ("digest", report.digest.clone()),
    ] {
        table.row([figure.to_owned(), value]);
    }
    let broken: String = report
        .violations
        .iter()
        .map(|violation| format!("{} ms: {}: {}\n", violation.at_ms, violation.checker, violation.what))
        .collect();
    format!("{table}{broken}")
}
