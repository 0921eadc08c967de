//! Runs one seed of the grid world and prints its report: `cargo run --release -p xtreem-sim --example grid
//! -- [--nodes N] [--apps N] [--faults LIST] [--until SECONDS] [--seed S | --seeds A..B] [--trace APP,.. |
//! --trace all] [--plan]`.

use std::process::ExitCode;

use xtreem_sim::grid::{self, Options, Trace};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

/// Whether no invariant was broken.
fn run(mut words: impl Iterator<Item = String>) -> Result<bool, String> {
    let mut options = Options::default();
    let mut seeds = None;
    while let Some(word) = words.next() {
        if word == "--plan" {
            print!("{}", grid::plan(&options));
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u32>().map_err(|error| format!("{word} {value}: {error}"));
        match word.as_str() {
            "--nodes" => options.nodes = number()?,
            "--apps" => options.apps = number()?,
            "--faults" => options.faults = value.parse().map_err(|error| format!("{error}"))?,
            "--until" => options.until = Some(u64::from(number()?)),
            "--seed" => options.seed = value.parse().map_err(|error| format!("{word} {value}: {error}"))?,
            "--seeds" => {
                let ends = value.split_once("..").ok_or("--seeds wants A..B")?;
                let end = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
                seeds = Some(end(ends.0)?..end(ends.1)?);
            }
            "--trace" if value == "all" => options.trace = Trace::All,
            "--trace" => options.trace = Trace::Apps(value.split(',').map(Into::into).collect()),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    if let Some(seeds) = seeds {
        let report = grid::sweep(seeds, &options, 2, |seed, one| {
            eprintln!("seed {seed}: ok {}, {:.1} CPU s, {} messages", one.ok, one.cpu_seconds, one.messages);
            for violation in one.violations.iter().take(3) {
                eprintln!("  {} at {} ms: {}", violation.checker, violation.at_ms, violation.what);
            }
        });
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
        return Ok(report.failed == 0);
    }
    let report = grid::run(&options);
    println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    Ok(report.ok)
}
