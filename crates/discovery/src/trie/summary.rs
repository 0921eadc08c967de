//! What is known of all nodes of a subtree together: how many, how alike, in which state.

use xtreem_base::{Handle, HandleTable};

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use crate::area::Area;
use crate::key::Codes;
use crate::schema::{CLASSES, DYNAMICS_MAX, Schema};

/// Nodes in one subtree at most, for what others say: 16 times the simulator's largest grid.
pub const COUNT_MAX: u32 = 1 << 28;
/// Largest values of a dynamic attribute that are kept with their holders. One is enough for a search alone;
/// two part those who search at once (docs/design/selection.md, "Dynamic values").
pub const TOPS: usize = 2;
/// Bits of a holder's key that are kept: two to three of each attribute, which tells mostly whether it stands
/// where matches can be (at 100,000 nodes, found by trying).
pub const PLACE_BITS: usize = 16;

/// A large value of a dynamic attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Top {
    /// Who has it.
    pub holder: Handle,
    pub code: u16,
    /// Where it stands: the [`PLACE_BITS`] of its key that follow those of the subtree.
    pub place: u16,
    /// Seconds from when it said so to when the summary was made.
    pub age: u16,
}

impl Top {
    const NONE: Top = Top { holder: Handle::NONE, code: 0, place: 0, age: 0 };
}

/// Size of a class, as a share of the subtree: 255 is all of it.
pub type Shares = [u8; CLASSES];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Nodes, about.
    pub count: u32,
    /// Where their codes lie.
    pub area: Area,
    /// There is one for each dynamic attribute of the schema.
    pub shares: [Shares; DYNAMICS_MAX],
    /// The largest values of each dynamic attribute, falling.
    tops: [[Top; TOPS]; DYNAMICS_MAX],
}

impl Summary {
    /// The summary of no node at all: for tables whose places are not used yet.
    pub const NOTHING: Summary = Summary {
        count: 0,
        area: Area::EVERYTHING,
        shares: [[0; CLASSES]; DYNAMICS_MAX],
        tops: [[Top::NONE; TOPS]; DYNAMICS_MAX],
    };

    /// The summary of one node alone.
    pub fn of(schema: &Schema, me: Handle, codes: &Codes, present: &[u16; DYNAMICS_MAX]) -> Self {
        let mut summary = Summary {
            count: 1,
            area: Area::of(codes),
            shares: [[0; CLASSES]; DYNAMICS_MAX],
            tops: [[Top::NONE; TOPS]; DYNAMICS_MAX],
        };
        for (i, dynamic) in schema.dynamics().iter().enumerate() {
            summary.shares[i][dynamic.class(present[i])] = u8::MAX;
            summary.tops[i][0] = Top { holder: me, code: present[i], ..Top::NONE };
        }
        summary
    }

    /// Turns the places of all holders into those within another subtree.
    pub fn lift(&mut self, turn: impl Fn(u16) -> u16) {
        let tops = self.tops.as_flattened_mut().iter_mut();
        tops.filter(|top| top.holder != Handle::NONE).for_each(|top| top.place = turn(top.place));
    }

    /// Adds the nodes of another subtree, but not its largest values.
    pub fn add(&mut self, other: &Summary, dynamics: usize) {
        let (mine, theirs) = (u64::from(self.count), u64::from(other.count));
        let all = (mine + theirs).max(1);
        for i in 0..dynamics.min(DYNAMICS_MAX) {
            for (share, more) in self.shares[i].iter_mut().zip(&other.shares[i]) {
                let sum = u64::from(*share) * mine + u64::from(*more) * theirs;
                *share = ((sum + all / 2) / all).min(255) as u8;
            }
        }
        self.count = self.count.saturating_add(other.count).min(COUNT_MAX);
        self.area.join(&other.area);
    }

    /// Takes the largest values of another summary, made some `seconds` before, of each holder the youngest
    /// word. `turn` makes of them what they are in this subtree, or nothing.
    pub fn hear_of(&mut self, other: &Summary, seconds: u32, turn: impl Fn(Top) -> Option<Top>) {
        let seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
        for (dynamic, tops) in other.tops.iter().enumerate() {
            for top in tops.iter().take_while(|top| top.holder != Handle::NONE) {
                if let Some(top) = turn(Top { age: top.age.saturating_add(seconds), ..*top }) {
                    self.insert(dynamic, top);
                }
            }
        }
    }

    fn insert(&mut self, dynamic: usize, new: Top) {
        let tops = &mut self.tops[dynamic];
        if let Some(known) = tops.iter().position(|top| top.holder == new.holder) {
            if tops[known].age <= new.age {
                return;
            }
            tops[known..].rotate_left(1);
            tops[TOPS - 1] = Top::NONE;
        }
        let is_less = |top: &Top| top.holder == Handle::NONE || top.code < new.code;
        if let Some(place) = tops.iter().position(is_less) {
            tops[place..].rotate_right(1);
            tops[place] = new;
        }
    }

    /// The largest values of a dynamic attribute, falling.
    pub fn tops(&self, dynamic: usize) -> impl Iterator<Item = &Top> {
        self.tops[dynamic].iter().filter(|top| top.holder != Handle::NONE)
    }

    /// Takes some out of the largest values; whether there was one.
    pub fn forget(&mut self, is_meant: impl Fn(&Top) -> bool) -> bool {
        let mut any = false;
        for tops in &mut self.tops {
            let (mut kept, held) = (0, tops.iter().take_while(|top| top.holder != Handle::NONE).count());
            for place in 0..held {
                if is_meant(&tops[place]) {
                    any = true;
                } else {
                    tops[kept] = tops[place];
                    kept += 1;
                }
            }
            tops[kept..].fill(Top::NONE);
        }
        any
    }

    /// Whether an honest node could say this of a subtree whose nodes all lie in `cell`.
    pub fn is_sound(&self, cell: &Area) -> bool {
        (1..=COUNT_MAX).contains(&self.count) && self.area.is_sound() && cell.covers(&self.area)
    }

    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.tops.iter().flatten().map(|top| top.holder).filter(|&peer| peer != Handle::NONE).for_each(f);
    }
}

impl<C: HandleTable> Encode<C> for Top {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, table: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?;
        self.holder.encode(e, table)?;
        e.u16(self.code)?.u16(self.place)?.u16(self.age)?.ok()
    }
}

impl<'b, C: HandleTable> Decode<'b, C> for Top {
    fn decode(d: &mut Decoder<'b>, table: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        if d.array()? != Some(4) {
            return Err(decode::Error::message("a large value has four parts").at(at));
        }
        Ok(Top { holder: Handle::decode(d, table)?, code: d.u16()?, place: d.u16()?, age: d.u16()? })
    }
}

impl<C: HandleTable> Encode<C> for Summary {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, table: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(3 + 2 * DYNAMICS_MAX as u64)?.u32(self.count)?;
        e.bytes(&pack(&self.area.low))?.bytes(&pack(&self.area.high))?;
        for dynamic in 0..DYNAMICS_MAX {
            e.bytes(&self.shares[dynamic])?;
            e.array(self.tops(dynamic).count() as u64)?;
            for top in self.tops(dynamic) {
                top.encode(e, table)?;
            }
        }
        Ok(())
    }
}

impl<'b, C: HandleTable> Decode<'b, C> for Summary {
    fn decode(d: &mut Decoder<'b>, table: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        if d.array()? != Some(3 + 2 * DYNAMICS_MAX as u64) {
            return Err(decode::Error::message("a summary of another length").at(at));
        }
        let count = d.u32()?;
        let area = Area { low: unpack(d)?, high: unpack(d)? };
        let mut summary = Summary {
            count,
            area,
            shares: [[0; CLASSES]; DYNAMICS_MAX],
            tops: [[Top::NONE; TOPS]; DYNAMICS_MAX],
        };
        for dynamic in 0..DYNAMICS_MAX {
            let at = d.position();
            summary.shares[dynamic] = d
                .bytes()?
                .try_into()
                .map_err(|_| decode::Error::message("shares of another length").at(at))?;
            for _ in 0..crate::bounded::array_len(d, TOPS)? {
                let top = Top::decode(d, table)?;
                if top.holder != Handle::NONE {
                    summary.insert(dynamic, top);
                }
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

fn unpack(d: &mut Decoder<'_>) -> Result<Codes, decode::Error> {
    let at = d.position();
    let bytes: [u8; 16] =
        d.bytes()?.try_into().map_err(|_| decode::Error::message("codes of another length").at(at))?;
    Ok(core::array::from_fn(|i| u16::from_be_bytes([bytes[2 * i], bytes[2 * i + 1]])))
}
