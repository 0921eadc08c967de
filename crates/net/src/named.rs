//! What a node says names peers by handles, which only the node's own table understands: here the contacts go
//! along, so that the host never has to ask back.

use std::collections::BTreeMap;

use xtreem_allocation::Description;
use xtreem_base::Handle;
use xtreem_node::Event;
use xtreem_wire::Contact;

use crate::peers::PeerTable;

/// Something that names peers.
pub trait NamesPeers {
    /// Shows every handle, some more than once.
    fn for_each_handle(&self, f: &mut dyn FnMut(Handle));
}

impl NamesPeers for Event {
    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        Event::for_each_handle(self, f);
    }
}

impl NamesPeers for Description {
    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        Description::for_each_handle(self, f);
    }
}

impl NamesPeers for Vec<Handle> {
    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.iter().copied().for_each(f);
    }
}

impl<T: NamesPeers> NamesPeers for Option<T> {
    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.iter().for_each(|what| what.for_each_handle(f));
    }
}

/// Who is behind handles, as the node knew it when it spoke of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts(BTreeMap<Handle, Contact>);

impl Contacts {
    /// Nothing when the node has forgotten the peer: it is gone.
    pub fn of(&self, peer: Handle) -> Option<Contact> {
        self.0.get(&peer).copied()
    }

    /// The known contacts behind these handles, in their order.
    pub fn all_of<'a>(
        &'a self,
        peers: impl IntoIterator<Item = Handle> + 'a,
    ) -> impl Iterator<Item = (Handle, Contact)> + 'a {
        peers.into_iter().filter_map(|peer| Some((peer, self.of(peer)?)))
    }

    /// Takes what another answer told, too.
    pub fn extend(&mut self, others: Contacts) {
        self.0.extend(others.0);
    }
}

/// What a node said, and who the peers in it are.
#[derive(Clone, Debug)]
pub struct Named<T> {
    pub what: T,
    pub contacts: Contacts,
}

impl<T: NamesPeers> Named<T> {
    pub(crate) fn new(what: T, table: &PeerTable) -> Self {
        let mut contacts = BTreeMap::new();
        what.for_each_handle(&mut |peer| {
            contacts.extend(table.contact(peer).map(|contact| (peer, contact)));
        });
        Named { what, contacts: Contacts(contacts) }
    }
}

impl<T> Named<T> {
    /// Something that names nobody.
    pub fn without_peers(what: T) -> Self {
        Named { what, contacts: Contacts::default() }
    }
}
