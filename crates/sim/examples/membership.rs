//! `cargo run --release -p xtreem-sim --example membership -- NODES ROUNDS SEED [KILL@ROUND|-] [CHURN] [LOSS]
//! [QUEUE] [SHARDS] [PLOT-DIR]`

use std::error::Error;

use xtreem_sim::membership::{Options, plot, run};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |i: usize| args.get(i).map(String::as_str).filter(|text| *text != "-");
    let options = Options {
        nodes: arg(0).unwrap_or("1000").parse()?,
        rounds: arg(1).unwrap_or("100").parse()?,
        seed: arg(2).unwrap_or("1").parse()?,
        kill: arg(3).map(str::parse).transpose()?,
        churn: arg(4).unwrap_or("0").parse()?,
        loss: arg(5).unwrap_or("0").parse()?,
        queue: arg(6).unwrap_or("wheel").parse()?,
        shards: arg(7).unwrap_or("1").parse()?,
        series: arg(8).is_some(),
    };
    let report = run(&options)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    if let Some(directory) = arg(8) {
        plot(&report, directory.as_ref()).map_err(|error| error.to_string())?;
    }
    Ok(())
}
