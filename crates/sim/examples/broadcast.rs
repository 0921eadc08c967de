//! `sim broadcast` by itself: nodes, share that dies just before, seed, loss.

use xtreem_sim::broadcast::{Options, run};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let options = Options {
        nodes: next("1000").parse().expect("a number of nodes"),
        stale: next("0.05").parse().expect("a share"),
        seed: next("1").parse().expect("a seed"),
        loss: next("0.01").parse().expect("a share"),
    };
    println!("{:#?}", run(&options));
}
