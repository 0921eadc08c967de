//! The ring of a collection for its programs: keys, owners, and what lies there.

use alloc::vec::Vec;

use xtreem_base::Call;

use super::Collection;
use super::config::Config;
use super::event::{BeginError, Host};
use super::kind::Kind;
use crate::ring::{LookupId, Ring};
use crate::store::{Operation, RequestId, Store, Value};
use crate::{Key, KeyTooLong, Namespace, broadcast, chord};

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

    /// Tells all members something, this one too: at each [`Event::Told`](super::Event::Told) follows. Who
    /// says the same again within two minutes says nothing.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn tell_all<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        content: Value,
        out: &mut H,
    ) -> Result<(), BeginError> {
        self.check_member()?;
        let id = self.me.member.id();
        let begun = self.with_overlay(call, out, |overlay, call, out| overlay.tell(call, id, content, out));
        begun.ok_or(BeginError::Kind("ring"))?.map(drop).map_err(|error| match error {
            broadcast::BeginError::NotOnTheRing => BeginError::NotOnTheRing,
            broadcast::BeginError::Full => BeginError::TooMany("64 broadcasts"),
        })
    }

    /// Tells every owner of keys from `lo` on and before `hi`; none: to the end. Here
    /// [`Event::Begun`](super::Event::Begun) follows, at each of them [`Event::Told`](super::Event::Told).
    /// Who has heard the same words of this member within two minutes hears them no more.
    ///
    /// # Errors
    /// See [`BeginError`]. On a Chord no keys lie next to each other.
    pub fn tell_owners<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        (lo, hi): (Key, Option<Key>),
        content: Value,
        out: &mut H,
    ) -> Result<LookupId, BeginError> {
        self.check_member()?;
        if !matches!(self.kind, Kind::Ring { .. }) {
            return Err(BeginError::Kind("order of its keys"));
        }
        let end = Namespace(Namespace::USER.0 + 1);
        // A key of one byte is never too long.
        let hi = hi.or_else(|| Key::new(end, b"").ok()).ok_or(BeginError::Namespace)?;
        if lo.namespace() != Some(Namespace::USER) {
            return Err(BeginError::Namespace);
        }
        if hi <= lo {
            return Err(BeginError::NoKeys);
        }
        let id = self.me.member.id();
        let begun = self.with_overlay(call, out, |overlay, call, out| {
            overlay.tell_owners(call, (lo, hi), id, content, out)
        });
        begun.ok_or(BeginError::Kind("ring"))?.map_err(|_| BeginError::TooMany("16 parts or 128 lookups"))
    }

    /// Writes many items of this member: [`Event::Item`](super::Event::Item) follows with
    /// [`Success::Loaded`](crate::store::Success::Loaded). One of two under the same key is as good as the
    /// other.
    ///
    /// # Errors
    /// See [`BeginError`]. Nothing was begun.
    pub fn load<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        items: Vec<Operation>,
        out: &mut H,
    ) -> Result<RequestId, BeginError> {
        self.check_member()?;
        if self.kind.copies().is_none() {
            return Err(BeginError::Kind("ring for items"));
        }
        if items.iter().any(|item| item.key.namespace() != Some(Namespace::USER)) {
            return Err(BeginError::Namespace);
        }
        let begun = self.with_overlay(call, out, |overlay, call, out| overlay.load(call, items, out));
        let many = BeginError::TooMany("256 operations, or 65,536 items of bulk loads,");
        begun.ok_or(BeginError::Kind("ring for items"))?.map_err(|_| many)
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
