//! What expressions are worth, and what is told about those that are none.

use alloc::string::{String, ToString};

use proptest::prelude::*;

use super::*;

fn machine() -> Attributes {
    let mut attributes = Attributes::new();
    attributes.set("mem.free", 6u64 << 30).unwrap();
    attributes.set("load.1m", Number::from_thousandths(500)).unwrap();
    attributes.set("cpu.cores", 8).unwrap();
    attributes.set("ecc", true).unwrap();
    attributes.set("note", "text").unwrap();
    attributes.set("min", 3).unwrap();
    attributes
}

#[test]
fn expressions_are_worth_what_arithmetic_says() {
    let table = [
        ("2 * mem.free / 1GiB - load.1m", "11.5"),
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 3 - 2", "5"),
        ("12 / 4 / 3", "1"),
        ("1 / 3", "0.333"),
        ("-cpu.cores + 1", "-7"),
        ("--2", "2"),
        ("4-2", "2"),
        ("4 -2", "2"),
        ("min(cpu.cores, 4, 6) + max(1, 2)", "6"),
        ("min + 1", "4"),
        ("ecc", "1"),
        // Missing, and no number.
        ("gpu.mem + 1", "1"),
        ("gpu.mem ?? 4GiB / 1GiB", "4"),
        ("note + 2", "2"),
        ("load.1m ?? 9", "0.5"),
        // What divides by nothing, and what is too large.
        ("1 / 0", "9223372036854775.807"),
        ("-1 / 0", "-9223372036854775.807"),
        ("0 / 0", "0"),
        ("9PB * 9PB", "9223372036854775.807"),
        ("9PB + 9PB - 9PB", "223372036854775.807"),
    ];
    for (source, worth) in table {
        let expression = Expression::parse(source).unwrap();
        assert_eq!(expression.of(&machine()).to_string(), worth, "{source}");
    }
}

#[test]
fn errors_name_the_place() {
    let table = [
        ("", 1, "found the end"),
        ("2 *", 4, "found the end"),
        ("2 mem.free", 3, "found `mem.free`"),
        ("(1 + 2", 7, "expected `+`, `-`, `*`, `/` or `)`"),
        ("1 + site", 5, "found the text `site`"),
        ("mem.free ? 3", 10, "`??`"),
        ("mem.free ?? x", 13, "what a missing attribute counts as"),
        ("2 < 3", 3, "found `<`"),
        ("min(1; 2)", 6, "found `;`"),
        ("2 * 8XB", 6, "a unit"),
    ];
    for (source, column, says) in table {
        let error = Expression::parse(source).unwrap_err();
        assert_eq!(error.column, column, "{source}: {error}");
        assert!(error.to_string().contains(says), "{source}: {error}");
    }
}

#[test]
fn depth_length_and_names_are_bounded() {
    let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expression::parse(&nested(DEPTH_MAX)).is_ok());
    assert!(Expression::parse(&nested(DEPTH_MAX + 1)).is_err());
    assert!(Expression::parse(&format!("{}1", "-".repeat(DEPTH_MAX + 1))).is_err());
    let sum = |terms: usize| format!("1{}", "+1".repeat(terms - 1));
    assert!(Expression::parse(&sum(512)).is_ok());
    assert!(Expression::parse(&sum(513)).is_err());
    let names = |count| (0..count).map(|i| format!("n{i}")).collect::<Vec<String>>().join("+");
    assert_eq!(Expression::parse(&names(FACTS_MAX)).unwrap().facts().names().len(), FACTS_MAX);
    assert!(Expression::parse(&names(FACTS_MAX + 1)).is_err());
}

#[test]
fn the_facts_asked_for_are_the_attributes_read() {
    let expression = Expression::parse("2 * mem.free / 1GiB - load.1m + mem.free").unwrap();
    assert_eq!(expression.facts().names().collect::<Vec<_>>(), ["load.1m", "mem.free"]);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(source in "[-+*/()?, a-c0-9.]{0,60}") {
        if let Ok(expression) = Expression::parse(&source) {
            expression.of(&machine());
        }
    }
}
