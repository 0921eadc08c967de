//! Decoders of texts and lists that refuse a length above a named maximum before they allocate.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::Decode;
use minicbor::decode::{Decoder, Error};

/// A text of at most `MAX` bytes.
pub(crate) fn text<Ctx, const MAX: usize>(d: &mut Decoder<'_>, _: &mut Ctx) -> Result<String, Error> {
    let at = d.position();
    let text = d.str()?;
    if text.len() > MAX {
        return Err(Error::message("text too long").at(at));
    }
    Ok(text.into())
}

/// An array of at most `MAX` items, of definite length.
pub(crate) fn list<'b, Ctx, T: Decode<'b, Ctx>, const MAX: usize>(
    d: &mut Decoder<'b>,
    ctx: &mut Ctx,
) -> Result<Vec<T>, Error> {
    let len = array_len(d, MAX)?;
    let mut items = Vec::with_capacity(len);
    for _ in 0..len {
        items.push(T::decode(d, ctx)?);
    }
    Ok(items)
}

/// The head of an array of at most `max` items.
pub(crate) fn array_len(d: &mut Decoder<'_>, max: usize) -> Result<usize, Error> {
    let at = d.position();
    checked_len(d.array()?, max).ok_or_else(|| Error::message("array too long or without length").at(at))
}

/// The head of a map of at most `max` entries.
pub(crate) fn map_len(d: &mut Decoder<'_>, max: usize) -> Result<usize, Error> {
    let at = d.position();
    checked_len(d.map()?, max).ok_or_else(|| Error::message("map too long or without length").at(at))
}

fn checked_len(len: Option<u64>, max: usize) -> Option<usize> {
    usize::try_from(len?).ok().filter(|&len| len <= max)
}
