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
    /// It restarted as well, and has heard of nobody who did not; or it is cut off, and recruits nobody.
    #[n(1)]
    Asleep,
    /// It holds or guards it.
    #[n(2)]
    Awake,
    /// It restarted as well, and one that holds or guards it has just said so to it. Whoever is told this
    /// passes it on to nobody: else those that are asleep would keep each other so with news of somebody who
    /// has died.
    #[n(3)]
    Led,
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
    /// The agent's start; once this role is awake, when it woke.
    pub since: Instant,
    /// Nothing is started or recruited yet.
    pub is_asleep: bool,
    /// This node was away for less time than others remember old holders and stopped records.
    pub is_remembered: bool,
    pub due: Instant,
    pub offers: Vec<Offer>,
    heard: BTreeMap<Handle, (Standing, Instant)>,
    /// Since when somebody has been awake without a break, as far as known here.
    led_since: Option<Instant>,
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
        let (heard, led_since) = Default::default();
        Restored { since: now, is_asleep: true, is_remembered, due: now, offers, heard, led_since }
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

    fn has_heard(&self, now: Instant, what: Standing) -> bool {
        self.heard.keys().any(|peer| self.standing(now, peer) == Some(what))
    }

    /// Somebody is awake: it has answered, or another one to which it has.
    fn is_led(&self, now: Instant) -> bool {
        self.has_heard(now, Standing::Awake) || self.has_heard(now, Standing::Led)
    }

    /// What a role that is asleep answers.
    pub fn own_standing(&self, now: Instant) -> Standing {
        if self.has_heard(now, Standing::Awake) { Standing::Led } else { Standing::Asleep }
    }

    /// For how long somebody has been awake without a break. To be asked at least once in [`HEARD`].
    pub fn led_for(&mut self, now: Instant) -> Duration {
        self.led_since = self.is_led(now).then(|| self.led_since.unwrap_or(now));
        self.led_since.map_or(Duration::ZERO, |since| now.since(since))
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
        use Standing::{Asleep, Awake, Led, Stranger};
        let all = [(1, Asleep), (2, Asleep), (3, Asleep)];
        type Row<'a> = (u64, bool, &'a [(u32, Standing)], Ripe);
        let table: [Row<'_>; 12] = [
            (7, true, &all, Ripe::ToWake),
            (5, true, &all, Ripe::NotYet),
            (7, true, &all[..2], Ripe::NotYet),
            (7, true, &[(1, Asleep), (2, Stranger), (3, Asleep)], Ripe::ToWake),
            (7, true, &[(1, Stranger), (2, Stranger), (3, Stranger)], Ripe::NotYet),
            (7, true, &[(1, Asleep), (2, Asleep), (3, Awake)], Ripe::Led),
            (7, true, &[(9, Awake)], Ripe::Led),
            (7, true, &[(1, Asleep), (2, Asleep), (3, Led)], Ripe::Led),
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

    #[test]
    fn those_that_are_asleep_do_not_keep_each_other_so() {
        let at = Instant::from_secs;
        let mut both = [(); 2].map(|()| Restored::new(at(0), true, Vec::new()));
        both[0].hear(at(1), peer(9), Standing::Awake);
        for second in 2..20 {
            for (one, other) in [(0, 1), (1, 0)] {
                let standing = both[other].own_standing(at(second));
                both[one].hear(at(second), peer(other as u32), standing);
            }
            let is_led = [0, 1].map(|at_| both[at_].is_led(at(second)));
            assert_eq!(is_led, [second < 6; 2], "after {second} s");
        }
    }

    #[test]
    fn how_long_somebody_has_been_awake_begins_anew_after_a_silence() {
        let at = Instant::from_secs;
        let mut restored = Restored::new(at(0), true, Vec::new());
        let mut led_for = |second, heard: Option<Standing>| {
            heard.into_iter().for_each(|standing| restored.hear(at(second), peer(1), standing));
            restored.led_for(at(second))
        };
        let (awake, asleep) = (Some(Standing::Awake), Some(Standing::Asleep));
        for (second, heard, led) in [
            (1, None, 0),
            (2, awake, 0),
            (4, awake, 2),
            (8, None, 6),
            (10, None, 0),
            (30, awake, 0),
            (32, awake, 2),
        ] {
            assert_eq!(led_for(second, heard), Duration::from_secs(led), "at {second} s");
        }
        assert_eq!(led_for(33, asleep), Duration::ZERO, "its peer restarted");
    }
}
