//! What travels down the trie with a query for all, and back up.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable};

use crate::key::Key;
use crate::language::attributes::{NAME_LEN_MAX, TEXT_LEN_MAX};
use crate::language::requirement::CLAUSES_MAX;
use crate::schema::Scale;
use crate::trie::COUNT_MAX;
use crate::{Attributes, Number, Requirement, Value, bounded};

/// Matches in one message.
pub const FOUND_MAX: usize = 64;
/// Matches in one message when each brings its attributes, of 32 KiB at most: a message has 256 KiB.
pub const FOUND_WITH_ATTRIBUTES_MAX: usize = 7;
/// Bars of a histogram, and likewise texts; what comes when it is full counts as others.
pub const HISTOGRAM_MAX: usize = 256;
/// Code bits that one bar covers: 16 bars an octave.
const BAR_BITS: u32 = 6;

/// What is asked of all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Gather {
    #[n(0)]
    pub requirement: Requirement,
    /// Whether the matching nodes shall be named.
    #[n(1)]
    pub list: bool,
    /// Whether those shall bring their attributes.
    #[n(2)]
    pub attributes: bool,
    /// The attribute whose values among the matching nodes are counted.
    #[cbor(n(3), decode_with = "decode_name")]
    pub histogram: Option<Box<str>>,
}

fn decode_name<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Option<Box<str>>, decode::Error> {
    if d.datatype()? == minicbor::data::Type::Null {
        d.null()?;
        return Ok(None);
    }
    bounded::text::<_, NAME_LEN_MAX>(d, ctx).map(|name| Some(name.into()))
}

impl Gather {
    pub(super) fn found_max(&self) -> usize {
        if self.attributes { FOUND_WITH_ATTRIBUTES_MAX } else { FOUND_MAX }
    }
}

/// A subtree is handed to one of its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Delegate {
    /// Means something to the sender only.
    #[n(0)]
    pub task: u32,
    #[n(1)]
    pub gather: Gather,
    /// Version of the schema whose trie is followed.
    #[n(2)]
    pub schema: u32,
    /// The subtree: the first `len` bits of `key`.
    #[n(3)]
    pub len: u8,
    #[n(4)]
    pub key: Key,
    /// Nobody waits for it any longer than this.
    #[n(5)]
    pub time_ms: u32,
    /// There is nobody else to ask: a newcomer's word is better than none.
    #[n(6)]
    pub last: bool,
}

/// A node that matches.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Found {
    #[n(0)]
    pub peer: Handle,
    /// All but the lists, when they were asked for.
    #[n(1)]
    pub attributes: Option<Attributes>,
}

/// What a subtree came to.
#[derive(Clone, Debug, PartialEq, Eq, Default, Encode, Decode)]
pub struct Tally {
    #[n(0)]
    pub visited: u32,
    #[n(1)]
    pub matched: u32,
    /// Nodes that did not answer.
    #[n(2)]
    pub silent: u32,
    /// Nodes, about, all links to which were dead.
    #[n(3)]
    pub lost: u64,
    /// Nodes, about, for which there was no time.
    #[n(4)]
    pub unopened: u64,
    /// The visited nodes that failed each clause of the requirement.
    #[cbor(n(5), decode_with = "bounded::list::<_, _, CLAUSES_MAX>")]
    pub failing: Vec<u32>,
    #[n(6)]
    pub histogram: Option<Histogram>,
    /// Nodes below one another at most, without the one that says this.
    #[n(7)]
    pub depth: u16,
}

/// A subtree is done.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Gathered {
    #[n(0)]
    pub tally: Tally,
    /// Messages with matches that were sent before this one.
    #[n(1)]
    pub parts: u32,
    /// The last matches.
    #[cbor(n(2), decode_with = "bounded::list::<_, _, FOUND_MAX>")]
    pub found: Vec<Found>,
}

impl Tally {
    /// The tally of one node, which matches when it fails no clause.
    pub(super) fn of(query: &Gather, attributes: &Attributes, failing: u64) -> Self {
        let clauses = query.requirement.clauses().len().min(CLAUSES_MAX);
        let mut histogram = query.histogram.as_ref().map(|_| Histogram::default());
        if let (Some(histogram), Some(name), 0) = (&mut histogram, &query.histogram, failing) {
            histogram.count(attributes.value(name));
        }
        Tally {
            visited: 1,
            failing: (0..clauses).map(|i| (failing >> i & 1) as u32).collect(),
            histogram,
            ..Tally::default()
        }
    }

    /// Whether honest nodes could say this of one subtree.
    pub(super) fn is_sound(&self, query: &Gather) -> bool {
        let clauses = query.requirement.clauses().len().min(CLAUSES_MAX);
        (1..=COUNT_MAX).contains(&self.visited)
            && self.matched <= self.visited
            && self.silent <= COUNT_MAX
            && self.lost.max(self.unopened) <= COUNT_MAX.into()
            && self.failing.len() == clauses
            && self.histogram.is_some() == query.histogram.is_some()
    }

    /// Nodes, about, all links to which were dead.
    pub(super) fn miss(&mut self, nodes: u32) {
        self.lost = self.lost.saturating_add(nodes.into()).min(COUNT_MAX.into());
    }

    /// Nodes, about, for which there was no time.
    pub(super) fn leave(&mut self, nodes: u32) {
        self.unopened = self.unopened.saturating_add(nodes.into()).min(COUNT_MAX.into());
    }

    pub(super) fn add(&mut self, other: Tally) {
        self.depth = self.depth.max(other.depth.saturating_add(1));
        // Cut at what is sound: two that lie below would else make the sum of all others look like a lie.
        let sum = |mine: u32, theirs: u32| mine.saturating_add(theirs).min(COUNT_MAX);
        self.visited = sum(self.visited, other.visited);
        self.matched = sum(self.matched, other.matched);
        self.silent = sum(self.silent, other.silent);
        let sum = |mine: u64, theirs: u64| mine.saturating_add(theirs).min(COUNT_MAX.into());
        self.lost = sum(self.lost, other.lost);
        self.unopened = sum(self.unopened, other.unopened);
        for (mine, theirs) in self.failing.iter_mut().zip(other.failing) {
            *mine = mine.saturating_add(theirs);
        }
        if let (Some(mine), Some(theirs)) = (&mut self.histogram, other.histogram) {
            mine.add(theirs);
        }
    }
}

/// How often each value of an attribute occurs.
#[derive(Clone, Debug, PartialEq, Eq, Default, Encode, Decode)]
pub struct Histogram {
    /// Numbers in bars of a sixteenth of an octave, by their code on the logarithmic scale without its last
    /// bits: how many, and the least of them.
    #[cbor(n(0), decode_with = "decode_bars")]
    bars: BTreeMap<u16, (u32, Number)>,
    #[cbor(n(1), decode_with = "decode_texts")]
    texts: BTreeMap<String, u32>,
    /// Nodes without the attribute.
    #[n(2)]
    pub missing: u32,
    /// Nodes whose value found no room.
    #[n(3)]
    pub others: u32,
}

impl Histogram {
    /// Counts one node.
    pub fn count(&mut self, value: Option<&Value>) {
        let mut one = Histogram::default();
        match value {
            None => one.missing = 1,
            Some(Value::Number(number)) => {
                let code = Scale::Logarithmic.number_code(*number) - 1;
                one.bars.insert(code >> BAR_BITS, (1, *number));
            }
            Some(Value::Text(text)) => drop(one.texts.insert(text.clone(), 1)),
            Some(Value::Flag(flag)) => {
                one.texts.insert(if *flag { "true" } else { "false" }.into(), 1);
            }
            Some(Value::List(_)) => one.others = 1,
        }
        self.add(one);
    }

    pub fn add(&mut self, other: Histogram) {
        let mut others = other.others;
        merge(&mut self.bars, other.bars, |mine, theirs| {
            *mine = (mine.0.saturating_add(theirs.0), mine.1.min(theirs.1));
        })
        .for_each(|(count, _)| others = others.saturating_add(count));
        merge(&mut self.texts, other.texts, |mine, theirs| *mine = mine.saturating_add(theirs))
            .for_each(|count| others = others.saturating_add(count));
        self.others = self.others.saturating_add(others);
        self.missing = self.missing.saturating_add(other.missing);
    }

    /// The least number of each bar, rising, and how many nodes are in it.
    pub fn numbers(&self) -> impl Iterator<Item = (Number, u32)> + '_ {
        self.bars.values().map(|(count, least)| (*least, *count))
    }

    pub fn texts(&self) -> impl Iterator<Item = (&str, u32)> {
        self.texts.iter().map(|(text, count)| (&**text, *count))
    }
}

/// Adds theirs to mine; gives back what found no room.
fn merge<K: Ord, V>(
    mine: &mut BTreeMap<K, V>,
    theirs: BTreeMap<K, V>,
    add: impl Fn(&mut V, V),
) -> impl Iterator<Item = V> {
    let mut rest = Vec::new();
    for (key, value) in theirs {
        let has_room = mine.len() < HISTOGRAM_MAX;
        match mine.get_mut(&key) {
            Some(known) => add(known, value),
            None if has_room => drop(mine.insert(key, value)),
            None => rest.push(value),
        }
    }
    rest.into_iter()
}

fn decode_bars<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<BTreeMap<u16, (u32, Number)>, decode::Error> {
    let len = bounded::map_len(d, HISTOGRAM_MAX)?;
    (0..len).map(|_| Ok((d.u16()?, d.decode_with(ctx)?))).collect()
}

fn decode_texts<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<BTreeMap<String, u32>, decode::Error> {
    let len = bounded::map_len(d, HISTOGRAM_MAX)?;
    (0..len).map(|_| Ok((bounded::text::<_, TEXT_LEN_MAX>(d, ctx)?, d.u32()?))).collect()
}
