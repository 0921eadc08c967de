//! This leads from a requirement to the region in which the nodes that meet it can be.

use alloc::vec::Vec;

use crate::area::Area;
use crate::region::{Piece, Region};
use crate::schema::{MISPLACED, Scale, Schema, UNKNOWN};

use super::Requirement;
use super::ast::{Expr, Literal, Relation};

/// Codes from one to the other, both included.
type Span = (u16, u16);

impl Requirement {
    /// The region in which the nodes can be that meet this.
    pub fn region(&self, schema: &Schema) -> Region {
        let clauses = self.clauses.iter().map(|clause| region(&clause.expr, true, schema));
        clauses.fold(Region::everything(), |all, part| all.meet(&part))
    }
}

/// The region in which `expr` can be true, or can be false.
fn region(expr: &Expr, is_true: bool, schema: &Schema) -> Region {
    let meet = |parts: &[Expr]| {
        let parts = parts.iter().map(|part| region(part, is_true, schema));
        parts.fold(Region::everything(), |all, part| all.meet(&part))
    };
    let join = |parts: &[Expr]| {
        parts.iter().map(|part| region(part, is_true, schema)).fold(Region::nothing(), Region::join)
    };
    let atom = |name: &str, spans: &dyn Fn(Scale) -> Vec<Span>| atom(name, spans, schema);
    match expr {
        Expr::Constant(constant) if *constant == is_true => Region::everything(),
        Expr::Constant(_) => Region::nothing(),
        Expr::Not(inner) => region(inner, !is_true, schema),
        Expr::All(parts) if is_true => meet(parts),
        Expr::All(parts) => join(parts),
        Expr::Any(parts) if is_true => join(parts),
        Expr::Any(parts) => meet(parts),
        Expr::Has(name) if is_true => atom(name, &|_| [KNOWN].into()),
        Expr::Has(name) => atom(name, &|_| [(UNKNOWN, UNKNOWN)].into()),
        Expr::Flag(name) => {
            let relation = Relation::Equal;
            atom(name, &|scale| compare(scale, relation, &Literal::Flag(true), is_true))
        }
        Expr::Compare { name, relation, literal } => {
            atom(name, &|scale| compare(scale, *relation, literal, is_true))
        }
        Expr::Between { name, low, high } => {
            let (low, high) = (Literal::Number(*low), Literal::Number(*high));
            let above = atom(name, &|scale| compare(scale, Relation::GreaterOrEqual, &low, is_true));
            let below = atom(name, &|scale| compare(scale, Relation::LessOrEqual, &high, is_true));
            if is_true { above.meet(&below) } else { above.join(below) }
        }
        Expr::OneOf { name, literals } => {
            let one = |literal| atom(name, &|scale| compare(scale, Relation::Equal, literal, is_true));
            let each = literals.iter().map(one);
            if is_true {
                each.fold(Region::nothing(), Region::join)
            } else {
                each.fold(Region::everything(), |all, part| all.meet(&part))
            }
        }
        Expr::Contains { name, .. } if is_true => atom(name, &|_| [KNOWN].into()),
        Expr::Contains { .. } => Region::everything(),
    }
}

/// An attribute that is there, whatever its value.
const KNOWN: Span = (MISPLACED, u16::MAX);
/// One that is not there, or not of the kind that was asked for.
const ABSENT: Span = (UNKNOWN, MISPLACED);

/// The codes that a value can have of which a comparison is true, or is not.
fn compare(scale: Scale, relation: Relation, literal: &Literal, is_true: bool) -> Vec<Span> {
    if is_true {
        return [placed(scale, relation, literal)].into();
    }
    // Of a value of another kind no comparison is true, and so the negation of each is. Only among numbers do
    // values of other kinds stand apart.
    match literal {
        Literal::Number(_) if scale.places(literal) => {
            [ABSENT, placed(scale, relation.inverse(), literal)].into()
        }
        _ => [(UNKNOWN, u16::MAX)].into(),
    }
}

/// The codes of values of the literal's own kind.
fn placed(scale: Scale, relation: Relation, literal: &Literal) -> Span {
    let code = match literal {
        Literal::Number(number) => scale.number_code(*number),
        Literal::Text(text) => scale.text_code(text),
        Literal::Flag(flag) => scale.flag_code(*flag),
    };
    match relation {
        Relation::Equal => (code, code),
        // Others may share the code.
        Relation::NotEqual if code == MISPLACED && !scale.places(literal) => (MISPLACED, MISPLACED),
        Relation::NotEqual => KNOWN,
        // Codes of numbers keep their order, but neighbours may share one.
        Relation::Less | Relation::LessOrEqual => (MISPLACED, code),
        Relation::Greater | Relation::GreaterOrEqual if scale.places(literal) => (code, u16::MAX),
        Relation::Greater | Relation::GreaterOrEqual => (MISPLACED, MISPLACED),
    }
}

fn atom(name: &str, spans: &dyn Fn(Scale) -> Vec<Span>, schema: &Schema) -> Region {
    if let Some(i) = schema.dimensions().iter().position(|dimension| *dimension.name == *name) {
        let piece = |(low, high): Span| {
            let mut area = Area::EVERYTHING;
            (area.low[i], area.high[i]) = (low, high);
            Region::of_piece(Piece { area, ..Piece::EVERYTHING })
        };
        let spans = spans(schema.dimensions()[i].scale).into_iter().filter(|(low, high)| low <= high);
        return spans.map(piece).fold(Region::nothing(), Region::join);
    }
    if let Some(i) = schema.dynamics().iter().position(|dynamic| *dynamic.name == *name) {
        let dynamic = &schema.dynamics()[i];
        let mut piece = Piece::EVERYTHING;
        piece.classes[i] = spans(dynamic.scale)
            .into_iter()
            .filter(|(low, high)| low <= high)
            .flat_map(|(low, high)| dynamic.class(low)..=dynamic.class(high))
            .fold(0, |mask, class| mask | 1 << class);
        return if piece.classes[i] == 0 { Region::nothing() } else { Region::of_piece(piece) };
    }
    Region::everything()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::schema::{Dimension, Dynamic};
    use crate::{Attributes, Number, Requirement, Value};

    use super::*;

    fn schema() -> Schema {
        let scale = Scale::Linear { low: Number::default(), high: Number::from_whole(20) };
        let dimensions = [("a", scale), ("b", Scale::Logarithmic), ("c", Scale::Category)];
        let dimension = |(name, scale): (&str, Scale)| Dimension { name: name.into(), scale };
        let dynamic = Dynamic { name: "d".into(), scale, first: 6_000, width: 9_000 };
        Schema::new(1, dimensions.map(dimension).into(), [dynamic].into()).unwrap()
    }

    fn some_value() -> impl Strategy<Value = Option<Value>> {
        prop_oneof![
            Just(None),
            (-3_000i64..24_000).prop_map(|n| Some(Number::from_thousandths(n).into())),
            (0u64..6).prop_map(|n| Some(n.into())),
            "[xy]".prop_map(|text| Some(text.into())),
            any::<bool>().prop_map(|flag| Some(flag.into())),
            Just(Some(Value::List(["x".into()].into()))),
        ]
    }

    fn some_text() -> impl Strategy<Value = alloc::string::String> {
        use alloc::format;
        let name = "[abcde]";
        let relation = prop::sample::select(&["==", "!=", "<", "<=", ">", ">="][..]);
        let atom = prop_oneof![
            (name, relation, 0u32..7).prop_map(|(name, relation, n)| format!("{name} {relation} {n}")),
            (name, "[xy]", any::<bool>())
                .prop_map(|(name, text, eq)| format!("{name} {} \"{text}\"", if eq { "==" } else { "!=" })),
            (name, 0u32..6, 0u32..9).prop_map(|(name, low, n)| format!("{name} in {low}..{}", low + n)),
            (name, 0u32..6).prop_map(|(name, n)| format!("{name} in [{n}, {}]", n + 2)),
            name.prop_map(|name| format!("has {name}")),
            name,
            name.prop_map(|name| format!("\"x\" in {name}")),
            Just("true".into()),
        ];
        atom.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|inner| format!("!({inner})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
                (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) || ({b})")),
            ]
        })
    }

    proptest! {
        #[test]
        fn whoever_matches_is_in_the_region(
            text in some_text(),
            values in prop::array::uniform5(some_value()),
        ) {
            let mut attributes = Attributes::new();
            for (name, value) in ["a", "b", "c", "d", "e"].iter().zip(values) {
                if let Some(value) = value {
                    attributes.set(name, value).unwrap();
                }
            }
            let (schema, requirement) = (schema(), Requirement::parse(&text).unwrap());
            let region = requirement.region(&schema);
            if requirement.matches(&attributes) {
                let codes = schema.codes(&attributes);
                prop_assert!(region.contains(&codes), "{text}: {codes:?} is not in {region:?}");
                let dynamic = &schema.dynamics()[0];
                let class = dynamic.class(schema.present(&attributes)[0]);
                let has_class = |area: &Area| {
                    let mut summary = crate::trie::Summary::NOTHING;
                    summary.shares[0][class] = u8::MAX;
                    region.expect(&schema, area, Some(&summary)).unwrap().state
                };
                let least = crate::region::WHOLE / crate::region::PIECES_MAX as u32;
                prop_assert!(has_class(&Area::of(&codes)) >= least);
            }
        }
    }

    #[test]
    fn a_region_is_as_narrow_as_the_requirement() {
        let schema = schema();
        let contains = |text: &str, a: i64| {
            let mut attributes = Attributes::new();
            attributes.set("a", Number::from_whole(a)).unwrap();
            Requirement::parse(text).unwrap().region(&schema).contains(&schema.codes(&attributes))
        };
        assert!(contains("a in 5..10", 5) && contains("a in 5..10", 10));
        assert!(!contains("a in 5..10", 4) && !contains("a in 5..10", 11));
        assert!(!contains("!(a >= 5)", 6) && contains("!(a >= 5)", 4));
        assert!(!contains("a < 3 || a > 17", 10) && contains("a < 3 || a > 17", 18));
        assert!(!contains("a >= 1 && c == \"x\"", 10) && !contains("false", 10));
        assert!(!contains("a == \"x\"", 10) && !contains("!has a", 10));
        assert!(contains("e == 1", 10));
    }
}
