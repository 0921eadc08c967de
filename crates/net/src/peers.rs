//! The table behind the node's handles.

use std::collections::BTreeMap;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode as _, Encode as _};
use xtreem_base::{Handle, HandleTable, NodeId};
use xtreem_wire::Contact;

/// When the table has this many entries, those that nobody names any more are swept.
const SWEEP_AT: usize = 4_096;

/// Most entries; beyond it a hint to an unknown node makes its message malformed.
const PEERS_MAX: usize = 65_536;

/// One incarnation of one peer.
#[derive(Clone, Copy, Debug)]
struct Entry {
    contact: Contact,
    /// The peer itself told its address; hearsay does not change it any more.
    is_proven: bool,
    /// A newer incarnation has been heard, and the node was told.
    is_gone: bool,
    /// Used since the last sweep: the host may have it from an event and ask for it yet.
    is_recent: bool,
}

/// Interned contacts. Numbers are not used again while the table lives, short of four billion of them.
#[derive(Debug)]
pub(crate) struct PeerTable {
    entries: BTreeMap<Handle, Entry>,
    handles: BTreeMap<(NodeId, u32), Handle>,
    next: u32,
    sweep_at: usize,
}

impl Default for PeerTable {
    fn default() -> Self {
        PeerTable { entries: BTreeMap::new(), handles: BTreeMap::new(), next: 0, sweep_at: SWEEP_AT }
    }
}

impl PeerTable {
    /// The handle of a contact that somebody mentioned; `None` when the table is full.
    pub(crate) fn intern(&mut self, contact: Contact) -> Option<Handle> {
        if let Some(handle) = self.handles.get(&(contact.id, contact.incarnation)) {
            // Both maps name the same handles.
            let entry = self.entries.get_mut(handle).expect("handles and entries agree");
            entry.is_recent = true;
            if !entry.is_proven {
                entry.contact.addr = contact.addr;
            }
            return Some(*handle);
        }
        if self.entries.len() >= PEERS_MAX {
            return None;
        }
        let handle = self.fresh_handle();
        let entry = Entry { contact, is_proven: false, is_gone: false, is_recent: true };
        self.entries.insert(handle, entry);
        self.handles.insert((contact.id, contact.incarnation), handle);
        Some(handle)
    }

    /// The handle of a peer that proved its contact itself, and the handles of its older incarnations that
    /// were not known to be gone.
    pub(crate) fn intern_proven(&mut self, contact: Contact) -> Option<(Handle, Vec<Handle>)> {
        let handle = self.intern(contact)?;
        if let Some(entry) = self.entries.get_mut(&handle) {
            entry.contact.addr = contact.addr;
            entry.is_proven = true;
        }
        let older = self.handles.range((contact.id, 0)..(contact.id, contact.incarnation));
        let mut gone: Vec<Handle> = older.map(|(_, handle)| *handle).collect();
        gone.retain(|handle| {
            let entry = self.entries.get_mut(handle);
            entry.is_some_and(|entry| !std::mem::replace(&mut entry.is_gone, true))
        });
        Some((handle, gone))
    }

    pub(crate) fn contact(&self, handle: Handle) -> Option<Contact> {
        self.entries.get(&handle).map(|entry| entry.contact)
    }

    pub(crate) fn wants_sweep(&self) -> bool {
        self.entries.len() >= self.sweep_at
    }

    /// Forgets what `for_each_live` does not name and nobody used since the last sweep.
    pub(crate) fn sweep(&mut self, for_each_live: impl FnOnce(&mut dyn FnMut(Handle))) {
        for_each_live(&mut |handle| {
            if let Some(entry) = self.entries.get_mut(&handle) {
                entry.is_recent = true;
            }
        });
        self.entries.retain(|_, entry| entry.is_recent);
        self.handles.retain(|_, handle| self.entries.contains_key(handle));
        for entry in self.entries.values_mut() {
            entry.is_recent = false;
        }
        // Sweeping costs as much as there is: wait until the table has doubled.
        self.sweep_at = (2 * self.entries.len()).clamp(SWEEP_AT, PEERS_MAX);
    }

    fn fresh_handle(&mut self) -> Handle {
        loop {
            let handle = Handle::from_u32(self.next);
            self.next = self.next.wrapping_add(1);
            if handle != Handle::NONE && !self.entries.contains_key(&handle) {
                return handle;
            }
        }
    }
}

impl HandleTable for PeerTable {
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        let Some(entry) = self.entries.get_mut(&handle) else {
            return Err(encode::Error::message("a handle that the table does not know"));
        };
        entry.is_recent = true;
        entry.contact.encode(e, &mut ())
    }

    fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        let contact = Contact::decode(d, &mut ())?;
        self.intern(contact).ok_or_else(|| decode::Error::message("the table of peers is full"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(number: u32, incarnation: u32, port: u16) -> Contact {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Contact { id: NodeId::from_bytes(id), addr: ([127, 0, 0, 1], port).into(), incarnation }
    }

    #[test]
    fn hearsay_never_changes_a_proven_address() {
        let mut table = PeerTable::default();
        let handle = table.intern(contact(1, 1, 10)).expect("room");
        assert_eq!(table.intern(contact(1, 1, 11)), Some(handle));
        assert_eq!(table.contact(handle), Some(contact(1, 1, 11)));
        assert_eq!(table.intern_proven(contact(1, 1, 12)), Some((handle, vec![])));
        assert_eq!(table.intern(contact(1, 1, 13)), Some(handle));
        assert_eq!(table.contact(handle), Some(contact(1, 1, 12)));
    }

    #[test]
    fn a_newer_incarnation_ends_the_older_ones_once() {
        let mut table = PeerTable::default();
        let first = table.intern(contact(1, 1, 10)).expect("room");
        let second = table.intern(contact(1, 2, 10)).expect("room");
        let other = table.intern(contact(2, 1, 10)).expect("room");
        let (third, gone) = table.intern_proven(contact(1, 3, 10)).expect("room");
        assert_eq!(gone, [first, second]);
        assert!(third != first && third != second && third != other);
        assert_eq!(table.intern_proven(contact(1, 3, 10)), Some((third, vec![])));
    }

    #[test]
    fn a_sweep_keeps_what_lives_and_what_was_used_lately() {
        let mut table = PeerTable::default();
        let handles: Vec<_> =
            (0..SWEEP_AT as u32).map(|n| table.intern(contact(n, 1, 1)).expect("room")).collect();
        assert!(table.wants_sweep());
        table.sweep(|live| live(handles[7]));
        assert_eq!(table.entries.len(), SWEEP_AT, "all of them are recent");
        table.intern(contact(9, 1, 1));
        table.sweep(|live| live(handles[7]));
        assert_eq!(table.entries.len(), 2);
        assert_eq!(table.contact(handles[7]), Some(contact(7, 1, 1)));
        assert_eq!(table.contact(handles[9]), Some(contact(9, 1, 1)));
    }

    #[test]
    fn a_full_table_refuses_strangers_and_knows_its_own() {
        let mut table = PeerTable::default();
        for n in 0..PEERS_MAX as u32 {
            assert!(table.intern(contact(n, 1, 1)).is_some());
        }
        assert_eq!(table.intern(contact(u32::MAX, 1, 1)), None);
        assert!(table.intern(contact(5, 1, 1)).is_some());
    }
}
