//! Repair: a link found dead is a reason to look after others, and a lost node that is back is a reason to
//! try others.
//!
//! Left alone, links are looked after two a round. That keeps up with churn; but after half of a grid has
//! died, or was cut off and came back, it takes minutes until searches find all that is there.

use xtreem_base::{Handle, Instant, Sink};

use super::{Call, Message, Trie, seconds};

/// Links looked after for each one found dead, the longest silent first, and lost nodes tried for each one
/// that is back. Where more than a third of them are like the first, all come to be looked after; in churn it
/// ends soon.
const CHECKS_PER_FIND: u8 = 3;
/// So many are asked at once. With the time-out this bounds what a node sends after a disaster.
const CHECKS_AT_ONCE: usize = 4;

/// What is still to be looked after.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checks {
    links: u8,
    lost: u8,
}

impl Trie {
    /// Drops links that nobody has heard of for too long, unless they are being looked after. Where it was
    /// this node that did not listen, because it was stopped, it looks after all of them first.
    pub(super) fn tidy(&mut self, call: Call<'_>) {
        self.lost.tidy(seconds(call.now));
        let late = call.now.since(self.next_round);
        if late.as_secs() >= u64::from(call.config.age_max_seconds() / 2) {
            self.checks.links = u8::try_from(self.table.all().count()).unwrap_or(u8::MAX);
        }
        let limit = seconds(call.now).checked_sub(call.config.age_max_seconds());
        if let Some(limit) = limit.filter(|_| self.checks.links == 0) {
            self.table.expire(limit);
        }
    }

    /// A link had to be dropped.
    pub(super) fn lose(&mut self, now: Instant, peer: Handle) {
        self.lost.add(&mut self.rng, peer, seconds(now));
        self.checks.links = self.checks.links.saturating_add(CHECKS_PER_FIND);
        self.next_check = now;
    }

    /// A node has said something itself.
    pub(super) fn find(&mut self, now: Instant, peer: Handle) {
        if self.lost.remove(peer) {
            self.checks.lost = self.checks.lost.saturating_add(CHECKS_PER_FIND);
            self.next_check = now;
        }
    }

    /// Looks after links and lost nodes as long as there is a reason.
    pub(super) fn check(&mut self, call: Call<'_>, out: &mut impl Sink<Message>) {
        self.next_check = Instant::FAR;
        while !self.is_joining && self.asked.len() < CHECKS_AT_ONCE {
            let Some(peer) = self.next_check_of(call) else { return };
            self.ask(call, peer, out);
        }
    }

    fn next_check_of(&mut self, call: Call<'_>) -> Option<Handle> {
        if let Some(left) = self.checks.lost.checked_sub(1) {
            self.checks.lost = left;
            if let Some(lost) = self.lost.pick(&mut self.rng).filter(|lost| !self.is_asked(*lost)) {
                return Some(lost);
            }
        }
        self.checks.links = self.checks.links.checked_sub(1)?;
        let limit = seconds(call.now).saturating_sub(call.config.seconds(1));
        let silent = self.table.all().map(|(_, known)| known).filter(|known| known.seen < limit);
        let silent = silent.filter(|known| !self.is_asked(known.handle));
        let longest = silent.min_by_key(|known| (known.seen, known.handle)).map(|known| known.handle);
        if longest.is_none() {
            self.checks.links = 0;
        }
        longest
    }

    fn is_asked(&self, peer: Handle) -> bool {
        self.asked.iter().any(|asked| asked.peer == peer)
    }
}
