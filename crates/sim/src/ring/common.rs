//! What all nodes of a world share: the numbers of their protocols, and the one who watches them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use xtreem_base::{Duration, Handle, Instant};
use xtreem_overlay::ring::{self, Lease};
use xtreem_overlay::{Position, Range, tman};

use super::items::Items;
use crate::arena::slot_of;

/// Owners behind a key at which the watcher looks in a large world; in a small one at all.
const LOOKED_AT: usize = 64;
const SMALL: usize = 1_000;

/// From one exchange of an owner's T-Man to the next.
const CALM: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Common {
    pub(super) seed: u64,
    pub(super) membership: xtreem_membership::Config,
    tman: tman::Config,
    pub(super) ring: ring::Config,
    calm: tman::Config,
    /// Of those who overstay.
    overstaying: Option<ring::Config>,
    pub(super) items: Items,
    /// Plain Chord.
    pub(super) is_chord: bool,
    watch: RefCell<Watch>,
    pub(super) doubles: Cell<u64>,
    pub(super) time: Cell<Instant>,
}

/// Who owns what, at every moment, as the nodes themselves believe.
#[derive(Default)]
struct Watch {
    /// By slot.
    owned: Vec<Option<Owned>>,
    by_position: BTreeMap<Position, u32>,
    /// Of each answer that is under way whether it was that of the right one.
    answers: BTreeMap<(Handle, Position), Vec<bool>>,
}

#[derive(Clone, Debug)]
struct Owned {
    handle: Handle,
    range: Range,
    epoch: u64,
    until: Instant,
}

impl Watch {
    fn set(&mut self, slot: usize, owned: Option<Owned>) {
        if self.owned.len() <= slot {
            self.owned.resize(slot + 1, None);
        }
        if let Some(old) = self.owned[slot].take() {
            self.by_position.remove(&old.range.to);
        }
        if let Some(owned) = &owned {
            self.by_position.insert(owned.range.to.clone(), slot as u32);
        }
        self.owned[slot] = owned;
    }

    /// Those that stand there or behind, in their order round the ring.
    fn behind<'a>(&'a self, target: &'a Position) -> impl Iterator<Item = &'a Owned> {
        let slots = self.by_position.range(target..).chain(self.by_position.range(..target));
        slots.filter_map(|(_, slot)| self.owned[*slot as usize].as_ref())
    }
}

impl Common {
    pub(super) fn new(seed: u64, items: Items, is_chord: bool) -> Self {
        let calm = tman::Config { period: CALM, exchanges: 1, ..tman::Config::default() };
        // Items are counted here, not bytes.
        let ring = ring::Config { drift_load_min: 64, ..ring::Config::default() };
        Common { seed, items, is_chord, calm, ring, ..Common::default() }
    }

    /// The numbers of T-Man: an owner knows its neighbours, and goes on only to meet other rings.
    pub(super) fn order(&self, is_owner: bool) -> &tman::Config {
        if is_owner { &self.calm } else { &self.tman }
    }

    /// Every fourth node takes its leases for four times as long as they are.
    pub(super) fn let_overstay(&mut self) {
        self.overstaying = Some(ring::Config { lease: self.ring.lease * 4, ..self.ring.clone() });
    }

    /// The numbers of a node's ring.
    pub(super) fn ring(&self, handle: Handle) -> &ring::Config {
        let is_one = |_: &&ring::Config| slot_of(handle).is_multiple_of(4);
        self.overstaying.as_ref().filter(is_one).unwrap_or(&self.ring)
    }

    /// What a node holds from now on.
    pub(super) fn note_lease(&self, handle: Handle, lease: Option<&Lease>) {
        let mut watch = self.watch.borrow_mut();
        let slot = slot_of(handle) as usize;
        let known = watch.owned.get(slot).and_then(Option::as_ref);
        // Who has never been granted anything is no owner yet.
        let lease = lease.filter(|it| it.until() > Instant::ZERO);
        let is_same = |(owned, lease): (&Owned, &Lease)| {
            (owned.handle, owned.until, owned.epoch) == (handle, lease.until(), lease.epoch())
        };
        if known.is_none() && lease.is_none() || known.zip(lease).is_some_and(is_same) {
            return;
        }
        let owned = lease.map(|lease| Owned {
            handle,
            range: lease.range().clone(),
            epoch: lease.epoch(),
            until: lease.until(),
        });
        watch.set(slot, owned);
    }

    /// It is dead.
    pub(super) fn note_death(&self, slot: u32) {
        self.watch.borrow_mut().set(slot as usize, None);
    }

    /// `owner` answers `asker` now as the owner of `target`.
    pub(super) fn note_answer(&self, now: Instant, asker: Handle, owner: Handle, target: &Position) {
        let mut watch = self.watch.borrow_mut();
        let limit = if watch.by_position.len() <= SMALL { usize::MAX } else { LOOKED_AT };
        let also = |it: &&Owned| it.handle != owner && it.until > now && it.range.contains(target);
        let others = watch.behind(target).take(limit).filter(also).count();
        if others > 0 {
            self.doubles.set(self.doubles.get() + 1);
        }
        let is_right = watch.behind(target).next().is_some_and(|first| first.handle == owner);
        watch.answers.entry((asker, target.clone())).or_default().push(is_right);
    }

    /// Whether the answer that `asker` got came from the right one; none: from nobody.
    pub(super) fn take_answer(&self, asker: Handle, target: &Position) -> Option<bool> {
        self.watch.borrow_mut().answers.get_mut(&(asker, target.clone()))?.pop()
    }

    /// Ranges that are owned now.
    pub(super) fn ranges(&self, now: Instant) -> Vec<Range> {
        let watch = self.watch.borrow();
        let valid = watch.owned.iter().flatten().filter(|owned| owned.until > now);
        valid.map(|owned| owned.range.clone()).collect()
    }
}
