//! The links: for each level at which the grid has a subtree beside this node's own, a few nodes of it and what
//! is known of it.
//!
//! These are Kademlia's k-buckets (Maymounkov and Mazières 2002, section 2.4) over attribute keys.

use alloc::vec::Vec;

use xtreem_base::Handle;

use super::summary::Summary;
use crate::area::Area;
use crate::key::{DIMENSIONS_MAX, KEY_BITS, Key};

/// Nodes kept of each subtree. With 20 % of all nodes just dead, one, two, three of them make a find-all reach
/// .24, .72, .92 (design note on discovery, section 2.3).
pub const ALTERNATES: usize = 3;

/// A node as told to others: who, where it stands, and how many seconds ago it was known to be alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub handle: Handle,
    pub key: Key,
    pub age: u16,
}

/// A node of a subtree.
#[derive(Clone, Copy, Debug)]
pub struct Alternate {
    pub handle: Handle,
    pub key: Key,
    /// When it was known to be alive, in seconds of the table's own clock.
    pub seen: u32,
}

/// One subtree beside this node's own.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Bits that its nodes' keys share with this node's; the next bit differs.
    pub level: u8,
    len: u8,
    alternates: [Alternate; ALTERNATES],
    /// Nothing was heard of the subtree as a whole when `told` is zero.
    summary: Summary,
    /// When the summary was made, in seconds of the table's own clock, counted from one.
    told: u32,
}

impl Bucket {
    pub fn alternates(&self) -> &[Alternate] {
        &self.alternates[..usize::from(self.len)]
    }

    /// What is known of the whole subtree.
    pub fn summary(&self) -> Option<&Summary> {
        (self.told > 0).then_some(&self.summary)
    }

    /// When the summary was made; zero without one.
    pub fn told(&self) -> u32 {
        self.told
    }
}

/// Levels as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Levels(pub [u32; KEY_BITS / 32]);

impl Levels {
    pub const ALL: Levels = Levels([u32::MAX; KEY_BITS / 32]);

    pub fn has(&self, level: usize) -> bool {
        self.0.get(level / 32).is_some_and(|word| word >> (level % 32) & 1 == 1)
    }

    pub fn remove(&mut self, level: usize) {
        self.0[level / 32] &= !(1 << (level % 32));
    }
}

/// The best [`ALTERNATES`] of what was offered: the deepest level first, then the freshest.
#[derive(Default)]
struct Few<'a>([Option<(usize, &'a Alternate)>; ALTERNATES]);

impl<'a> Few<'a> {
    fn offer(&mut self, level: usize, known: &'a Alternate) {
        let rank = |(level, known): (usize, &Alternate)| (level, known.seen, known.handle);
        let mut new = Some((level, known));
        for place in &mut self.0 {
            if place.is_none_or(|old| new.is_some_and(|new| rank(old) < rank(new))) {
                core::mem::swap(place, &mut new);
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &'a Alternate)> {
        self.0.iter().flatten().copied()
    }
}

/// Buckets in the order of their levels, only those with nodes.
#[derive(Clone, Debug)]
pub struct Table {
    me: Handle,
    key: Key,
    dimensions: u8,
    buckets: Vec<Bucket>,
}

impl Table {
    pub fn new(me: Handle, key: Key, dimensions: usize) -> Self {
        Table { me, key, dimensions: dimensions.min(DIMENSIONS_MAX) as u8, buckets: Vec::new() }
    }

    pub fn me(&self) -> Handle {
        self.me
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    pub fn bucket(&self, level: usize) -> Option<&Bucket> {
        let at = self.buckets.binary_search_by_key(&level, |bucket| usize::from(bucket.level)).ok()?;
        self.buckets.get(at)
    }

    /// The level of the closest node known.
    pub fn deepest(&self) -> Option<usize> {
        self.buckets.last().map(|bucket| usize::from(bucket.level))
    }

    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Takes in a node known to be alive at `seen`. False when it is this node, has this node's very key, or is
    /// no fresher than all that fill its bucket.
    pub fn insert(&mut self, handle: Handle, key: Key, seen: u32) -> bool {
        let level = self.key.common_prefix(&key);
        if handle == self.me || handle == Handle::NONE || level >= KEY_BITS {
            return false;
        }
        let new = Alternate { handle, key, seen };
        let at = match self.buckets.binary_search_by_key(&level, |bucket| usize::from(bucket.level)) {
            Ok(at) => at,
            Err(at) => {
                if self.buckets.len() == self.buckets.capacity() {
                    // A few at a time: a table ends at 17 to 40 buckets, and doubling would waste a third.
                    self.buckets.reserve_exact(4);
                }
                let bucket = Bucket {
                    level: level as u8,
                    len: 1,
                    alternates: [new; ALTERNATES],
                    summary: Summary::NOTHING,
                    told: 0,
                };
                self.buckets.insert(at, bucket);
                return true;
            }
        };
        let bucket = &mut self.buckets[at];
        let len = usize::from(bucket.len);
        if let Some(known) = bucket.alternates[..len].iter_mut().find(|known| known.handle == handle) {
            known.seen = known.seen.max(seen);
            return true;
        }
        if bucket.told > 0 {
            // A newcomer that no summary counts yet must be found all the same.
            bucket.summary.area.join(&Area::of(&key.codes(self.dimensions.into())));
        }
        if len < ALTERNATES {
            bucket.alternates[len] = new;
            bucket.len += 1;
            return true;
        }
        match bucket.alternates.iter_mut().min_by_key(|known| known.seen) {
            Some(oldest) if oldest.seen < seen => {
                *oldest = new;
                true
            }
            _ => false,
        }
    }

    pub fn contains(&self, handle: Handle) -> bool {
        self.all().any(|(_, known)| known.handle == handle)
    }

    /// Drops a dead node everywhere.
    pub fn remove(&mut self, handle: Handle) -> bool {
        let mut found = false;
        for bucket in &mut self.buckets {
            bucket.summary.forget(handle);
            let len = usize::from(bucket.len);
            if let Some(at) = bucket.alternates[..len].iter().position(|known| known.handle == handle) {
                bucket.alternates.swap(at, len - 1);
                bucket.len -= 1;
                found = true;
            }
        }
        if found {
            self.buckets.retain(|bucket| bucket.len > 0);
        }
        found
    }

    /// Drops nodes not known to be alive since `limit`.
    pub fn expire(&mut self, limit: u32) {
        for bucket in &mut self.buckets {
            let mut kept = 0;
            for at in 0..usize::from(bucket.len) {
                if bucket.alternates[at].seen >= limit {
                    bucket.alternates[kept] = bucket.alternates[at];
                    kept += 1;
                }
            }
            bucket.len = kept as u8;
        }
        self.buckets.retain(|bucket| bucket.len > 0);
    }

    /// All nodes with their levels.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Alternate)> {
        self.buckets
            .iter()
            .flat_map(|bucket| bucket.alternates().iter().map(|known| (usize::from(bucket.level), known)))
    }

    /// Takes a summary of the subtree at `level`, made at `told`, when it is newer than the one known.
    pub fn report(&mut self, level: usize, summary: &Summary, told: u32) {
        let Ok(at) = self.buckets.binary_search_by_key(&level, |bucket| usize::from(bucket.level)) else {
            return;
        };
        let bucket = &mut self.buckets[at];
        if told <= bucket.told {
            return;
        }
        let mut area = summary.area;
        if bucket.told > 0 {
            area = bucket.summary.area;
            area.follow(&summary.area);
        }
        bucket.summary = *summary;
        bucket.summary.area = area;
        bucket.told = told;
    }

    /// Everybody whose key shares `len` bits with this node's, `own` (this node alone) included. The places of holders are
    /// those behind these bits.
    pub fn summary(&self, len: usize, own: &Summary, dynamics: usize) -> Summary {
        let mut all = *own;
        all.lift(|_| self.key.window(len));
        for bucket in self.buckets.iter().rev().take_while(|bucket| usize::from(bucket.level) >= len) {
            match bucket.summary() {
                Some(summary) => {
                    let level = usize::from(bucket.level);
                    let above = self.key.sibling(level).window(len);
                    let mut lifted = *summary;
                    // What of the bucket's own prefix is behind `len` comes first.
                    let shift = (level + 1 - len) as u32;
                    lifted.lift(|place| above | place.checked_shr(shift).unwrap_or_default());
                    all.add(&lifted, dynamics);
                }
                None => {
                    all.count += bucket.alternates().len() as u32;
                    for known in bucket.alternates() {
                        all.area.join(&Area::of(&known.key.codes(self.dimensions.into())));
                    }
                }
            }
        }
        all
    }

    /// Levels that could use more nodes.
    pub fn wants(&self) -> Levels {
        let mut levels = Levels::ALL;
        for bucket in self.buckets.iter().filter(|bucket| usize::from(bucket.len) == ALTERNATES) {
            levels.remove(usize::from(bucket.level));
        }
        levels
    }

    /// Levels whose summary was made before `limit`, or that have none.
    pub fn stale(&self, limit: u32) -> Levels {
        let mut levels = Levels::ALL;
        for bucket in self.buckets.iter().filter(|bucket| bucket.told >= limit) {
            levels.remove(usize::from(bucket.level));
        }
        levels
    }

    /// Up to `max` nodes that a node with `key` can use: those that would fill its gaps, closest first, then the
    /// closest and freshest of what it has too.
    pub fn useful(&self, key: &Key, wants: &Levels, now: u32, max: usize) -> Vec<Descriptor> {
        let split = self.key.common_prefix(key);
        let beside = self.buckets.partition_point(|bucket| usize::from(bucket.level) < split);
        let (above, rest) = self.buckets.split_at(beside);
        let at_split = rest.first().filter(|bucket| usize::from(bucket.level) == split);
        // On the other's side of the split: its own level there tells how close they are to it.
        let mut close = Few::default();
        for known in at_split.map(Bucket::alternates).unwrap_or_default() {
            let level = known.key.common_prefix(key);
            if level < KEY_BITS {
                close.offer(level, known);
            }
        }
        // On this side: all of them are one subtree to the other.
        let mut mine = Few::default();
        let deeper = &rest[usize::from(at_split.is_some())..];
        deeper.iter().flat_map(Bucket::alternates).for_each(|known| mine.offer(split, known));
        let mut chosen = Vec::with_capacity(max);
        for is_wanted in [true, false] {
            let mut choose = |few: &Few<'_>| {
                for (level, known) in few.iter().filter(|(level, _)| wants.has(*level) == is_wanted) {
                    debug_assert!(level < KEY_BITS);
                    if chosen.len() < max {
                        let age = u16::try_from(now.saturating_sub(known.seen)).unwrap_or(u16::MAX);
                        chosen.push(Descriptor { handle: known.handle, key: known.key, age });
                    }
                }
            };
            choose(&close);
            choose(&mine);
            for bucket in above.iter().rev().filter(|bucket| wants.has(bucket.level.into()) == is_wanted) {
                let mut few = Few::default();
                bucket.alternates().iter().for_each(|known| few.offer(bucket.level.into(), known));
                choose(&few);
            }
        }
        chosen
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    pub fn for_each_handle(&self, f: &mut impl FnMut(Handle)) {
        for bucket in &self.buckets {
            bucket.alternates().iter().for_each(|known| f(known.handle));
            bucket.summary.for_each_handle(f);
        }
    }
}
