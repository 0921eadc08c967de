//! Where the bins of the histograms end: the same bounds at all nodes of an epoch, or averages would mean
//! nothing.
//!
//! Source: Sacha, Napper, Stratan, Pierre: Adam2, ICDCS 2010: interpolation points are placed anew from what
//! the last instance showed (§5), verification points measure the error (§6). Here an eighth of the bounds
//! never moves, so that a node that proposes senseless ones costs accuracy and not the histogram.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use super::curve::Curve;
use super::{ATTRIBUTES_MAX, Fraction};

/// Bins of a histogram. The last one ends with the greatest code and has no bound.
pub const BINS: usize = 64;
/// Bounds of a histogram, each the greatest code of its bin.
pub const BOUNDS: usize = BINS - 1;
/// Codes from one fixed bound to the next; the first is zero, so that the share without a value is exact.
const ANCHOR_STEP: u16 = 1 << 13;
const ANCHORS: usize = 8;
/// Bounds that show how far interpolation errs between the others (Adam2, §6).
pub const CHECKS: usize = 8;
/// Bounds that go where a straight line would err most.
const FREE: usize = BOUNDS - ANCHORS - CHECKS;
/// The part of a stretch's mass that it may err by where samples show no bend: codes that many share may have
/// been missed. An eighth is between trusting samples alone, which gave the least maximum on clustered
/// machines (1.4 %, with an eighth 1.7 %, with a quarter 1.8 %), and bounds for smooth curves (0.15, 0.11,
/// 0.11 % on uniform ones).
const UNSEEN: u64 = 8;

/// The rank of the bounds that everybody begins with.
pub const UNPROPOSED: u32 = u32::MAX;
/// Set in the rank of bounds that are used again because nobody proposed others: any proposal is before them.
const AGAIN: u32 = 1 << 31;

/// The bounds of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Rising.
    pub codes: [u16; BOUNDS],
    /// One bit for each bound that only measures the error.
    pub checks: u64,
}

impl Row {
    /// Fixed bounds alone, the others evenly between them.
    fn even() -> Self {
        // Without bounds in between there is nothing to measure between fixed ones: checks lie evenly too.
        place(&Curve::even(), &[])
    }

    pub fn is_check(&self, bound: usize) -> bool {
        self.checks >> bound & 1 == 1
    }

    /// Whether a correct node could propose this.
    fn is_sound(&self) -> bool {
        let is_anchor = |code: u16| code.is_multiple_of(ANCHOR_STEP);
        let anchors = self.codes.iter().filter(|code| is_anchor(**code)).count();
        let checks = (0..BOUNDS).filter(|bound| self.is_check(*bound));
        self.codes.is_sorted_by(|a, b| a < b)
            && self.codes[BOUNDS - 1] < u16::MAX
            && anchors == ANCHORS
            && self.checks >> BOUNDS == 0
            && self.checks.count_ones() as usize <= CHECKS
            && checks.into_iter().all(|bound| !is_anchor(self.codes[bound]))
    }
}

/// The bounds of all attributes, and who proposed them. Of two sets for one epoch the one of the lower rank
/// is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub rank: u32,
    pub rows: Box<[Row]>,
}

impl Bounds {
    pub fn even(attributes: usize) -> Self {
        Bounds { rank: UNPROPOSED, rows: core::iter::repeat_n(Row::even(), attributes).collect() }
    }

    /// The rank that they have when they are used once more.
    pub fn again(&self) -> u32 {
        self.rank | AGAIN
    }

    /// Bounds for the next epoch: from the averages of this one, and values of random nodes of each
    /// attribute, which tell where in a bin its nodes are.
    pub fn propose(&self, rank: u32, values: &[Fraction], samples: &[Vec<u16>]) -> Self {
        let row = |(i, row): (usize, &Row)| {
            let mut near = samples.get(i).cloned().unwrap_or_default();
            near.sort_unstable();
            place(&Curve::new(row, &values[i * BOUNDS..(i + 1) * BOUNDS]), &near)
        };
        Bounds { rank: rank & !AGAIN, rows: self.rows.iter().enumerate().map(row).collect() }
    }

    pub fn is_sound(&self) -> bool {
        self.rows.iter().all(Row::is_sound)
    }
}

/// A stretch between two bounds that are chosen: above `low`, up to `high`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stretch {
    /// How far a straight line through it may err.
    error: u64,
    mass: u64,
    width: u16,
    low: u16,
    high: u16,
    /// Where such a line errs most, when that stands out.
    bend: Option<u16>,
}

impl Stretch {
    /// `codes` are those, rising, at which the curve may bend.
    fn new(refined: &impl Fn(u16) -> u64, codes: &[u16], low: u16, high: u16) -> Self {
        let (start, width) = (refined(low), high - low);
        let mass = refined(high).saturating_sub(start);
        let straight = |code: u16| start + mass * u64::from(code - low) / u64::from(width);
        let within = codes.partition_point(|code| *code <= low)..codes.partition_point(|code| *code < high);
        let off = codes[within].iter().map(|code| (refined(*code).abs_diff(straight(*code)), *code)).max();
        let (off, bend) = off.map_or((0, None), |(off, code)| (off, Some(code)));
        let unseen = mass / UNSEEN;
        Stretch { error: off + unseen, mass, width, low, high, bend: bend.filter(|_| off > unseen) }
    }

    /// The code by which it is parted: where the line errs most, or where half of the mass is reached.
    fn part(&self, refined: &impl Fn(u16) -> u64) -> u16 {
        self.bend.unwrap_or_else(|| middle(refined, self))
    }
}

/// Parts the stretch again and again through which a straight line may err most. A code that many nodes share
/// ends up between two bounds next to each other, where there is nothing to interpolate.
fn place(curve: &Curve<'_>, samples: &[u16]) -> Row {
    let refined = |code: u16| curve.refined(samples, code);
    let ends = samples.iter().flat_map(|code| [code.saturating_sub(1), *code]);
    let mut codes: Vec<u16> = ends.chain(curve.bounds()).collect();
    codes.sort_unstable();
    codes.dedup();
    let stretch = |low: u16, high: u16| Stretch::new(&refined, &codes, low, high);
    let anchors = (0..ANCHORS as u16).map(|i| i * ANCHOR_STEP);
    let mut stretches: Vec<Stretch> =
        anchors.map(|low| stretch(low, low.saturating_add(ANCHOR_STEP))).collect();
    let mut checks = Vec::with_capacity(CHECKS);
    for nth in 0..FREE + CHECKS {
        let divisible = stretches.iter().enumerate().filter(|(_, stretch)| stretch.width > 1);
        let Some((at, &worst)) = divisible.max_by_key(|(_, stretch)| **stretch) else { break };
        let between = worst.part(&refined);
        if nth < FREE {
            stretches[at] = stretch(worst.low, between);
            stretches.push(stretch(between, worst.high));
        } else {
            // Not to be chosen again.
            stretches[at].width = 0;
            checks.push(between);
        }
    }
    let mut chosen: Vec<u16> = stretches.iter().map(|stretch| stretch.low).chain(checks.clone()).collect();
    chosen.sort_unstable();
    // A stretch for each anchor, one more for each free bound, and the checks: all bounds, and never the same
    // one twice.
    let mut codes = [u16::MAX; BOUNDS];
    codes.iter_mut().zip(chosen).for_each(|(code, chosen)| *code = chosen);
    let is_check = |bound: &usize| checks.contains(&codes[*bound]);
    Row { codes, checks: (0..BOUNDS).filter(is_check).fold(0, |mask, bound| mask | 1 << bound) }
}

/// The code in a stretch at which half of its mass is reached, its two ends left out; the middle without
/// mass.
fn middle(refined: &impl Fn(u16) -> u64, stretch: &Stretch) -> u16 {
    let (mut low, mut high) = (stretch.low + 1, stretch.high - 1);
    if stretch.mass == 0 {
        return stretch.low + stretch.width / 2;
    }
    let half = refined(stretch.low) + stretch.mass / 2;
    while low < high {
        let between = low + (high - low) / 2;
        if refined(between) < half { low = between + 1 } else { high = between }
    }
    low
}

/// A rank, and for each attribute the bytes of its codes and which of them are checks.
impl<C> Encode<C> for Bounds {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(1 + 2 * self.rows.len() as u64)?.u32(self.rank)?;
        for row in &self.rows {
            e.bytes(&super::message::pack(&row.codes))?.u64(row.checks)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Bounds {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let len = d.array()?.filter(|len| *len <= 1 + 2 * ATTRIBUTES_MAX as u64 && len % 2 == 1);
        let len = len.ok_or_else(|| decode::Error::message("bounds of too many attributes").at(at))?;
        let rank = d.u32()?;
        let mut rows = Vec::with_capacity(len as usize / 2);
        for _ in 0..len / 2 {
            let codes = super::message::unpack(d, BOUNDS)?;
            let codes = core::array::from_fn(|i| codes.get(i).copied().unwrap_or_default());
            rows.push(Row { codes, checks: d.u64()? });
        }
        Ok(Bounds { rank, rows: rows.into() })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;
    use xtreem_base::Rng;

    use super::super::WHOLE;
    use super::*;

    /// The averages that these machines' codes would lead to.
    fn values(bounds: &Bounds, machines: &[u16]) -> Vec<Fraction> {
        let share = |code: &u16| {
            let below = machines.iter().filter(|machine| *machine <= code).count() as u64;
            (below * u64::from(WHOLE) / machines.len() as u64) as Fraction
        };
        bounds.rows[0].codes.iter().map(share).collect()
    }

    proptest! {
        #[test]
        fn what_is_proposed_is_sound(
            mut machines in prop::collection::vec(any::<u16>(), 1..200),
            low in 0u16..300,
        ) {
            machines.extend([low; 50]);
            let even = Bounds::even(1);
            let proposed = even.propose(7, &values(&even, &machines), &[machines[..20].to_vec()]);
            prop_assert!(proposed.is_sound() && proposed.rows[0].checks.count_ones() == CHECKS as u32);
            let again = proposed.propose(7, &values(&proposed, &machines), &[Vec::new()]);
            prop_assert!(again.is_sound());
        }
    }

    #[test]
    fn a_code_that_many_share_gets_bounds_on_both_sides() {
        // A fifth at one code, the others up to 4,000: all in the first of eight equal parts.
        let machines: Vec<u16> = (0..1_000).map(|i| if i % 5 == 0 { 1_234 } else { i * 4 }).collect();
        let even = Bounds::even(1);
        let samples: Vec<u16> = (0..60).map(|i| machines[i * 16]).collect();
        let proposed = even.propose(7, &values(&even, &machines), &[samples]);
        let codes = proposed.rows[0].codes;
        assert!(codes.contains(&1_233) && codes.contains(&1_234), "{codes:?}");
        let near = codes.iter().filter(|code| **code < 4_096).count();
        assert!(near > FREE, "{codes:?}");
    }

    /// Six tenths of the machines in clusters of Zipf sizes, the largest 8 % of all, the others anywhere
    /// among them.
    fn clustered(rng: &mut Rng) -> Vec<u16> {
        let mut machines = Vec::new();
        for rank in 1.. {
            let len = (1_600 / rank).min(12_000 - machines.len());
            machines.extend(core::iter::repeat_n(1 + rng.below(6_000) as u16, len));
            if machines.len() == 12_000 {
                break;
            }
        }
        machines.extend((0..8_000).map(|_| (1 + rng.below(2_000) + rng.below(6_000)) as u16));
        machines
    }

    fn error_max(bounds: &Bounds, machines: &[u16]) -> f64 {
        let values = values(bounds, machines);
        let curve = Curve::new(&bounds.rows[0], &values);
        let mut counts = std::vec![0u32; 1 << 16];
        machines.iter().for_each(|code| counts[usize::from(*code)] += 1);
        let mut below = 0;
        let error = |(code, count): (usize, &u32)| {
            below += count;
            let told = f64::from(curve.at_most(code as u16)) / f64::from(WHOLE);
            (told - f64::from(below) / machines.len() as f64).abs()
        };
        counts.iter().enumerate().map(error).fold(0.0, f64::max)
    }

    #[test]
    fn among_clusters_no_share_is_off_by_two_per_cent_from_the_third_epoch_on() {
        for seed in 0..8 {
            let mut rng = Rng::new(seed);
            let machines = clustered(&mut rng);
            let mut bounds = Bounds::even(1);
            let mut errors = Vec::new();
            for _ in 0..5 {
                let samples = (0..200).filter_map(|_| rng.pick(&machines).copied()).collect();
                bounds = bounds.propose(7, &values(&bounds, &machines), &[samples]);
                errors.push(error_max(&bounds, &machines));
            }
            assert!(errors[1..].iter().all(|error| *error < 0.02), "seed {seed}: {errors:?}");
        }
    }

    #[test]
    fn bounds_that_no_correct_node_proposes_are_seen() {
        let even = Bounds::even(2);
        assert!(even.is_sound());
        let broken = |f: &dyn Fn(&mut Row)| {
            let mut bounds = even.clone();
            f(&mut bounds.rows[1]);
            bounds.is_sound()
        };
        assert!(broken(&|_| {}));
        assert!(!broken(&|row| row.codes[5] = row.codes[6]), "not rising");
        assert!(!broken(&|row| row.codes[BOUNDS - 1] = u16::MAX), "no last bin");
        assert!(!broken(&|row| row.checks = u64::MAX), "nothing but checks");
        assert!(!broken(&|row| row.checks = 1), "a fixed bound as a check");
        assert!(!broken(&|row| row.codes = core::array::from_fn(|i| i as u16)), "fixed bounds moved");
        let bytes = minicbor::to_vec(&even).unwrap();
        assert_eq!(minicbor::decode::<Bounds>(&bytes).unwrap(), even);
        let many = Bounds::even(ATTRIBUTES_MAX + 1);
        assert!(minicbor::decode::<Bounds>(&minicbor::to_vec(&many).unwrap()).is_err());
    }
}
