//! Nodes of the ring as others know them.

use alloc::vec::Vec;
use core::cmp::Ordering;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable};

use super::SUCCESSORS_MAX;
use crate::Position;

/// A node and where it stands, by its own word or by that of another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Contact {
    #[n(0)]
    pub handle: Handle,
    #[n(1)]
    pub position: Position,
}

/// At most [`SUCCESSORS_MAX`] contacts in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts(Vec<Contact>);

impl Contacts {
    pub fn as_slice(&self) -> &[Contact] {
        &self.0
    }
}

impl FromIterator<Contact> for Contacts {
    /// Takes the first [`SUCCESSORS_MAX`].
    fn from_iter<I: IntoIterator<Item = Contact>>(contacts: I) -> Self {
        Contacts(contacts.into_iter().take(SUCCESSORS_MAX).collect())
    }
}

impl<C: HandleTable> Encode<C> for Contacts {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, table: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(self.0.len() as u64)?;
        self.0.iter().try_for_each(|contact| contact.encode(e, table))
    }
}

impl<'b, C: HandleTable> Decode<'b, C> for Contacts {
    /// The length is checked before anything is read, so that a hostile one makes no handles.
    fn decode(d: &mut Decoder<'b>, table: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let len = d.array()?.filter(|&len| len <= SUCCESSORS_MAX as u64);
        let len = len.ok_or_else(|| decode::Error::message("more than 8 contacts").at(at))?;
        (0..len).map(|_| Contact::decode(d, table)).collect::<Result<Vec<_>, _>>().map(Contacts)
    }
}

/// Which of two comes first for who goes round the ring from `from`, that position itself being the last.
pub fn clockwise(from: &Position, a: &Position, b: &Position) -> Ordering {
    (a <= from, a).cmp(&(b <= from, b))
}
