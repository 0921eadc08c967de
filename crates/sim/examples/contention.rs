//! `sim contention` without the whole command: `cargo run --release -p xtreem-sim --example contention --
//! [SEED [FAULTS [NODES REQUESTS SLOTS SCARCE]]]`.

use std::error::Error;

use xtreem_sim::contention::{self, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut options = Options::default();
    let word = |at: usize| words.get(at).map(String::as_str);
    if let Some(seed) = word(0) {
        options.seed = seed.parse()?;
    }
    if let Some(faults) = word(1) {
        options.faults = faults.parse()?;
    }
    if let [_, _, nodes, requests, slots, scarce] = &words[..] {
        (options.nodes, options.requests) = (nodes.parse()?, requests.parse()?);
        (options.slots, options.scarce) = (slots.parse()?, scarce.parse()?);
    }
    println!("{}", serde_json::to_string_pretty(&contention::run(&options)?)?);
    Ok(())
}
