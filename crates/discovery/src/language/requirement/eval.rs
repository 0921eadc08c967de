//! Whether a node's attributes meet a requirement. Total: a missing attribute or one of another kind makes a
//! comparison false, never an error, because a grid's machines are not alike.

use crate::language::attributes::{Attributes, Value};

use super::ast::{Expr, Literal, Relation};

impl Expr {
    pub(crate) fn holds(&self, attributes: &Attributes) -> bool {
        match self {
            Expr::Constant(constant) => *constant,
            Expr::Flag(name) => attributes.value(name) == Some(&Value::Flag(true)),
            Expr::Has(name) => attributes.value(name).is_some(),
            Expr::Compare { name, relation, literal } => {
                attributes.value(name).is_some_and(|value| compare(value, *relation, literal))
            }
            Expr::Between { name, low, high } => match attributes.value(name) {
                Some(Value::Number(number)) => (low..=high).contains(&number),
                _ => false,
            },
            Expr::OneOf { name, literals } => attributes
                .value(name)
                .is_some_and(|value| literals.iter().any(|literal| compare(value, Relation::Equal, literal))),
            Expr::Contains { name, text } => match attributes.value(name) {
                Some(Value::List(entries)) => entries.contains(text),
                _ => false,
            },
            Expr::Not(inner) => !inner.holds(attributes),
            Expr::All(parts) => parts.iter().all(|part| part.holds(attributes)),
            Expr::Any(parts) => parts.iter().any(|part| part.holds(attributes)),
        }
    }

    /// Whether every attribute that this speaks of is among `told`, so that further ones change nothing.
    pub(crate) fn is_decided_by(&self, told: &Attributes) -> bool {
        match self {
            Expr::Constant(_) => true,
            Expr::Flag(name)
            | Expr::Has(name)
            | Expr::Compare { name, .. }
            | Expr::Between { name, .. }
            | Expr::OneOf { name, .. }
            | Expr::Contains { name, .. } => told.value(name).is_some(),
            Expr::Not(inner) => inner.is_decided_by(told),
            Expr::All(parts) | Expr::Any(parts) => parts.iter().all(|part| part.is_decided_by(told)),
        }
    }
}

/// False for different kinds, `!=` included: nothing is said about an attribute of another kind.
fn compare(value: &Value, relation: Relation, literal: &Literal) -> bool {
    match (value, literal) {
        (Value::Number(value), Literal::Number(literal)) => relation.holds(*value, *literal),
        (Value::Text(value), Literal::Text(literal)) => equality(value == literal, relation),
        (Value::Flag(value), Literal::Flag(literal)) => equality(value == literal, relation),
        _ => false,
    }
}

fn equality(equal: bool, relation: Relation) -> bool {
    match relation {
        Relation::Equal => equal,
        Relation::NotEqual => !equal,
        _ => false,
    }
}
