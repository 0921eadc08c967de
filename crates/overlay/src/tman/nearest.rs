//! Rankings for what applications know of themselves: things in common, or a number.

use alloc::vec::Vec;
use core::cmp::Ordering;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use super::ranking::{Profile, Ranking, Side, log_scale};

/// Items of a set at most; our guess: with 20 descriptors a message stays below 8 KiB.
pub const ITEMS_MAX: usize = 32;

/// What a node has, as numbers that stand for it (hashes, say): in order, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Items(Vec<u64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} items: {ITEMS_MAX} are possible")]
pub struct TooManyItems(pub usize);

impl Items {
    /// In any order; repetitions count once.
    ///
    /// # Errors
    /// More than [`ITEMS_MAX`] different ones.
    pub fn new(items: &[u64]) -> Result<Items, TooManyItems> {
        let mut items = items.to_vec();
        items.sort_unstable();
        items.dedup();
        if items.len() > ITEMS_MAX { Err(TooManyItems(items.len())) } else { Ok(Items(items)) }
    }

    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }

    /// How many both have.
    pub fn in_common(&self, other: &Items) -> usize {
        self.0.iter().filter(|item| other.0.binary_search(item).is_ok()).count()
    }
}

impl Profile for Items {
    fn wire_bytes(&self) -> usize {
        2 + 9 * self.0.len()
    }
}

impl<C> Encode<C> for Items {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(self.0.len() as u64)?;
        self.0.iter().try_for_each(|item| e.u64(*item)?.ok())
    }
}

impl<'b, C> Decode<'b, C> for Items {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let refused = |why| decode::Error::message(why).at(at);
        let len = d.array()?.filter(|len| *len <= ITEMS_MAX as u64);
        let len = len.ok_or_else(|| refused("more than 32 items"))?;
        let items = (0..len).map(|_| d.u64()).collect::<Result<Vec<_>, _>>()?;
        let is_in_order = items.windows(2).all(|pair| pair[0] < pair[1]);
        if is_in_order { Ok(Items(items)) } else { Err(refused("items out of order")) }
    }
}

/// Near is who has much in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Similar {
    /// Items that both have.
    Count,
    /// The share of these in all that either has (Jaccard).
    Share,
}

impl Ranking for Similar {
    type Profile = Items;

    const SIDES: &'static [Side] = Side::ONE;

    fn compare(&self, of: &Items, _: Side, a: &Items, b: &Items) -> Ordering {
        let common = |other: &Items| of.in_common(other);
        let all = |other: &Items| (of.0.len() + other.0.len() - common(other)).max(1);
        match self {
            Similar::Count => common(b).cmp(&common(a)),
            // The fractions, multiplied out.
            Similar::Share => (common(b) * all(a)).cmp(&(common(a) * all(b))),
        }
    }
}

/// A number: near is whose number differs little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Number(#[n(0)] pub i64);

impl Profile for Number {
    fn wire_bytes(&self) -> usize {
        9
    }
}

/// The ranking of [`Number`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Close;

impl Ranking for Close {
    type Profile = Number;

    const SIDES: &'static [Side] = Side::ONE;

    fn compare(&self, of: &Number, _: Side, a: &Number, b: &Number) -> Ordering {
        of.0.abs_diff(a.0).cmp(&of.0.abs_diff(b.0))
    }

    fn scale(&self, of: &Number, _: Side, number: &Number) -> u16 {
        log_scale(of.0.abs_diff(number.0).into())
    }
}
