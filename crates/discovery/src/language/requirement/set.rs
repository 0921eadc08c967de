//! Set queries: `1..6 nodes with sum(disk.free) >= 10GiB where cpu.cores >= 4 spread by site`.
//!
//! What one node must have is a requirement; what the nodes must have together is a [`Together`]. Only the
//! requirement travels: the requester alone decides whether what nodes say of themselves is enough together.

mod beside;
mod constraint;
mod parser;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::ast::Relation;
use super::{ParseError, Requirement};
use crate::{Attributes, Number, Value};

pub(crate) use constraint::Constraint;
pub(super) use parser::is_part;

/// Nodes in one set (our guess: a set that must suit together is a handful; the choice among candidates grows
/// with it).
pub const SET_NODES_MAX: u16 = 64;
/// Aggregates of one set (our guess: people write one to three).
pub const SET_AGGREGATES_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Sum,
    Avg,
    Min,
    Max,
    /// Members that have the attribute.
    Count,
}

impl Function {
    const ALL: [(&'static str, Function); 5] = [
        ("sum", Function::Sum),
        ("avg", Function::Avg),
        ("min", Function::Min),
        ("max", Function::Max),
        ("count", Function::Count),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, function)| *function == self).map_or("", |(name, _)| name)
    }
}

/// A bound on what some numbers of all members come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    pub(crate) function: Function,
    pub(crate) name: Box<str>,
    pub(crate) relation: Relation,
    pub(crate) bound: Number,
}

impl Aggregate {
    pub fn function(&self) -> Function {
        self.function
    }

    /// The attribute that it is about.
    pub fn attribute(&self) -> &str {
        &self.name
    }

    /// The text of it without the bound: `sum(disk.free)`.
    pub fn what(&self) -> String {
        alloc::format!("{}({})", self.function.name(), self.name)
    }

    /// What it comes to over these members; nothing when none of them has the number, or for an average of
    /// none. Sums beyond what a number holds saturate.
    pub fn over<'a>(&self, members: impl Iterator<Item = &'a Attributes>) -> Option<Number> {
        let values: Vec<Option<&Value>> = members.map(|attributes| attributes.value(&self.name)).collect();
        if self.function == Function::Count {
            return Some(Number::from_unsigned(values.iter().flatten().count() as u64));
        }
        let number = |value: &Option<&Value>| match value {
            Some(Value::Number(number)) => Some(number.as_thousandths()),
            _ => None,
        };
        let numbers: Vec<i64> = values.iter().filter_map(number).collect();
        let sum = || numbers.iter().map(|number| i128::from(*number)).sum::<i128>();
        let thousandths = match self.function {
            Function::Min => numbers.iter().min().copied().map(i128::from),
            Function::Max => numbers.iter().max().copied().map(i128::from),
            Function::Avg => sum().checked_div(numbers.len() as i128),
            Function::Sum | Function::Count => (!numbers.is_empty()).then(sum),
        };
        let saturated = |sum: i128| sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        thousandths.map(|sum| Number::from_thousandths(saturated(sum)))
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.what(), self.relation.symbol(), self.bound)
    }
}

/// What the members of a set must have together.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Together {
    source: Arc<str>,
    pub(crate) aggregates: Arc<[Aggregate]>,
    /// `count >= 3`: bounds on the number of members.
    pub(crate) counts: Arc<[(Relation, Number)]>,
    /// The attribute whose value no two members may share.
    pub(crate) spread: Option<Arc<str>>,
}

impl Together {
    /// Reads what stands behind `with`: aggregates joined by `&&`, then `spread by` an attribute; either may
    /// be missing, but not both.
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        parser::together(source)
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    pub fn aggregates(&self) -> &[Aggregate] {
        &self.aggregates
    }

    pub fn spread_by(&self) -> Option<&str> {
        self.spread.as_deref()
    }
}

/// How much is asked of a node that takes the place of a member, beside what each member must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// The set is whole again.
    Whole,
    /// An even share of sums and averages, and apart from the others.
    ShareApart,
    /// An even share of sums and averages.
    Share,
}

/// What a set of nodes must be. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SetQuery {
    source: Arc<str>,
    least: u16,
    most: u16,
    together: Together,
    /// What stands behind `where`.
    each: Requirement,
    /// What a member must have, what the set asks of each one included.
    member: Requirement,
}

/// A set query makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    #[error("a set of {least} to {most} nodes: from 1 to {SET_NODES_MAX} are possible")]
    Size { least: u16, most: u16 },
    #[error("what each node must have becomes too long")]
    Long,
}

impl SetQuery {
    /// Reads a set query.
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        Ok(SetQuery { source: source.into(), ..parser::set(source)? })
    }

    /// The same with the text that says what it is.
    fn written_anew(self) -> Self {
        SetQuery { source: self.to_string().into(), ..self }
    }

    /// The text as it was written, or would be where nobody wrote it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// A set of `least` to `most` nodes that each meet `requirement`.
    ///
    /// # Errors
    /// A size that is not possible, or that `count` in `together` leaves none of.
    pub fn new(
        least: u16,
        most: u16,
        together: Together,
        requirement: &Requirement,
    ) -> Result<Self, SetError> {
        let (mut least, mut most) = (i64::from(least), i64::from(most));
        for (relation, bound) in together.counts.iter() {
            let thousandths = bound.as_thousandths();
            match relation {
                Relation::Less => most = most.min(thousandths.saturating_sub(1).div_euclid(1_000)),
                Relation::LessOrEqual => most = most.min(thousandths.div_euclid(1_000)),
                Relation::Greater => least = least.max(thousandths.div_euclid(1_000) + 1),
                _ => least = least.max(thousandths.saturating_add(999).div_euclid(1_000)),
            }
        }
        if least < 1 || most < least || most > SET_NODES_MAX.into() {
            let small = |size: i64| size.clamp(0, u16::MAX.into()) as u16;
            return Err(SetError::Size { least: small(least), most: small(most) });
        }
        let mut member = requirement.clone();
        for part in constraint::of_each(&together) {
            member = member.and(&part).map_err(|_| SetError::Long)?;
        }
        let each = requirement.clone();
        let (least, most) = (least as u16, most as u16);
        Ok(SetQuery { source: "".into(), least, most, together, each, member }.written_anew())
    }

    /// Fewest members.
    pub fn least(&self) -> u16 {
        self.least
    }

    /// Most members.
    pub fn most(&self) -> u16 {
        self.most
    }

    pub fn together(&self) -> &Together {
        &self.together
    }

    /// What each member must have: the requirement behind `where`, the attributes that the aggregates speak
    /// of, and what `min(…) >=` and `max(…) <=` ask of each one.
    pub fn member(&self) -> &Requirement {
        &self.member
    }

    /// Exactly `nodes` members instead, for example because an application is signed for so many.
    ///
    /// # Errors
    /// A number outside of what the query allows.
    pub fn of_exactly(&self, nodes: u16) -> Result<Self, SetError> {
        if !(self.least..=self.most).contains(&nodes) {
            return Err(SetError::Size { least: nodes, most: nodes });
        }
        Ok(SetQuery { least: nodes, most: nodes, ..self.clone() }.written_anew())
    }

    /// What a single node must have that takes the place of a member: of [`most`](Self::most) members, all
    /// but one are `others`, or are not known. Those count as even shares of sums, as having nothing that a
    /// `max`, `min` or `count` wants, and as apart. An attribute that a member does not tell counts as not
    /// known.
    pub fn beside(&self, others: &[&Attributes], demand: Demand) -> Requirement {
        let part = |aggregate| match demand {
            Demand::Whole => beside::missing(aggregate, others, self.most),
            Demand::ShareApart | Demand::Share => beside::share(aggregate, self.most),
        };
        let parts = self.together.aggregates.iter().filter_map(part);
        let apart = beside::apart(&self.together, others).filter(|_| demand != Demand::Share);
        self.member_and(parts.chain(apart))
    }

    /// Further parts are left out when the requirement would become too long.
    fn member_and(&self, parts: impl Iterator<Item = String>) -> Requirement {
        parts.fold(self.member.clone(), |all, part| all.and(&part).unwrap_or(all))
    }

    /// The attributes that decide whether members make a set, each once; at most one more than there can be
    /// aggregates.
    pub fn names(&self) -> BTreeSet<&str> {
        let aggregates = self.together.aggregates.iter().map(Aggregate::attribute);
        aggregates.chain(self.together.spread_by()).collect()
    }

    /// Conditions on sums that, together, say what [`Together`] says.
    pub(crate) fn constraints(&self) -> Vec<Constraint> {
        self.together.aggregates.iter().filter_map(Constraint::of).collect()
    }

    /// Whether these members are such a set.
    pub fn is_met_by(&self, members: &[&Attributes]) -> bool {
        let size = (self.least..=self.most).contains(&(members.len() as u16));
        let each = members.iter().all(|attributes| self.member.matches(attributes));
        let sums = self.constraints().iter().all(|constraint| {
            let weights = members.iter().map(|attributes| constraint.weight(attributes).map(i128::from));
            weights.sum::<Option<i128>>().is_some_and(|sum| sum >= constraint.at_least)
        });
        size && each && sums && self.are_apart(members)
    }

    fn are_apart(&self, members: &[&Attributes]) -> bool {
        let Some(name) = self.together.spread_by() else { return true };
        let values: Vec<Option<String>> =
            members.iter().map(|attributes| attributes.value(name).map(|value| value.to_string())).collect();
        values.iter().enumerate().all(|(i, value)| value.is_some() && !values[..i].contains(value))
    }
}

/// The same set, however it was written.
impl PartialEq for SetQuery {
    fn eq(&self, other: &Self) -> bool {
        let SetQuery { source: _, least, most, together, each, member } = self;
        (least, most, together, each, member)
            == (&other.least, &other.most, &other.together, &other.each, &other.member)
    }
}

impl Eq for SetQuery {}

impl fmt::Display for SetQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.most {
            1 => f.write_str("1 node")?,
            most if most == self.least => write!(f, "{most} nodes")?,
            most => write!(f, "{}..{most} nodes", self.least)?,
        }
        let source = self.together.source();
        if !source.is_empty() {
            write!(f, "{}{source}", if source.starts_with("spread") { " " } else { " with " })?;
        }
        if self.each.source().is_empty() { Ok(()) } else { write!(f, " where {}", self.each) }
    }
}
