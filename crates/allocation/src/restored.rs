//! A role that came back from the disk: asleep until others say how the application stands.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_base::{Duration, Handle, Instant};

use crate::Epoch;

/// A restored role speaks to its partners this often. Our guess: what a recruiter checks for half of.
pub(crate) const RETURN_PERIOD: Duration = Duration::from_secs(1);
/// Slots offered to each partner in one period; with more, in turn.
pub(crate) const OFFERS_AT_A_TIME: usize = 8;
/// An answer counts so long: some rounds.
const HEARD: Duration = Duration::from_secs(5);
/// Slots that nobody took back are given up after this. Our guess: the time in which all of an application
/// runs again.
pub(crate) const OFFER_LIMIT: Duration = Duration::from_secs(60);

/// How somebody that a restored role asks stands to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Standing {
    /// It has no part in it, or none any more.
    #[n(0)]
    Stranger,
    /// It restarted as well, and has heard of nobody who did not.
    #[n(1)]
    Asleep,
    /// It holds or guards it, or has just heard from one that does.
    #[n(2)]
    Awake,
}

/// A slot that this node held when its agent ended. Its room is kept, so that a recruiter can confirm it here
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Offer {
    #[n(0)]
    pub slot: u16,
    /// Under which it was held; the confirm has a higher one.
    #[n(1)]
    pub epoch: Epoch,
    #[n(2)]
    pub hold: u64,
}

/// What a restored role waits for.
#[derive(Clone, Debug)]
pub(crate) struct Restored {
    pub since: Instant,
    /// Nothing is started or recruited yet.
    pub is_asleep: bool,
    /// This node was away for less time than others remember old holders and stopped records.
    pub is_remembered: bool,
    pub due: Instant,
    pub offers: Vec<Offer>,
    heard: BTreeMap<Handle, (Standing, Instant)>,
}

/// What is to be done with a role that is asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ripe {
    /// Somebody is awake: it recruits, also what is offered here.
    Led,
    /// The others have to answer first.
    NotYet,
    /// Nobody is awake, and as many as can be waited for have answered.
    ToWake,
}

impl Restored {
    pub fn new(now: Instant, is_remembered: bool, offers: Vec<Offer>) -> Self {
        Restored { since: now, is_asleep: true, is_remembered, due: now, offers, heard: BTreeMap::new() }
    }

    pub fn hear(&mut self, now: Instant, from: Handle, standing: Standing) {
        self.heard.retain(|_, (_, at)| now.since(*at) < HEARD);
        self.heard.insert(from, (standing, now));
    }

    pub fn rename(&mut self, old: Handle, new: Handle) {
        if let Some(heard) = self.heard.remove(&old) {
            self.heard.insert(new, heard);
        }
    }

    fn standing(&self, now: Instant, peer: &Handle) -> Option<Standing> {
        self.heard.get(peer).filter(|(_, at)| now.since(*at) < HEARD).map(|(standing, _)| *standing)
    }

    /// Somebody who is awake has answered.
    pub fn is_led(&self, now: Instant) -> bool {
        self.heard.keys().any(|peer| self.standing(now, peer) == Some(Standing::Awake))
    }

    /// `quiet` after the start whoever replaced this node has asked for it; `limit` after it the others are
    /// not waited for any longer.
    pub fn ripe(&self, now: Instant, partners: &[Handle], quiet: Duration, limit: Duration) -> Ripe {
        if self.is_led(now) {
            return Ripe::Led;
        }
        let age = now.since(self.since);
        let have_all_answered = partners.iter().all(|peer| self.standing(now, peer).is_some());
        let is_confirmed = partners.is_empty()
            || partners.iter().any(|peer| self.standing(now, peer) == Some(Standing::Asleep));
        let is_ripe = match age {
            age if age < quiet => false,
            age if age < limit => have_all_answered && is_confirmed,
            _ => is_confirmed || self.is_remembered,
        };
        if is_ripe { Ripe::ToWake } else { Ripe::NotYet }
    }

    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.heard.keys().for_each(|peer| f(*peer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u32) -> Handle {
        Handle::from_u32(number)
    }

    /// What a role does `seconds` after its start that has heard this of three partners.
    fn ripe(seconds: u64, is_remembered: bool, heard: &[(u32, Standing)]) -> Ripe {
        let start = Instant::from_secs(1_000);
        let now = start + Duration::from_secs(seconds);
        let mut restored = Restored::new(start, is_remembered, Vec::new());
        for (from, standing) in heard {
            restored.hear(now, peer(*from), *standing);
        }
        let partners = [peer(1), peer(2), peer(3)];
        restored.ripe(now, &partners, Duration::from_secs(6), Duration::from_secs(20))
    }

    #[test]
    fn a_restored_role_wakes_only_when_nobody_else_is_awake_and_somebody_knows_its_record() {
        use Standing::{Asleep, Awake, Stranger};
        let all = [(1, Asleep), (2, Asleep), (3, Asleep)];
        type Row<'a> = (u64, bool, &'a [(u32, Standing)], Ripe);
        let table: [Row<'_>; 11] = [
            (7, true, &all, Ripe::ToWake),
            (5, true, &all, Ripe::NotYet),
            (7, true, &all[..2], Ripe::NotYet),
            (7, true, &[(1, Asleep), (2, Stranger), (3, Asleep)], Ripe::ToWake),
            (7, true, &[(1, Stranger), (2, Stranger), (3, Stranger)], Ripe::NotYet),
            (7, true, &[(1, Asleep), (2, Asleep), (3, Awake)], Ripe::Led),
            (7, true, &[(9, Awake)], Ripe::Led),
            (20, true, &all[..1], Ripe::ToWake),
            (20, false, &all[..1], Ripe::ToWake),
            (20, true, &[], Ripe::ToWake),
            (20_000, false, &[(1, Stranger)], Ripe::NotYet),
        ];
        for (seconds, is_remembered, heard, want) in table {
            assert_eq!(ripe(seconds, is_remembered, heard), want, "{seconds} {is_remembered} {heard:?}");
        }
    }

    #[test]
    fn an_old_answer_does_not_count() {
        let at = Instant::from_secs;
        let mut restored = Restored::new(at(0), true, Vec::new());
        restored.hear(at(1), peer(1), Standing::Awake);
        assert!(restored.is_led(at(5)) && !restored.is_led(at(6)));
        restored.rename(peer(1), peer(2));
        assert!(restored.is_led(at(5)));
    }
}
