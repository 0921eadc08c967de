//! What is known of all nodes of a subtree together: how many, how alike, in which state.

use xtreem_base::{Handle, HandleTable};

use minicbor::{Decode, Encode};

use crate::area::Area;
use crate::key::Codes;
use crate::schema::{CLASSES, DYNAMICS_MAX, Schema};

/// Nodes in one subtree at most, for what others say: 16 times the simulator's largest grid.
pub const COUNT_MAX: u32 = 1 << 28;
/// Largest values of a dynamic attribute that are kept with their holders. One is enough for a search alone; two
/// part those who search at once (design note on discovery, 2.7, keeps four).
pub const TOPS: usize = 2;
/// Bits of a holder's key that are kept: two to three of each attribute, which tells mostly whether he stands where
/// matches can be (at 100,000 nodes, found by trying).
pub const PLACE_BITS: usize = 16;

/// A large value of a dynamic attribute, who has it, and where he stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Top {
    #[n(0)]
    pub code: u16,
    #[n(1)]
    pub holder: Option<Handle>,
    #[n(2)]
    pub place: u16,
}

/// Size of a class, as a share of the subtree: 255 is all of it.
pub type Shares = [u8; CLASSES];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Nodes, about.
    pub count: u32,
    /// Where their codes lie.
    pub area: Area,
    /// Of each dynamic attribute of the schema.
    pub shares: [Shares; DYNAMICS_MAX],
    /// The largest values of each dynamic attribute, falling. Codes and holders lie apart: together they would be
    /// a third larger.
    top_codes: [[u16; TOPS]; DYNAMICS_MAX],
    top_holders: [[Handle; TOPS]; DYNAMICS_MAX],
    /// Where the holders stand: the [`PLACE_BITS`] of their keys that follow those of the subtree.
    top_places: [[u16; TOPS]; DYNAMICS_MAX],
}

impl Summary {
    /// Of no node at all: for tables whose places are not used yet.
    pub const NOTHING: Summary = Summary {
        count: 0,
        area: Area::EVERYTHING,
        shares: [[0; CLASSES]; DYNAMICS_MAX],
        top_codes: [[0; TOPS]; DYNAMICS_MAX],
        top_holders: [[Handle::NONE; TOPS]; DYNAMICS_MAX],
        top_places: [[0; TOPS]; DYNAMICS_MAX],
    };

    /// Of one node alone.
    pub fn of(schema: &Schema, me: Handle, codes: &Codes, present: &[u16; DYNAMICS_MAX]) -> Self {
        let mut summary = Summary {
            count: 1,
            area: Area::of(codes),
            shares: [[0; CLASSES]; DYNAMICS_MAX],
            top_codes: [[0; TOPS]; DYNAMICS_MAX],
            top_holders: [[Handle::NONE; TOPS]; DYNAMICS_MAX],
            top_places: [[0; TOPS]; DYNAMICS_MAX],
        };
        for (i, dynamic) in schema.dynamics().iter().enumerate() {
            summary.shares[i][dynamic.class(present[i])] = u8::MAX;
            summary.top_codes[i][0] = present[i];
            summary.top_holders[i][0] = me;
        }
        summary
    }

    /// Turns the places of all holders into those within another subtree.
    pub fn lift(&mut self, turn: impl Fn(u16) -> u16) {
        let holders = self.top_holders.as_flattened().iter();
        for (place, _) in self
            .top_places
            .as_flattened_mut()
            .iter_mut()
            .zip(holders)
            .filter(|(_, peer)| **peer != Handle::NONE)
        {
            *place = turn(*place);
        }
    }

    /// Adds the nodes of another subtree, whose holders' places are within the same subtree as these.
    pub fn add(&mut self, other: &Summary, dynamics: usize) {
        let (mine, theirs) = (u64::from(self.count), u64::from(other.count));
        let all = (mine + theirs).max(1);
        for i in 0..dynamics.min(DYNAMICS_MAX) {
            for (share, more) in self.shares[i].iter_mut().zip(&other.shares[i]) {
                let sum = u64::from(*share) * mine + u64::from(*more) * theirs;
                *share = ((sum + all / 2) / all).min(255) as u8;
            }
            for top in 0..TOPS {
                let (code, holder) = (other.top_codes[i][top], other.top_holders[i][top]);
                self.insert_top(i, code, holder, other.top_places[i][top]);
            }
        }
        self.count = self.count.saturating_add(other.count).min(COUNT_MAX);
        self.area.join(&other.area);
    }

    fn insert_top(&mut self, dynamic: usize, code: u16, holder: Handle, at: u16) {
        let (codes, holders) = (&mut self.top_codes[dynamic], &mut self.top_holders[dynamic]);
        let places = &mut self.top_places[dynamic];
        if holder == Handle::NONE || holders.contains(&holder) {
            return;
        }
        let Some(place) =
            codes.iter().zip(holders.iter()).position(|(&kept, &by)| by == Handle::NONE || kept < code)
        else {
            return;
        };
        codes[place..].rotate_right(1);
        holders[place..].rotate_right(1);
        places[place..].rotate_right(1);
        (codes[place], holders[place], places[place]) = (code, holder, at);
    }

    /// The largest values of a dynamic attribute, falling, with who has them and where they stand: the bits of their keys
    /// that follow those of the subtree.
    pub fn tops(&self, dynamic: usize) -> impl Iterator<Item = (u16, Handle, u16)> + '_ {
        let (codes, holders) = (&self.top_codes[dynamic], &self.top_holders[dynamic]);
        let all = codes.iter().zip(holders).zip(&self.top_places[dynamic]);
        all.map(|((&code, &holder), &place)| (code, holder, place)).filter(|top| top.1 != Handle::NONE)
    }

    /// Takes a dead node out of the largest values.
    pub fn forget(&mut self, peer: Handle) {
        let tops = self.top_codes.iter_mut().zip(&mut self.top_holders).zip(&mut self.top_places);
        for ((codes, holders), places) in tops {
            for place in 0..TOPS {
                if holders[place] == peer {
                    (codes[place], holders[place], places[place]) = (0, Handle::NONE, 0);
                    codes[place..].rotate_left(1);
                    holders[place..].rotate_left(1);
                    places[place..].rotate_left(1);
                }
            }
        }
    }

    /// Whether an honest node could say this of a subtree whose nodes all lie in `cell`.
    pub fn is_sound(&self, cell: &Area) -> bool {
        (1..=COUNT_MAX).contains(&self.count) && self.area.is_sound() && cell.covers(&self.area)
    }

    pub fn for_each_handle(&self, f: &mut impl FnMut(Handle)) {
        self.top_holders.iter().flatten().copied().filter(|&peer| peer != Handle::NONE).for_each(f);
    }
}

impl<C: HandleTable> Encode<C> for Summary {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        table: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(3 + 2 * DYNAMICS_MAX as u64)?.u32(self.count)?;
        e.bytes(&pack(&self.area.low))?.bytes(&pack(&self.area.high))?;
        for dynamic in 0..DYNAMICS_MAX {
            e.bytes(&self.shares[dynamic])?;
            e.array(self.tops(dynamic).count() as u64)?;
            for (code, holder, place) in self.tops(dynamic) {
                Top { code, holder: Some(holder), place }.encode(e, table)?;
            }
        }
        Ok(())
    }
}

impl<'b, C: HandleTable> Decode<'b, C> for Summary {
    fn decode(d: &mut minicbor::Decoder<'b>, table: &mut C) -> Result<Self, minicbor::decode::Error> {
        use minicbor::decode::Error;
        let at = d.position();
        if d.array()? != Some(3 + 2 * DYNAMICS_MAX as u64) {
            return Err(Error::message("a summary of another length").at(at));
        }
        let count = d.u32()?;
        let area = Area { low: unpack(d)?, high: unpack(d)? };
        let mut summary = Summary {
            count,
            area,
            shares: [[0; CLASSES]; DYNAMICS_MAX],
            top_codes: [[0; TOPS]; DYNAMICS_MAX],
            top_holders: [[Handle::NONE; TOPS]; DYNAMICS_MAX],
            top_places: [[0; TOPS]; DYNAMICS_MAX],
        };
        for dynamic in 0..DYNAMICS_MAX {
            let at = d.position();
            summary.shares[dynamic] =
                d.bytes()?.try_into().map_err(|_| Error::message("shares of another length").at(at))?;
            for _ in 0..crate::bounded::array_len(d, TOPS)? {
                let top = Top::decode(d, table)?;
                summary.insert_top(dynamic, top.code, top.holder.unwrap_or(Handle::NONE), top.place);
            }
        }
        Ok(summary)
    }
}

fn pack(codes: &Codes) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (pair, code) in bytes.chunks_exact_mut(2).zip(codes) {
        pair.copy_from_slice(&code.to_be_bytes());
    }
    bytes
}

fn unpack(d: &mut minicbor::Decoder<'_>) -> Result<Codes, minicbor::decode::Error> {
    let at = d.position();
    let bytes: [u8; 16] = d
        .bytes()?
        .try_into()
        .map_err(|_| minicbor::decode::Error::message("codes of another length").at(at))?;
    Ok(core::array::from_fn(|i| u16::from_be_bytes([bytes[2 * i], bytes[2 * i + 1]])))
}
