//! Whether a history is linearizable. Each value has a name of its own and the ring's table tells the order
//! of the values of each topic, so one order of all operations is looked for that has these orders, reads and
//! conditions in their places, and the order in time; there is one if nothing comes before itself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use super::super::{Expected, What};
use super::world::{ACCOUNTS, Operation, Past, START, World};
use crate::{HashId, Topic};

pub(super) fn check(world: &World, history: &[Past], at: &str) {
    let mut edges: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); history.len()];
    // Of each topic: which operation wrote each value.
    let mut writers: BTreeMap<(Vec<u8>, HashId), usize> = BTreeMap::new();
    let mut reads: Vec<(usize, Vec<u8>, Option<HashId>)> = Vec::new();
    let mut expected: Vec<(usize, Vec<u8>, Option<HashId>)> = Vec::new();
    for (nth, past) in history.iter().enumerate() {
        let mut wrote = |topic: &Topic<'_>, id| {
            let twice = writers.insert((topic.order_key(), id), nth);
            assert!(twice.is_none(), "{at}: two operations made {id} of {topic:?}");
        };
        match &past.what {
            Operation::Read(topic, id) if past.ended.is_some() => reads.push((nth, topic.order_key(), *id)),
            Operation::Put(topic, id) => wrote(topic, *id),
            Operation::Update { changes, result: Some(Ok(ids)), .. } => {
                for (change, id) in changes.iter().zip(ids) {
                    let key = change.topic.order_key();
                    let before = match change.expected {
                        Expected::Is(id) => Some(Some(id)),
                        Expected::Absent => Some(None),
                        Expected::Any => None,
                    };
                    match &change.what {
                        What::Keep => reads.push((nth, key, before.expect("a condition"))),
                        What::Set(_) => {
                            wrote(&change.topic, id.expect("a value"));
                            expected.extend(before.map(|before| (nth, key, before)));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    let mut made = BTreeSet::new();
    for (key, chain) in &world.chains {
        let ids: Vec<HashId> = chain.iter().map(|id| id.unwrap_or_else(|| panic!("{at}: removed"))).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{at}: a value came twice");
        let writer = |id: HashId| {
            let known = writers.get(&(key.clone(), id));
            *known.unwrap_or_else(|| panic!("{at}: nobody made {id}"))
        };
        made.extend(ids.iter().map(|id| (key.clone(), *id)));
        for two in ids.windows(2) {
            edges[writer(two[0])].insert(writer(two[1]));
        }
        for (reader, of, id) in reads.iter().filter(|(_, of, _)| of == key) {
            let place = id.map(|id| ids.iter().position(|it| *it == id));
            let next = match place {
                None => 0,
                Some(None) => panic!("{at}: {id:?} of {of:?} was read and never there"),
                Some(Some(place)) => {
                    edges[writer(ids[place])].insert(*reader);
                    place + 1
                }
            };
            if let Some(next) = ids.get(next) {
                edges[*reader].insert(writer(*next));
            }
        }
        for (nth, _, before) in expected.iter().filter(|(_, of, _)| of == key) {
            let place = ids.iter().position(|id| writer(*id) == *nth);
            let place = place.unwrap_or_else(|| panic!("{at}: only a part was made"));
            let there = place.checked_sub(1).map(|place| ids[place]);
            assert_eq!(there, *before, "{at}: not what was expected");
        }
    }
    let of_updates = writers.iter().filter(|(_, nth)| history[**nth].is_made());
    for (value, _) in of_updates {
        assert!(made.contains(value), "{at}: only a part was made");
    }
    for (first, one) in history.iter().enumerate() {
        for (second, other) in history.iter().enumerate() {
            if one.ended.is_some_and(|ended| ended < other.begun) {
                edges[first].insert(second);
            }
        }
    }
    assert!(has_order(&edges), "{at}: not linearizable");
    let sum: u64 = ACCOUNTS.len() as u64 * START;
    assert_eq!(world.total(), sum, "{at}");
}

fn has_order(edges: &[BTreeSet<usize>]) -> bool {
    let mut before = vec![0; edges.len()];
    for (from, to) in edges.iter().enumerate() {
        to.iter().filter(|to| **to != from).for_each(|to| before[*to] += 1);
    }
    let mut free: Vec<usize> = (0..edges.len()).filter(|nth| before[*nth] == 0).collect();
    let mut done = 0;
    while let Some(nth) = free.pop() {
        done += 1;
        for to in edges[nth].iter().filter(|to| **to != nth) {
            before[*to] -= 1;
            if before[*to] == 0 {
                free.push(*to);
            }
        }
    }
    done == edges.len()
}
