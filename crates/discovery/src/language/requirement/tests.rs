//! The language as tables, and its properties.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::ast::{Expr, Literal, Relation};
use super::{CLAUSES_MAX, DEPTH_MAX, REQUIREMENT_LEN_MAX, Requirement, parser};
use crate::language::attributes::{Attributes, is_name};
use crate::{Number, Value};

fn machine() -> Attributes {
    let mut attributes = Attributes::new();
    let values: [(&str, Value); 8] = [
        ("cpu.cores", 8.into()),
        ("cpu.freq", 2_400_000_000.into()),
        ("mem.total", (8 << 30).into()),
        ("load.1m", Number::from_thousandths(430).into()),
        ("arch", "x86_64".into()),
        ("ecc", true.into()),
        ("old", false.into()),
        ("cpu.flags", vec!["avx2".to_string(), "sse4_2".to_string()].into()),
    ];
    for (name, value) in values {
        attributes.set(name, value).unwrap();
    }
    attributes
}

#[test]
fn a_machine_meets_or_fails_a_requirement() {
    let table = [
        ("", true),
        (" \n\t", true),
        ("true", true),
        ("false", false),
        ("cpu.cores == 8", true),
        ("cpu.cores != 8", false),
        ("cpu.cores > 7.999", true),
        ("cpu.cores < 8", false),
        ("cpu.cores in 8..8", true),
        ("cpu.cores in 1..7", false),
        ("cpu.cores in -4..16", true),
        ("cpu.cores in [2, 4, 8]", true),
        ("mem.total >= 8GiB", true),
        ("mem.total >= 8.001GiB", false),
        ("mem.total > 8GB", true),
        ("cpu.freq == 2.4GHz", true),
        ("cpu.freq > 500MHz", true),
        ("load.1m < 0.5", true),
        ("load.1m < 0.43", false),
        ("arch == \"x86_64\"", true),
        ("arch in [\"aarch64\", \"x86_64\"]", true),
        ("arch in [\"aarch64\"]", false),
        ("\"avx2\" in cpu.flags", true),
        ("\"avx\" in cpu.flags", false),
        ("\"x86\" in arch", false),
        ("ecc", true),
        ("old", false),
        ("ecc == true && old == false", true),
        ("has old", true),
        ("has gpu.model", false),
        ("!has gpu.model", true),
        // Missing or of another kind: false, so that its negation is true.
        ("gpu.mem > 1GiB", false),
        ("gpu.mem != 1", false),
        ("!(gpu.mem > 1GiB)", true),
        ("arch > 3", false),
        ("arch != 3", false),
        ("arch", false),
        // Precedence: `!` before `&&` before `||`.
        ("true || true && false", true),
        ("(true || true) && false", false),
        ("!false || true", true),
        ("!(false || true)", false),
        ("!!ecc", true),
    ];
    for (source, met) in table {
        let requirement = Requirement::parse(source).unwrap_or_else(|error| panic!("{source}\n{error}"));
        assert_eq!(requirement.matches(&machine()), met, "{source}");
        assert_eq!(requirement.failing(&machine()) == 0, met, "{source}");
    }
}

#[test]
fn errors_name_the_column_and_what_was_expected() {
    let table = [
        ("cpu.cores >=", 13, "the end", "a number: `>=` compares only numbers"),
        ("cpu.cores = 4", 11, "`=`", "`==`"),
        ("cpu.cores >= 4 & ecc", 16, "`&`", "`&&`"),
        ("ecc | old", 5, "`|`", "`||`"),
        ("Arch == \"x\"", 1, "`A`", "an attribute name, which is in lower case"),
        ("cpuCores > 1", 4, "`C`", "lower-case letters, digits, `_` and `.` in a name"),
        ("arch == 'x'", 9, "`'`", "a text in double quotes"),
        ("arch == \"x", 9, "a text without end", "a closing `\"`"),
        ("arch == \"\\q\"", 11, "`q`", "`\\\"`, `\\\\`, `\\n` or `\\t`"),
        ("arch == x", 9, "`x`", "a number, a text in double quotes, `true` or `false`"),
        ("arch > \"a\"", 8, "a text", "a number: `>` compares only numbers"),
        ("ecc < true", 7, "`true`", "a number: `<` compares only numbers"),
        ("3 == 4", 1, "`3`", "an attribute name; numbers go to the right of it"),
        ("4 <= cpu.cores", 1, "`4`", "an attribute name; numbers go to the right of it"),
        ("a <= 4 <= 8", 8, "`<=`", "`&&`, `||` or the end; ranges are `name in low..high`"),
        ("cpu.cores in 16..4", 18, "`4`", "an upper end that is not below the lower one"),
        ("cpu.cores in 4", 15, "the end", "`..`"),
        ("cpu.cores in 4..", 17, "the end", "a number"),
        ("cpu.cores in x", 14, "`x`", "`[` or a range `low..high`"),
        ("arch in []", 10, "`]`", "a number or a text in double quotes"),
        ("arch in [\"a\", 3]", 15, "`3`", "only numbers or only texts in a list"),
        ("ecc in [true]", 9, "`true`", "only numbers or only texts in a list"),
        ("arch in [\"a\" \"b\"]", 14, "a text", "`,` or `]`"),
        ("\"avx2\" == cpu.flags", 8, "`==`", "`in` and the name of a list"),
        ("\"avx2\" in 3", 11, "`3`", "an attribute name"),
        ("has 3", 5, "`3`", "an attribute name"),
        ("cpu.cores >= 8GiB", 14, "`8GiB`", "a number without unit for `cpu.cores`"),
        ("mem.total >= 2GHz", 14, "`2GHz`", "a size in bytes for `mem.total`"),
        ("load.1m < 0.0001", 11, "a finer number", "a number of whole thousandths"),
        ("disk.free > 9000000PB", 13, "a larger number", "a number below 9.2e15"),
        ("a > 123456789012345678901", 5, "a longer number", "a number of at most 19 digits"),
        ("a > -", 5, "`-`", "a number"),
        ("(ecc", 5, "the end", "`&&`, `||` or `)`"),
        ("ecc)", 4, "`)`", "`&&`, `||` or the end"),
        ("ecc old", 5, "`old`", "a comparison, `in`, `&&`, `||` or the end"),
        ("ecc &&", 7, "the end", "an attribute name, `has`, `!`, `(`, `true`, `false` or a text with `in`"),
        ("ecc && ÿ", 8, "`ÿ`", "an attribute name, a literal or an operator"),
        // Columns are characters, not bytes.
        ("arch == \"äöü\" ?", 15, "`?`", "an attribute name, a literal or an operator"),
    ];
    for (source, column, found, expected) in table {
        let error = Requirement::parse(source).expect_err(source);
        let seen = (error.line, error.column, &*error.found, &*error.expected);
        assert_eq!(seen, (1, column, found, expected), "{source}");
    }
    for suffix in ["GIB", "gb", "%", "cores"] {
        let error = Requirement::parse(&format!("mem.total > 8{suffix}")).unwrap_err();
        assert_eq!((error.column, error.found), (14, format!("`{suffix}`")));
        assert!(error.expected.starts_with("a unit: B, kB, "));
    }
}

#[test]
fn the_place_is_told_in_lines_columns_and_bytes() {
    let text = "ecc && name == \"ä\" &&\n\tcpu.cores >= \"4\"";
    let error = Requirement::parse(text).unwrap_err();
    let told = "line 2, column 15: expected a number: `>=` compares only numbers, found a text";
    assert_eq!((error.to_string().as_str(), &text[error.offset..]), (told, "\"4\""));
}

#[test]
fn length_and_depth_are_bounded() {
    let padded = |len| format!("ecc{}", " ".repeat(len - 3));
    assert!(Requirement::parse(&padded(REQUIREMENT_LEN_MAX)).is_ok());
    let error = Requirement::parse(&padded(REQUIREMENT_LEN_MAX + 1)).unwrap_err();
    assert_eq!((error.column, error.expected), (1, format!("at most {REQUIREMENT_LEN_MAX} bytes")));
    for (open, close) in [("(", ")"), ("!", "")] {
        let nested = |depth| format!("{}ecc{}", open.repeat(depth), close.repeat(depth));
        assert!(Requirement::parse(&nested(DEPTH_MAX)).is_ok());
        let error = Requirement::parse(&nested(DEPTH_MAX + 1)).unwrap_err();
        assert_eq!(error.column as usize, DEPTH_MAX + 1);
    }
}

#[test]
fn clauses_are_the_top_level_conjuncts_as_written() {
    let table: [(&str, &[&str]); 5] = [
        ("", &[]),
        (
            "cpu.cores >= 4 && (ecc || old)  && mem.total>=8GiB ",
            &["cpu.cores >= 4", "(ecc || old)", "mem.total>=8GiB"],
        ),
        ("ecc && old || true", &["ecc && old || true"]),
        ("(ecc && old)", &["(ecc && old)"]),
        ("! ecc", &["! ecc"]),
    ];
    for (source, clauses) in table {
        assert_eq!(Requirement::parse(source).unwrap().clauses().collect::<Vec<_>>(), clauses, "{source}");
    }
}

#[test]
fn failing_clauses_are_told_by_bit_and_those_past_64_count_as_the_last() {
    let failing = |source: &str| Requirement::parse(source).unwrap().failing(&machine());
    assert_eq!(failing("cpu.cores >= 16 && ecc && arch == \"riscv64\""), 0b101);
    let many = ["true"; CLAUSES_MAX + 5].join(" && ");
    assert_eq!(failing(&format!("{many} && false")), 1 << 63);
}

#[test]
fn travels_as_text_and_is_checked_on_arrival() {
    let requirement = Requirement::parse("cpu.cores >= 4 && ecc").unwrap();
    let bytes = minicbor::to_vec(&requirement).unwrap();
    assert_eq!(minicbor::decode::<Requirement>(&bytes).unwrap(), requirement);
    for text in ["cpu.cores >=", &"(".repeat(4_000), &" ".repeat(5_000)] {
        assert!(minicbor::decode::<Requirement>(&minicbor::to_vec(text).unwrap()).is_err());
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z_][a-z0-9_]{0,5}(\\.[a-z0-9_]{1,4}){0,2}".prop_filter("reserved", |name| is_name(name))
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![any::<i64>(), -5_000i64..5_000].prop_map(Number::from_thousandths)
}

fn predicate() -> impl Strategy<Value = Expr> {
    let relation = prop::sample::select(vec![
        Relation::Equal,
        Relation::NotEqual,
        Relation::Less,
        Relation::LessOrEqual,
        Relation::Greater,
        Relation::GreaterOrEqual,
    ]);
    let equality = prop::sample::select(vec![Relation::Equal, Relation::NotEqual]);
    let unordered =
        prop_oneof![any::<String>().prop_map(Literal::Text), any::<bool>().prop_map(Literal::Flag)];
    prop_oneof![
        any::<bool>().prop_map(Expr::Constant),
        name().prop_map(Expr::Flag),
        name().prop_map(Expr::Has),
        (name(), relation, number().prop_map(Literal::Number))
            .prop_map(|(name, relation, literal)| Expr::Compare { name, relation, literal }),
        (name(), equality, unordered).prop_map(|(name, relation, literal)| Expr::Compare {
            name,
            relation,
            literal
        }),
        (name(), number(), number()).prop_map(|(name, a, b)| Expr::Between {
            name,
            low: a.min(b),
            high: a.max(b)
        }),
        (name(), prop::collection::vec(number().prop_map(Literal::Number), 1..4))
            .prop_map(|(name, literals)| Expr::OneOf { name, literals }),
        (name(), prop::collection::vec(any::<String>().prop_map(Literal::Text), 1..4))
            .prop_map(|(name, literals)| Expr::OneOf { name, literals }),
        (name(), any::<String>()).prop_map(|(name, text)| Expr::Contains { name, text }),
    ]
}

fn tree() -> impl Strategy<Value = Expr> {
    predicate().prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|expr| Expr::Not(Box::new(expr))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::All),
            prop::collection::vec(inner, 2..4).prop_map(Expr::Any),
        ]
    })
}

/// Pieces of the language in any order: gets further into the parser than random characters do.
fn word_salad() -> impl Strategy<Value = String> {
    let words = [
        "cpu.cores",
        "arch",
        "in",
        "has",
        "true",
        "(",
        ")",
        "[",
        "]",
        "!",
        "&&",
        "||",
        "==",
        "<",
        ">=",
        "..",
        ",",
        "4",
        "-1.5",
        "8GiB",
        "\"a\"",
        "\"",
        "\\",
        "=",
        "&",
        "\n",
        "é",
        "9e9",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn a_printed_tree_parses_to_itself(tree in tree()) {
        let printed = tree.to_string();
        prop_assume!(printed.len() <= REQUIREMENT_LEN_MAX);
        let mut exprs: Vec<Expr> = match parser::parse(&printed) {
            Ok(clauses) => clauses.into_iter().map(|clause| clause.expr).collect(),
            Err(error) => return Err(TestCaseError::fail(format!("{printed}\n{error}"))),
        };
        let parsed = if exprs.len() == 1 { exprs.remove(0) } else { Expr::All(exprs) };
        prop_assert_eq!(parsed, tree);
    }

    #[test]
    fn no_text_panics(source in prop_oneof![any::<String>(), word_salad()]) {
        match Requirement::parse(&source) {
            Ok(requirement) => {
                let met = requirement.matches(&machine());
                prop_assert_eq!(requirement.failing(&machine()) == 0, met);
                prop_assert!(requirement.clauses().all(|clause| !clause.is_empty()));
            }
            Err(error) => prop_assert!(source.is_char_boundary(error.offset)),
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(minicbor::decode::<Requirement>(&bytes));
        drop(minicbor::decode::<Attributes>(&bytes));
    }
}
