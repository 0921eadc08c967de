//! What lies on one node: items in the order of their keys, as a plain table.
//!
//! It knows who may write what, how two copies become one, and when a lease ends; nothing of owners, copies
//! elsewhere or messages. [`Store`](super::Store) has those.

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;

use minicbor::{Decode, Encode};
use xtreem_base::{Deadlines, Instant, NodeId};

use super::item::{DEGREE_MAX, Item, LEASE_MAX, Version, Written, weight};
use crate::{Key, Namespace, Range};

/// Items of one writer on one node, copies and marks counted; beyond it its new keys are refused. Our guess.
pub const MEMBER_ITEMS_MAX: u32 = 4_096;
/// Bytes of one writer on one node, as [`weight`] counts them; beyond it what it writes is refused. Our
/// guess.
pub const MEMBER_BYTES_MAX: u64 = 32 << 20;
/// Items on one node; beyond it new keys are refused. Copies that others ask for have as much again.
pub const ITEMS_MAX: usize = 65_536;
/// Bytes on one node, as [`weight`] counts them; beyond it what is written is refused. Copies that others ask
/// for have as much again.
pub const BYTES_MAX: u64 = 256 << 20;
/// Items of one page of a scan at most.
pub const PAGE_MAX: usize = 256;

/// Nothing was written; what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum Refused {
    #[error("{0} wrote this key: only it or an administrator may write here until its lease ends")]
    #[n(0)]
    AnotherWriter(#[n(0)] NodeId),
    #[error("another version lies there: {}; read it and decide again", There(*.0))]
    #[n(1)]
    AnotherVersion(#[n(0)] Version),
    #[error("nothing lies there that could be removed")]
    #[n(2)]
    Nothing,
    #[error(
        "the writer has {MEMBER_ITEMS_MAX} keys on the owner of this one, copies and what was removed counted \
         until their leases end: write with shorter leases, or at keys of other owners"
    )]
    #[n(3)]
    MemberItems,
    #[error(
        "the writer has {MEMBER_BYTES_MAX} bytes on the owner of this key, copies counted: remove some, or let \
         their leases end"
    )]
    #[n(4)]
    MemberBytes,
    #[error("the owner has no room left: try again when leases have ended, or under another key")]
    #[n(5)]
    Full,
    #[error("a lease is longer than nothing, and {LEASE_MAX} at most")]
    #[n(6)]
    Lease,
    #[error("{DEGREE_MAX} copies beside the owner's are possible")]
    #[n(7)]
    Degree,
    #[error("words of administrators do not count on this ring")]
    #[n(8)]
    NoWords,
    #[error("an administrator writes over what lies there, and nothing does: write it as anybody does")]
    #[n(9)]
    NothingToOverwrite,
    #[error("the key names another node: only that one may write what it says of itself")]
    #[n(10)]
    AnothersPlace,
}

/// A version, in words.
struct There(Version);

impl fmt::Display for There {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            nothing if nothing == Version::default() => f.write_str("none"),
            version => version.fmt(f),
        }
    }
}

/// What became of a copy that came from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The same lies here.
    Same,
    /// It is newer than what lay here, which is returned, or nothing did.
    Taken(Option<Item>),
    /// What lies here is newer.
    Older,
    /// There is no room.
    Full,
}

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    items: u32,
    bytes: u64,
}

/// One page of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub found: Vec<T>,
    /// Everything before this key was looked at; it and what follows was not. None: that was all.
    pub next: Option<Key>,
}

/// All items of one node.
///
/// Invariants: `usage` and `bytes` are the sums over `items`; every item has one deadline.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    items: BTreeMap<Key, Item>,
    leases: Deadlines<Key>,
    usage: BTreeMap<NodeId, Usage>,
    bytes: u64,
    /// Of the last version that this node gave: a number never comes again, whatever has been forgotten.
    last_number: u64,
}

impl Shelf {
    pub fn get(&self, key: &Key) -> Option<&Item> {
        self.items.get(key)
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes as [`weight`] counts them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_due(&self) -> Instant {
        self.leases.next().map_or(Instant::FAR, |(at, _)| at)
    }

    /// Writes or removes as the owner under `epoch`. A repetition of the write that made what lies there
    /// changes nothing.
    ///
    /// # Errors
    /// See [`Refused`]; nothing was changed.
    pub fn write(&mut self, now: Instant, epoch: u64, write: &Written<'_>) -> Result<Version, Refused> {
        let known = self.items.get(write.key);
        if let Some(item) = known.filter(|it| it.request == write.request && it.writer.id == write.writer.id)
        {
            return Ok(item.stamp.version);
        }
        self.check(write)?;
        let last = known.map_or(Version::default(), |item| item.stamp.version);
        // The epoch of a copy may be higher than the owner's own after two rings have become one.
        let number = last.number.max(self.last_number) + 1;
        let version = Version { epoch: epoch.max(last.epoch), number };
        self.last_number = number;
        let mut item = Item::new(version, write, now + write.lease);
        // An older copy of what it replaces may turn up as long as that one's lease lasts.
        if let Some(known) = known {
            item.remember(known.remembered);
        }
        self.set(write.key.clone(), item);
        Ok(version)
    }

    fn check(&self, write: &Written<'_>) -> Result<(), Refused> {
        if write.lease > LEASE_MAX || write.lease.as_micros() == 0 {
            return Err(Refused::Lease);
        }
        if write.degree > DEGREE_MAX {
            return Err(Refused::Degree);
        }
        let known = self.items.get(write.key);
        let live = known.filter(|item| !item.is_removed());
        let may_overwrite = write.is_admin || write.key.namespace().is_some_and(Namespace::is_shared);
        if let Some(item) = live.filter(|item| item.writer.id != write.writer.id && !may_overwrite) {
            return Err(Refused::AnotherWriter(item.writer.id));
        }
        let there = live.map_or(Version::default(), |item| item.stamp.version);
        if write.expected.is_some_and(|expected| expected != there) {
            return Err(Refused::AnotherVersion(there));
        }
        if write.value.is_none() {
            // Takes no room that the item did not have.
            return if live.is_some() { Ok(()) } else { Err(Refused::Nothing) };
        }
        self.check_room(write, known)
    }

    fn check_room(&self, write: &Written<'_>, known: Option<&Item>) -> Result<(), Refused> {
        let more = weight(write.key, write.value.as_ref());
        let (items, freed) = known.map_or((0, 0), |item| (1, item.weight(write.key)));
        let is_own = known.is_some_and(|item| item.writer.id == write.writer.id);
        let (own_items, own_freed) = if is_own { (items, freed) } else { (0, 0) };
        let usage = self.usage.get(&write.writer.id).copied().unwrap_or_default();
        // Who writes for all has what all have.
        if !write.is_admin && usage.items - own_items >= MEMBER_ITEMS_MAX {
            return Err(Refused::MemberItems);
        }
        if !write.is_admin && usage.bytes - own_freed + more > MEMBER_BYTES_MAX {
            return Err(Refused::MemberBytes);
        }
        let is_full = self.items.len() - items as usize >= ITEMS_MAX || self.bytes - freed + more > BYTES_MAX;
        if is_full { Err(Refused::Full) } else { Ok(()) }
    }

    /// Of two copies the one with the higher version stays, then the one with the higher digest. That one is
    /// remembered as long as the other one may turn up again.
    pub fn merge(&mut self, key: &Key, mut item: Item) -> Merged {
        if let Some(known) = self.items.get_mut(key) {
            if known.stamp == item.stamp {
                return Merged::Same;
            }
            if known.stamp > item.stamp {
                known.remember(item.remembered);
                self.leases.set(key.clone(), known.until);
                return Merged::Older;
            }
            item.remember(known.remembered);
        }
        let known = self.items.get(key);
        let freed = known.map_or(0, |known| known.weight(key));
        let is_full = known.is_none() && self.items.len() >= 2 * ITEMS_MAX
            || self.bytes - freed + item.weight(key) > 2 * BYTES_MAX;
        if is_full { Merged::Full } else { Merged::Taken(self.set(key.clone(), item)) }
    }

    fn set(&mut self, key: Key, item: Item) -> Option<Item> {
        let old = self.take(&key);
        let usage = self.usage.entry(item.writer.id).or_default();
        usage.items += 1;
        usage.bytes += item.weight(&key);
        self.bytes += item.weight(&key);
        self.leases.set(key.clone(), item.until);
        self.items.insert(key, item);
        old
    }

    /// Takes an item away as if it had never been here.
    pub fn take(&mut self, key: &Key) -> Option<Item> {
        let item = self.items.remove(key)?;
        self.leases.clear(key);
        self.bytes -= item.weight(key);
        if let Some(usage) = self.usage.get_mut(&item.writer.id) {
            usage.items -= 1;
            usage.bytes -= item.weight(key);
            if usage.items == 0 {
                self.usage.remove(&item.writer.id);
            }
        }
        Some(item)
    }

    /// Forgets one key: the lease of what lay there has ended, and of all that it replaced. What ended before
    /// something that it replaced becomes a mark, as if it had been removed.
    pub fn expire(&mut self, now: Instant) -> Option<Key> {
        loop {
            let (_, key) = self.leases.next().filter(|(at, _)| *at <= now)?;
            let key = key.clone();
            let Some(mark) = self.take(&key).and_then(|item| item.left_at(now, &key)) else {
                return Some(key);
            };
            self.set(key, mark);
        }
    }

    /// Live items from `lo` on and before `hi` (None: no end), at most `limit`, at most [`PAGE_MAX`], and no
    /// more once `bytes` are reached.
    pub fn scan(&self, lo: &Key, hi: Option<&Key>, limit: usize, bytes: u64) -> Page<(&Key, &Item)> {
        let mut page = Page { found: Vec::new(), next: None };
        if hi.is_some_and(|hi| hi <= lo) {
            return page;
        }
        let end = hi.map_or(Bound::Unbounded, Bound::Excluded);
        let mut taken = 0;
        for (key, item) in self.items.range((Bound::Included(lo), end)).filter(|(_, item)| !item.is_removed())
        {
            if page.found.len() >= limit.min(PAGE_MAX) || taken >= bytes {
                page.next = Some(key.clone());
                break;
            }
            taken += item.weight(key);
            page.found.push((key, item));
        }
        page
    }

    /// Everything in a part of the ring, marks too, in the order in which one goes round it.
    pub fn within(&self, range: &Range) -> impl Iterator<Item = (&Key, &Item)> {
        let (after, to) = (&range.after.key, &range.to.key);
        let after = Bound::Excluded(after);
        let to = Bound::Included(to);
        // A range over the end of the order is two of it; one that is not has no second.
        let goes_over = range.after >= range.to;
        let first = if goes_over { (after, Bound::Unbounded) } else { (after, to) };
        let second = goes_over.then(|| self.items.range::<Key, _>((Bound::Unbounded, to)));
        self.items.range::<Key, _>(first).chain(second.into_iter().flatten())
    }

    /// Number of items in a part of the ring and the sum of their marks, of those that `counts` names: equal
    /// sums mean equal items, but for one case of 2^64.
    pub fn sum(&self, range: &Range, counts: impl Fn(&Key, &Item) -> bool) -> Sum {
        let counted = self.within(range).filter(|(key, item)| counts(key, item));
        counted.fold(Sum::default(), |sum, (key, item)| Sum {
            items: sum.items + 1,
            marks: sum.marks.wrapping_add(item.stamp.mark(key)),
        })
    }

    /// What a node that owns `range` has to carry.
    pub fn load(&self, range: &Range) -> u64 {
        self.within(range).map(|(key, item)| item.weight(key)).sum()
    }

    /// The key at which somebody has to stand to take half of the load of `range`: all up to it and with it.
    /// None when it cannot be split.
    pub fn median(&self, range: &Range) -> Option<Key> {
        let half = self.load(range) / 2;
        let mut before = 0;
        let mut items = self.within(range).peekable();
        let mut last = None;
        while let Some((key, item)) = items.next() {
            // The last one stays with the owner.
            if items.peek().is_none() {
                break;
            }
            before += item.weight(key);
            last = Some(key);
            if before >= half {
                break;
            }
        }
        last.cloned()
    }

    /// Takes out everything in a part of the ring.
    pub fn split(&mut self, range: &Range) -> Vec<(Key, Item)> {
        let keys: Vec<Key> = self.within(range).map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| self.take(&key).map(|item| (key, item))).collect()
    }

    /// Every item may be changed where it changes neither weight nor lease.
    pub(super) fn writers_mut(&mut self) -> impl Iterator<Item = &mut super::item::Writer> {
        self.items.values_mut().map(|item| &mut item.writer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Item)> {
        self.items.iter()
    }
}

/// Over a part of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Encode, Decode)]
pub struct Sum {
    #[n(0)]
    pub items: u64,
    #[n(1)]
    pub marks: u64,
}
