//! What a node must have that completes a set.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::super::{Aggregate, Demand, Function, SetQuery};
use super::disk;
use crate::{Attributes, Number, Value};

#[test]
fn whoever_completes_a_set_brings_what_the_others_lack() {
    let (a, b, nothing) = (disk(4, "a"), disk(6, "b \"\\"), Attributes::new());
    let table: [(&str, &[&Attributes], &str); 15] = [
        ("3 nodes with sum(disk.free) >= 12GiB", &[&a, &b], "has disk.free && disk.free >= 2147483648"),
        ("3 nodes with sum(disk.free) >= 12GiB", &[&a], "has disk.free && disk.free >= 4294967296"),
        ("3 nodes with sum(disk.free) >= 12GiB", &[&a, &nothing], "has disk.free && disk.free >= 4294967296"),
        ("3 nodes with sum(disk.free) <= 9GiB", &[&a, &b], "has disk.free && disk.free <= -1073741824"),
        ("3 nodes with avg(disk.free) > 4GiB", &[&a, &b], "has disk.free && disk.free > 2147483648"),
        ("3 nodes with avg(disk.free) > 4GiB", &[&b], "has disk.free && disk.free > 2147483648"),
        ("2 nodes with max(disk.free) >= 6GiB", &[&b], "has disk.free"),
        ("2 nodes with max(disk.free) > 6GiB", &[&b], "has disk.free && disk.free > 6442450944"),
        ("2 nodes with min(disk.free) < 4GiB", &[&a], "has disk.free && disk.free < 4294967296"),
        ("2 nodes with min(disk.free) >= 4GiB", &[&a], "disk.free >= 4294967296"),
        ("3 nodes with count(site) >= 2", &[&a, &nothing], "has site"),
        ("3 nodes with count(site) >= 2", &[&a, &b], ""),
        ("3 nodes with count(site) < 2", &[&a, &nothing], "!has site"),
        ("3 nodes with count(site) < 2", &[&nothing, &nothing], ""),
        (
            "3 nodes where ecc spread by site",
            &[&a, &b],
            r#"ecc && has site && !(site == "a") && !(site == "b \"\\")"#,
        ),
    ];
    for (source, others, expected) in table {
        let query = SetQuery::parse(source).unwrap();
        assert_eq!(query.beside(others, Demand::Whole).source(), expected, "{source}");
    }
    let query =
        SetQuery::parse("3 nodes with sum(disk.free) >= 1 && max(load.1m) < 1 spread by site").unwrap();
    assert_eq!(query.names().into_iter().collect::<Vec<_>>(), ["disk.free", "load.1m", "site"]);
}

#[test]
fn where_no_set_can_be_had_an_even_share_is_asked_first_with_a_value_of_its_own() {
    const SET: &str = "3 nodes with sum(disk.free) >= 30GiB && max(load.1m) > 2 spread by site";
    let (a, query) = (disk(4, "a"), SetQuery::parse(SET).unwrap());
    let member = "has disk.free && has load.1m && has site && ";
    for (demand, expected) in [
        (Demand::Whole, "disk.free >= 17179869184 && load.1m > 2 && !(site == \"a\")"),
        (Demand::ShareApart, "disk.free >= 10737418240 && !(site == \"a\")"),
        (Demand::Share, "disk.free >= 10737418240"),
    ] {
        assert_eq!(query.beside(&[&a], demand).source(), format!("{member}{expected}"), "{demand:?}");
    }
}

/// A machine with some of three attributes.
fn machine() -> impl Strategy<Value = Attributes> {
    let number = || prop::option::weighted(0.9, -9i64..30);
    (number(), number(), prop::option::weighted(0.9, 0u8..5)).prop_map(|(free, load, site)| {
        let mut attributes = Attributes::new();
        let mut set = |name, value: Option<Value>| {
            value.into_iter().for_each(|value| attributes.set(name, value).unwrap());
        };
        set("free", free.map(|free| Number::from_thousandths(free).into()));
        set("load", load.map(|load| Number::from_thousandths(load).into()));
        set(
            "site",
            site.map(|site| match site {
                0 => true.into(),
                1 => 1.into(),
                _ => format!("{site}").as_str().into(),
            }),
        );
        attributes
    })
}

proptest! {
    /// With all others known it is the same to ask of one node what is missing, and of all of them what they
    /// come to.
    #[test]
    fn a_node_that_brings_what_is_missing_makes_a_set_and_no_other_does(
        machines in prop::collection::vec(machine(), 2..6),
        parts in prop::collection::vec((0usize..5, 0usize..2, 0usize..4, -20i64..60), 1..4),
        is_spread: bool,
    ) {
        let part = |(function, name, relation, bound): &(usize, usize, usize, i64)| {
            let bound = match *function {
                4 => Number::from_whole(bound / 10),
                _ => Number::from_thousandths(*bound),
            };
            let function = ["sum", "avg", "min", "max", "count"][*function];
            let name = ["free", "load"][*name];
            format!("{function}({name}) {} {bound}", ["<", "<=", ">", ">="][*relation])
        };
        let parts: Vec<String> = parts.iter().map(part).collect();
        let spread = if is_spread { " spread by site" } else { "" };
        let parts = parts.join(" && ");
        let query = |nodes| SetQuery::parse(&format!("{nodes} nodes with {parts}{spread}")).unwrap();
        let (new, rest) = machines.split_last().unwrap();
        // The others were members of such a set.
        let mut others: Vec<&Attributes> = Vec::new();
        for other in rest {
            others.push(other);
            let query = query(others.len());
            if !query.member().matches(other) || !query.are_apart(&others) {
                others.pop();
            }
        }
        let query = query(others.len() + 1);
        let all: Vec<&Attributes> = others.iter().copied().chain([new]).collect();
        let is_whole = query.is_met_by(&all);
        // Where a count is wrong by more than one, the best is asked for that one node can do.
        let can_be = query.together().aggregates().iter().all(|aggregate| {
            let Aggregate { function, name, relation, bound } = aggregate;
            let counted = others.iter().filter(|other| other.value(name).is_some()).count() as u64;
            let mut reach = [counted, counted + 1].into_iter();
            let is_in_reach = reach.any(|count| relation.holds(Number::from_unsigned(count), *bound));
            *function != Function::Count || is_in_reach
        });
        let beside = query.beside(&others, Demand::Whole);
        let matches = beside.matches(new);
        prop_assert!(if can_be { matches == is_whole } else { !is_whole }, "{beside}");
    }
}
