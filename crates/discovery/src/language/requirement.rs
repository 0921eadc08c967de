//! The requirement language: `cpu.cores >= 4 && mem.total >= 8GiB && arch == "x86_64"`.
//!
//! A requirement travels as the text its user wrote and is parsed again by each node that it visits, so that
//! text, tree and clauses cannot disagree.

mod ast;
mod bounds;
mod error;
mod eval;
pub(crate) mod lexer;
mod parser;
mod set;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use crate::Attributes;

pub(crate) use ast::Literal;
pub use error::ParseError;
pub(crate) use set::Constraint;
pub use set::{Aggregate, Demand, Function, SET_AGGREGATES_MAX, SET_NODES_MAX, SetError, SetQuery, Together};

/// Bytes of a requirement's text.
pub const REQUIREMENT_LEN_MAX: usize = 4 * 1024;
/// Parentheses and `!` around one another: people write up to about five, and the parser recurses.
pub const DEPTH_MAX: usize = 32;
/// Clauses told apart in [`Requirement::failing`]; further ones count as the last.
pub const CLAUSES_MAX: usize = 64;

/// What a node must have. Cheap to clone.
#[derive(Clone)]
pub struct Requirement {
    source: Arc<str>,
    clauses: Arc<[Clause]>,
}

/// One part of the top-level conjunction, and where it stands in the text.
struct Clause {
    expr: ast::Expr,
    start: usize,
    end: usize,
}

impl Requirement {
    /// Reads a requirement. The empty text, like `true`, is met by every node.
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        let clauses = parser::parse(source)?;
        Ok(Requirement { source: source.into(), clauses: clauses.into() })
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The parts joined by `&&` at the top, as they were written, in their order.
    pub fn clauses(&self) -> impl ExactSizeIterator<Item = &str> {
        self.clauses.iter().map(|clause| &self.source[clause.start..clause.end])
    }

    /// The same and `more`, which is one comparison.
    pub(crate) fn and(&self, more: &str) -> Result<Self, ParseError> {
        let is_any = matches!(&*self.clauses, [Clause { expr: ast::Expr::Any(_), .. }]);
        if self.clauses.is_empty() {
            Requirement::parse(more)
        } else if is_any {
            Requirement::parse(&alloc::format!("({}) && {more}", self.source))
        } else {
            Requirement::parse(&alloc::format!("{} && {more}", self.source))
        }
    }

    pub fn matches(&self, attributes: &Attributes) -> bool {
        self.clauses.iter().all(|clause| clause.expr.holds(attributes))
    }

    /// Whether a node that tells these attributes, but perhaps not all that it has, fails a clause for
    /// certain.
    pub(crate) fn is_contradicted_by(&self, told: &Attributes) -> bool {
        self.clauses.iter().any(|clause| clause.expr.is_decided_by(told) && !clause.expr.holds(told))
    }

    /// The clauses that `attributes` fail, bit 0 for the first; zero when they match.
    pub fn failing(&self, attributes: &Attributes) -> u64 {
        let failed = |(_, clause): &(usize, &Clause)| !clause.expr.holds(attributes);
        self.clauses
            .iter()
            .enumerate()
            .filter(failed)
            .fold(0, |mask, (i, _)| mask | 1 << i.min(CLAUSES_MAX - 1))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Debug for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Requirement({:?})", self.source)
    }
}

impl FromStr for Requirement {
    type Err = ParseError;

    fn from_str(source: &str) -> Result<Self, ParseError> {
        Requirement::parse(source)
    }
}

/// Every node.
impl Default for Requirement {
    fn default() -> Self {
        Requirement { source: "".into(), clauses: [].into() }
    }
}

impl PartialEq for Requirement {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Requirement {}

impl<C> Encode<C> for Requirement {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.source)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Requirement {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        Requirement::parse(d.str()?).map_err(|error| decode::Error::message(error.message()).at(at))
    }
}
