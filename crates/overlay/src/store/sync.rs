//! Comparing what lies here with what lies at the successors: to take a range over, and to find and mend lost
//! copies.
//!
//! A session with one peer goes through the own range page by page: sums first, and only where they differ a
//! list of versions, then what one of the two lacks. In a takeover this node only takes; nothing is answered
//! before all sessions are over. At other times it also gives, and says what it does not count on.

use alloc::vec::Vec;

use xtreem_base::{Call, Handle, Instant};

use super::message::{BATCH_MAX, Entry, Message};
use super::shelf::Sum;
use super::{Config, Fault, Host, List, Sent, Store, Tenure, batch, may_be};
use crate::{Key, Position, Range};

/// Waits of one session in a row until it gives the peer up, unless a range is taken over: then the ring says
/// when a peer is dead.
const TRIES_MAX: u8 = 4;

/// Through the own range with all peers at once.
#[derive(Clone, Debug)]
pub(super) struct Sync {
    range: Range,
    epoch: u64,
    is_takeover: bool,
    /// [`Store::changes`] when it began.
    began: u64,
    has_failed: bool,
    sessions: Vec<Session>,
}

#[derive(Clone, Debug)]
struct Session {
    peer: Handle,
    /// Items with more copies than that lie there.
    place: u8,
    /// What has been compared; none: nothing.
    cursor: Option<Position>,
    phase: Phase,
    seq: u32,
    due: Instant,
    tries: u8,
}

#[derive(Clone, Debug)]
enum Phase {
    Comparing,
    /// What is wanted, what is given afterwards, and where the page ends.
    Taking {
        wanted: Vec<Key>,
        given: Vec<Key>,
        end: Option<Key>,
    },
    Giving {
        given: Vec<Key>,
        under_way: usize,
        end: Option<Key>,
    },
}

impl Sync {
    pub(super) fn is_takeover_of(&self, range: &Range, epoch: u64) -> bool {
        self.is_takeover && self.range == *range && self.epoch == epoch
    }

    pub(super) fn next_due(&self) -> Instant {
        self.sessions.iter().map(|it| it.due).min().unwrap_or(Instant::FAR)
    }

    /// Its part is over without it; a copy that it should have is found missing in the next round.
    pub(super) fn forget(&mut self, peer: Handle) {
        let before = self.sessions.len();
        self.sessions.retain(|it| it.peer != peer);
        self.has_failed |= before != self.sessions.len();
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.sessions.iter().for_each(|it| f(it.peer));
    }
}

impl Store {
    /// The ring has given this node a range, or more of one than it had.
    pub(super) fn take_over<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        range: Range,
        epoch: u64,
        tenure: &Tenure,
        out: &mut H,
    ) {
        self.close(call, out);
        self.strays.forget_range(&range);
        let own: Vec<Key> = self.shelf.within(&range).map(|(key, _)| key.clone()).collect();
        own.iter().for_each(|key| self.changed(key));
        let peers = tenure.successors.iter().map(|it| (it.handle, u8::MAX)).collect();
        self.start(
            call,
            Sync {
                range,
                epoch,
                is_takeover: true,
                began: self.changes,
                has_failed: false,
                sessions: Vec::new(),
            },
            peers,
            tenure,
            out,
        );
    }

    fn start<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        mut sync: Sync,
        peers: Vec<(Handle, u8)>,
        tenure: &Tenure,
        out: &mut H,
    ) {
        self.successors = tenure.successors.iter().map(|it| it.handle).collect();
        for (peer, place) in peers {
            let mut session = Session {
                peer,
                place,
                cursor: None,
                phase: Phase::Comparing,
                seq: 0,
                due: call.now,
                tries: 0,
            };
            self.compare(call, &sync, &mut session, out);
            sync.sessions.push(session);
        }
        self.sync = Some(sync);
        self.end_sync_if_over(call, out);
    }

    /// The round's comparison with all that have copies, unless one is under way.
    pub(super) fn begin_sync<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let tenure = out.tenure();
        let Some((range, epoch)) = self.open.clone().filter(|_| self.sync.is_none()) else { return };
        if tenure.valid(call.now).is_none_or(|(own, now)| *own != range || now != epoch) {
            return;
        }
        let order = tenure.order(out.site_of(self.handle), |it| out.site_of(it));
        let most = self.shelf.within(&range).map(|(_, item)| item.degree).max().unwrap_or(0);
        let peers = order.into_iter().take(most.into()).zip(0..).collect();
        let (began, sessions) = (self.changes, Vec::new());
        let sync = Sync { range, epoch, is_takeover: false, began, has_failed: false, sessions };
        self.start(call, sync, peers, &tenure, out);
    }

    /// Other successors than when the sync began: a takeover asks the new ones, too, and goes on without
    /// those that are gone; else it begins anew.
    pub(super) fn follow_successors<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        tenure: &Tenure,
        out: &mut H,
    ) {
        if tenure.successors.iter().map(|it| it.handle).eq(self.successors.iter().copied()) {
            return;
        }
        let old = core::mem::take(&mut self.successors);
        self.successors = tenure.successors.iter().map(|it| it.handle).collect();
        match self.sync.take() {
            Some(mut sync) if sync.is_takeover => {
                sync.sessions.retain(|it| self.successors.contains(&it.peer));
                let new: Vec<Handle> =
                    self.successors.iter().filter(|it| !old.contains(it)).copied().collect();
                for peer in new {
                    let (cursor, phase) = (None, Phase::Comparing);
                    let mut session =
                        Session { peer, place: u8::MAX, cursor, phase, seq: 0, due: call.now, tries: 0 };
                    self.compare(call, &sync, &mut session, out);
                    sync.sessions.push(session);
                }
                self.sync = Some(sync);
                self.end_sync_if_over(call, out);
            }
            _ => self.begin_sync(call, out),
        }
        self.settle_anew(call, tenure, out);
    }

    fn compare<H: Host>(&mut self, call: Call<'_, Config>, sync: &Sync, session: &mut Session, out: &mut H) {
        let after = session.cursor.clone().unwrap_or_else(|| sync.range.after.clone());
        let range = Range::new(after, sync.range.to.clone());
        let place = session.place;
        let sum: Sum = self.shelf.sum(&range, |_, item| sync.is_takeover || item.degree > place);
        session.seq = self.next_seq();
        session.phase = Phase::Comparing;
        session.due = call.now + call.config.answer_timeout;
        let is_takeover = sync.is_takeover;
        out.send(session.peer, Message::Compare { seq: session.seq, range, sum, is_takeover });
    }

    /// The other side: what lies here of a range of the asker.
    pub(super) fn on_compare<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        (seq, range): (u32, Range),
        sum: Sum,
        is_takeover: bool,
        out: &mut H,
    ) -> Result<(), Fault> {
        if out.id_of(from) != Some(range.to.id) {
            return Err(Fault::AnotherId);
        }
        let strays = &self.strays;
        let counts = |key: &Key| is_takeover || !strays.is_unneeded(key);
        if self.shelf.sum(&range, |key, _| counts(key)) == sum {
            if !is_takeover {
                let keys: Vec<Key> = self.shelf.within(&range).map(|(key, _)| key.clone()).collect();
                let until = call.now + call.config.keep;
                keys.iter().for_each(|key| self.strays.confirm(key, until));
            }
            out.send(from, Message::Same { seq });
            return Ok(());
        }
        let mut within = self.shelf.within(&range).filter(|(key, _)| counts(key)).peekable();
        let mut entries: List<Entry, { super::PAGE_MAX }> = List::default();
        while let Some((key, item)) = within.next_if(|_| !entries.is_full()) {
            entries.push(Entry { key: key.clone(), stamp: item.stamp });
        }
        let last = entries.as_slice().last().map(|it| it.key.clone());
        let through = within.peek().and(last);
        out.send(from, Message::Listing { seq, entries, through });
        Ok(())
    }

    /// The session that waits for this.
    fn take_session(&mut self, from: Handle, seq: u32) -> Result<(Sync, Session), Fault> {
        let mut sync = self.sync.take().ok_or(Fault::Unasked)?;
        match sync.sessions.iter().position(|it| it.peer == from && it.seq == seq) {
            Some(at) => {
                let session = sync.sessions.remove(at);
                Ok((sync, Session { tries: 0, ..session }))
            }
            None => {
                self.sync = Some(sync);
                Err(Fault::Unasked)
            }
        }
    }

    fn put_back(&mut self, mut sync: Sync, session: Session) {
        sync.sessions.push(session);
        self.sync = Some(sync);
    }

    pub(super) fn on_same<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u32,
        out: &mut H,
    ) -> Result<(), Fault> {
        let (sync, session) = self.take_session(from, seq)?;
        if !matches!(session.phase, Phase::Comparing) {
            self.put_back(sync, session);
            return Err(Fault::Unasked);
        }
        out.contact_answered(from);
        self.sync = Some(sync);
        self.end_sync_if_over(call, out);
        Ok(())
    }

    pub(super) fn on_listing<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u32,
        entries: Vec<Entry>,
        through: Option<Key>,
        out: &mut H,
    ) -> Result<(), Fault> {
        let (sync, session) = self.take_session(from, seq)?;
        let after = session.cursor.clone().unwrap_or_else(|| sync.range.after.clone());
        let to = through.clone().map_or(sync.range.to.clone(), Position::of_key);
        // A page ends within what was asked for, ahead of where it began, and its entries lie in it.
        let asked = Range::new(after.clone(), sync.range.to.clone());
        let is_page = through.is_none() || (asked.contains(&to) && to != after);
        let page = Range::new(after, to);
        let in_page = |it: &Entry| page.contains_key(&it.key);
        if !matches!(session.phase, Phase::Comparing) || !is_page || !entries.iter().all(in_page) {
            self.put_back(sync, session);
            return Err(Fault::NotAsked);
        }
        out.contact_answered(from);
        let own = |key: &Key| self.shelf.get(key).map(|item| item.stamp);
        let mut wanted: Vec<Key> =
            entries.iter().filter(|it| own(&it.key) < Some(it.stamp)).map(|it| it.key.clone()).collect();
        wanted.dedup();
        let (mut given, mut unneeded) = (Vec::new(), List::default());
        if !sync.is_takeover {
            let theirs = |key: &Key| entries.iter().find(|it| it.key == *key).map(|it| it.stamp);
            let place = session.place;
            let shall = self.shelf.within(&page).filter(|(_, item)| item.degree > place);
            let lacks = shall.filter(|(key, item)| theirs(key) < Some(item.stamp));
            given = lacks.map(|(key, _)| key.clone()).collect();
            for entry in &entries {
                let item = self.shelf.get(&entry.key);
                if item.is_some_and(|it| it.degree <= place && it.stamp >= entry.stamp) {
                    unneeded.push(entry.key.clone());
                }
            }
        }
        if !unneeded.as_slice().is_empty() {
            out.send(from, Message::Unneeded { keys: unneeded });
        }
        self.go_on(call, sync, session, Phase::Taking { wanted, given, end: through }, out);
        Ok(())
    }

    /// The next step of a session.
    fn go_on<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        sync: Sync,
        mut session: Session,
        phase: Phase,
        out: &mut H,
    ) {
        session.seq = self.next_seq();
        session.due = call.now + call.config.answer_timeout;
        let seq = session.seq;
        let end = match phase {
            Phase::Taking { wanted, given, end } if !wanted.is_empty() => {
                let keys = wanted.iter().take(BATCH_MAX).cloned().collect();
                out.send(session.peer, Message::Fetch { seq, keys });
                session.phase = Phase::Taking { wanted, given, end };
                return self.put_back(sync, session);
            }
            Phase::Taking { given, end, .. } | Phase::Giving { given, end, .. } => {
                let items = given.iter().filter_map(|key| self.shelf.get(key).map(|item| (key, item)));
                let items = batch(items, call.now);
                if !items.as_slice().is_empty() {
                    // Those whose lease has ended meanwhile are none.
                    let under_way = items.as_slice().len();
                    let given: Vec<Key> =
                        given.into_iter().filter(|key| self.shelf.get(key).is_some()).collect();
                    out.send(session.peer, Message::Copy { seq, items });
                    session.phase = Phase::Giving { given, under_way, end };
                    return self.put_back(sync, session);
                }
                end
            }
            Phase::Comparing => None,
        };
        match end {
            Some(end) => {
                session.cursor = Some(Position::of_key(end));
                self.compare(call, &sync, &mut session, out);
                self.put_back(sync, session);
            }
            None => {
                self.sync = Some(sync);
                self.end_sync_if_over(call, out);
            }
        }
    }

    pub(super) fn on_fetch<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u32,
        keys: &[Key],
        out: &mut H,
    ) {
        let items = keys.iter().filter_map(|key| self.shelf.get(key).map(|item| (key, item)));
        out.send(from, Message::Fetched { seq, items: batch(items, call.now) });
    }

    pub(super) fn on_fetched<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u32,
        items: Vec<Sent>,
        out: &mut H,
    ) -> Result<(), Fault> {
        let (sync, session) = self.take_session(from, seq)?;
        let is_asked =
            |it: &Sent| matches!(&session.phase, Phase::Taking { wanted, .. } if wanted.contains(&it.key));
        if !matches!(session.phase, Phase::Taking { .. })
            || !items.iter().all(|it| is_asked(it) && may_be(it, out))
        {
            self.put_back(sync, session);
            return Err(Fault::NotAsked);
        }
        out.contact_answered(from);
        let Phase::Taking { wanted, given, end } = session.phase.clone() else { return Ok(()) };
        // What was not sent does not lie there any more, or comes with the next batch.
        let last = items.last().map(|it| it.key.clone());
        let done = last.and_then(|last| wanted.iter().position(|key| *key == last));
        let wanted = wanted[done.map_or(wanted.len().min(BATCH_MAX), |at| at + 1)..].to_vec();
        for sent in items {
            self.take_in(call, sent, out)?;
        }
        self.go_on(call, sync, session, Phase::Taking { wanted, given, end }, out);
        Ok(())
    }

    pub(super) fn on_copied_in_sync<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        seq: u32,
        is_full: bool,
        out: &mut H,
    ) -> Result<(), Fault> {
        let (mut sync, session) = match self.take_session(from, seq) {
            Ok(taken) => taken,
            // Of a stray copy: its owner has it now.
            Err(fault) => return if self.strays.copied(from, seq) { Ok(()) } else { Err(fault) },
        };
        let Phase::Giving { given, under_way, end } = session.phase.clone() else {
            self.put_back(sync, session);
            return Err(Fault::Unasked);
        };
        out.contact_answered(from);
        sync.has_failed |= is_full;
        let given = given[under_way.min(given.len())..].to_vec();
        self.go_on(call, sync, session, Phase::Giving { given, under_way: 0, end }, out);
        Ok(())
    }

    /// Asks again what was not answered.
    pub(super) fn tick_sync<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let Some(mut sync) = self.sync.take() else { return };
        let (due, waiting): (Vec<Session>, Vec<Session>) =
            core::mem::take(&mut sync.sessions).into_iter().partition(|it| it.due <= call.now);
        sync.sessions = waiting;
        for mut session in due {
            session.tries = session.tries.saturating_add(1);
            if session.tries >= TRIES_MAX && !sync.is_takeover {
                sync.has_failed = true;
                continue;
            }
            self.compare(call, &sync, &mut session, out);
            sync.sessions.push(session);
        }
        self.sync = Some(sync);
        self.end_sync_if_over(call, out);
    }

    /// After a takeover the range is open. After another sync all that has not changed since lies where it
    /// shall.
    fn end_sync_if_over<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        // Who owns a part of a ring has successors: if none are known there is nobody to ask yet.
        let is_known = !self.successors.is_empty();
        let is_over = |sync: &mut Sync| sync.sessions.is_empty() && (is_known || sync.range.is_whole());
        let Some(sync) = self.sync.take_if(is_over) else { return };
        if sync.is_takeover {
            self.open = Some((sync.range, sync.epoch));
            return self.begin_sync(call, out);
        }
        let tenure = out.tenure();
        let same_peers = tenure.successors.iter().map(|it| it.handle).eq(self.successors.iter().copied());
        let enough = tenure.targets(super::DEGREE_MAX, None, |_| None).is_some();
        if !sync.has_failed && same_peers && (enough || tenure.successors.len() >= super::DEGREE_MAX.into()) {
            self.unsettled.retain(|_, changed| *changed > sync.began);
        }
    }
}
