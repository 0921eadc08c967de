//! `sim pubsub` by itself: nodes, subscribers, tree, kill per round, kill, rounds, seed, faults; or a sweep.

use xtreem_sim::pubsub::{Options, run, sweep};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let nodes = next("1000");
    if let Some((from, to)) = nodes.split_once("..") {
        let seeds = from.parse().expect("a number")..to.parse().expect("a number");
        println!("{:#?}", sweep(seeds, |failure| eprintln!("{failure:?}")));
        return;
    }
    let options = Options {
        nodes: nodes.parse().expect("a number of nodes"),
        subscribers: next("100").parse().expect("a number of subscribers"),
        tree: next("list").parse().expect("a tree"),
        kill_per_round: next("0").parse().expect("a number of nodes"),
        kill: match next("-").as_str() {
            "-" => None,
            kill => Some(kill.parse().expect("a share and a round")),
        },
        rounds: next("30").parse().expect("a number of rounds"),
        seed: next("1").parse().expect("a seed"),
        publishers: next("1").parse().expect("a number of publishers"),
        faults: next("").parse().expect("faults"),
        loss: 0.0,
    };
    println!("{:#?}", run(&options));
}
