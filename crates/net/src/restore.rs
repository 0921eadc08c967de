//! What a node kept of its time before this start, from bytes to handles.
//!
//! On disk a peer is what it is on the wire: id, address, incarnation. The node itself stands there under its
//! old incarnation, and is read as what it is now.

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use xtreem_allocation::{Found, Kept};
use xtreem_base::{Duration, Handle, HandleTable, NodeId};
use xtreem_node::Saved;
use xtreem_wire::Contact;

use crate::named::Contacts;
use crate::peers::PeerTable;

/// What was read from the disk.
#[derive(Clone, Debug, Default)]
pub struct SavedBytes {
    /// One [`Kept`] each, as [`encode_kept`] wrote it, and how long ago it was written.
    pub kept: Vec<(Vec<u8>, Duration)>,
    pub reference: Vec<Contact>,
    /// How long ago the node was last known to run.
    pub away: Duration,
}

/// Writes one value for the disk, without the peers that `contacts` does not name: the node has forgotten
/// them.
pub fn encode_kept(mut kept: Kept, contacts: &Contacts) -> Vec<u8> {
    kept.retain_handles(&|peer| contacts.of(peer).is_some());
    let mut bytes = Vec::new();
    // Every peer left is known, and writing to a vector cannot fail.
    let written = minicbor::encode_with(kept, &mut bytes, &mut Named(contacts));
    debug_assert!(written.is_ok(), "{written:?}");
    bytes
}

/// Finds the handles; says how many values could not be read.
pub(crate) fn read(saved: SavedBytes, table: &mut PeerTable, own: (NodeId, Handle)) -> (Saved, usize) {
    let SavedBytes { kept, reference, away } = saved;
    let mut unreadable = 0;
    let mut read = Vec::new();
    for (bytes, age) in kept {
        let mut decoder = Decoder::new(&bytes);
        match decoder.decode_with(&mut Own { table, own }) {
            Ok(kept) => read.push(Found { kept, age }),
            Err(_) => unreadable += 1,
        }
    }
    let reference = reference.into_iter().filter_map(|contact| table.intern(contact)).collect();
    (Saved { found: read, reference, away }, unreadable)
}

/// The node's table, in which the node itself is what it is now.
struct Own<'a> {
    table: &'a mut PeerTable,
    own: (NodeId, Handle),
}

impl HandleTable for Own<'_> {
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        self.table.encode_handle(handle, e)
    }

    fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        let contact: Contact = d.decode()?;
        let (id, handle) = self.own;
        if contact.id == id {
            return Ok(handle);
        }
        self.table.intern(contact).ok_or_else(|| decode::Error::message("the table of peers is full"))
    }
}

/// Contacts as they were told along with an event.
struct Named<'a>(&'a Contacts);

impl HandleTable for Named<'_> {
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        let contact = self.0.of(handle).ok_or_else(|| encode::Error::message("an unknown peer"))?;
        e.encode(contact)?.ok()
    }

    fn decode_handle(&mut self, _: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        Err(decode::Error::message("contacts are only written"))
    }
}
