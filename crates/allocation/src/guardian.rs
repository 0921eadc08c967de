//! Guardians: nodes outside an application that hold its record and restart it when all holders died.

use alloc::vec::Vec;

use xtreem_base::{Duration, Handle, Instant, Rng};
use xtreem_membership::detector::Watch;

use crate::Config;
use crate::message::{GUARDIANS, GuardianSet};

/// How long a node may take to accept to be a guardian before another one is asked. Our guess.
pub(crate) const APPOINT_PERIOD: Duration = Duration::from_secs(1);

/// A guardian whose lowest slots are all silent watches every slot that it knows, for so long after the last
/// moment at which they were: until all of them are found lost, and those that are recruited first take part.
/// Our guess: twice the time that it takes to declare a node lost.
pub(crate) const WIDE_FOR: Duration = Duration::from_secs(12);

/// The guardians of an application, as a holder or another guardian knows them.
#[derive(Clone, Debug)]
pub(crate) struct Guardians {
    pub set: GuardianSet,
    /// In the order of `set.members`; ticked by the lowest live holder only.
    pub watches: Vec<Watch>,
    /// Members that fell silent, restarted, or say that they guard nothing.
    pub lost: Vec<Handle>,
    /// Those of them that were silent: told to the host as lost when they are replaced.
    pub silent: Vec<Handle>,
    pub proposed: Option<(Handle, GuardianSet)>,
    pub appoint_due: Instant,
    /// This node is the lowest live holder.
    pub is_on_duty: bool,
    /// A lost member that restarted: it has the record and the files yet, and is the first to be asked.
    pub successor: Option<Handle>,
}

impl Default for Guardians {
    fn default() -> Self {
        Guardians {
            set: GuardianSet::NONE,
            watches: Vec::new(),
            lost: Vec::new(),
            silent: Vec::new(),
            proposed: None,
            appoint_due: Instant::ZERO,
            is_on_duty: false,
            successor: None,
        }
    }
}

impl Guardians {
    /// Takes a newer set; says whether it was newer.
    pub fn adopt(&mut self, now: Instant, set: GuardianSet, rng: &mut Rng) -> bool {
        if set.version <= self.set.version {
            return false;
        }
        self.watches = set.members.iter().map(|_| Watch::new(now, Rng::new(rng.next_u64()))).collect();
        self.lost.retain(|peer| set.members.contains(peer));
        self.silent.retain(|peer| set.members.contains(peer));
        self.proposed = None;
        self.set = set;
        true
    }

    pub fn on_alive(&mut self, now: Instant, peer: Handle) {
        if let Some(at) = self.set.members.iter().position(|member| *member == peer) {
            self.watches[at].answered(now);
            self.lost.retain(|lost| *lost != peer);
            self.silent.retain(|silent| *silent != peer);
        }
    }

    pub fn on_gone(&mut self, peer: Handle) {
        if self.set.members.contains(&peer) && !self.lost.contains(&peer) {
            self.lost.push(peer);
        }
    }

    pub fn resume(&mut self, now: Instant) {
        self.watches.iter_mut().for_each(|watch| watch.answered(now));
        self.lost.clear();
        self.silent.clear();
        self.proposed = None;
    }

    pub fn next_due(&self) -> Instant {
        let is_watched = |member: &Handle| !self.lost.contains(member);
        let watched = self.set.members.iter().zip(&self.watches).filter(|(member, _)| is_watched(member));
        let watches = watched.map(|(_, watch)| watch.next_timeout()).min().unwrap_or(Instant::FAR);
        if self.needs_more() { watches.min(self.appoint_due) } else { watches }
    }

    pub fn needs_more(&self) -> bool {
        !self.lost.is_empty() || self.set.members.len() < GUARDIANS
    }
}

/// This node's own duty as a guardian.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub since: Instant,
    /// Until a holder speaks to it a guardian is provisional: nothing may have been confirmed yet.
    pub has_met_holder: bool,
    /// Place in the guardian set.
    pub rank: u16,
    /// Every known slot is watched until then.
    pub wide_until: Option<Instant>,
}

impl Guard {
    pub fn new(now: Instant, rank: u16) -> Self {
        Guard { since: now, has_met_holder: false, rank, wide_until: None }
    }

    /// When it forgets the application, unless a holder speaks to it before.
    pub fn lapses(&self, config: &Config) -> Instant {
        if self.has_met_holder { Instant::FAR } else { self.since + config.guardian_lapse }
    }
}
