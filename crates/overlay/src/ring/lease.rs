//! Leases of ranges, both ends: what an owner was granted, and what a granter promised.
//!
//! Pure bookkeeping over positions and one node's own clock; who asks whom and when is in `tenure.rs`. Why
//! two nodes never own one key at a time is argued in `docs/protocols/ring.md`, "Why no key has two owners".

use alloc::vec::Vec;

use xtreem_base::{Duration, Handle, Instant, NodeId};

use crate::{Position, Range};

/// Promises that a granter keeps at most: those to the two nodes before it, and to others that stood there
/// lately. Beyond it nothing is granted until one has ended.
pub const PROMISES_MAX: usize = 8;
/// Grants of second granters that an owner keeps at most; the one that ends first is forgotten.
const SECONDS_MAX: usize = 3;

/// "Until then I take nothing over from you", as its owner counts: from when it asked.
#[derive(Clone, Debug)]
struct Grant {
    by: Handle,
    /// Where the range began that the granter knows of.
    after: Position,
    until: Instant,
}

/// What a node owns while its lease lasts.
#[derive(Clone, Debug)]
pub struct Lease {
    pub(super) range: Range,
    pub(super) epoch: u64,
    /// When the range last grew, or was taken at all.
    pub(super) since: Instant,
    first: Option<Grant>,
    /// Whose grant the first granter demands beside its own.
    second: Option<Handle>,
    seconds: Vec<Grant>,
    until: Instant,
    /// It is or was the whole ring: nobody else knows of it.
    is_own: bool,
}

impl Lease {
    /// A range that is not granted yet, or was given until `end`; or the whole ring, which its owner grants
    /// itself.
    pub(super) fn new(range: Range, epoch: u64, now: Instant, end: Instant) -> Self {
        let is_own = range.is_whole();
        let (first, second, seconds) = (None, None, Vec::new());
        Lease { range, epoch, since: now, first, second, seconds, until: end, is_own }
    }

    pub fn range(&self) -> &Range {
        &self.range
    }

    /// Higher than that of everybody who owned a part of it before.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// From then on it must not be used.
    pub fn until(&self) -> Instant {
        self.until
    }

    pub fn is_valid(&self, now: Instant) -> bool {
        now < self.until
    }

    /// The node whose range begins where this one ends, by its own word.
    pub(super) fn first_granter(&self) -> Option<Handle> {
        self.first.as_ref().map(|grant| grant.by)
    }

    pub(super) fn second_granter(&self) -> Option<Handle> {
        self.second
    }

    /// Whether the first granter has heard of another beginning.
    pub(super) fn wants_first(&self) -> bool {
        self.first.as_ref().is_some_and(|grant| grant.after != self.range.after)
    }

    /// Whether the second granter is to be asked to catch up with the first.
    pub(super) fn wants_second(&self) -> bool {
        let Some(first) = &self.first else { return false };
        let is_behind = |grant: &Grant| grant.until < first.until || grant.after != self.range.after;
        self.second.is_some_and(|by| self.seconds.iter().find(|it| it.by == by).is_none_or(is_behind))
    }

    /// Whether this range was granted by the first granter, which demands the grant of `peer`, too.
    pub(super) fn is_second(&self, peer: Handle, now: Instant) -> bool {
        let is_granted = |first: &Grant| first.after == self.range.after && first.until > now;
        self.second == Some(peer) && self.first.as_ref().is_some_and(is_granted)
    }

    /// Whether no granter believes that this node has anything before its range: only then may what ends
    /// there be granted to somebody else. Those who granted it to whoever gave it believe so, too.
    ///
    /// Who had the whole ring until now has no granter yet, and so nobody else who knows anything.
    pub(super) fn is_known(&self) -> bool {
        let begin = &self.range.after;
        let knows = |grant: &Grant| {
            grant.after == *begin || (self.range.contains(&grant.after) && grant.after != self.range.to)
        };
        self.first.as_ref().map_or(self.is_own, knows)
            && self.second.is_none_or(|by| self.seconds.iter().any(|it| it.by == by && knows(it)))
    }

    /// The first granter agreed to what was asked at `until` less the lease's length; it demands the grant of
    /// `second`, too.
    pub(super) fn granted(&mut self, by: Handle, second: Option<Handle>, after: Position, until: Instant) {
        if self.range.is_whole() {
            return;
        }
        self.first = Some(Grant { by, after, until });
        self.second = second;
        self.settle();
    }

    pub(super) fn seconded(&mut self, by: Handle, after: Position, until: Instant) {
        self.seconds.retain(|grant| grant.by != by);
        if self.seconds.len() >= SECONDS_MAX {
            self.seconds.sort_by_key(|grant| grant.until);
            self.seconds.remove(0);
        }
        self.seconds.push(Grant { by, after, until });
        self.settle();
    }

    /// Promises are not taken back, so what was valid before stays so.
    fn settle(&mut self) {
        let Some(first) = &self.first else { return };
        let until = match self.second {
            None => first.until,
            Some(by) => match self.seconds.iter().find(|grant| grant.by == by) {
                Some(second) => first.until.min(second.until),
                None => return,
            },
        };
        self.until = self.until.max(until);
    }

    /// Who has the whole ring grants it to itself, a lease at a time and only while it has it: who was paused
    /// for longer may have been taken for gone.
    pub(super) fn renew_whole(&mut self, now: Instant, end: Instant) {
        if self.range.is_whole() && self.is_valid(now) {
            self.until = self.until.max(end);
        }
    }

    /// Gives up all before `after`, and has the rest for as long as before.
    pub(super) fn cut(&mut self, after: Position, epoch: u64) {
        self.range.after = after;
        self.epoch = epoch;
    }

    /// Takes what lies between `after` and its beginning, for as long as it has the rest.
    pub(super) fn extend(&mut self, after: Position, epoch: u64, now: Instant, end: Instant) {
        self.range.after = after;
        self.epoch = epoch;
        self.since = now;
        if self.range.is_whole() {
            self.is_own = true;
            self.until = self.until.max(end);
            (self.first, self.second) = (None, None);
            self.seconds.clear();
        }
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.first_granter().into_iter().chain(self.second).for_each(&mut *f);
        self.seconds.iter().for_each(|grant| f(grant.by));
    }
}

/// "Until then I take nothing of this over", as its granter counts: from when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promise {
    pub(super) to: Handle,
    pub(super) range: Range,
    pub(super) until: Instant,
    /// Whoever has this range needs this node's grant, so that it ends when the promise does. False: the node
    /// once stood next or next but one, and others may have granted it more since.
    is_exact: bool,
    /// It was given, and its owner has not claimed it yet.
    is_gift: bool,
}

/// All promises of one granter.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises(Vec<Promise>);

impl Promises {
    /// Whether somebody else still has a part of that.
    pub(super) fn forbid(&self, range: &Range, to: Handle, now: Instant) -> bool {
        self.0.iter().any(|it| it.to != to && it.until > now && it.range.overlaps(range))
    }

    /// When the last of all ends.
    pub(super) fn last_of_all(&self) -> Instant {
        self.0.iter().map(|it| it.until).max().unwrap_or(Instant::ZERO)
    }

    /// What is promised to somebody who stands there, whether it has ended or not.
    pub(super) fn to_position(&self, position: &Position) -> Option<&Promise> {
        self.0.iter().filter(|it| it.range.to == *position).max_by_key(|it| it.until)
    }

    /// Whether all of that is promised to `to` already.
    pub(super) fn holds(&self, range: &Range, to: Handle, now: Instant) -> bool {
        let is_same = |it: &&Promise| it.to == to && it.until > now;
        self.to_position(&range.to)
            .filter(is_same)
            .is_some_and(|it| it.range.after == range.after || it.range.contains(&range.after))
    }

    /// False, and nothing is promised, when there are too many.
    pub(super) fn give(&mut self, to: Handle, range: Range, until: Instant, now: Instant) -> bool {
        let is_other = |it: &Promise| it.to != to || it.range.to != range.to;
        let last = self.0.iter().filter(|it| !is_other(it)).map(|it| it.until).max();
        if self.0.iter().filter(|it| is_other(it)).count() >= PROMISES_MAX {
            self.0.retain(|it| it.until > now);
        }
        if self.0.iter().filter(|it| is_other(it)).count() >= PROMISES_MAX {
            return false;
        }
        self.0.retain(is_other);
        // What was promised before is kept.
        let until = last.map_or(until, |last| last.max(until));
        self.0.push(Promise { to, range, until, is_exact: true, is_gift: false });
        true
    }

    /// The same for what is given away.
    pub(super) fn give_away(&mut self, to: Handle, range: Range, until: Instant, now: Instant) -> bool {
        let is_given = self.give(to, range, until, now);
        if let Some(last) = self.0.last_mut().filter(|_| is_given) {
            last.is_gift = true;
        }
        is_given
    }

    /// A grant of another node may last longer than the promise that was given last.
    pub(super) fn doubt_last(&mut self) {
        self.0.iter_mut().last().into_iter().for_each(|it| it.is_exact = false);
    }

    /// What was given to one who stands there, and has not been claimed.
    pub(super) fn gift(&self, to: Handle, position: &Position) -> Option<&Promise> {
        self.to_position(position).filter(|it| it.to == to && it.is_gift)
    }

    /// What another promised: it holds here for at least as long. Such a message has too few of them to fill
    /// the table for longer than these last.
    pub(super) fn inherit(&mut self, to: Handle, range: Range, until: Instant, now: Instant) {
        let _ = self.give(to, range, until, now);
    }

    /// From when on nobody else can own a part of `gap`, which lies directly below this node's own range, as
    /// far as promises tell: of two nodes. None when they do not tell of all of it.
    pub(super) fn end_of(&self, gap: &Range) -> Option<Instant> {
        let mut cursor = &gap.to;
        let mut end = Instant::ZERO;
        for _ in 0..2 {
            let promise = self.to_position(cursor).filter(|it| it.is_exact)?;
            end = end.max(promise.until);
            if promise.range.contains(&gap.after) || promise.range.after == gap.after {
                return Some(end);
            }
            cursor = &promise.range.after;
        }
        None
    }

    /// The last end of all that touches `range`.
    pub(super) fn last_end(&self, range: &Range) -> Instant {
        let touching = self.0.iter().filter(|it| it.range.overlaps(range));
        touching.map(|it| it.until).max().unwrap_or(Instant::ZERO)
    }

    /// The own range begins elsewhere: only those who stand at `still` need this node's grant as before.
    pub(super) fn moved(&mut self, still: &[&Position]) {
        self.0.iter_mut().for_each(|it| it.is_exact &= still.contains(&&it.range.to));
    }

    /// Who stood in `gap`, which lies directly below this node's own range, as far as promises tell: of three
    /// nodes at most, the nearest first.
    pub(super) fn stood_in(&self, gap: &Range) -> Vec<NodeId> {
        let mut cursor = &gap.to;
        let mut stood = alloc::vec![cursor.id];
        for _ in 0..2 {
            let Some(promise) = self.to_position(cursor) else { break };
            cursor = &promise.range.after;
            if !gap.contains(cursor) || stood.contains(&cursor.id) {
                break;
            }
            stood.push(cursor.id);
        }
        stood
    }

    /// What has been taken over is no promise any more.
    pub(super) fn drop_within(&mut self, range: &Range) {
        self.0.retain(|it| !range.contains(&it.range.to));
    }

    pub(super) fn take(&mut self, to: Handle, position: &Position) -> Option<Promise> {
        let at = self.0.iter().position(|it| it.to == to && it.range.to == *position)?;
        Some(self.0.remove(at))
    }

    /// Those that have not ended, each with the time that it still has.
    pub(super) fn open(&self, now: Instant) -> impl Iterator<Item = (&Promise, Duration)> {
        self.0.iter().filter(move |it| it.until > now).map(move |it| (it, it.until.since(now)))
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.0.iter().for_each(|it| f(it.to));
    }
}
