//! What an epoch came to: the size of the grid and the distribution of each attribute, with what they may err
//! by.

use alloc::boxed::Box;
use alloc::sync::Arc;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use super::bounds::{BOUNDS, Bounds};
use super::curve::Curve;
use super::sizes::Size;
use super::{ATTRIBUTES_MAX, Fraction, WHOLE};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub epoch: u32,
    pub size: Size,
    bounds: Arc<Bounds>,
    /// The curve of each attribute, rising.
    values: Box<[Fraction]>,
}

/// How far a distribution errs, as shares of all nodes, measured at the bounds that served for nothing else.
/// They lie where the most nodes are, and the distribution that is shown uses them too: the true errors are
/// rather smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurveError {
    pub max: Fraction,
    pub mean: Fraction,
}

impl Estimate {
    /// Takes averages as they are; where rounding made them fall, the larger one counts on.
    pub(super) fn new(epoch: u32, size: Size, bounds: Arc<Bounds>, values: &[Fraction]) -> Self {
        let mut values: Box<[Fraction]> = values.into();
        for row in values.chunks_exact_mut(BOUNDS) {
            row.iter_mut().fold(0, |least, value| {
                *value = least.max(*value);
                *value
            });
        }
        Estimate { epoch, size, bounds, values }
    }

    pub fn attributes(&self) -> usize {
        self.bounds.rows.len()
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The distribution of one attribute.
    pub fn curve(&self, attribute: usize) -> Option<Curve<'_>> {
        let values = self.values.chunks_exact(BOUNDS).nth(attribute)?;
        Some(Curve::new(self.bounds.rows.get(attribute)?, values))
    }

    /// The share of nodes with codes from `low` to `high`, both included; nothing for an attribute that is
    /// not there.
    pub fn share(&self, attribute: usize, low: u16, high: u16) -> Option<Fraction> {
        let curve = self.curve(attribute)?;
        let below = low.checked_sub(1).map_or(0, |code| curve.at_most(code));
        Some(curve.at_most(high).saturating_sub(below))
    }

    pub fn curve_error(&self, attribute: usize) -> Option<CurveError> {
        let row = self.bounds.rows.get(attribute)?;
        let values = self.values.chunks_exact(BOUNDS).nth(attribute)?;
        let unchecked = Curve::unchecked(row, values);
        let checks = (0..BOUNDS).filter(|bound| row.is_check(*bound));
        let errors = checks.map(|bound| unchecked.at_most(row.codes[bound]).abs_diff(values[bound]));
        let (max, sum, count) = errors.fold((0, 0u32, 0u32), |(max, sum, count), error| {
            (error.max(max), sum + u32::from(error), count + 1)
        });
        Some(CurveError { max, mean: sum.checked_div(count).unwrap_or_default() as Fraction })
    }

    /// Whether a correct node could say this.
    pub(super) fn is_sound(&self) -> bool {
        self.size.nodes > 0 && self.bounds.is_sound() && self.values.len() == self.attributes() * BOUNDS
    }

    /// Bytes on the heap that no other node of a simulation shares.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Estimate>() + size_of_val(&*self.values)
    }
}

/// A share in parts of one, for people.
pub fn parts_per(whole: u64, share: Fraction) -> u64 {
    (u64::from(share) * whole + u64::from(WHOLE) / 2) / u64::from(WHOLE)
}

impl<C> Encode<C> for Estimate {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(5)?.u32(self.epoch)?.u32(self.size.nodes)?.u32(self.size.error_ppm)?;
        self.bounds.encode(e, ctx)?;
        e.bytes(&super::message::pack(&self.values))?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Estimate {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        if d.array()? != Some(5) {
            return Err(decode::Error::message("an estimate has five parts").at(at));
        }
        let (epoch, nodes, error_ppm) = (d.u32()?, d.u32()?, d.u32()?);
        let bounds = Arc::new(Bounds::decode(d, ctx)?);
        let values = super::message::unpack(d, ATTRIBUTES_MAX * BOUNDS)?;
        Ok(Estimate::new(epoch, Size { nodes, error_ppm }, bounds, &values))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn estimate(values: &[Fraction]) -> Estimate {
        let size = Size { nodes: 9, error_ppm: 1 };
        Estimate::new(3, size, Arc::new(Bounds::even(1)), values)
    }

    #[test]
    fn shares_follow_from_the_curve_and_rounding_never_makes_one_negative() {
        let mut values: Vec<Fraction> = (0..BOUNDS as u16).map(|i| i * 1_000).collect();
        values[30] = 28_990;
        let estimate = estimate(&values);
        let codes = estimate.bounds().rows[0].codes;
        assert_eq!(estimate.share(0, codes[29] + 1, codes[30]), Some(0));
        assert_eq!(estimate.share(0, codes[10] + 1, codes[20]), Some(10_000));
        assert_eq!(estimate.share(0, 0, u16::MAX), Some(WHOLE));
        assert_eq!(estimate.share(1, 0, 5), None);
    }

    #[test]
    fn the_error_is_what_the_checks_miss_the_line_by() {
        let values: Vec<Fraction> = (0..BOUNDS as u16).map(|i| i * 1_000).collect();
        let row = Bounds::even(1).rows[0].clone();
        let check = (0..BOUNDS).find(|bound| row.is_check(*bound)).unwrap();
        let mut bent = values.clone();
        bent[check] += 800;
        let (straight, bent) =
            (estimate(&values).curve_error(0).unwrap(), estimate(&bent).curve_error(0).unwrap());
        assert!(straight.max <= 1, "{straight:?}");
        assert!((799..=801).contains(&bent.max) && (99..=101).contains(&bent.mean), "{bent:?}");
    }

    #[test]
    fn estimates_survive_the_wire_and_unsound_ones_are_seen() {
        let values: Vec<Fraction> = (0..BOUNDS as u16).map(|i| i * 1_000).collect();
        let sound = estimate(&values);
        let bytes = minicbor::to_vec(&sound).unwrap();
        assert_eq!(minicbor::decode::<Estimate>(&bytes).unwrap(), sound);
        assert!(sound.is_sound() && !estimate(&values[1..]).is_sound());
        for len in 0..bytes.len() {
            assert!(minicbor::decode::<Estimate>(&bytes[..len]).is_err());
        }
    }
}
