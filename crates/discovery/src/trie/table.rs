//! The links: for each level at which the grid has a subtree beside this node's own, a few nodes of it and
//! what is known of it.
//!
//! These are Kademlia's k-buckets (Maymounkov and Mazières 2002, section 2.4) over attribute keys.

use alloc::vec::Vec;

use xtreem_base::{Handle, mix};

use super::summary::{COUNT_MAX, Summary, Top};
use crate::area::Area;
use crate::key::{DIMENSIONS_MAX, KEY_BITS, Key};

/// Nodes kept of each subtree. With 20 % of all nodes just dead, one, two, three of them make a find-all
/// reach .24, .72, .92 (docs/design/selection.md, "Alternates").
pub const ALTERNATES: usize = 3;

/// Nodes heard of within so many seconds of each other count as equally fresh (found by trying, among 0, 20,
/// 60, 120 and 240: docs/experiments/busy-nodes.md).
const EQUALLY_FRESH_SECONDS: u32 = 120;

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
    /// It counts no node when nothing was heard of the subtree as a whole.
    summary: Summary,
}

impl Bucket {
    pub fn alternates(&self) -> &[Alternate] {
        &self.alternates[..usize::from(self.len)]
    }

    /// What is known of the whole subtree.
    pub fn summary(&self) -> Option<&Summary> {
        (self.summary.count > 0).then_some(&self.summary)
    }
}

/// Levels as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Levels(pub [u32; KEY_BITS / 32]);

impl Levels {
    pub const ALL: Levels = Levels([u32::MAX; KEY_BITS / 32]);
    pub const NONE: Levels = Levels([0; KEY_BITS / 32]);

    pub fn has(&self, level: usize) -> bool {
        self.0.get(level / 32).is_some_and(|word| word >> (level % 32) & 1 == 1)
    }

    pub fn insert(&mut self, level: usize) {
        self.0[level / 32] |= 1 << (level % 32);
    }

    pub fn remove(&mut self, level: usize) {
        self.0[level / 32] &= !(1 << (level % 32));
    }

    /// Those of them that are, or are not, in `other`.
    fn part(&self, other: &Levels, is_in: bool) -> Levels {
        let turn = if is_in { 0 } else { u32::MAX };
        Levels(core::array::from_fn(|word| self.0[word] & (other.0[word] ^ turn)))
    }

    /// How many of them are below `level`.
    fn below(&self, level: usize) -> usize {
        let whole: u32 = self.0[..level / 32].iter().map(|word| word.count_ones()).sum();
        let rest = self.0.get(level / 32).map_or(0, |word| (word & !(u32::MAX << (level % 32))).count_ones());
        (whole + rest) as usize
    }

    /// Rising.
    fn iter(self) -> Each {
        Each(self)
    }
}

struct Each(Levels);

impl Iterator for Each {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let (word, bits) = self.0.0.iter_mut().enumerate().find(|(_, bits)| **bits != 0)?;
        let bit = bits.trailing_zeros();
        *bits &= *bits - 1;
        Some(word * 32 + bit as usize)
    }
}

impl DoubleEndedIterator for Each {
    fn next_back(&mut self) -> Option<usize> {
        let (word, bits) = self.0.0.iter_mut().enumerate().rfind(|(_, bits)| **bits != 0)?;
        let bit = bits.ilog2();
        *bits ^= 1 << bit;
        Some(word * 32 + bit as usize)
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

/// Buckets in the order of their levels, only those with nodes. What is asked of all of them at every message
/// lies apart, so that it takes a few cache lines and not the whole table.
#[derive(Clone, Debug)]
pub struct Table {
    me: Handle,
    key: Key,
    /// This node alone has it: no two order others in the same way.
    salt: u64,
    dimensions: u8,
    /// Levels that have a bucket: the number of those below a level is the place of its bucket.
    held: Levels,
    /// Levels whose bucket has no room.
    full: Levels,
    buckets: Vec<Bucket>,
    /// For each bucket when its summary was made, in seconds of the table's own clock counted from one; zero
    /// without a summary.
    told: Vec<u32>,
}

impl Table {
    pub fn new(me: Handle, key: Key, dimensions: usize) -> Self {
        Table {
            me,
            key,
            salt: key.salt() ^ u64::from(me.as_u32()) << 32,
            dimensions: dimensions.min(DIMENSIONS_MAX) as u8,
            held: Levels::NONE,
            full: Levels::NONE,
            buckets: Vec::new(),
            told: Vec::new(),
        }
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
        self.buckets.get(self.place(level)?)
    }

    /// Where the bucket of a level is.
    fn place(&self, level: usize) -> Option<usize> {
        self.held.has(level).then(|| self.held.below(level))
    }

    /// The summaries of these levels, rising: each with its level and when it was made.
    pub fn summaries(&self, levels: &Levels) -> impl Iterator<Item = (usize, u32, &Summary)> {
        let known = |level| {
            let at = self.held.below(level);
            let told = *self.told.get(at).filter(|told| **told > 0)?;
            Some((level, told, &self.buckets.get(at)?.summary))
        };
        self.held.part(levels, true).iter().filter_map(known)
    }

    /// The level of the closest node known.
    pub fn deepest(&self) -> Option<usize> {
        self.buckets.last().map(|bucket| usize::from(bucket.level))
    }

    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Takes in a node known to be alive at `seen`. False when it is this node, has this node's very key, or
    /// is no better than all that fill its bucket: fresher by far, or about as fresh and before them in this
    /// node's own random order. By freshness alone all tables would name the same few nodes of a subtree: who
    /// is asked most is the freshest.
    pub fn insert(&mut self, handle: Handle, key: Key, seen: u32) -> bool {
        let level = self.key.common_prefix(&key);
        if handle == self.me || handle == Handle::NONE || level >= KEY_BITS {
            return false;
        }
        let new = Alternate { handle, key, seen };
        let Some(at) = self.place(level) else {
            let at = self.held.below(level);
            if self.buckets.len() == self.buckets.capacity() {
                // A few at a time: a table ends at 17 to 40 buckets, and doubling would waste a third.
                self.buckets.reserve_exact(4);
                self.told.reserve_exact(4);
            }
            let alternates = [new; ALTERNATES];
            self.buckets
                .insert(at, Bucket { level: level as u8, len: 1, alternates, summary: Summary::NOTHING });
            self.told.insert(at, 0);
            self.held.insert(level);
            return true;
        };
        let bucket = &mut self.buckets[at];
        let len = usize::from(bucket.len);
        if let Some(known) = bucket.alternates[..len].iter_mut().find(|known| known.handle == handle) {
            known.seen = known.seen.max(seen);
            return true;
        }
        if self.told[at] > 0 {
            // A newcomer that no summary counts yet must be found all the same.
            bucket.summary.area.join(&Area::of(&key.codes(self.dimensions.into())));
        }
        if len < ALTERNATES {
            bucket.alternates[len] = new;
            bucket.len += 1;
            if len + 1 == ALTERNATES {
                self.full.insert(level);
            }
            return true;
        }
        let salt = self.salt;
        let rank = |handle: Handle| mix(salt ^ u64::from(handle.as_u32()));
        let is_as_fresh = |known: u32, other: u32| known.saturating_add(EQUALLY_FRESH_SECONDS) >= other;
        let worst = bucket
            .alternates
            .iter_mut()
            .min_by_key(|known| (is_as_fresh(known.seen, seen), rank(known.handle)));
        match worst {
            Some(worst)
                if !is_as_fresh(worst.seen, seen)
                    || is_as_fresh(seen, worst.seen) && rank(worst.handle) < rank(handle) =>
            {
                *worst = new;
                true
            }
            _ => false,
        }
    }

    pub fn contains(&self, handle: Handle) -> bool {
        self.all().any(|(_, known)| known.handle == handle)
    }

    /// Drops a dead node everywhere. Whether it was anywhere.
    pub fn remove(&mut self, handle: Handle) -> bool {
        let (mut found, mut was_told) = (false, false);
        for bucket in &mut self.buckets {
            was_told |= bucket.summary.forget(|top| top.holder == handle);
            let len = usize::from(bucket.len);
            if let Some(at) = bucket.alternates[..len].iter().position(|known| known.handle == handle) {
                bucket.alternates.swap(at, len - 1);
                bucket.len -= 1;
                found = true;
            }
        }
        if found {
            self.tidy();
        }
        found || was_told
    }

    /// Drops buckets that have become empty, and knows again which are there and which are full.
    fn tidy(&mut self) {
        let mut kept = self.buckets.iter().map(|bucket| bucket.len > 0);
        (self.held, self.full) = (Levels::NONE, Levels::NONE);
        self.told.retain(|_| kept.next().unwrap_or_default());
        self.buckets.retain(|bucket| bucket.len > 0);
        for bucket in &self.buckets {
            self.held.insert(bucket.level.into());
            if usize::from(bucket.len) == ALTERNATES {
                self.full.insert(bucket.level.into());
            }
        }
    }

    /// Drops nodes not known to be alive since `limit`.
    pub fn expire(&mut self, limit: u32) {
        let mut is_changed = false;
        for bucket in &mut self.buckets {
            let mut kept = 0;
            for at in 0..usize::from(bucket.len) {
                if bucket.alternates[at].seen >= limit {
                    bucket.alternates[kept] = bucket.alternates[at];
                    kept += 1;
                }
            }
            is_changed |= kept < usize::from(bucket.len);
            bucket.len = kept as u8;
        }
        if is_changed {
            self.tidy();
        }
    }

    /// All nodes with their levels.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Alternate)> {
        self.buckets
            .iter()
            .flat_map(|bucket| bucket.alternates().iter().map(|known| (usize::from(bucket.level), known)))
    }

    /// Takes a summary of the subtree at `level`, made at `told`, when it is newer than the one known; its
    /// largest values in any case, as far as they are to be heard, which depends on who said them and when.
    /// Otherwise a value would have to be known in all of a subtree before it is sure to be told beside it,
    /// and so on from level to level.
    pub fn report(
        &mut self,
        level: usize,
        summary: &Summary,
        told: u32,
        is_heard: impl Fn(Handle, u32) -> bool,
    ) {
        let Some(at) = self.place(level) else { return };
        let was = self.told[at];
        if was >= told {
            return self.hear_of(level, summary, told, is_heard);
        }
        let is_heard = |top: &Top| is_heard(top.holder, told.saturating_sub(top.age.into()));
        let known = &mut self.buckets[at].summary;
        let earlier = core::mem::replace(known, *summary);
        known.forget(|top| !is_heard(top));
        if was > 0 {
            known.area = earlier.area;
            known.area.follow(&summary.area);
            known.hear_of(&earlier, told - was, |top| is_heard(&top).then_some(top));
        }
        self.told[at] = told;
    }

    /// Takes only the largest values of a summary, when there is one of the same subtree already.
    pub fn hear_of(
        &mut self,
        level: usize,
        summary: &Summary,
        told: u32,
        is_heard: impl Fn(Handle, u32) -> bool,
    ) {
        let Some(at) = self.place(level).filter(|at| self.told[*at] > 0) else { return };
        let was = self.told[at];
        self.buckets[at].summary.hear_of(summary, was.saturating_sub(told), |top| {
            is_heard(top.holder, was.saturating_sub(top.age.into())).then_some(top)
        });
    }

    /// Everybody whose key shares `len` bits with this node's, `own` (this node alone, `told` being now)
    /// included, but no largest values that were said before `limit`. The places of holders are those behind
    /// these bits.
    pub fn summary(&self, len: usize, own: &Summary, told: u32, limit: u32, dynamics: usize) -> Summary {
        let mut all = *own;
        all.lift(|_| self.key.window(len));
        let buckets = self.buckets.iter().zip(&self.told).rev();
        for (bucket, was) in buckets.take_while(|(bucket, _)| usize::from(bucket.level) >= len) {
            match bucket.summary() {
                Some(summary) => {
                    all.add(summary, dynamics);
                    let level = usize::from(bucket.level);
                    let above = self.key.sibling(level).window(len);
                    // What of the bucket's own prefix is behind `len` comes first.
                    let shift = (level + 1 - len) as u32;
                    all.hear_of(summary, told.saturating_sub(*was), |top| {
                        let place = above | top.place.checked_shr(shift).unwrap_or_default();
                        (told.saturating_sub(top.age.into()) > limit).then_some(Top { place, ..top })
                    });
                }
                None => {
                    all.count = (all.count + bucket.alternates().len() as u32).min(COUNT_MAX);
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
        Levels::ALL.part(&self.full, false)
    }

    /// Levels whose summary was made before `limit`, or that have none.
    pub fn stale(&self, limit: u32) -> Levels {
        let mut levels = Levels::ALL;
        self.held
            .iter()
            .zip(&self.told)
            .filter(|(_, told)| **told >= limit)
            .for_each(|(level, _)| levels.remove(level));
        levels
    }

    /// Up to `max` nodes that a node with `key` can use: those that would fill its gaps, closest first, then
    /// the closest and freshest of what it has too.
    pub fn useful(&self, key: &Key, wants: &Levels, now: u32, max: usize) -> Vec<Descriptor> {
        let split = self.key.common_prefix(key);
        let (above, rest) = self.buckets.split_at(self.held.below(split));
        let at_split = rest.first().filter(|_| self.held.has(split));
        // They are on the other's side of the split: its own level there tells how close they are to it.
        let mut close = Few::default();
        for known in at_split.map(Bucket::alternates).unwrap_or_default() {
            let level = known.key.common_prefix(key);
            if level < KEY_BITS {
                close.offer(level, known);
            }
        }
        // All of those on this side are one subtree to the other.
        let mut mine = Few::default();
        let deeper = &rest[usize::from(at_split.is_some())..];
        deeper.iter().flat_map(Bucket::alternates).for_each(|known| mine.offer(split, known));
        let mut chosen = Vec::with_capacity(max);
        for is_wanted in [true, false] {
            let mut choose = |few: &Few<'_>| {
                for (_, known) in few.iter().filter(|(level, _)| wants.has(*level) == is_wanted) {
                    if chosen.len() < max {
                        let age = u16::try_from(now.saturating_sub(known.seen)).unwrap_or(u16::MAX);
                        chosen.push(Descriptor { handle: known.handle, key: known.key, age });
                    }
                }
                chosen.len() >= max
            };
            choose(&close);
            choose(&mine);
            let levels = self.held.part(wants, is_wanted);
            for level in levels.iter().rev().skip_while(|level| *level >= split) {
                let mut few = Few::default();
                above[self.held.below(level)].alternates().iter().for_each(|known| few.offer(level, known));
                if choose(&few) {
                    break;
                }
            }
        }
        chosen
    }

    /// Nodes of the grid, about, this one included.
    pub fn count(&self) -> u32 {
        let nodes = |bucket: &Bucket| match bucket.summary() {
            Some(summary) => summary.count,
            None => bucket.alternates().len() as u32,
        };
        self.buckets.iter().map(nodes).fold(1, u32::saturating_add).min(COUNT_MAX)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>() + self.told.capacity() * size_of::<u32>()
    }

    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        for bucket in &self.buckets {
            bucket.alternates().iter().for_each(|known| f(known.handle));
            bucket.summary.for_each_handle(f);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert { hash: u32, seen: u32 },
        Remove(u32),
        Expire(u32),
        Report { hash: u32, told: u32 },
    }

    /// Few nodes, so that steps meet the same ones; their keys differ in the last bits too.
    fn some_step() -> impl Strategy<Value = Step> {
        let hash = || (0..24u32, 0..3u32).prop_map(|(bit, low)| 1 << (bit + 7) | low);
        prop_oneof![
            6 => (hash(), 0..20u32).prop_map(|(hash, seen)| Step::Insert { hash, seen }),
            1 => hash().prop_map(Step::Remove),
            1 => (0..20u32).prop_map(Step::Expire),
            3 => (hash(), 1..20u32).prop_map(|(hash, told)| Step::Report { hash, told }),
        ]
    }

    fn key(hash: u32) -> Key {
        Key::new(&[0; DIMENSIONS_MAX], 0, hash)
    }

    proptest! {
        #[test]
        fn what_lies_apart_says_the_same_as_the_buckets(steps in prop::collection::vec(some_step(), 0..80)) {
            let mut table = Table::new(Handle::from_u32(0), key(0), 0);
            for step in steps {
                match step {
                    Step::Insert { hash, seen } => _ = table.insert(Handle::from_u32(hash), key(hash), seen),
                    Step::Remove(hash) => _ = table.remove(Handle::from_u32(hash)),
                    Step::Expire(limit) => table.expire(limit),
                    Step::Report { hash, told } => {
                        let mut summary = Summary::NOTHING;
                        summary.count = 1;
                        table.report(table.key.common_prefix(&key(hash)), &summary, told, |_, _| true);
                    }
                }
                let levels: Vec<usize> = table.buckets.iter().map(|bucket| bucket.level.into()).collect();
                prop_assert!(levels.is_sorted_by(|a, b| a < b));
                prop_assert_eq!(table.held.iter().collect::<Vec<_>>(), levels.clone());
                let falling: Vec<usize> = levels.iter().rev().copied().collect();
                prop_assert_eq!(table.held.iter().rev().collect::<Vec<_>>(), falling);
                prop_assert_eq!(table.told.len(), levels.len());
                for level in 0..KEY_BITS {
                    let bucket = table.buckets.iter().find(|bucket| usize::from(bucket.level) == level);
                    let found = table.bucket(level).map(|bucket| bucket.level);
                    prop_assert_eq!(found, bucket.map(|bucket| bucket.level));
                    let is_full = bucket.is_some_and(|bucket| usize::from(bucket.len) == ALTERNATES);
                    prop_assert_eq!(table.wants().has(level), !is_full);
                }
                prop_assert!(table.buckets.iter().all(|bucket| bucket.len > 0));
                let summed: Vec<usize> = table.summaries(&Levels::ALL).map(|(level, ..)| level).collect();
                let with = |bucket: &&Bucket| bucket.summary().is_some();
                let expected = table.buckets.iter().filter(with).map(|bucket| usize::from(bucket.level));
                let expected: Vec<usize> = expected.collect();
                prop_assert_eq!(summed, expected);
                for (level, told, _) in table.summaries(&Levels::ALL) {
                    prop_assert!(!table.stale(told).has(level) && table.stale(told + 1).has(level));
                }
            }
        }
    }
}
