use xtreem_sim::ring::{Options, run};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let get = |n: &str| a.iter().position(|x| x == n).map(|i| a[i + 1].clone());
    let d = Options::default();
    let o = Options {
        nodes: get("--nodes").map_or(d.nodes, |v| v.parse().unwrap()),
        keys: get("--keys").map_or(d.keys, |v| v.parse().unwrap()),
        churn: get("--churn").map_or(d.churn, |v| v.parse().unwrap()),
        kill: get("--kill").map(|v| v.parse().unwrap()),
        faults: get("--faults").map_or(d.faults, |v| v.parse().unwrap()),
        rounds: get("--rounds").map_or(d.rounds, |v| v.parse().unwrap()),
        lookups: get("--lookups").map_or(d.lookups, |v| v.parse().unwrap()),
        seed: get("--seed").map_or(d.seed, |v| v.parse().unwrap()),
        chord: get("--chord").is_some(),
    };
    println!("{}", serde_json::to_string(&run(&o).unwrap()).unwrap());
}
