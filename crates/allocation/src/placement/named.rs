//! Placements by name, as users write them: `spread by site`, `near host07`,
//! `weighted by 2 * mem.free / 1GiB - load.1m`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_discovery::{Expression, ParseError};

use super::{Near, Pack, Placement, Random, Spread, Weighted};

/// Longest text of a placement, in bytes: that of its expression.
pub const PLACEMENT_MAX_BYTES: usize = xtreem_discovery::limits::EXPRESSION_LEN_MAX;
/// Longest name, id or address of a node to be near to. Our guess: the longest DNS name is 253.
const NODE_MAX_BYTES: usize = 253;

/// Reads what follows the name of a placement: the text, and the byte at which the rest begins.
pub type Reader = fn(&str, usize) -> Result<Arc<dyn Placement>, ParseError>;

/// The placements that a node knows. A site's own scheduler is one more name here; it must be known to the
/// nodes that submit and to those that replace lost slots, others place at random.
#[derive(Clone, Debug)]
pub struct Placements {
    readers: Vec<(&'static str, Reader)>,
}

impl Default for Placements {
    fn default() -> Self {
        let readers: [(&str, Reader); 5] =
            [("random", random), ("pack", pack), ("spread", spread), ("near", near), ("weighted", weighted)];
        Placements { readers: readers.into() }
    }
}

impl Placements {
    /// One more, or another one in the place of that name.
    pub fn with(mut self, name: &'static str, reader: Reader) -> Self {
        self.readers.retain(|(known, _)| *known != name);
        self.readers.push((name, reader));
        self
    }

    /// What the text means; the empty one means `random`.
    pub fn parse(&self, source: &str) -> Result<Arc<dyn Placement>, ParseError> {
        if source.len() > PLACEMENT_MAX_BYTES {
            let found = format!("{} bytes", source.len());
            return Err(ParseError::new(source, 0, found, format!("at most {PLACEMENT_MAX_BYTES}")));
        }
        if source.trim().is_empty() {
            return Ok(Arc::new(Random));
        }
        let (at, name) = word(source, 0);
        match self.readers.iter().find(|(known, _)| *known == name) {
            Some((_, reader)) => reader(source, at + name.len()),
            None => {
                let known: Vec<String> = self.readers.iter().map(|(name, _)| format!("`{name}`")).collect();
                Err(ParseError::new(source, at, quoted(name), known.join(", ")))
            }
        }
    }
}

/// The next word and where it begins; empty at the end.
fn word(source: &str, from: usize) -> (usize, &str) {
    let rest = source[from..].trim_start();
    let at = source.len() - rest.len();
    (at, &rest[..rest.find(char::is_whitespace).unwrap_or(rest.len())])
}

fn quoted(found: &str) -> String {
    if found.is_empty() { "the end".into() } else { format!("`{}`", found.escape_debug()) }
}

fn nothing_more(source: &str, from: usize) -> Result<(), ParseError> {
    match word(source, from) {
        (_, "") => Ok(()),
        (at, more) => Err(ParseError::new(source, at, quoted(more), "the end")),
    }
}

/// Behind `by`.
fn by(source: &str, from: usize, example: &str) -> Result<usize, ParseError> {
    match word(source, from) {
        (at, "by") => Ok(at + 2),
        (at, other) => Err(ParseError::new(source, at, quoted(other), example)),
    }
}

fn random(source: &str, from: usize) -> Result<Arc<dyn Placement>, ParseError> {
    nothing_more(source, from)?;
    Ok(Arc::new(Random))
}

fn pack(source: &str, from: usize) -> Result<Arc<dyn Placement>, ParseError> {
    nothing_more(source, from)?;
    Ok(Arc::new(Pack))
}

fn spread(source: &str, from: usize) -> Result<Arc<dyn Placement>, ParseError> {
    let from = by(source, from, "`by site`, `by rack`, `by host` or `by` another attribute")?;
    let (at, name) = word(source, from);
    let spread = Spread::by(name).map_err(|_| {
        ParseError::new(source, at, quoted(name), "an attribute, such as `site`, `rack` or `host`")
    })?;
    nothing_more(source, at + name.len())?;
    Ok(Arc::new(spread))
}

fn near(source: &str, from: usize) -> Result<Arc<dyn Placement>, ParseError> {
    let (mut at, mut node) = word(source, from);
    if node == "to" {
        (at, node) = word(source, at + node.len());
        if node.is_empty() {
            return Err(ParseError::new(source, at, "the end", "host name, id or address of a node"));
        }
    }
    if node.is_empty() {
        return Ok(Arc::new(Near::submitter()));
    }
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.:[]%".contains(c);
    if node.len() > NODE_MAX_BYTES || !node.chars().all(is_good) {
        return Err(ParseError::new(source, at, quoted(node), "host name, id or address of a node"));
    }
    nothing_more(source, at + node.len())?;
    Ok(Arc::new(Near::to(node)))
}

fn weighted(source: &str, from: usize) -> Result<Arc<dyn Placement>, ParseError> {
    let from = by(source, from, "`by` and an expression, such as `by mem.free / 1GiB - load.1m`")?;
    Ok(Arc::new(Weighted::by(Expression::parse_from(source, from)?)))
}
