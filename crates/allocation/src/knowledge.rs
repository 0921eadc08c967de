//! What a node knows of the slots of one application that others hold.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use xtreem_base::{Duration, Handle, Instant, Rng};
use xtreem_membership::detector::{self, Watch};

use crate::message::KNOWN_MAX;
use crate::{Epoch, Known, SlotState};

/// One slot that somebody else holds, or nobody.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub epoch: Epoch,
    pub holder: Option<Handle>,
    pub state: SlotState,
    pub done_run: u16,
    pub watch: Watch,
    /// When it became known that nobody holds it.
    pub lost: Option<Instant>,
    /// This loss was told to the host, or the holder itself said that it has nothing.
    pub is_declared: bool,
    /// The lost holder itself said so: it answers, and may be asked to hold the slot again.
    pub gave_up: bool,
    /// Last claim of a recruiter.
    pub claimed: Option<Instant>,
    /// Who claimed it last, and since when without another one between.
    claimer: Option<(Handle, Instant)>,
    /// When the holder began to be looked for.
    pub unknown: Option<Instant>,
    /// What the holder is now that its agent has restarted.
    pub successor: Option<Handle>,
    /// The holder is back and keeps room for the slot: itself, and the number of its hold.
    pub offer: Option<(Handle, u64)>,
    /// When this holder became known.
    since: Instant,
    /// When it last gave a sign of life, if it ever did.
    pub heard: Option<Instant>,
}

/// A holder has to watch this long before it can have noticed a loss; until then nobody waits for it to
/// recruit.
const SEASONED: Duration =
    Duration::from_micros(detector::PROBE_PERIOD.as_micros() * 4 + detector::INDIRECT_SPAN.as_micros());

/// A recruiter that finds nobody for so long is not waited for any more: others may find somebody. Our guess:
/// a few searches of the longest kind.
const CLAIM_LIMIT: Duration = Duration::from_secs(120);

impl Entry {
    pub fn unknown(now: Instant, rng: &mut Rng) -> Self {
        Entry {
            epoch: Epoch::NONE,
            holder: None,
            state: SlotState::Planned,
            done_run: 0,
            watch: Watch::new(now, Rng::new(rng.next_u64())),
            lost: None,
            is_declared: false,
            gave_up: false,
            claimed: None,
            claimer: None,
            unknown: Some(now),
            successor: None,
            offer: None,
            since: now,
            heard: None,
        }
    }

    /// Somebody signed that its holder has it; what is only planned is stated by a recruiter.
    pub fn is_proven(&self) -> bool {
        self.epoch > Epoch::NONE && self.state != SlotState::Planned
    }

    /// Its holder takes part in watching and recruiting.
    pub fn is_live(&self) -> bool {
        self.holder.is_some() && self.lost.is_none() && self.state != SlotState::Planned
    }

    /// Others wait for its holder to recruit first.
    pub fn is_seasoned(&self, now: Instant) -> bool {
        self.is_live() && now.since(self.since) >= SEASONED
    }

    pub fn known(&self, slot: u16) -> Known {
        Known { slot, epoch: self.epoch, holder: self.holder, state: self.state }
    }

    /// The holder, as long as it is not lost.
    pub fn live_holder(&self) -> Option<Handle> {
        self.holder.filter(|_| self.lost.is_none())
    }

    pub fn mark_lost(&mut self, now: Instant) {
        if self.lost.is_none() {
            self.lost = Some(now);
            self.is_declared = false;
            (self.claimed, self.claimer) = (None, None);
        }
        self.unknown = None;
    }

    /// `peer` says that it recruits the slot; false when it has said so for too long to be waited for.
    pub fn claim(&mut self, now: Instant, peer: Handle) -> bool {
        let since = self.claimer.filter(|(claimer, _)| *claimer == peer).map_or(now, |(_, since)| since);
        self.claimer = Some((peer, since));
        let counts = now.since(since) < CLAIM_LIMIT;
        if counts {
            self.claimed = Some(now);
        }
        counts
    }

    /// Lost from then on.
    pub fn mark_lost_later(&mut self, at: Instant) {
        self.lost = Some(at);
        self.is_declared = true;
        (self.claimed, self.claimer) = (None, None);
        self.unknown = None;
    }

    /// The holder itself says that it holds nothing.
    pub fn mark_given_up(&mut self, now: Instant) {
        self.mark_lost(now);
        self.is_declared = true;
        self.gave_up = true;
    }

    /// A sign of life of the holder.
    pub fn mark_alive(&mut self, now: Instant) {
        self.watch.answered(now);
        self.lost = None;
        self.is_declared = false;
        self.gave_up = false;
        self.unknown = None;
    }
}

/// What became of one piece of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// Nothing new.
    Same,
    /// The state of the known holder changed, or it was found again.
    Changed,
    /// Another holder, with a higher epoch; the one before, if any.
    Replaced { before: Option<Handle> },
    /// The news is older than what is known.
    Stale,
}

/// Entries by slot number, at most [`KNOWN_MAX`]; beyond that the one farthest from need (see `prune`) goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    entries: BTreeMap<u16, Entry>,
}

impl Knowledge {
    pub fn entry(&self, slot: u16) -> Option<&Entry> {
        self.entries.get(&slot)
    }

    pub fn entry_mut(&mut self, slot: u16) -> Option<&mut Entry> {
        self.entries.get_mut(&slot)
    }

    pub fn entry_or_unknown(&mut self, slot: u16, now: Instant, rng: &mut Rng) -> &mut Entry {
        self.entries.entry(slot).or_insert_with(|| Entry::unknown(now, rng))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn remove(&mut self, slot: u16) -> Option<Entry> {
        self.entries.remove(&slot)
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u16, &Entry)> {
        self.entries.iter().map(|(slot, entry)| (*slot, entry))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u16, &mut Entry)> {
        self.entries.iter_mut().map(|(slot, entry)| (*slot, entry))
    }

    /// Live holders, each once.
    pub fn holders(&self) -> Vec<Handle> {
        let mut holders: Vec<Handle> = self.entries.values().filter_map(Entry::live_holder).collect();
        holders.sort_unstable();
        holders.dedup();
        holders
    }

    /// Live holders of slots that have not ended: whose slot is done or failed has its room back.
    pub fn busy_holders(&self) -> Vec<Handle> {
        let busy = self.entries.values().filter(|entry| !entry.state.is_final());
        busy.filter_map(Entry::live_holder).collect()
    }

    /// A recruiter says that this node is to hold the slot. What is proven of it stays.
    pub fn plan(&mut self, now: Instant, slot: u16, epoch: Epoch, holder: Handle, rng: &mut Rng) {
        let entry = self.entry_or_unknown(slot, now, rng);
        if !entry.is_proven() && !entry.state.is_final() {
            *entry = Entry { epoch, holder: Some(holder), unknown: None, ..Entry::unknown(now, rng) };
        }
    }

    /// Takes proven news about a slot. `first_hand`: the holder itself says so, which is a sign of life.
    pub fn learn(&mut self, now: Instant, news: Known, first_hand: bool, rng: &mut Rng) -> Learned {
        let entry = self.entry_or_unknown(news.slot, now, rng);
        let is_planned = entry.state == SlotState::Planned;
        if news.epoch < entry.epoch && !is_planned {
            return Learned::Stale;
        }
        if news.epoch != entry.epoch {
            let before = entry.holder.filter(|holder| Some(*holder) != news.holder);
            let keeps_final = entry.state.is_final() && !news.state.is_final();
            let state = if keeps_final { entry.state } else { news.state };
            let done_run = entry.done_run;
            *entry =
                Entry { epoch: news.epoch, holder: news.holder, state, done_run, ..Entry::unknown(now, rng) };
            entry.unknown = if news.holder.is_some() { None } else { Some(now) };
            return Learned::Replaced { before };
        }
        let mut changed = false;
        if let Some(holder) = news.holder {
            if entry.holder.is_none() || (first_hand && entry.holder != Some(holder)) {
                entry.holder = Some(holder);
                entry.mark_alive(now);
                changed = true;
            }
            if first_hand {
                changed |= entry.lost.is_some();
                entry.mark_alive(now);
            }
        }
        let progress = news.state != entry.state
            && !entry.state.is_final()
            && (first_hand || news.state.is_final() || entry.state == SlotState::Planned);
        if progress {
            entry.state = news.state;
            changed = true;
        }
        if changed { Learned::Changed } else { Learned::Same }
    }

    /// Keeps the table within its limit: what `is_needed` says stays, then the lowest slots.
    pub fn prune(&mut self, is_needed: impl Fn(u16) -> bool) {
        while self.entries.len() > KNOWN_MAX {
            let spare = self.entries.keys().rev().find(|slot| !is_needed(**slot)).copied();
            match spare.or_else(|| self.entries.keys().next_back().copied()) {
                Some(slot) => self.entries.remove(&slot),
                None => return,
            };
        }
    }

    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.entries.values().filter_map(|entry| entry.holder).for_each(&mut *f);
        self.entries.values().filter_map(|entry| entry.successor).for_each(f);
    }
}
