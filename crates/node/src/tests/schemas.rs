//! A grid whose nodes are upgraded, one after the other, to a release with a changed schema, while users
//! search.

use xtreem_discovery::schema::{Dimension, Scale, Schema};
use xtreem_discovery::{Plan, Requirement, SearchSpec};

use super::*;

const NODES: usize = 40;
/// Time between two restarts: a careful operator would take longer.
const STEP: Duration = Duration::from_secs(3);
/// After it a newcomer must be found: three rounds of the trie's gossip and the walk to its place.
const KNOWN_AFTER: Duration = Duration::from_secs(10);
/// Matches that a search of a user wants.
const WANTED: u32 = 5;

/// The release with these schemas.
fn release(schemas: Vec<Arc<Schema>>) -> Arc<Config> {
    Arc::new(Config { schemas, ..Config::emulated() })
}

/// Version 2 has another first dimension, so that all keys differ.
fn schemas() -> [Arc<Schema>; 2] {
    let dimension = |name: &str| Dimension { name: name.into(), scale: Scale::Logarithmic };
    let schema = |version, names: [&str; 2]| {
        Arc::new(Schema::new(version, names.map(dimension).into(), Vec::new()).expect("two dimensions"))
    };
    [schema(1, ["cpu.cores", "mem.total"]), schema(2, ["disk.total", "cpu.cores"])]
}

/// What the machine of node `at` is: 1 to 8 cores.
fn attributes(machine: usize) -> Attributes {
    let mut attributes = Attributes::default();
    for (name, value) in
        [("cpu.cores", 1 + machine % 8), ("mem.total", 1 + machine % 5), ("disk.total", 1 + machine % 3)]
    {
        attributes.set(name, Value::from(value as u64)).expect("a short name and one value");
    }
    attributes
}

/// A grid in the middle of its upgrade.
struct Upgrade {
    net: Net,
    rng: Rng,
    /// Where each machine's node is now, and since when.
    machines: Vec<(usize, Instant)>,
    /// Searches asked, and those that needed nobody but the trie's links.
    asked: u32,
    by_trie: u32,
}

impl Upgrade {
    fn new(seed: u64) -> Upgrade {
        let [old, _] = schemas();
        let mut net = Net::of(NODES, seed, &release([old].into()), attributes);
        net.run(SECS(40));
        let machines = (0..NODES).map(|at| (at, Instant::ZERO)).collect();
        Upgrade { net, rng: Rng::new(seed), machines, asked: 0, by_trie: 0 }
    }

    /// The machine's node ends, and one of the other release starts.
    fn restart(&mut self, machine: usize, config: &Arc<Config>) {
        let contact = self.machines[(machine + 1) % NODES].0;
        self.net.kill(self.machines[machine].0);
        let at = self.net.nodes.len();
        self.net.add(config, attributes(machine));
        self.net.with(at, |node, now, out| node.join(now, handle(contact), out));
        self.machines[machine] = (at, self.net.now);
    }

    /// Some user asks for a few nodes, and another for all; both get them.
    fn search(&mut self) {
        let cores = self.rng.between(2, 6) as usize;
        let requirement = Requirement::parse(&std::format!("cpu.cores >= {cores}")).expect("it parses");
        for wanted in [WANTED, u32::MAX] {
            let at = self.machines[self.rng.below(NODES as u32) as usize].0;
            let spec = SearchSpec::nodes(requirement.clone(), wanted);
            let id = self.net.with(at, |node, now, out| node.search(now, spec, out));
            let id = id.expect("it lives").expect("it is no more than one search");
            self.net.run(SECS(5));
            let (found, report) = self.net.searches.remove(&(at, id)).expect("it has said something");
            let report = report.expect("five seconds are enough");
            let known = |(_, since): &(usize, Instant)| self.net.now.since(*since) >= KNOWN_AFTER + SECS(5);
            let matches =
                (0..NODES).filter(|machine| 1 + machine % 8 >= cores).map(|machine| self.machines[machine]);
            let missing = matches.filter(known).filter(|(at, _)| !found.contains(&handle(*at))).count();
            match wanted {
                WANTED => assert!(found.len() >= WANTED as usize, "{report:?}"),
                _ => assert_eq!(missing, 0, "{report:?}"),
            }
            self.asked += 1;
            self.by_trie += u32::from(report.plan == Plan::Trie);
        }
    }

    /// Versions of the tries that nodes run, each with the number of nodes.
    fn versions(&self) -> BTreeMap<Vec<u32>, usize> {
        let mut versions = BTreeMap::new();
        for (at, _) in &self.machines {
            let node = self.net.nodes[*at].as_ref().expect("it lives");
            *versions.entry(node.tries.versions().collect()).or_default() += 1;
        }
        versions
    }
}

#[test]
fn no_search_is_lost_while_a_grid_is_upgraded_to_another_schema() {
    let mut upgrade = Upgrade::new(3);
    let [old, new] = schemas();
    let config = release([old, new].into());
    upgrade.search();
    for machine in 0..NODES {
        upgrade.restart(machine, &config);
        upgrade.net.run(STEP);
        upgrade.search();
        if machine == NODES / 2 {
            // The upgrade stops half-way, as upgrades do.
            assert_eq!(upgrade.versions(), [([1].into(), 19), ([1, 2].into(), 21)].into());
            for _ in 0..10 {
                upgrade.search();
            }
            assert_eq!(upgrade.versions(), [([1].into(), 19), ([1, 2].into(), 21)].into());
        }
    }
    for _ in 0..20 {
        upgrade.search();
    }
    assert_eq!(upgrade.versions(), [([2].into(), NODES)].into(), "the old trie has drained");
    // A node of the old release that was forgotten finds the others, and they find it.
    let [old, _] = schemas();
    upgrade.restart(7, &release([old].into()));
    upgrade.net.run(KNOWN_AFTER);
    for _ in 0..5 {
        upgrade.search();
    }
    let Upgrade { asked, by_trie, .. } = upgrade;
    assert!(by_trie * 10 >= asked * 4, "{by_trie} of {asked} searches ended along the trie");
}
