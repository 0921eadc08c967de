//! The queue of events to come: a slotted timing wheel with a total order.
//!
//! Source: Varghese and Lauck 1987, scheme 4 with sorting at the slot. Several times as fast as a binary heap
//! with 100,000 nodes (`docs/figures.md`): events go in unsorted, only the ~100 of one slot are ever sorted,
//! and within a sorted slot it is known what comes next, so that its memory can be fetched ahead of time.

use std::collections::BTreeMap;

use xtreem_base::Instant;

use crate::memory::{prefetch, vec_on_huge_pages};
use crate::queue::Entry;

/// 2^12 µs, about 4 ms: below the least latency, so that hardly anything is pushed into the slot being
/// drained.
pub(crate) const SLOT_BITS: u32 = 12;
/// 2^12 slots, 16.8 s: more than a gossip period. What lies further ahead waits in an ordered map.
const SLOTS: u64 = 1 << 12;

/// No chunk.
const NONE: u32 = u32::MAX;
/// Events of a chunk: with its link it takes eight cache lines, so that reading one goes at full speed.
const CHUNK: usize = 31;

/// An event inside its slot, as one number that sorts: 12 bits of time, destination, tie, and below them the
/// event's number, which does not count for the order.
#[derive(Clone, Copy, Debug)]
struct Packed(u128);

impl Packed {
    const NUMBER_BITS: u32 = 32;

    #[inline]
    fn new(entry: Entry) -> Self {
        let Entry { at, dst, tie, number } = entry;
        let time = at.as_micros() & ((1 << SLOT_BITS) - 1);
        Packed(u128::from(time << 32 | u64::from(dst)) << 64 | u128::from(tie) << 32 | u128::from(number))
    }

    /// Within its slot.
    #[inline]
    fn time(self) -> u64 {
        (self.0 >> 96) as u64
    }

    #[inline]
    fn order(self) -> u128 {
        self.0 >> Self::NUMBER_BITS
    }

    #[inline]
    fn entry(self, slot: u64) -> Entry {
        let (high, low) = ((self.0 >> 64) as u64, self.0 as u64);
        Entry {
            at: Instant::from_micros(slot << SLOT_BITS | high >> 32),
            dst: high as u32,
            tie: (low >> 32) as u32,
            number: low as u32,
        }
    }
}

/// Some events of one slot, in the order of pushing.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Chunk {
    entries: [Packed; CHUNK],
    /// The one filled before it.
    next: u32,
}

/// Where a slot's next event goes. The length is not in the chunk, so that pushing only writes there: it need
/// not wait until the chunk is in the cache.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// The chunk that is being filled; those before it are full.
    chunk: u32,
    len: u32,
}

impl Head {
    const EMPTY: Head = Head { chunk: NONE, len: 0 };
}

/// Chunks of all slots, so that slots share what memory there is.
#[derive(Clone, Debug)]
struct Chunks {
    chunks: Vec<Chunk>,
    free: u32,
}

impl Chunks {
    /// A chunk with one event, in front of chunk `next`.
    fn start(&mut self, next: u32, first: Packed) -> Head {
        let chunk = match self.chunks.get_mut(self.free as usize) {
            Some(free) => {
                let number = self.free;
                self.free = free.next;
                (free.entries[0], free.next) = (first, next);
                number
            }
            None => {
                self.chunks.push(Chunk { entries: [first; CHUNK], next });
                self.chunks.len() as u32 - 1
            }
        };
        Head { chunk, len: 1 }
    }

    /// Moves the events of a slot, the last pushed first, and frees its chunks.
    fn empty(&mut self, head: Head, into: &mut Vec<Packed>) {
        let Head { chunk: mut at, mut len } = head;
        while at != NONE {
            self.fetch(self.chunks[at as usize].next);
            let chunk = &mut self.chunks[at as usize];
            into.extend(chunk.entries[..len as usize].iter().rev());
            let next = chunk.next;
            chunk.next = self.free;
            self.free = at;
            (at, len) = (next, CHUNK as u32);
        }
    }

    fn fetch(&self, chunk: u32) {
        if let Some(chunk) = self.chunks.get(chunk as usize) {
            prefetch(chunk);
        }
    }
}

/// Events come out in the order of [`Entry`].
#[derive(Clone, Debug)]
pub struct Wheel {
    heads: Vec<Head>,
    chunks: Chunks,
    /// The rest of slot `current`, last first; of equals the one pushed last is first.
    due: Vec<Packed>,
    /// Of a slot, before it is sorted.
    unsorted: Vec<Packed>,
    /// Number of the slot in `due`, counted from time zero.
    current: u64,
    far: BTreeMap<(Instant, u32, u32, u64), u32>,
    pushed_far: u64,
    /// Events in chunks.
    near: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel::with_room(0)
    }
}

impl Wheel {
    /// An empty wheel that expects about so many events at a time.
    pub fn with_room(events: usize) -> Self {
        let chunks = vec_on_huge_pages(events / CHUNK + SLOTS as usize);
        Wheel {
            heads: vec![Head::EMPTY; SLOTS as usize],
            chunks: Chunks { chunks, free: NONE },
            due: Vec::new(),
            unsorted: Vec::new(),
            current: 0,
            far: BTreeMap::new(),
            pushed_far: 0,
            near: 0,
        }
    }
}

fn slot_of(at: Instant) -> u64 {
    at.as_micros() >> SLOT_BITS
}

/// Sorts the events of one slot, the last first; of equals the order stays. Their times are spread over the
/// slot, so parting them by time leaves hardly anything to compare.
fn sort(from: &[Packed], into: &mut Vec<Packed>) {
    const PARTS: usize = 128;
    /// The longest stretch that is sorted by insertion.
    const SHORT: usize = 16;
    let part = |packed: &Packed| PARTS - 1 - (packed.time() >> (SLOT_BITS - PARTS.ilog2())) as usize;
    let mut ends = [0u32; PARTS];
    from.iter().for_each(|packed| ends[part(packed)] += 1);
    let mut sum = 0;
    for end in &mut ends {
        // Where the part starts; it moves to the end as the part fills.
        (sum, *end) = (sum + *end, sum);
    }
    into.clear();
    into.resize(from.len(), Packed(0));
    for packed in from {
        let place = &mut ends[part(packed)];
        into[*place as usize] = *packed;
        *place += 1;
    }
    let mut start = 0;
    for end in ends {
        let part = &mut into[start..end as usize];
        start = end as usize;
        if part.len() > SHORT {
            part.sort_by_key(|packed| std::cmp::Reverse(packed.order()));
            continue;
        }
        for i in 1..part.len() {
            let mut at = i;
            while at > 0 && part[at - 1].order() < part[at].order() {
                part.swap(at - 1, at);
                at -= 1;
            }
        }
    }
}

impl Wheel {
    /// Queues an event.
    ///
    /// # Panics
    /// When it lies before the slot of the one popped last.
    #[inline]
    pub fn push(&mut self, entry: Entry) {
        let slot = slot_of(entry.at);
        if slot > self.current && slot - self.current < SLOTS {
            self.push_near(entry);
        } else {
            self.push_beside(slot, entry);
        }
    }

    #[cold]
    fn push_beside(&mut self, slot: u64, entry: Entry) {
        if slot > self.current {
            let Entry { at, dst, tie, number } = entry;
            self.far.insert((at, dst, tie, self.pushed_far), number);
            self.pushed_far += 1;
        } else {
            assert!(slot == self.current, "an event in the past: {entry:?}");
            let packed = Packed::new(entry);
            let place = self.due.partition_point(|other| other.order() > packed.order());
            self.due.insert(place, packed);
        }
    }

    /// The next event, when it is due at `limit`.
    #[inline]
    pub fn pop(&mut self, limit: Instant) -> Option<Entry> {
        while self.due.is_empty() {
            if !self.turn(slot_of(limit)) {
                return None;
            }
        }
        let next = self.due.last()?.entry(self.current);
        if next.at > limit {
            return None;
        }
        self.due.pop();
        Some(next)
    }

    /// The event `distance` after the next one, when it lies in the slot that is being drained.
    #[inline]
    pub fn ahead(&self, distance: usize) -> Option<Entry> {
        let at = self.due.len().checked_sub(distance + 1)?;
        self.due.get(at).map(|packed| packed.entry(self.current))
    }

    #[inline]
    fn push_near(&mut self, entry: Entry) {
        let head = &mut self.heads[(slot_of(entry.at) % SLOTS) as usize];
        let packed = Packed::new(entry);
        match self.chunks.chunks.get_mut(head.chunk as usize) {
            Some(chunk) if (head.len as usize) < CHUNK => {
                chunk.entries[head.len as usize] = packed;
                head.len += 1;
            }
            _ => *head = self.chunks.start(head.chunk, packed),
        }
        self.near += 1;
    }

    /// Goes on to the next slot, or over an empty stretch at once. False when that would pass slot `last`.
    fn turn(&mut self, last: u64) -> bool {
        let next = if self.near > 0 {
            self.current + 1
        } else {
            let Some((&(at, ..), _)) = self.far.first_key_value() else { return false };
            slot_of(at)
        };
        if next > last {
            return false;
        }
        self.current = next;
        // Before anything can be pushed into the slots that come into reach, so that pushing order holds.
        while let Some(first) = self.far.first_entry()
            && slot_of(first.key().0) - next < SLOTS
        {
            let ((at, dst, tie, _), number) = first.remove_entry();
            self.push_near(Entry { at, dst, tie, number });
        }
        let head = &mut self.heads[(next % SLOTS) as usize];
        self.chunks.empty(std::mem::replace(head, Head::EMPTY), &mut self.unsorted);
        self.chunks.fetch(self.heads[((next + 1) % SLOTS) as usize].chunk);
        self.near -= self.unsorted.len();
        sort(&self.unsorted, &mut self.due);
        self.unsorted.clear();
        true
    }
}
