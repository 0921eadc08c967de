//! What the host keeps on disk for this node, and what waits to be said until it is there.
//!
//! Each change of a role is handed to the host with a number; the host says up to which number all is on
//! disk. An answer by which others count on this node goes out no earlier. Without a host that keeps anything
//! the journal is off: nothing is handed over, and nothing waits.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use xtreem_base::{AppId, Duration, Handle, Instant};

use crate::Message;
use crate::role::Kept;

/// Most answers that wait for the disk; one more is not given, and is asked for again. Our guess: far above
/// what comes in while a disk writes.
pub(crate) const ACKS_MAX: usize = 1_024;
/// Most writes whose age is remembered; of more only the oldest matter.
const OUTSTANDING_MAX: usize = 64;
/// A write that takes longer than this means that the disk stalls: nothing new is promised. Our guess: ten
/// times what a busy rotating disk takes.
pub(crate) const STORE_LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
struct Ack {
    app: AppId,
    to: Handle,
    message: Message,
    /// Goes out once this is on disk; nothing until the end of the input in which it came up.
    number: Option<u64>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    is_on: bool,
    /// The number of what was handed over last, and of what is on disk.
    last: u64,
    stored: u64,
    /// What the host has of each application, and the number under which it was handed over.
    kept: BTreeMap<AppId, (Kept, u64)>,
    /// Applications that changed in this input.
    unsaved: BTreeSet<AppId>,
    outstanding: VecDeque<(u64, Instant)>,
    acks: Vec<Ack>,
}

impl Journal {
    pub fn turn_on(&mut self) {
        self.is_on = true;
    }

    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// What is on disk already.
    pub fn has(&mut self, kept: Kept) {
        self.kept.insert(kept.app(), (kept, 0));
    }

    pub fn mark(&mut self, app: AppId) {
        if self.is_on {
            self.unsaved.insert(app);
        }
    }

    pub fn take_unsaved(&mut self) -> BTreeSet<AppId> {
        core::mem::take(&mut self.unsaved)
    }

    /// Takes what there is now to keep of an application; says under which number the host gets it, if that
    /// is anything new.
    pub fn replace(&mut self, now: Instant, app: AppId, what: Option<&Kept>) -> Option<u64> {
        if self.kept.get(&app).map(|(kept, _)| kept) == what {
            return None;
        }
        let number = self.next(now);
        match what {
            Some(kept) => self.kept.insert(app, (kept.clone(), number)),
            None => self.kept.remove(&app),
        };
        Some(number)
    }

    fn next(&mut self, now: Instant) -> u64 {
        self.last += 1;
        if self.outstanding.len() < OUTSTANDING_MAX {
            self.outstanding.push_back((self.last, now));
        }
        self.last
    }

    /// What is on disk of the application stays as it is, and is compared with nothing any more.
    pub fn leave(&mut self, app: AppId) {
        self.kept.remove(&app);
        self.unsaved.remove(&app);
    }

    /// The number under which something that was left is to go from the disk.
    pub fn erase(&mut self, now: Instant) -> Option<u64> {
        self.is_on.then(|| self.next(now))
    }

    /// Everything up to `number` is on disk.
    pub fn on_stored(&mut self, now: Instant, number: u64) {
        self.stored = self.stored.max(number.min(self.last));
        self.outstanding.retain(|(number, _)| *number > self.stored);
        if self.outstanding.is_empty() && self.last > self.stored {
            self.outstanding.push_back((self.last, now));
        }
    }

    /// Whether what the host was last given of the application is on disk.
    pub fn is_stored(&self, app: AppId) -> bool {
        !self.unsaved.contains(&app) && self.kept.get(&app).is_none_or(|(_, number)| *number <= self.stored)
    }

    pub fn is_stalled(&self, now: Instant) -> bool {
        self.outstanding.front().is_some_and(|(_, since)| now.since(*since) > STORE_LIMIT)
    }

    /// An answer that may go out once what led to it is on disk.
    pub fn ack(&mut self, app: AppId, to: Handle, message: Message) {
        if self.acks.len() < ACKS_MAX {
            self.acks.push(Ack { app, to, message, number: None });
        }
    }

    /// Those that may go out now. Called when everything that changed was handed over.
    pub fn take_acks(&mut self) -> Vec<(Handle, Message)> {
        for ack in self.acks.iter_mut().filter(|ack| ack.number.is_none()) {
            ack.number = Some(self.kept.get(&ack.app).map_or(0, |(_, number)| *number));
        }
        let is_stored = |ack: &mut Ack| ack.number.is_some_and(|number| number <= self.stored);
        self.acks.extract_if(.., is_stored).map(|ack| (ack.to, ack.message)).collect()
    }

    pub fn forget(&mut self, peer: Handle) {
        self.acks.retain(|ack| ack.to != peer);
    }

    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.acks.iter().for_each(|ack| f(ack.to));
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::sync::Arc;

    use xtreem_base::{Digest, NodeId};

    use super::*;
    use crate::{Record, Wanted};

    const APP: AppId = AppId::from_bytes([7; 16]);
    const PEER: Handle = Handle::from_u32(3);

    fn kept(generation: u32) -> Kept {
        let record = Record {
            id: APP,
            owner: NodeId::from_bytes([1; 16]),
            submitter: NodeId::from_bytes([3; 16]),
            name: "app".to_string(),
            spec_digest: Digest::from_bytes([2; 32]),
            slots: 1,
            generation,
            wanted: Wanted::Stopped,
            proof: Arc::from([]),
        };
        Kept::Stopped { record, untold: Vec::new() }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(100 + seconds)
    }

    fn ack(journal: &mut Journal) {
        journal.ack(APP, PEER, Message::Appointed { app: APP });
    }

    #[test]
    fn an_answer_waits_for_what_led_to_it_and_for_nothing_later() {
        let mut journal = Journal::default();
        journal.turn_on();
        assert_eq!(journal.replace(at(0), APP, Some(&kept(1))), Some(1));
        ack(&mut journal);
        assert!(journal.take_acks().is_empty());
        assert_eq!(journal.replace(at(0), APP, Some(&kept(1))), None, "nothing new");
        assert_eq!(journal.replace(at(0), APP, Some(&kept(2))), Some(2));
        journal.on_stored(at(1), 1);
        assert_eq!(journal.take_acks().len(), 1);
        ack(&mut journal);
        assert!(journal.take_acks().is_empty() && !journal.is_stored(APP));
        journal.on_stored(at(1), 2);
        assert!(journal.take_acks().len() == 1 && journal.is_stored(APP));
        ack(&mut journal);
        assert_eq!(journal.take_acks().len(), 1, "what is on disk is answered at once");
    }

    #[test]
    fn a_disk_stalls_when_its_oldest_write_is_too_old() {
        let mut journal = Journal::default();
        journal.turn_on();
        for generation in 0..200 {
            journal.replace(at(0), APP, Some(&kept(generation)));
        }
        assert!(!journal.is_stalled(at(5)) && journal.is_stalled(at(6)));
        journal.on_stored(at(6), 150);
        assert!(!journal.is_stalled(at(6)) && journal.is_stalled(at(12)), "fifty are still to be written");
        journal.on_stored(at(12), 200);
        assert!(!journal.is_stalled(at(100)));
    }

    #[test]
    fn answers_are_bounded_and_go_with_their_peer() {
        let mut journal = Journal::default();
        journal.turn_on();
        journal.replace(at(0), APP, Some(&kept(1)));
        (0..2 * ACKS_MAX).for_each(|_| ack(&mut journal));
        assert_eq!(journal.acks.len(), ACKS_MAX);
        journal.forget(PEER);
        assert!(journal.acks.is_empty());
    }
}
