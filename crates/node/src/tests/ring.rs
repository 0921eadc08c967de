//! The ring of all nodes: everybody has a place, and each key one owner.

use xtreem_overlay::store::{Action, Operation, Success, Value};
use xtreem_overlay::{Key, Range};

use super::*;

impl Net {
    /// What each live node owns now.
    fn ranges(&self) -> Vec<(usize, Range)> {
        let lease = |node: &Node| {
            let lease = node.ring().lease().filter(|lease| lease.is_valid(self.now))?;
            Some(lease.range().clone())
        };
        let of = |(at, node): (usize, &Option<Node>)| Some((at, lease(node.as_ref()?)?));
        self.nodes.iter().enumerate().filter_map(of).collect()
    }

    fn assert_one_ring(&self, what: &str) {
        let mut ranges = self.ranges();
        let live = self.nodes.iter().flatten().count();
        assert_eq!(ranges.len(), live, "{what}: who owns something");
        ranges.sort_by(|a, b| a.1.to.cmp(&b.1.to));
        for (at, (node, range)) in ranges.iter().enumerate() {
            let before = &ranges[(at + live - 1) % live].1;
            assert_eq!(range.after, before.to, "{what}: node {node} begins where the one before it ends");
        }
    }
}

fn key(text: &str) -> Key {
    Key::from_bytes(text.as_bytes()).expect("short")
}

#[test]
fn all_nodes_of_a_grid_form_one_ring_and_keep_it_when_some_die() {
    for (nodes, seed) in [(1, 0), (2, 1), (3, 2), (7, 3), (24, 4)] {
        let mut net = Net::new(nodes, seed);
        net.run(SECS(40));
        net.assert_one_ring(&std::format!("{nodes} nodes"));
        for at in (0..nodes).filter(|at| at % 3 == 1) {
            net.kill(at);
        }
        net.run(SECS(60));
        net.assert_one_ring(&std::format!("of {nodes} nodes a third died"));
    }
}

#[test]
fn everybody_finds_the_same_owner_of_a_key() {
    let mut net = Net::new(12, 9);
    net.run(SECS(40));
    for at in 0..12 {
        net.with(at, |node, now, out| node.find_owner(now, key("apples"), out).expect("the first"));
    }
    net.run(SECS(3));
    let owner = net.ranges().into_iter().find(|(_, range)| range.contains_key(&key("apples"))).expect("one");
    assert_eq!(net.owners.len(), 12, "all were answered");
    assert!(net.owners.iter().all(|it| *it == handle(owner.0)), "{:?}, not {:?}", net.owners, owner.0);
}

#[test]
fn all_nodes_are_told_once_also_those_behind_one_that_died_unnoticed() {
    for (nodes, seed) in [(1, 20), (2, 21), (3, 22), (16, 23)] {
        let mut net = Net::new(nodes, seed);
        net.run(SECS(40));
        let dead = (nodes > 3).then_some(5);
        dead.into_iter().for_each(|at| net.kill(at));
        let content = Value::new(b"all hands").expect("short");
        let origin = NodeId::from_bytes([7; 16]);
        let said = content.clone();
        net.with(0, |node, now, out| node.announce(now, origin, said, out).expect("it is on the ring"));
        net.run(SECS(10));
        let mut told: Vec<usize> = net.told.iter().map(|(at, _)| *at).collect();
        told.sort_unstable();
        let live: Vec<usize> = (0..nodes).filter(|at| Some(*at) != dead).collect();
        assert_eq!(told, live);
        assert!(net.told.iter().all(|(_, it)| *it == content));
    }
}

impl Net {
    /// Does something by that node with what lies on the ring, and waits for its end.
    fn operate(&mut self, at: usize, name: &str, action: Action) -> Success {
        let operation = Operation { key: key(name), action };
        let begun = self.with(at, |node, now, out| node.operate(now, operation, out).expect("few"));
        let request = begun.expect("it lives");
        let end = self.now + SECS(30);
        while !self.done.contains_key(&(at, request)) && self.now < end {
            self.run(Duration::from_millis(100));
        }
        let done = self.done.remove(&(at, request)).expect("it ends");
        done.unwrap_or_else(|failed| panic!("{name} by {at}: {failed}"))
    }

    fn put(&mut self, at: usize, name: &str, value: &str) {
        let value = Some(Value::new(value.as_bytes()).expect("short"));
        let action = Action::Write { value, degree: 2, lease: SECS(600), expected: None };
        assert!(matches!(self.operate(at, name, action), Success::Written { .. }));
    }

    fn get(&mut self, at: usize, name: &str) -> Option<Vec<u8>> {
        match self.operate(at, name, Action::Get) {
            Success::Got { found, .. } => found.map(|found| found.value.as_bytes().to_vec()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_lies_on_the_ring_is_read_by_all_and_outlives_its_owner() {
    for seed in 0..3 {
        let mut net = Net::new(12, seed);
        net.run(SECS(40));
        for number in 0..20 {
            net.put(number % 12, &std::format!("{number}-th"), &std::format!("of {number}"));
        }
        let owner =
            net.ranges().into_iter().find(|(_, range)| range.contains_key(&key("7-th"))).expect("one").0;
        net.kill(owner);
        net.run(SECS(15));
        let reader = (owner + 1) % 12;
        for number in 0..20 {
            let (name, value) = (std::format!("{number}-th"), std::format!("of {number}"));
            assert_eq!(net.get(reader, &name), Some(value.into_bytes()), "seed {seed}");
        }
        assert_eq!(net.get(reader, "nothing"), None);
    }
}
