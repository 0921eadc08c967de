//! The ring of a collection for its programs: keys, owners, and what lies there.

use xtreem_base::Call;

use super::Collection;
use super::config::Config;
use super::event::{BeginError, Host};
use super::kind::Kind;
use crate::ring::{LookupId, Ring};
use crate::store::{Operation, RequestId, Store};
use crate::{Key, KeyTooLong, Namespace, chord};

impl Collection {
    /// The ring of the collection: place, range, successors.
    pub fn ring(&self) -> Option<&Ring> {
        self.overlay.as_ref().map(|overlay| overlay.ring())
    }

    /// What lies at this member: [`Store::shelf`] has items and bytes.
    pub fn store(&self) -> Option<&Store> {
        self.overlay.as_ref().map(|overlay| overlay.store())
    }

    /// Where something of this name lies: its bytes in their order, or on a ring of Chord their hash.
    ///
    /// # Errors
    /// Too long for a key.
    pub fn key(&self, name: &[u8]) -> Result<Key, KeyTooLong> {
        if !matches!(self.kind, Kind::Chord { .. }) {
            return Key::new(Namespace::USER, name);
        }
        let hash = blake3::hash(name);
        let mut id = [0; chord::ID_BYTES];
        id.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
        Ok(chord::key_of(Namespace::USER, &id))
    }

    /// Begins an operation of this member on what lies on the ring: [`Event::Item`](super::Event::Item)
    /// follows with the id that is returned.
    ///
    /// # Errors
    /// See [`BeginError`]. Keys of programs are in [`Namespace::USER`].
    pub fn begin<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        operation: Operation,
        out: &mut H,
    ) -> Result<RequestId, BeginError> {
        self.check_member()?;
        if self.kind.copies().is_none() {
            return Err(BeginError::Kind("ring for items"));
        }
        if operation.key.namespace() != Some(Namespace::USER) {
            return Err(BeginError::Namespace);
        }
        let begun = self.with_overlay(call, out, |overlay, call, out| overlay.begin(call, operation, out));
        begun.ok_or(BeginError::Kind("ring for items"))?.map_err(|_| BeginError::TooMany("256 operations"))
    }

    /// Looks for the owner of a key: [`Event::Owner`](super::Event::Owner) follows.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn lookup<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        key: Key,
        out: &mut H,
    ) -> Result<LookupId, BeginError> {
        self.check_member()?;
        if self.kind.copies().is_none() {
            return Err(BeginError::Kind("ring for items"));
        }
        let begun = self.with_overlay(call, out, |overlay, call, out| overlay.lookup(call, key, out));
        begun.ok_or(BeginError::Kind("ring for items"))?.map_err(|_| BeginError::TooMany("128 lookups"))
    }
}
