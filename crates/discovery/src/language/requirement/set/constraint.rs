//! Aggregates become conditions of one form: weights of the members sum up to at least so much.
//!
//! `sum(x) <= T` is `Σ −x ≥ −T`; `avg(x) >= v` is `Σ (x − v) ≥ 0`; `max(x) >= v` is `Σ [x ≥ v] ≥ 1`. What
//! `min(x) >= v` and `max(x) <= v` ask is asked of each member alone, so that it is a part of the members'
//! requirement.

use alloc::collections::BTreeSet;
use alloc::string::String;

use crate::language::requirement::ast::Relation;
use crate::{Attributes, Number, Value};

use super::{Aggregate, Function, Together};

/// What of an attribute counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Value,
    /// What it is above this.
    Over(i64),
    /// Whether it is at least this: one or nothing.
    AtLeast(i64),
    /// Whether it is at most this: one or nothing.
    AtMost(i64),
    /// Whether it is there: a thousand or nothing.
    Has,
}

/// The weights of the members must sum up to `at_least`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Constraint {
    pub(crate) name: alloc::boxed::Box<str>,
    pub(crate) measure: Measure,
    /// Weights are below zero: little is wanted.
    pub(crate) is_negated: bool,
    pub(crate) at_least: i128,
}

impl Constraint {
    /// Nothing for what is asked of each member alone.
    pub(crate) fn of(aggregate: &Aggregate) -> Option<Self> {
        let Aggregate { function, name, relation, bound } = aggregate;
        let bound = bound.as_thousandths();
        let is_negated = matches!(relation, Relation::Less | Relation::LessOrEqual);
        let strict = i128::from(matches!(relation, Relation::Less | Relation::Greater));
        let (measure, at_least) = match function {
            Function::Sum => (Measure::Value, i128::from(bound)),
            Function::Avg => (Measure::Over(bound), 0),
            Function::Count => (Measure::Has, i128::from(bound)),
            Function::Max if !is_negated => (Measure::AtLeast(bound.saturating_add(strict as i64)), 1),
            Function::Min if is_negated => (Measure::AtMost(bound.saturating_sub(strict as i64)), 1),
            Function::Min | Function::Max => return None,
        };
        let is_one_of = matches!(measure, Measure::AtLeast(_) | Measure::AtMost(_));
        let (is_negated, strict) = if is_one_of { (false, 0) } else { (is_negated, strict) };
        let at_least = if is_negated { -at_least } else { at_least } + strict;
        Some(Constraint { name: name.clone(), measure, is_negated, at_least })
    }

    /// Nothing when these attributes cannot be a member's.
    pub(crate) fn weight(&self, attributes: &Attributes) -> Option<i64> {
        let value = attributes.value(&self.name);
        let weight = match (self.measure, value) {
            (Measure::Has, value) => i64::from(value.is_some()) * 1_000,
            (measure, Some(Value::Number(number))) => {
                let number = number.as_thousandths();
                match measure {
                    Measure::Over(bound) => number.saturating_sub(bound),
                    Measure::AtLeast(bound) => i64::from(number >= bound),
                    Measure::AtMost(bound) => i64::from(number <= bound),
                    Measure::Value | Measure::Has => number,
                }
            }
            _ => return None,
        };
        Some(if self.is_negated { weight.saturating_neg() } else { weight })
    }

    /// More than is asked for is a waste: large machines shall not go first.
    pub(crate) fn is_cost(&self) -> bool {
        self.measure == Measure::Value && !self.is_negated
    }

    /// Whether the search looks for much or little of the attribute; nothing when its values do not matter.
    pub(crate) fn wants_most(&self) -> Option<bool> {
        match self.measure {
            Measure::Value | Measure::Over(_) => Some(!self.is_negated),
            Measure::AtLeast(_) => Some(true),
            Measure::AtMost(_) => Some(false),
            Measure::Has => None,
        }
    }

    /// The size of a set at which a sum of weights is best, from `least` to `most`.
    pub(crate) fn best_size(&self, least: usize, most: usize) -> usize {
        match self.measure {
            Measure::Value if self.is_negated => least,
            Measure::Over(_) => least,
            _ => most.max(least),
        }
    }

    /// What the aggregate comes to when the weights of so many members sum up to this; nothing for what is
    /// only there or not.
    pub(crate) fn best(&self, sum: i128, members: usize) -> Option<Number> {
        let sum = if self.is_negated { -sum } else { sum };
        let thousandths = match self.measure {
            Measure::Value | Measure::Has => sum,
            Measure::Over(bound) => i128::from(bound) + sum.checked_div(members as i128)?,
            Measure::AtLeast(_) | Measure::AtMost(_) => return None,
        };
        Some(Number::from_thousandths(thousandths.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
    }

    /// What each of `most` members must have, evenly: where the search finds a value large (or small).
    pub(crate) fn even_share(&self, most: u16) -> Number {
        Number::from_thousandths(match self.measure {
            Measure::Value => {
                let sum = if self.is_negated { -self.at_least } else { self.at_least };
                (sum / i128::from(most.max(1))).clamp(i64::MIN.into(), i64::MAX.into()) as i64
            }
            Measure::Over(bound) | Measure::AtLeast(bound) | Measure::AtMost(bound) => bound,
            Measure::Has => 0,
        })
    }
}

/// What is asked of each member alone, in the requirement language.
pub(super) fn of_each(together: &Together) -> BTreeSet<String> {
    let mut parts = BTreeSet::new();
    for Aggregate { function, name, relation, bound } in together.aggregates.iter() {
        let is_upper = matches!(relation, Relation::Less | Relation::LessOrEqual);
        match (function, is_upper) {
            (Function::Min, false) | (Function::Max, true) => {
                parts.insert(alloc::format!("{name} {} {bound}", relation.symbol()));
            }
            (Function::Count, _) => {}
            _ => {
                parts.insert(alloc::format!("has {name}"));
            }
        }
    }
    if let Some(name) = together.spread_by() {
        parts.insert(alloc::format!("has {name}"));
    }
    parts
}
