//! Set queries as tables.

mod beside;

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::{Demand, SET_NODES_MAX, SetQuery, Together};
use crate::Attributes;

fn disk(gibi: u64, site: &str) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.set("disk.free", gibi << 30).unwrap();
    attributes.set("site", site).unwrap();
    attributes
}

#[test]
fn sets_meet_or_fail_a_query() {
    let few = [disk(4, "a"), disk(6, "b")];
    let many = [disk(1, "a"), disk(2, "b"), disk(9, "b")];
    let table = [
        ("2 nodes", true, false),
        ("1..6 nodes", true, true),
        ("1..6 nodes with sum(disk.free) >= 10GiB", true, true),
        ("1..6 nodes with sum(disk.free) > 10GiB", false, true),
        ("1..6 nodes with sum(disk.free) <= 10GiB", true, false),
        ("1..6 nodes with sum(disk.free) < 10GiB", false, false),
        ("1..6 nodes with avg(disk.free) >= 5GiB", true, false),
        ("1..6 nodes with avg(disk.free) < 5GiB", false, true),
        ("1..6 nodes with avg(disk.free) <= 4.99GiB", false, true),
        ("1..6 nodes with min(disk.free) >= 2GiB", true, false),
        ("1..6 nodes with min(disk.free) <= 1GiB", false, true),
        ("1..6 nodes with max(disk.free) <= 6GiB", true, false),
        ("1..6 nodes with max(disk.free) > 6GiB", false, true),
        ("1..6 nodes with count >= 3", false, true),
        ("1..6 nodes with count < 3 && sum(disk.free) >= 10GiB", true, false),
        ("1..6 nodes with count(site) >= 3", false, true),
        ("1..6 nodes with count(gpu.model) < 1", true, true),
        ("1..6 nodes with count(gpu.model) >= 1", false, false),
        ("1..6 nodes spread by site", true, false),
        ("1..6 nodes where disk.free > 1GiB", true, false),
        ("1..6 nodes with sum(disk.free) >= 10GiB where site == \"b\" || site == \"a\"", true, true),
        ("1..6 nodes spread by site with sum(disk.free) >= 1GiB where has site", true, false),
        ("2..3 nodes with sum(mem.total) >= 0", false, false),
    ];
    for (source, expect_few, expect_many) in table {
        let query = SetQuery::parse(source).unwrap_or_else(|error| panic!("{source}\n{error}"));
        let met = |set: &[Attributes]| query.is_met_by(&set.iter().collect::<Vec<_>>());
        assert_eq!((met(&few), met(&many)), (expect_few, expect_many), "{source}");
        let again = SetQuery::parse(&query.to_string()).unwrap();
        assert_eq!(again, query);
    }
}

#[test]
fn errors_name_the_column_and_what_was_expected() {
    const SIZE: &str = "a whole number from 1 to 64";
    let table = [
        ("0 nodes", 1, "`0`", SIZE),
        ("65 nodes", 1, "`65`", SIZE),
        ("1.5 nodes", 1, "`1.5`", SIZE),
        ("1..x nodes", 4, "`x`", SIZE),
        ("6..1 nodes", 1, "`6..1`", "an upper end that is not below the lower one"),
        ("8 <= cpu.cores", 3, "`<=`", "`..`, `node` or `nodes`; in a comparison numbers go to the right"),
        ("2 nodes cpu.cores", 9, "`cpu.cores`", "`with`, `where`, `spread by` or the end"),
        ("2 nodes with", 13, "the end", super::parser::AGGREGATE_EXPECTED),
        ("2 nodes with cpu.cores > 4", 14, "`cpu.cores`", super::parser::AGGREGATE_EXPECTED),
        ("2 nodes with sum >= 1", 18, "`>=`", "`(` and the name of an attribute"),
        ("2 nodes with sum(3) >= 1", 18, "`3`", "an attribute name"),
        ("2 nodes with sum(arch) >= 1", 18, "`arch`", "the name of a number"),
        ("2 nodes with sum(mem.total >= 1", 28, "`>=`", "`)`"),
        ("2 nodes with sum(mem.total) == 1", 29, "`==`", "`<`, `<=`, `>` or `>=`"),
        ("2 nodes with sum(mem.total) > 2GHz", 31, "`2GHz`", "a size in bytes for `mem.total`"),
        ("2 nodes with sum(mem.total) > 2GB || true", 35, "`||`", "`with`, `where`, `spread by` or the end"),
        ("2 nodes spread site", 16, "`site`", "`by` and the name of an attribute"),
        ("2 nodes where has site where ecc", 24, "`where`", "each part once"),
        (
            "2 nodes where",
            14,
            "the end",
            "an attribute name, `has`, `!`, `(`, `true`, `false` or a text with `in`",
        ),
        ("2 nodes where ecc old", 19, "`old`", "a comparison, `in`, `&&`, `||` or the end"),
    ];
    for (source, column, found, expected) in table {
        let error = SetQuery::parse(source).expect_err(source);
        assert_eq!((error.line, error.column), (1, column), "{source}\n{error}");
        assert_eq!((error.found.as_str(), error.expected.as_str()), (found, expected), "{source}\n{error}");
    }
    let error = SetQuery::parse("2 nodes\nwith sum(disk.free) >=").unwrap_err();
    assert_eq!((error.line, error.column, error.offset), (2, 23, 30));
}

#[test]
fn counts_bound_the_size() {
    let size = |source: &str| SetQuery::parse(source).map(|query| (query.least(), query.most()));
    let table = [
        ("1..6 nodes with count >= 3", Some((3, 6))),
        ("1..6 nodes with count > 2.5 && count < 5", Some((3, 4))),
        ("1..6 nodes with count <= 4.9", Some((1, 4))),
        ("1..6 nodes with count >= 7", None),
        ("1..6 nodes with count < 1", None),
        ("1 node", Some((1, 1))),
    ];
    for (source, expected) in table {
        assert_eq!(size(source).ok(), expected, "{source}");
    }
    let six = SetQuery::parse("1..6 nodes").unwrap();
    assert_eq!(six.of_exactly(4).map(|query| (query.least(), query.most())), Ok((4, 4)));
    assert!(six.of_exactly(7).is_err());
}

#[test]
fn what_is_asked_of_each_member_is_its_requirement() {
    let member = |source: &str| SetQuery::parse(source).unwrap().member().source().to_string();
    let table = [
        ("2 nodes", ""),
        ("2 nodes with sum(disk.free) >= 1", "has disk.free"),
        ("2 nodes with min(disk.free) >= 1GiB where ecc", "ecc && disk.free >= 1073741824"),
        ("2 nodes where ecc || old spread by site", "(ecc || old) && has site"),
        ("2 nodes with max(load.1m) < 0.5", "load.1m < 0.5"),
    ];
    for (source, expected) in table {
        assert_eq!(member(source), expected, "{source}");
    }
}

#[test]
fn whoever_takes_a_members_place_has_an_even_share() {
    let replacement =
        |source: &str| SetQuery::parse(source).unwrap().beside(&[], Demand::Share).source().to_string();
    let table = [
        ("2..5 nodes", ""),
        ("1..4 nodes with sum(disk.free) >= 10GiB", "has disk.free && disk.free >= 2684354560"),
        ("2 nodes with sum(load.1m) < 1.5 where ecc", "ecc && has load.1m && load.1m < 0.75"),
        ("2 nodes with avg(load.1m) <= 1 spread by site", "has load.1m && has site && load.1m <= 1"),
        ("2 nodes with max(disk.free) >= 10GiB", "has disk.free"),
    ];
    for (source, expected) in table {
        assert_eq!(replacement(source), expected, "{source}");
    }
}

#[test]
fn a_condition_stands_alone_too() {
    let together = Together::parse("sum(disk.free) >= 10GiB && count >= 2 spread by site").unwrap();
    assert_eq!((together.aggregates().len(), together.spread_by()), (1, Some("site")));
    for source in ["", "sum(disk.free)", "sum(disk.free) >= 1 where ecc", "spread by site spread by site"] {
        assert!(Together::parse(source).is_err(), "{source}");
    }
}

#[test]
fn long_and_many_parts_are_refused() {
    let many = |n: usize| format!("2 nodes with {}", ["sum(a) > 1"; 20][..n].join(" && "));
    assert!(SetQuery::parse(&many(super::SET_AGGREGATES_MAX)).is_ok());
    assert!(SetQuery::parse(&many(super::SET_AGGREGATES_MAX + 1)).is_err());
    let long = format!("2 nodes where {}true", " ".repeat(crate::language::requirement::REQUIREMENT_LEN_MAX));
    assert!(SetQuery::parse(&long).is_err());
    assert!(SetQuery::new(1, SET_NODES_MAX + 1, Together::default(), &Default::default()).is_err());
}
