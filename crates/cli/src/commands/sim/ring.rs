//! `xtreem sim ring`.

use clap::Args;
use xtreem_sim::membership::Kill;
use xtreem_sim::ring::{self, Faults, Keys, Options, Report};

use crate::exit::{Exit, Failure};
use crate::output;
use crate::text::{Table, bytes};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  xtreem sim ring --nodes 100000 --keys u8 --json\n  xtreem sim ring --nodes 10000 \
                        --keys uniform --kill 0.3@2 --json\n  xtreem sim ring --nodes 1000 --faults \
                        pause,loss,suspect,churn --rounds 150 --seed 7"
)]
pub struct Arguments {
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// How keys are spread: uniform, u8 (the eighth power of an even number) or zipf (by prefixes; nodes
    /// come one after the other and choose their places by load)
    #[arg(long, value_name = "SPREAD", default_value = "uniform")]
    keys: Keys,
    /// Share of the nodes that is replaced by newcomers in 10 s
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    churn: f64,
    /// Kill this share of the nodes after this round of lookups, such as 0.3@2
    #[arg(long, value_name = "SHARE@ROUND")]
    kill: Option<Kill>,
    /// What goes wrong: some of pause, loss, suspect, split, churn, leave, overstay, with
    /// commas between them
    #[arg(long, value_name = "LIST", default_value = "")]
    faults: Faults,
    /// Rounds of lookups, each of two seconds
    #[arg(long, default_value_t = 30)]
    rounds: u32,
    /// Lookups in all
    #[arg(long, default_value_t = 10_000)]
    lookups: u32,
    /// Leave plain Chord out
    #[arg(long)]
    no_chord: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { nodes, keys, churn, kill, faults, rounds, lookups, no_chord, seed, json } = *arguments;
    let options = Options { nodes, keys, churn, kill, faults, rounds, lookups, seed, chord: !no_chord };
    let report = ring::run(&options).map_err(Failure::usage)?;
    if json {
        output::print_json(&report)?;
    } else {
        output::print(&table(&report))?;
    }
    Ok(Exit::Success)
}

fn table(report: &Report) -> String {
    let mut table = Table::new(["FIGURE", "VALUE", "BESIDE IT"]);
    let number = |value: f64| format!("{value:.2}");
    let chord = report.chord_hops_mean.map_or(String::new(), |hops| format!("{hops:.2} (Chord)"));
    table.row(["hops, mean".to_owned(), number(report.hops_mean), chord]);
    table.row(["hops, max".to_owned(), report.hops_max.to_string()]);
    table.row(["lookups".to_owned(), report.lookups.to_string()]);
    table.row(["lookups, right".to_owned(), report.lookups_right.to_string()]);
    table.row(["lookups, unanswered".to_owned(), report.unanswered.to_string()]);
    table.row(["lookups with two owners".to_owned(), report.double_owner_lookups.to_string()]);
    table.row([
        "load, largest over mean".to_owned(),
        number(report.balance_max_over_mean),
        format!("{:.2} (random places)", report.balance_random_max_over_mean),
    ]);
    table.row(["memory a node".to_owned(), bytes(report.bytes_per_node)]);
    let rounds = report.rounds_to_right_ring.map_or("never".to_owned(), |rounds| rounds.to_string());
    table.row(["rounds until the ring was right".to_owned(), rounds]);
    table.to_string()
}
