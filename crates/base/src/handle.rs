//! Peers as small numbers. The table of real descriptors belongs to the driver.

use core::fmt;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

/// One incarnation of one peer, as a number that only its own node understands.
///
/// A core compares, stores and sends handles and knows nothing else of a peer. A peer that restarts is a new
/// incarnation and gets a new handle. On the wire a handle is written as whatever the driver's
/// [`HandleTable`] makes of it (a hint: id, address, incarnation); in the simulator it is the number itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u32);

impl Handle {
    /// Stands for no peer in fixed-size tables.
    pub const NONE: Handle = Handle(u32::MAX);

    pub const fn from_u32(number: u32) -> Self {
        Handle(number)
    }

    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Handle::NONE { f.write_str("h-") } else { write!(f, "h{}", self.0) }
    }
}

/// The codec context of every message: turns handles into what peers understand, and back.
pub trait HandleTable {
    /// Writes the descriptor behind `handle`.
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>>;

    /// Reads a descriptor and finds or makes its handle.
    fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error>;
}

impl<C: HandleTable> Encode<C> for Handle {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, table: &mut C) -> Result<(), encode::Error<W::Error>> {
        table.encode_handle(*self, e)
    }
}

impl<'b, C: HandleTable> Decode<'b, C> for Handle {
    fn decode(d: &mut Decoder<'b>, table: &mut C) -> Result<Self, decode::Error> {
        table.decode_handle(d)
    }
}
