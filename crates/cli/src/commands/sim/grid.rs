//! `xtreem sim grid`.

use clap::Args;
use xtreem_sim::grid::{self, Faults, Options, Report, Trace};

use crate::exit::{Exit, Failure};
use crate::output;
use crate::text::{Table, bytes};

/// The world of one run; a sweep has the same without the seed.
#[derive(Args, Debug)]
pub struct World {
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// Applications of about 10 slots
    #[arg(long, default_value_t = 20)]
    apps: u32,
    /// Kinds of faults: `none`, or some of kill,cut,split,pause,restart,loss,clock,power, and liar: 2 % of
    /// the members lie
    #[arg(long, default_value_t = Faults::ALL)]
    faults: Faults,
    /// End the run at this second of virtual time instead of 170: earlier without judging what is left, or
    /// later after a longer calm
    #[arg(long, value_name = "SECONDS")]
    until: Option<u64>,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  xtreem sim grid --nodes 1000 --apps 20 --faults kill,cut,split,pause,restart,loss,clock \
                        --seed 7\n\nEnds with 1 when an invariant was broken."
)]
pub struct Arguments {
    #[command(flatten)]
    world: World,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print first what will happen and when, on standard error
    #[arg(long)]
    plan: bool,
    /// Print the events of these applications (names, or beginnings of ids; `all`) on standard error
    #[arg(long, value_name = "APP,…", value_delimiter = ',')]
    trace: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl World {
    pub fn options(&self, seed: u64) -> Options {
        let World { nodes, apps, faults, until } = *self;
        Options { nodes, apps, faults, seed, until, ..Options::default() }
    }
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let options = Options { trace: trace(&arguments.trace), ..arguments.world.options(arguments.seed) };
    options.check(1).map_err(Failure::usage)?;
    if arguments.plan {
        eprintln!("{}", grid::plan(&options));
    }
    let report = grid::run(&options);
    if arguments.json {
        output::print_json(&report)?;
    } else {
        output::print(&table(&report))?;
    }
    if report.ok {
        return Ok(Exit::Success);
    }
    eprintln!("an invariant was broken; again: {}", report.replay);
    Ok(Exit::Failed)
}

fn trace(apps: &[String]) -> Trace {
    match apps {
        [] => Trace::Off,
        [all] if all == "all" => Trace::All,
        apps => Trace::Apps(apps.to_vec()),
    }
}

fn table(report: &Report) -> String {
    let mut table = Table::new(["FIGURE", "VALUE"]);
    let Report { replacement_ms_p50: p50, replacement_ms_p99: p99, replacement_ms_max: max, .. } = *report;
    for (figure, value) in [
        ("nodes", report.nodes.to_string()),
        ("applications accepted", format!("{} of {}", report.accepted, report.apps)),
        ("applications stopped", report.stopped.to_string()),
        ("applications lost", report.lost.to_string()),
        ("slots running at the end", report.slots_running.to_string()),
        ("slots replaced", report.replaced.to_string()),
        ("replaced after", format!("{p50} ms (median), {p99} ms (99 %), {max} ms (longest)")),
        ("false failures", report.false_failures.to_string()),
        (
            "liars",
            format!(
                "{}, {} lies, {} applications entrusted to them",
                report.liars, report.lies, report.entrusted
            ),
        ),
        ("messages", report.messages.to_string()),
        ("events", report.events.to_string()),
        ("virtual time", format!("{:.1} s", report.virtual_ms as f64 / 1_000.0)),
        ("CPU time", format!("{:.1} s", report.cpu_seconds)),
        ("events a CPU second", report.events_per_cpu_second.to_string()),
        ("memory", bytes(report.rss_bytes)),
        ("memory a node", bytes(report.bytes_per_node)),
        ("sent a node and round", bytes(report.bytes_sent_per_node_round)),
        ("digest", report.digest.clone()),
    ] {
        table.row([figure.to_owned(), value]);
    }
    let mut text = table.to_string();
    if !report.violations.is_empty() {
        let mut broken = Table::new(["AT", "CHECKER", "WHAT"]);
        for violation in &report.violations {
            broken.row([
                format!("{} ms", violation.at_ms),
                violation.checker.clone(),
                violation.what.clone(),
            ]);
        }
        text.push_str(&format!("\n{broken}"));
    }
    text
}
