//! `cargo run --release -p xtreem-sim --example ranks -- NODES [SEED] [LOSS] [KILL] [CHURN]`

use std::error::Error;

use xtreem_sim::ranks::{Options, run};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |i: usize, default: &'static str| args.get(i).map_or(default, String::as_str).to_owned();
    let options = Options {
        nodes: arg(0, "1000").parse()?,
        seed: arg(1, "1").parse()?,
        loss: arg(2, "0.01").parse()?,
        kill: arg(3, "0").parse()?,
        churn: arg(4, "0").parse()?,
    };
    println!("{}", serde_json::to_string_pretty(&run(&options)?)?);
    Ok(())
}
