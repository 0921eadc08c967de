//! What a node must have that takes the place of a member, in the requirement language.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString as _};

use crate::language::requirement::ast::{Literal, Relation};
use crate::{Attributes, Number, Value};

use super::{Aggregate, Function, Together};

/// An even share of what is asked of `most` members; nothing for what one member alone brings.
pub(super) fn share(aggregate: &Aggregate, most: u16) -> Option<String> {
    let Aggregate { name, relation, .. } = aggregate;
    let share = Number::from_thousandths(even(aggregate, most)?);
    Some(format!("{name} {} {share}", relation.symbol()))
}

/// The share in thousandths.
fn even(aggregate: &Aggregate, most: u16) -> Option<i64> {
    let (bound, most) = (aggregate.bound.as_thousandths(), i64::from(most.max(1)));
    match (aggregate.function, aggregate.relation) {
        (Function::Avg, _) => Some(bound),
        // Rounded so that as many shares are enough.
        (Function::Sum, Relation::GreaterOrEqual | Relation::Less) => {
            Some(bound.div_euclid(most) + i64::from(bound.rem_euclid(most) > 0))
        }
        (Function::Sum, _) => Some(bound.div_euclid(most)),
        _ => None,
    }
}

/// What of an aggregate over `most` members is missing beside all the others but one.
pub(super) fn missing(aggregate: &Aggregate, others: &[&Attributes], most: u16) -> Option<String> {
    let Aggregate { function, name, relation, bound } = aggregate;
    let told = || others.iter().filter_map(|attributes| attributes.value(name));
    let numbers = told().filter_map(|value| match value {
        Value::Number(number) => Some(*number),
        _ => None,
    });
    let is_upper = matches!(relation, Relation::Less | Relation::LessOrEqual);
    match function {
        Function::Sum | Function::Avg => {
            let (mut sum, mut known) = (0, 0);
            for number in numbers {
                sum += i128::from(number.as_thousandths());
                known += 1;
            }
            let members = i128::from(most);
            let whole =
                i128::from(bound.as_thousandths()) * if *function == Function::Avg { members } else { 1 };
            let unknown = (members - 1 - known).max(0) * i128::from(even(aggregate, most)?);
            let rest = (whole - sum - unknown).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
            Some(format!("{name} {} {}", relation.symbol(), Number::from_thousandths(rest)))
        }
        // One that is there is enough; the other two kinds are asked of each member.
        Function::Max | Function::Min => {
            let is_asked = is_upper == (*function == Function::Min);
            let is_there = |number: Number| relation.holds(number, *bound);
            (is_asked && !numbers.into_iter().any(is_there))
                .then(|| format!("{name} {} {bound}", relation.symbol()))
        }
        Function::Count => {
            let with = |more| Number::from_unsigned(told().count() as u64 + more);
            let (counted, asked) = if is_upper { (with(1), "!has") } else { (with(0), "has") };
            (!relation.holds(counted, *bound)).then(|| format!("{asked} {name}"))
        }
    }
}

/// The values that other members of a spread set have.
pub(super) fn apart(together: &Together, others: &[&Attributes]) -> impl Iterator<Item = String> {
    let name = together.spread_by().unwrap_or_default();
    let values = others.iter().filter_map(|attributes| attributes.value(name));
    let literal = |value: &Value| match value {
        Value::Number(number) => Some(Literal::Number(*number).to_string()),
        Value::Text(text) => Some(Literal::Text(text.clone()).to_string()),
        Value::Flag(flag) => Some(Literal::Flag(*flag).to_string()),
        Value::List(_) => None,
    };
    let values: BTreeSet<String> = values.filter_map(literal).collect();
    // Of another kind neither `==` nor `!=` holds.
    values.into_iter().map(move |value| format!("!({name} == {value})"))
}
