//! Attributes of which a set query wants much or little: what a subtree has of them, and how a search weighs
//! that.
//!
//! The order is by largest value and holder (docs/design/selection.md, "Dynamic values"). What links say
//! is the word of minutes ago and orders the search only; what counts is what a visited node says of itself.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable};

use crate::bounded;
use crate::key::{DIMENSIONS_MAX, KEY_BITS, Key};
use crate::language::requirement::SetQuery;
use crate::region::{Region, WHOLE};
use crate::schema::{CLASSES, DYNAMICS_MAX, MISPLACED, Scale, Schema, log2_codes};
use crate::trie::{PLACE_BITS, Summary, TOPS, Top};
use crate::visit::route::Link;

/// Attributes that one search aims at; further ones are not looked at (our guess: queries have one or two).
pub const AIMS_MAX: usize = 4;

/// Attributes of a schema of which much (or little) is wanted, as bits: the static ones, then the dynamic
/// ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Encode, Decode)]
pub struct Aims {
    #[n(0)]
    most: u16,
    #[n(1)]
    least: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Aim {
    /// The same bit as in [`Aims`].
    bit: usize,
    most: bool,
}

impl Aims {
    pub const NONE: Aims = Aims { most: 0, least: 0 };

    fn iter(self) -> impl Iterator<Item = Aim> {
        let bits = |mask: u16, most| {
            let is_set = move |bit: &usize| mask >> bit & 1 == 1;
            (0..DIMENSIONS_MAX + DYNAMICS_MAX).filter(is_set).map(move |bit| Aim { bit, most })
        };
        bits(self.most, true).chain(bits(self.least, false)).take(AIMS_MAX)
    }

    pub(crate) fn len(self) -> usize {
        self.iter().count()
    }

    fn insert(&mut self, aim: Aim) {
        *(if aim.most { &mut self.most } else { &mut self.least }) |= 1 << aim.bit;
    }
}

/// What a subtree is said to have of one attribute that a search aims at.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Peak {
    /// Nodes that have most and can match.
    #[cbor(n(0), decode_with = "bounded::list::<_, _, TOPS>")]
    pub holders: Vec<Holder>,
    /// The code that none of the others surpasses.
    #[n(1)]
    pub rest: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Holder {
    #[n(0)]
    pub handle: Handle,
    #[n(1)]
    pub code: u16,
    /// The chance that it stands where matches can be, of [`WHOLE`].
    #[n(2)]
    pub place: u32,
}

impl Peak {
    pub(crate) fn is_sound(&self) -> bool {
        self.holders.iter().all(|holder| holder.handle != Handle::NONE && holder.place <= WHOLE)
    }
}

/// What is known of each aim in the subtree `level` bits beside a node with `key`.
pub(crate) fn peaks(
    aims: Aims,
    schema: &Schema,
    key: &Key,
    level: usize,
    area: &crate::area::Area,
    summary: Option<&Summary>,
    region: &Region,
) -> Vec<Peak> {
    let peak = |aim: Aim| match aim.bit.checked_sub(DIMENSIONS_MAX) {
        None => {
            let (low, high) = region.bounds(area, aim.bit).unwrap_or((0, 0));
            // Codes of missing values say nothing about small ones.
            let rest = if aim.most { high } else { low.max(MISPLACED + 1) };
            Peak { holders: Vec::new(), rest }
        }
        Some(dynamic) => match summary {
            Some(summary) if dynamic < schema.dynamics().len() => {
                dynamic_peak(aim.most, dynamic, schema, key, level, area, summary, region)
            }
            _ => Peak { holders: Vec::new(), rest: if aim.most { 0 } else { u16::MAX } },
        },
    };
    aims.iter().map(peak).collect()
}

#[expect(clippy::too_many_arguments, reason = "the parts of what is known of a subtree")]
fn dynamic_peak(
    most: bool,
    dynamic: usize,
    schema: &Schema,
    key: &Key,
    level: usize,
    area: &crate::area::Area,
    summary: &Summary,
    region: &Region,
) -> Peak {
    let classes = || (0..CLASSES).filter(|class| summary.shares[dynamic][*class] > 0);
    let codes = |class: usize| schema.dynamics()[dynamic].codes(class);
    if !most {
        let low = classes().next().map_or(u16::MAX, |class| codes(class).0);
        return Peak { holders: Vec::new(), rest: low.max(MISPLACED + 1) };
    }
    let high = || classes().next_back().map_or(0, |class| codes(class).1);
    let rest = summary.tops(dynamic).last().map_or_else(high, |top| top.code);
    let holder = |top: &Top| {
        let stands = key.sibling(level).with_window(level + 1, top.place);
        let cell = stands.cell((level + 1 + PLACE_BITS).min(KEY_BITS), schema.dimensions().len());
        let cell = cell.meet(area);
        // Whoever has moved out of the area since is where nobody knows.
        let place = if cell.is_sound() { region.expect(schema, &cell, None)?.place } else { WHOLE / 2 };
        Some(Holder { handle: top.holder, code: top.code, place })
    };
    Peak { holders: summary.tops(dynamic).filter_map(holder).collect(), rest }
}

/// How a requester weighs one aim.
#[derive(Clone, Copy, Debug)]
struct Goal {
    scale: Scale,
    most: bool,
    /// What a member must have when all have the same, on the logarithmic scale.
    share: i64,
}

impl Goal {
    /// How far a code surpasses the even share, in 1,024ths of an octave.
    fn gain(&self, code: u16) -> i64 {
        let log = match self.scale {
            Scale::Logarithmic => code,
            scale => Scale::Logarithmic.number_code(scale.number_at(code)),
        };
        if self.most { i64::from(log) - self.share } else { self.share - i64::from(log) }
    }
}

/// What a search aims at, in the order in which [`Aims`] names it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Goals {
    goals: Vec<Goal>,
    pub(crate) aims: Aims,
    /// Scores differ by up to this between requesters, in 1,024ths of an octave.
    jitter: u64,
}

/// Scores of those who turn to the same holders: an eighth of an octave apart (our guess: less than what
/// values change while their word travels), and twice as much each time that a requester was turned away.
const JITTER: u64 = 128;
const JITTER_MAX: u64 = 4_096;
/// Scores begin here, so that they are positive.
const SCORE_ZERO: i64 = 1 << 24;
/// The score of a link that does not tell.
const UNTOLD: i64 = -(1 << 17);

impl Goals {
    /// Nothing is aimed at when the schema has none of the attributes that the query sums up.
    pub(crate) fn of(query: &SetQuery, schema: &Schema, patience: u8) -> Self {
        let mut known: Vec<(Aim, Goal)> = Vec::new();
        for constraint in query.constraints() {
            let Some(most) = constraint.wants_most() else { continue };
            let dimension =
                schema.dimensions().iter().position(|dimension| dimension.name == constraint.name);
            let dynamic = schema.dynamics().iter().position(|dynamic| dynamic.name == constraint.name);
            let Some(bit) = dimension.or(dynamic.map(|at| DIMENSIONS_MAX + at)) else { continue };
            let scale = match dimension {
                Some(at) => schema.dimensions()[at].scale,
                None => schema.dynamics()[bit - DIMENSIONS_MAX].scale,
            };
            let aim = Aim { bit, most };
            let share = Scale::Logarithmic.number_code(constraint.even_share(query.most())).into();
            if scale != Scale::Category && known.iter().all(|(other, _)| *other != aim) {
                known.push((aim, Goal { scale, most, share }));
            }
        }
        known.sort_by_key(|(aim, _)| (!aim.most, aim.bit));
        known.truncate(AIMS_MAX);
        let mut aims = Aims::NONE;
        known.iter().for_each(|(aim, _)| aims.insert(*aim));
        let jitter = (JITTER << patience.min(8)).min(JITTER_MAX);
        Goals { goals: known.into_iter().map(|(_, goal)| goal).collect(), aims, jitter }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.goals.is_empty()
    }

    /// The number of the holder to turn to, counted over all peaks, when one promises more than the others of
    /// its subtree; `is_open` says which can be turned to.
    pub(crate) fn holder(&self, link: &Link, is_open: impl Fn(usize, Handle) -> bool) -> Option<usize> {
        let mut best: Option<(i64, usize)> = None;
        for (i, (goal, peak)) in self.goals.iter().zip(&link.peaks).enumerate() {
            let rest = goal.gain(peak.rest) - doubt(link, link.place);
            for (j, holder) in peak.holders.iter().enumerate() {
                let number = i * TOPS + j;
                let score = goal.gain(holder.code) - doubt(link, holder.place);
                if score >= rest
                    && is_open(number, holder.handle)
                    && best.is_none_or(|(known, _)| known < score)
                {
                    best = Some((score, number));
                }
            }
        }
        best.map(|(_, number)| number)
    }

    /// The place of a subtree in the order.
    pub(crate) fn score(&self, link: &Link, is_open: impl Fn(usize, Handle) -> bool, draw: u64) -> u64 {
        let mut sum = 0;
        for (i, goal) in self.goals.iter().enumerate() {
            let Some(peak) = link.peaks.get(i) else {
                sum += UNTOLD;
                continue;
            };
            let holders = peak.holders.iter().enumerate();
            let open = holders.filter(|(j, holder)| is_open(i * TOPS + j, holder.handle));
            let gains = open.map(|(_, holder)| goal.gain(holder.code) - doubt(link, holder.place));
            let expected = u64::from(link.count) * u64::from(link.place) / u64::from(WHOLE);
            // Fewer than one are expected there.
            let rare = if expected == 0 { doubt_of(link.place.saturating_mul(link.count)) } else { 0 };
            let rest = goal.gain(peak.rest) - doubt(link, link.place) - rare;
            sum += gains.fold(rest, i64::max);
        }
        let jitter = (draw % self.jitter.max(1)) as i64;
        (SCORE_ZERO + sum.clamp(-SCORE_ZERO, SCORE_ZERO) + jitter).max(0) as u64
    }
}

/// The handle of a holder by its number over all peaks.
pub(crate) fn holder_at(link: &Link, number: usize) -> Option<&Holder> {
    link.peaks.get(number / TOPS)?.holders.get(number % TOPS)
}

/// What uncertainty takes off a score: of large values with a tail that falls with the square, the largest of
/// a share `p` of the nodes is `√p` of the largest of all.
fn doubt(link: &Link, place: u32) -> i64 {
    doubt_of((u64::from(place) * u64::from(link.state) / u64::from(WHOLE)) as u32)
}

fn doubt_of(share: u32) -> i64 {
    let log = |share: u32| i64::from(log2_codes(share.clamp(1, WHOLE).into()));
    (log(WHOLE) - log(share)) / 2
}
