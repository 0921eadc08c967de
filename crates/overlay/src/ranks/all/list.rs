//! The list of all members, and what two lists differ in.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use xtreem_base::{Handle, Rng, mix};

use super::Fault;
use super::entry::{Entry, Life, Name, Status};

/// Members of a list at most, those included that are out and remembered. Our guess: a list of 1,024 is 72 KB
/// of addresses, about what a first exchange may cost; more members count along the ring.
pub const MEMBERS_MAX: usize = 1_024;
/// Parts of a list that are compared each for itself. Their digests and an envelope fit a datagram.
pub const BUCKETS: usize = 32;

/// All members by name.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    entries: BTreeMap<Name, Entry>,
    suspects: u32,
    outs: u32,
    /// There was no room for somebody.
    is_full: bool,
    /// Goes up with every change.
    version: u64,
}

fn bucket(name: Name) -> usize {
    (mix(name.0) % BUCKETS as u64) as usize
}

impl List {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn entry(&self, name: Name) -> Option<&Entry> {
        self.entries.get(&name)
    }

    /// Those that have a rank.
    pub(super) fn ranked(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.life.status != Status::Out)
    }

    pub(super) fn members(&self) -> u32 {
        self.entries.len() as u32 - self.outs
    }

    /// Whether all that have a rank are thought to be there, and nobody was left out.
    pub(super) fn is_whole(&self) -> bool {
        self.suspects == 0 && !self.is_full
    }

    pub(super) fn rank_of(&self, name: Name) -> Option<u32> {
        self.ranked().position(|entry| entry.name == name).map(|rank| rank as u32)
    }

    /// Of the names that have a rank: they and nothing else decide who has which.
    pub(super) fn names_digest(&self) -> u64 {
        self.ranked().fold(0, |sum: u64, entry| sum.wrapping_add(mix(mix(entry.name.0).wrapping_add(1))))
    }

    /// One for each part. Those that are out do not count, so that they can be forgotten one by one.
    pub(super) fn digests(&self) -> [u64; BUCKETS] {
        let mut digests = [0u64; BUCKETS];
        for Entry { name, life, .. } in self.ranked() {
            let word = u64::from(life.beat) << 2 | life.status as u64;
            let digest = mix(mix(mix(name.0).wrapping_add(life.incarnation)).wrapping_add(word));
            let sum = &mut digests[bucket(*name)];
            *sum = sum.wrapping_add(digest);
        }
        digests
    }

    /// Who is known in the parts of `mask`, and the word on it.
    pub(super) fn known(&self, mask: u32) -> Vec<(Name, Life)> {
        let inside = self.entries.values().filter(|entry| mask >> bucket(entry.name) & 1 == 1);
        inside.map(|entry| (entry.name, entry.life)).collect()
    }

    /// What another list lacks of this one in the parts of `mask`, and what this one lacks of it.
    pub(super) fn compare(&self, mask: u32, known: &[(Name, Life)]) -> (Vec<Entry>, Vec<Name>) {
        let theirs: BTreeMap<Name, Life> = known.iter().copied().collect();
        let inside = self.entries.values().filter(|entry| mask >> bucket(entry.name) & 1 == 1);
        let is_newer = |entry: &&Entry| match theirs.get(&entry.name) {
            Some(life) => entry.life > *life,
            None => entry.life.status != Status::Out,
        };
        let entries = inside.filter(is_newer).copied().collect();
        let is_wanted = |name: &Name, life: &Life| match self.entry(*name) {
            Some(entry) => *life > entry.life,
            None => life.status != Status::Out,
        };
        let wants =
            theirs.iter().filter(|(name, life)| is_wanted(name, life)).map(|(name, _)| *name).collect();
        (entries, wants)
    }

    /// Takes the word on another if it is newer; whether it was.
    pub(super) fn merge(&mut self, entry: Entry) -> Result<bool, Fault> {
        match self.entry(entry.name).copied() {
            Some(known)
                if known.life.incarnation == entry.life.incarnation && known.handle != entry.handle =>
            {
                Err(Fault::Impostor)
            }
            Some(known) if known.life >= entry.life => Ok(false),
            None if entry.life.status == Status::Out => Ok(false),
            None if !self.has_room() => {
                self.is_full = true;
                Err(Fault::TooMany)
            }
            _ => {
                self.put(entry);
                Ok(true)
            }
        }
    }

    /// Those that are out make room, the lowest name first.
    fn has_room(&mut self) -> bool {
        if self.entries.len() < MEMBERS_MAX {
            return true;
        }
        let out =
            self.entries.values().find(|entry| entry.life.status == Status::Out).map(|entry| entry.name);
        let Some(out) = out else { return false };
        self.entries.remove(&out);
        self.outs -= 1;
        true
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        self.put(entry);
    }

    pub(super) fn put(&mut self, entry: Entry) {
        let before = self.entries.insert(entry.name, entry);
        let count = |status| {
            let is = |entry: &Entry| u32::from(entry.life.status == status);
            (before.as_ref().map_or(0, is), is(&entry))
        };
        let (suspect, out) = (count(Status::Suspect), count(Status::Out));
        self.suspects = self.suspects - suspect.0 + suspect.1;
        self.outs = self.outs - out.0 + out.1;
        self.version += 1;
    }

    /// Whether one that was thought to be there is not any more.
    pub(super) fn suspect(&mut self, peer: Handle) -> bool {
        let found = self.entries.values().find(|entry| entry.handle == peer).copied();
        let Some(mut entry) = found.filter(|entry| entry.life.status == Status::Alive) else { return false };
        entry.life.status = Status::Suspect;
        self.put(entry);
        true
    }

    pub(super) fn drop_suspects(&mut self) {
        let is_suspect = |entry: &&Entry| entry.life.status == Status::Suspect;
        let suspects: Vec<Entry> = self.entries.values().filter(is_suspect).copied().collect();
        for mut entry in suspects {
            entry.life.status = Status::Out;
            self.put(entry);
        }
        self.is_full = false;
    }

    /// Anybody but one's own that is not out; those that are suspect, too: they may be back.
    pub(super) fn random(&self, rng: &mut Rng, own: Name) -> Option<Handle> {
        let others: Vec<Handle> =
            self.ranked().filter(|entry| entry.name != own).map(|entry| entry.handle).collect();
        rng.pick(&others).copied()
    }
}
