//! `cargo run --release -p xtreem-sim --example recovery -- NODES uniform|clustered kill=SHARE|split=ROUNDS
//! [SEED]`

use std::error::Error;

use xtreem_sim::selection::recovery::{Disaster, Recovery, recovery};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |i: usize, default| args.get(i).map_or(default, String::as_str);
    let disaster = match arg(2, "split=6").split_once('=') {
        Some(("kill", share)) => Disaster::Kill(share.parse()?),
        Some(("split", rounds)) => Disaster::Split(rounds.parse()?),
        _ => return Err("the third argument is kill=SHARE or split=ROUNDS".into()),
    };
    let options = Recovery {
        nodes: arg(0, "1000").parse()?,
        data: arg(1, "uniform").parse()?,
        seed: arg(3, "1").parse()?,
        rounds: 60,
        loss: 0.01,
        disaster,
        after: 30,
    };
    let (before, after) = recovery(&options);
    println!("before: {before:.4}");
    after.iter().for_each(|round| println!("round {:2}: {:.4}", round.round, round.recall));
    Ok(())
}
