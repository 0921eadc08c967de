//! Lists in messages, with a length that is checked before anything of them is read.

use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

/// At most `MAX` of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T, const MAX: usize> List<T, MAX> {
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    pub fn into_vec(self) -> Vec<T> {
        self.0
    }

    pub fn is_full(&self) -> bool {
        self.0.len() >= MAX
    }

    /// Takes it in while there is room.
    pub fn push(&mut self, value: T) {
        if self.0.len() < MAX {
            self.0.push(value);
        }
    }
}

impl<T, const MAX: usize> FromIterator<T> for List<T, MAX> {
    /// Takes the first `MAX`.
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        List(values.into_iter().take(MAX).collect())
    }
}

impl<C, T: Encode<C>, const MAX: usize> Encode<C> for List<T, MAX> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(self.0.len() as u64)?;
        self.0.iter().try_for_each(|value| value.encode(e, ctx))
    }
}

impl<'b, C, T: Decode<'b, C>, const MAX: usize> Decode<'b, C> for List<T, MAX> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let len = d.array()?.filter(|&len| len <= MAX as u64);
        let len = len.ok_or_else(|| decode::Error::message("a list that is too long").at(at))?;
        (0..len).map(|_| T::decode(d, ctx)).collect::<Result<Vec<_>, _>>().map(List)
    }
}
