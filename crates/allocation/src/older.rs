//! Nodes that may still run a slot under a lower epoch, or have not heard of a stopped record: probed until
//! they answer.

use alloc::vec::Vec;

use xtreem_base::{Handle, Instant};

use crate::Config;

/// Most old holders an application remembers; the one probed longest goes first. Our guess: two windows.
pub(crate) const OLDER_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Old {
    slot: u16,
    peer: Handle,
    since: Instant,
    due: Instant,
}

/// The list of them, with when each is due.
#[derive(Clone, Debug, Default)]
pub(crate) struct OlderHolders {
    list: Vec<Old>,
    /// Who is in it changed since that was last asked for.
    has_changed: bool,
}

impl OlderHolders {
    pub fn add(&mut self, now: Instant, slot: u16, peer: Handle) {
        if self.list.iter().any(|old| (old.slot, old.peer) == (slot, peer)) {
            return;
        }
        if self.list.len() >= OLDER_MAX {
            self.list.remove(0);
        }
        self.list.push(Old { slot, peer, since: now, due: now });
        self.has_changed = true;
    }

    /// Whether it is another list than when this was last asked.
    pub fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.has_changed)
    }

    /// Slots and peers.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Handle)> + '_ {
        self.list.iter().map(|old| (old.slot, old.peer))
    }

    fn retain(&mut self, stays: impl Fn(&Old) -> bool) {
        let before = self.list.len();
        self.list.retain(stays);
        self.has_changed |= self.list.len() != before;
    }

    pub fn remove(&mut self, slot: u16, peer: Handle) {
        self.retain(|old| (old.slot, old.peer) != (slot, peer));
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn forget(&mut self, peer: Handle) {
        self.retain(|old| old.peer != peer);
    }

    /// A peer restarted; its new incarnation may have its old role yet.
    pub fn rename(&mut self, old: Handle, new: Handle) {
        for entry in self.list.iter_mut().filter(|entry| entry.peer == old) {
            entry.peer = new;
            self.has_changed = true;
        }
    }

    /// Those of one slot.
    pub fn of(&self, slot: u16) -> impl Iterator<Item = Handle> + '_ {
        self.list.iter().filter(move |old| old.slot == slot).map(|old| old.peer)
    }

    /// Takes who is due now; each becomes due again after its period, and is dropped at the end of its time.
    pub fn take_due(&mut self, now: Instant, config: &Config) -> Vec<(u16, Handle)> {
        self.retain(|old| now.since(old.since) < config.keep);
        let due = self.list.iter_mut().filter(|old| old.due <= now);
        due.map(|old| {
            let is_eager = now.since(old.since) < config.older_eager;
            old.due = now + if is_eager { config.older_period } else { config.older_period_late };
            (old.slot, old.peer)
        })
        .collect()
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.list.iter().map(|old| old.due).min()
    }

    pub fn peers(&self) -> impl Iterator<Item = Handle> + '_ {
        self.list.iter().map(|old| old.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_holder_is_probed_every_second_then_every_five_and_at_last_forgotten() {
        let config = Config::default();
        let mut older = OlderHolders::default();
        older.add(Instant::ZERO, 3, Handle::from_u32(7));
        let mut probes = [0; 3];
        while let Some(now) = older.next_due() {
            let minute = now.as_millis() / 60_000;
            let due = older.take_due(now, &config).len();
            probes[if minute < 2 {
                0
            } else if minute < 3 {
                1
            } else {
                2
            }] += due;
        }
        assert_eq!(probes[..2], [120, 12]);
        assert_eq!(probes[2], (24 * 60 - 3) * 12);
    }
}
