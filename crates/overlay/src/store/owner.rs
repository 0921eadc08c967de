//! The owner's side: what is asked of it, and when an item lies at all its copies.

use alloc::vec::Vec;

use xtreem_base::{Call, Handle, Instant, NodeId};

use super::item::{Item, RequestId, Sent, Stamp, Version, Writer, Written};
use super::list::List;
use super::message::{Action, BATCH_BYTES_MAX, Found, Message, Outcome};
use super::{Config, Fault, Host, Merged, Overwrite, Refused, Store, Tenure, may_be};
use crate::Key;

/// Items of which copies are being made at a time; who asks for a further one is asked to come again.
pub const SETTLING_MAX: usize = 1_024;
/// Who waits for one item at most; a further one is asked to come again.
pub const ASKERS_MAX: usize = 16;
/// Writes that an owner remembers so that a late repetition changes nothing; the oldest is forgotten.
const ANSWERED_MAX: usize = 1_024;

/// A write that is done.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    writer: NodeId,
    request: RequestId,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asker {
    peer: Handle,
    request: RequestId,
    is_write: bool,
}

/// An item of which copies are being made.
#[derive(Clone, Debug)]
pub(super) struct Settling {
    stamp: Stamp,
    seq: u32,
    /// Who has it by its own word.
    have: Vec<Handle>,
    asked: Vec<Handle>,
    askers: Vec<Asker>,
    due: Instant,
}

impl Settling {
    pub(super) fn forget(&mut self, peer: Handle, now: Instant) {
        self.have.retain(|it| *it != peer);
        self.asked.retain(|it| *it != peer);
        self.askers.retain(|it| it.peer != peer);
        self.due = now;
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.have.iter().chain(&self.asked).for_each(|it| f(*it));
        self.askers.iter().for_each(|it| f(it.peer));
    }
}

impl Store {
    pub(super) fn on_ask<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        request: RequestId,
        key: Key,
        action: Action,
        out: &mut H,
    ) {
        let tenure = out.tenure();
        let Some(epoch) = self.answers_for(&tenure, call.now, &key) else {
            let owns = tenure.owns(call.now, &key);
            let outcome = if owns.is_some() { Outcome::Later } else { Outcome::NotOwner };
            return out.send(from, Message::Answer { request, outcome, epoch: owns.unwrap_or(0) });
        };
        let outcome = match action {
            Action::Get => {
                self.read(call, &tenure, Asker { peer: from, request, is_write: false }, &key, out)
            }
            Action::Write { value, degree, lease, expected } => {
                let Some(id) = out.id_of(from) else { return };
                if value.is_some() && !out.may_write(id, &key) {
                    let outcome = Outcome::Refused(Refused::AnothersPlace);
                    return out.send(from, Message::Answer { request, outcome, epoch });
                }
                let writer = Writer { id, at: Some(from) };
                let is_admin = out.may_overwrite(from, &key);
                let write = Written { key: &key, value, writer, request, degree, lease, expected, is_admin };
                self.write(call, &tenure, epoch, Asker { peer: from, request, is_write: true }, write, out)
            }
            Action::Overwrite { .. } if !out.verifies_words() => Some(Outcome::Refused(Refused::NoWords)),
            Action::Overwrite { what, .. } if what.version == Version::default() => {
                Some(Outcome::Refused(Refused::NothingToOverwrite))
            }
            Action::Overwrite { what, word } if what.value.is_some() && !out.may_write(word.by, &key) => {
                Some(Outcome::Refused(Refused::AnothersPlace))
            }
            Action::Overwrite { what, word } => {
                // The item is the administrator's then, and not of the node that passed its word on: whoever
                // else wants to write there needs a word of its own.
                let writer = Writer { id: word.by, at: Some(from) };
                let Overwrite { value, degree, lease, version } = what;
                let expected = Some(version);
                let write =
                    Written { key: &key, value, writer, request, degree, lease, expected, is_admin: true };
                self.write(call, &tenure, epoch, Asker { peer: from, request, is_write: true }, write, out)
            }
            Action::Scan { hi, limit } => Some(self.scan(call, &tenure, &key, hi.as_ref(), limit, out)),
        };
        if let Some(outcome) = outcome {
            out.send(from, Message::Answer { request, outcome, epoch });
        }
    }

    /// None: it is answered when the item lies at all its copies.
    fn read<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        tenure: &Tenure,
        asker: Asker,
        key: &Key,
        out: &mut H,
    ) -> Option<Outcome> {
        if self.unsettled.contains_key(key) {
            return self.settle(call, tenure, key, Some(asker), out);
        }
        Some(Outcome::Got(self.found(call, key)))
    }

    fn found(&self, call: Call<'_, Config>, key: &Key) -> Option<Found> {
        let item = self.shelf.get(key).filter(|item| item.until > call.now)?;
        found(key, item, call.now)
    }

    fn write<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        tenure: &Tenure,
        epoch: u64,
        asker: Asker,
        write: Written<'_>,
        out: &mut H,
    ) -> Option<Outcome> {
        let key = write.key.clone();
        let is_known = |it: &&Answered| it.request == write.request && it.writer == write.writer.id;
        if let Some(answered) = self.answered.iter().find(is_known) {
            return Some(Outcome::Written { version: answered.version });
        }
        let is_repeated = self
            .shelf
            .get(&key)
            .is_some_and(|it| it.request == write.request && it.writer.id == write.writer.id);
        if self.unsettled.contains_key(&key) && !is_repeated {
            // What lies there may be the half-done work of another: first that is finished.
            return self.settle(call, tenure, &key, None, out).or(Some(Outcome::Later));
        }
        let degree = write.degree.min(super::DEGREE_MAX);
        if !is_repeated && tenure.targets(degree, out.site_of(self.handle), |it| out.site_of(it)).is_none() {
            return Some(Outcome::Later);
        }
        match self.shelf.write(call.now, epoch, &write) {
            Err(refused) => Some(Outcome::Refused(refused)),
            Ok(_) => {
                if !is_repeated {
                    self.changed(&key);
                }
                if self.unsettled.contains_key(&key) {
                    return self.settle(call, tenure, &key, Some(asker), out);
                }
                self.shelf.get(&key).map(|it| Outcome::Written { version: it.stamp.version })
            }
        }
    }

    fn scan<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        tenure: &Tenure,
        lo: &Key,
        hi: Option<&Key>,
        limit: u16,
        out: &mut H,
    ) -> Outcome {
        let Some((range, _)) = tenure.valid(call.now) else { return Outcome::NotOwner };
        // The owner's part ends where its range does, unless that goes over the end of the order.
        let last = Some(&range.to.key).filter(|last| lo <= *last);
        let beyond = last.and_then(after);
        let (end, is_cut) = match (hi, &beyond) {
            (Some(hi), Some(beyond)) if beyond < hi => (Some(beyond), true),
            (Some(hi), _) => (Some(hi), false),
            (None, Some(beyond)) => (Some(beyond), true),
            (None, None) => (None, false),
        };
        let page = self.shelf.scan(lo, end, limit.into(), BATCH_BYTES_MAX as u64);
        let unsettled: Vec<Key> = page
            .found
            .iter()
            .map(|(key, _)| *key)
            .filter(|key| self.unsettled.contains_key(*key))
            .cloned()
            .collect();
        if unsettled.is_empty() {
            let found = page.found.iter().filter_map(|(key, item)| found(key, item, call.now)).collect();
            let next = page.next.or(beyond.filter(|_| is_cut));
            return Outcome::Scanned { found, next };
        }
        for key in unsettled {
            self.settle(call, tenure, &key, None, out);
        }
        Outcome::Later
    }

    /// Makes the copies that an item shall have. The answer when there is nothing to wait for.
    fn settle<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        tenure: &Tenure,
        key: &Key,
        asker: Option<Asker>,
        out: &mut H,
    ) -> Option<Outcome> {
        let Some(item) = self.shelf.get(key) else { return Some(Outcome::Got(None)) };
        let stamp = item.stamp;
        if !self.settling.contains_key(key) {
            if self.settling.len() >= SETTLING_MAX {
                return Some(Outcome::Later);
            }
            let (have, asked, askers) = (Vec::new(), Vec::new(), Vec::new());
            let seq = self.next_seq();
            let settling = Settling { stamp, seq, have, asked, askers, due: call.now };
            self.settling.insert(key.clone(), settling);
        }
        let settling = self.settling.get_mut(key)?;
        if let Some(asker) = asker.filter(|it| !settling.askers.contains(it)) {
            if settling.askers.len() >= ASKERS_MAX {
                return Some(Outcome::Later);
            }
            settling.askers.push(asker);
        }
        self.ask_for_copies(call, tenure, key, out);
        None
    }

    /// Asks those that have not been asked; all that have not answered when it is due again. Ends it when all
    /// have.
    fn ask_for_copies<H: Host>(&mut self, call: Call<'_, Config>, tenure: &Tenure, key: &Key, out: &mut H) {
        let Some(item) = self.shelf.get(key) else { return };
        let (own, sent) = (out.site_of(self.handle), Sent::new(key, item, call.now));
        let targets = tenure.targets(item.degree, own, |it| out.site_of(it));
        let stamp = item.stamp;
        let next = self.seq.wrapping_add(1);
        let Some(settling) = self.settling.get_mut(key) else { return };
        if settling.stamp != stamp {
            // Something newer has come meanwhile: who has the old one has nothing.
            self.seq = next;
            (settling.stamp, settling.seq, settling.due) = (stamp, next, call.now);
            settling.have.clear();
        }
        let is_due = settling.due <= call.now;
        if is_due {
            settling.asked.clear();
            settling.due = call.now + call.config.answer_timeout;
        }
        // Too few are known: it waits.
        let Some(targets) = targets else { return };
        if targets.iter().all(|it| settling.have.contains(it)) {
            return self.settled(call, tenure, key, out);
        }
        for peer in targets {
            if !settling.have.contains(&peer) && !settling.asked.contains(&peer) {
                settling.asked.push(peer);
                out.send(
                    peer,
                    Message::Copy { seq: settling.seq, items: [sent.clone()].into_iter().collect() },
                );
            }
        }
    }

    /// An item lies at all its copies: who waits is answered, if the lease is still valid.
    fn settled<H: Host>(&mut self, call: Call<'_, Config>, tenure: &Tenure, key: &Key, out: &mut H) {
        let Some(settling) = self.settling.remove(key) else { return };
        let Some(epoch) = self.answers_for(tenure, call.now, key) else {
            return self.refuse_askers(settling, out);
        };
        self.unsettled.remove(key);
        let Some(item) = self.shelf.get(key) else { return self.refuse_askers(settling, out) };
        let version = item.stamp.version;
        let (writer, written) = (item.writer.id, item.request);
        for Asker { peer, request, is_write } in settling.askers {
            let outcome = match is_write {
                true if request == written => Outcome::Written { version },
                true => Outcome::Later,
                false => Outcome::Got(self.found(call, key)),
            };
            out.send(peer, Message::Answer { request, outcome, epoch });
        }
        if self.answered.len() >= ANSWERED_MAX {
            self.answered.pop_front();
        }
        self.answered.push_back(Answered { writer, request: written, version });
    }

    pub(super) fn refuse_askers<H: Host>(&self, settling: Settling, out: &mut H) {
        for Asker { peer, request, .. } in settling.askers {
            out.send(peer, Message::Answer { request, outcome: Outcome::NotOwner, epoch: 0 });
        }
    }

    pub(super) fn next_settling(&self) -> Instant {
        self.settling.values().map(|it| it.due).min().unwrap_or(Instant::FAR)
    }

    pub(super) fn tick_settling<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let due: Vec<Key> =
            self.settling.iter().filter(|(_, it)| it.due <= call.now).map(|(key, _)| key.clone()).collect();
        if due.is_empty() {
            return;
        }
        let tenure = out.tenure();
        for key in due {
            self.ask_for_copies(call, &tenure, &key, out);
        }
    }

    /// Others stand behind this node now: what is being copied goes to them.
    pub(super) fn settle_anew<H: Host>(&mut self, call: Call<'_, Config>, tenure: &Tenure, out: &mut H) {
        let keys: Vec<Key> = self.settling.keys().cloned().collect();
        for key in keys {
            self.ask_for_copies(call, tenure, &key, out);
        }
    }

    /// Keeps copies for another, or takes what it wants to have kept.
    pub(super) fn on_copy<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u32,
        items: List<Sent, { super::BATCH_MAX }>,
        out: &mut H,
    ) -> Result<(), Fault> {
        if !items.as_slice().iter().all(|sent| may_be(sent, out)) {
            return Err(Fault::Impossible);
        }
        let mut is_full = false;
        for sent in items.into_vec() {
            is_full |= self.take_in(call, sent, out)? == Merged::Full;
        }
        out.send(from, Message::Copied { seq, is_full });
        Ok(())
    }

    pub(super) fn on_copied<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u32,
        is_full: bool,
        out: &mut H,
    ) -> Result<(), Fault> {
        let mine = |it: &Settling| it.seq == seq && it.asked.contains(&from);
        let Some(key) = self.settling.iter().find(|(_, it)| mine(it)).map(|(key, _)| key.clone()) else {
            return self.on_copied_in_sync(call, from, seq, is_full, out);
        };
        out.contact_answered(from);
        if is_full {
            // It is asked again later, and the writer is told that nothing is certain.
            return Ok(());
        }
        let stamp = self.shelf.get(&key).map(|it| it.stamp);
        let Some(settling) = self.settling.get_mut(&key) else { return Ok(()) };
        if stamp == Some(settling.stamp) && !settling.have.contains(&from) {
            settling.have.push(from);
        }
        let tenure = out.tenure();
        self.ask_for_copies(call, &tenure, &key, out);
        Ok(())
    }
}

fn found(key: &Key, item: &Item, now: Instant) -> Option<Found> {
    let value = item.value.clone()?;
    let (writer, version) = (item.writer.id, item.stamp.version);
    Some(Found { key: key.clone(), value, writer, version, left: item.until.since(now) })
}

/// The first key that is greater; none: there is none.
pub(super) fn after(key: &Key) -> Option<Key> {
    let mut bytes = key.as_bytes().to_vec();
    if bytes.len() < crate::KEY_MAX {
        bytes.push(0);
    } else {
        while bytes.pop_if(|last| *last == u8::MAX).is_some() {}
        *bytes.last_mut()? += 1;
    }
    Key::from_bytes(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lies_between_a_key_and_the_one_after_it() {
        let key = |bytes: &[u8]| Key::from_bytes(bytes).expect("short");
        assert_eq!(after(&key(b"ab")), Some(key(b"ab\0")));
        let mut longest = [b'x'; crate::KEY_MAX];
        longest[1] = 1;
        longest[2..].fill(u8::MAX);
        assert_eq!(after(&key(&longest)), Some(key(b"x\x02")));
        assert_eq!(after(&key(&[u8::MAX; crate::KEY_MAX])), None);
    }
}
