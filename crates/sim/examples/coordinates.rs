//! How well coordinates tell round trips after so many rounds: `cargo run --release -p xtreem-sim --example
//! coordinates`.

use xtreem_sim::coordinates::{Options, run};

fn main() {
    println!("nodes  rounds  liars  error median  p90     to 10 of 40: random  near  nearest");
    for (nodes, rounds, liars_per_mille) in [
        (200, 20, 0),
        (200, 50, 0),
        (200, 100, 0),
        (200, 200, 0),
        (400, 100, 10),
        (400, 200, 10),
        (2_000, 100, 0),
    ] {
        let report = run(&Options { nodes, rounds, liars_per_mille, ..Options::default() });
        println!(
            "{nodes:5}  {rounds:6}  {:4} %  {:10.1} %  {:.1} %  {:18.1} ms  {:.1} ms  {:.1} ms",
            f64::from(liars_per_mille) / 10.0,
            f64::from(report.error_median) / 10.0,
            f64::from(report.error_p90) / 10.0,
            report.random_micros as f64 / 1e3,
            report.near_micros as f64 / 1e3,
            report.best_micros as f64 / 1e3,
        );
    }
}
