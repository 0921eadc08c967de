//! `cargo run --release -p xtreem-sim --example selection -- NODES uniform|clustered [ROUNDS] [CHURN] [LOSS]
//! [WANTED] [LOAD]`

use std::error::Error;

use xtreem_sim::selection::{Options, classes, run};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |i: usize, default| args.get(i).map_or(default, String::as_str);
    let options = Options {
        nodes: arg(0, "1000").parse()?,
        data: arg(1, "uniform").parse()?,
        rounds: arg(2, "60").parse()?,
        churn: arg(3, "0").parse()?,
        loss: arg(4, "0").parse()?,
        wanted: arg(5, "10").split(',').map(str::parse).collect::<Result<_, _>>()?,
        load: arg(6, "0").parse()?,
        ..Options::default()
    };
    let report = run(&options, &classes::BUILTIN, &mut |note| eprintln!("{note}"))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
