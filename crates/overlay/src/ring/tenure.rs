//! Who owns what: claims, verdicts, what is taken over and what is handed over.
//!
//! The rules are those of `docs/protocols/ring.md`, "Leases"; the letters below are theirs.

use alloc::vec::Vec;

use xtreem_base::{Call, Duration, Handle, Instant};

use super::contact::{Contact, clockwise};
use super::lease::Lease;
use super::lookup::Purpose;
use super::message::{Claim, Verdict};
use super::questions::Subject;
use super::{Config, Departure, Event, Fault, Heard, Host, Ring};
use crate::{Position, Range};

/// An epoch that is so much higher than all known is a lie: it takes this many changes of ranges.
const EPOCH_JUMP_MAX: u64 = 1 << 32;

/// A gap between the own range and the nearest node that has spoken of a range before it: from when on nobody
/// between has.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    space: Range,
    since: Instant,
    /// Whether a lookup of where the own range begins has come round to this node.
    is_searched: bool,
}

impl Ring {
    /// What this node owns or would own if it were granted; [`Self::lease`] says whether it is.
    pub fn range(&self) -> Option<&Range> {
        self.lease.as_ref().map(|lease| &lease.range)
    }

    /// As far as there is a range. What it allows ends at [`Lease::until`].
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Whether this node may answer for its range now.
    pub fn is_owner(&self, now: Instant) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.is_valid(now))
    }

    /// Takes the whole ring for itself: the first node of a grid does.
    pub fn found<H: Host>(&mut self, call: Call<'_, Config>, position: Position, out: &mut H) {
        self.stand(call, position.clone());
        let range = Range::new(position.clone(), position);
        self.epoch += 1;
        self.lease = Some(Lease::new(range, self.epoch, call.now, call.now + call.config.lease));
        self.tell_range(out);
        out.event(Event::Joined { epoch: self.epoch });
    }

    pub(super) fn tell_range<H: Host>(&mut self, out: &mut H) {
        let of = |lease: &Lease| (lease.range.clone(), lease.epoch);
        out.event(Event::Range(self.lease.as_ref().map(of)));
    }

    pub(super) fn heed_epoch(&mut self, epoch: u64) -> Result<(), Fault> {
        if epoch > self.epoch.saturating_add(EPOCH_JUMP_MAX) {
            return Err(Fault::Epoch);
        }
        self.epoch = self.epoch.max(epoch);
        Ok(())
    }

    fn next_epoch(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    /// Since when this node has had no valid lease and the same neighbours; none when it has one.
    fn idle_since(&self, now: Instant) -> Option<Instant> {
        let ended = self.lease.as_ref().map_or(Instant::ZERO, Lease::until);
        (ended <= now).then(|| ended.max(self.changed_at))
    }

    /// Nobody who was granted anything by a node that this one does not know can have it any more, and
    /// whoever took this node's range over would have been heard.
    ///
    /// Who has begun goes on for a lease: those who began at the same time have leases by now.
    fn may_found(&mut self, call: Call<'_, Config>) -> bool {
        let Some(idle_since) = self.idle_since(call.now) else { return false };
        let after = call.config.founding_after();
        if idle_since + after > call.now {
            return false;
        }
        if self.founding_until <= call.now && after <= self.quiet(call.now) {
            self.founding_until = call.now + call.config.lease;
        }
        self.founding_until > call.now
    }

    /// For how long this node has had no lease and promised none. What is promised while it founds becomes
    /// one only when its owner says so.
    pub(super) fn own_quiet(&self, now: Instant) -> Duration {
        self.quiet_since(now, Instant::ZERO)
    }

    /// The same, and of those that stand around it, as far as they have told.
    pub(super) fn quiet(&self, now: Instant) -> Duration {
        self.quiet_since(now, self.leased_at)
    }

    fn quiet_since(&self, now: Instant, others: Instant) -> Duration {
        let own = self.lease.as_ref().map_or(Instant::ZERO, Lease::until);
        let promised = if self.founding_until > now { Instant::ZERO } else { self.promises.last_of_all() };
        let last = own.max(promised).max(others);
        if last > now { Duration::ZERO } else { now.since(last) }
    }

    /// What another says of itself in that. Of those that stand far away it means nothing: what they own is
    /// not here.
    pub(super) fn heed_quiet(&mut self, now: Instant, from: Handle, quiet: Duration) {
        let is_before = self.predecessor.as_ref().is_some_and(|heard| heard.contact.handle == from);
        if is_before || self.successors.contains(from) {
            let since = Instant::from_micros(now.as_micros().saturating_sub(quiet.as_micros()));
            self.leased_at = self.leased_at.max(since);
        }
    }

    /// Whether it waits for its first range, or for the return of one, and something is to be had by asking.
    pub(super) fn is_eager(&mut self, call: Call<'_, Config>) -> bool {
        !self.is_owner(call.now) && (self.lease.is_some() || self.may_found(call))
    }

    pub(super) fn claim(&mut self, call: Call<'_, Config>, peer: Handle) -> Claim {
        if self.may_found(call)
            && let Some(me) = self.position.clone()
        {
            self.take_by_founding(call, me);
        }
        self.claim_no_more_than_is_free(call);
        let after = self.lease.as_ref().map(|lease| lease.range.after.clone());
        let epoch = self.lease.as_ref().map_or(self.epoch, |lease| lease.epoch);
        let is_second = self.lease.as_ref().is_some_and(|lease| lease.is_second(peer, call.now));
        Claim { after, epoch, is_second, quiet: self.own_quiet(call.now) }
    }

    /// Of the whole ring there is no granter.
    pub(super) fn renew_whole(&mut self, call: Call<'_, Config>) {
        if let Some(lease) = &mut self.lease {
            lease.renew_whole(call.now, call.now + call.config.lease);
        }
    }

    /// F: nobody around has a lease, and for long enough nobody new came: what lies behind the predecessor is
    /// claimed.
    fn take_by_founding(&mut self, call: Call<'_, Config>, me: Position) {
        let Some(predecessor) = self.fresh_predecessor(call) else { return };
        let range = Range::new(predecessor.position.clone(), me);
        let is_same = self.lease.as_ref().is_some_and(|lease| lease.range == range);
        if !is_same && self.promises.last_end(&range) <= call.now {
            let epoch = self.next_epoch();
            self.begin_lease(call, range, epoch, Instant::ZERO);
        }
    }

    /// Who stands in a range whose lease has ended may have come by a part of it since.
    fn claim_no_more_than_is_free(&mut self, call: Call<'_, Config>) {
        let fresh = self.fresh_predecessor(call).map(|contact| contact.position.clone());
        let ended = self.lease.as_mut().filter(|lease| !lease.is_valid(call.now));
        if let Some((lease, at)) = ended.zip(fresh)
            && lease.range.contains(&at)
        {
            self.epoch += 1;
            lease.cut(at, self.epoch);
        }
    }

    pub(super) fn fresh_predecessor(&self, call: Call<'_, Config>) -> Option<&Contact> {
        let is_fresh = |heard: &&Heard| heard.at + call.config.predecessor_limit() > call.now;
        self.predecessor.as_ref().filter(is_fresh).map(|heard| &heard.contact)
    }

    /// A node to which nobody has spoken for so long is the ring, unless it knows itself cut off.
    pub(super) fn claim_alone<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let is_alone = self.met_at + call.config.founding_after() <= call.now;
        let is_nobody_known = self.successors.as_slice().is_empty() && self.joining.is_none();
        if is_alone
            && is_nobody_known
            && self.may_found(call)
            && !out.is_cut_off()
            && let Some(me) = self.position.clone()
        {
            let epoch = self.next_epoch();
            self.begin_lease(call, Range::new(me.clone(), me), epoch, call.now + call.config.lease);
            self.tell_new_range(call, out);
        }
    }

    /// When a gap may be taken over, or is looked at again.
    pub(super) fn next_gap(&self) -> Instant {
        if self.gap.is_some() { self.gap_due } else { Instant::FAR }
    }

    /// Answers a claim of `from`, which stands at `position`.
    pub(super) fn judge<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        position: &Position,
        claim: &Claim,
        out: &mut H,
    ) -> Verdict {
        let Some(me) = self.position.clone() else { return Verdict::Wait };
        if self.is_owner(call.now) {
            return self.judge_as_owner(call, from, (position, claim), &me, out);
        }
        if let Some(begin) = self.lease.as_ref().map(|lease| lease.range.after.clone()) {
            let verdict = self.second(call, from, &begin, (position, claim));
            if verdict != Verdict::Wait {
                return verdict;
            }
        }
        // F, the other side: who has been without a lease for as long grants what its neighbours found.
        let Some(after) = claim.after.clone().filter(|_| self.may_found(call)) else { return Verdict::Wait };
        let range = Range::new(after, position.clone());
        let predecessor = self.fresh_predecessor(call).map(|contact| contact.position.clone());
        if predecessor.as_ref() == Some(position) {
            // What it once had of that it will not have again.
            self.lease.take_if(|lease| lease.range.overlaps(&range));
            let second = self.successors.first().map(|first| first.handle).filter(|first| *first != from);
            let left = call.config.lease;
            return self.grant(call, from, range, Verdict::Granted { second, left });
        }
        match predecessor.and_then(|it| self.promises.to_position(&it)) {
            Some(first) if first.range.after == *position => self.grant(call, from, range, Verdict::Seconded),
            _ => Verdict::Wait,
        }
    }

    fn judge_as_owner<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        (position, claim): (&Position, &Claim),
        me: &Position,
        out: &mut H,
    ) -> Verdict {
        let Some(lease) = self.lease.as_mut() else { return Verdict::Wait };
        let begin = lease.range.after.clone();
        // B: it stands in this node's range. What lies behind it is to become its own.
        if lease.range.contains(position) && position != me {
            return self.make_room(call, from, (position, claim), out);
        }
        // A: its range ends where this one begins.
        if begin == *position {
            let Some(after) = claim.after.clone() else { return self.give_again(call, from, position) };
            let second = lease.first_granter().filter(|first| *first != from);
            let own = lease.until().since(call.now);
            let left = if lease.is_known() { call.config.lease } else { own.min(call.config.lease) };
            let range = Range::new(after, position.clone());
            return self.grant(call, from, range, Verdict::Granted { second, left });
        }
        self.second(call, from, &begin, (position, claim))
    }

    /// It has not heard of the gift.
    fn give_again(&self, call: Call<'_, Config>, from: Handle, position: &Position) -> Verdict {
        let end = call.now + call.config.drift();
        match self.promises.gift(from, position).filter(|gift| gift.until > end) {
            Some(gift) => {
                let (after, left) = (gift.range.after.clone(), gift.until.since(end));
                Verdict::Yours { after, epoch: self.epoch, left }
            }
            None => Verdict::Wait,
        }
    }

    /// C: one stands between, whose range begins where that of the claimer ends, and to whom this node
    /// granted it while it had a lease itself. The second remembers, so it needs none now.
    fn second(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        begin: &Position,
        (position, claim): (&Position, &Claim),
    ) -> Verdict {
        let first = self.promises.to_position(begin).filter(|it| it.until > call.now);
        match (&claim.after, first) {
            (Some(after), Some(first)) if first.range.after == *position => {
                let range = Range::new(after.clone(), position.clone());
                // Who asks too early may never get it, and would keep others from it.
                if !claim.is_second && !self.promises.holds(&range, from, call.now) {
                    return Verdict::Wait;
                }
                self.grant(call, from, range, Verdict::Seconded)
            }
            _ => Verdict::Wait,
        }
    }

    /// B: gives away what lies behind the newcomer, for as long as this node would have had it: until then
    /// its own granters take nothing of it over, whether they have heard of that or not.
    fn make_room<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        (position, claim): (&Position, &Claim),
        out: &mut H,
    ) -> Verdict {
        let Some(lease) = self.lease.as_mut() else { return Verdict::Wait };
        lease.renew_whole(call.now, call.now + call.config.lease);
        if lease.until().since(call.now) < call.config.gift_min() {
            self.claim_anew(call, out);
            return Verdict::Wait;
        }
        let begin = lease.range.after.clone();
        let after = match &claim.after {
            // Two rings become one: of two beginnings the nearer one is right.
            Some(own) if own != position && clockwise(position, own, &begin).is_gt() => own.clone(),
            _ => begin.clone(),
        };
        let given = Range::new(after.clone(), position.clone());
        let end = lease.until() + call.config.drift();
        if !self.promises.give_away(from, given.clone(), end, call.now) {
            return Verdict::Wait;
        }
        let left = lease.until().since(call.now);
        self.epoch += 1;
        lease.cut(position.clone(), self.epoch);
        // Who was next is now next but one, behind the newcomer; but only this node knows of both.
        self.promises.moved(&[&begin, position]);
        out.event(Event::Ceded { to: from, range: given });
        self.tell_range(out);
        self.claim_anew(call, out);
        Verdict::Yours { after, epoch: self.epoch, left }
    }

    fn grant(&mut self, call: Call<'_, Config>, to: Handle, range: Range, verdict: Verdict) -> Verdict {
        let left = if let Verdict::Granted { left, .. } = verdict { left } else { call.config.lease };
        let until = call.now + left + call.config.drift();
        let is_own = self.lease.as_ref().is_some_and(|it| it.is_valid(call.now) && it.range.overlaps(&range));
        // Who stands there itself may come by it.
        let is_here = self.position.as_ref().is_some_and(|me| range.contains(me));
        if is_own || is_here || self.promises.forbid(&range, to, call.now) {
            return Verdict::Wait;
        }
        if !self.promises.give(to, range, until, call.now) {
            return Verdict::Wait;
        }
        if left < call.config.lease {
            self.promises.doubt_last();
        }
        verdict
    }

    /// The answer to a claim of `after` that was sent at `asked_at`.
    pub(super) fn on_verdict<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        (after, asked_at): (Option<Position>, Instant),
        verdict: Verdict,
        out: &mut H,
    ) {
        let until = |left: Duration| asked_at + left.min(call.config.lease);
        let Some(me) = self.position.clone() else { return };
        let was_owner = self.is_owner(call.now);
        // What was granted for another range than the one that begins now counts for nothing.
        let lease = self.lease.as_mut();
        let lease = lease.filter(|it| it.is_valid(call.now) || after.as_ref() == Some(&it.range.after));
        match (verdict, after, lease) {
            (Verdict::Granted { second, left }, Some(after), Some(lease)) => {
                lease.granted(from, second, after, until(left));
                let first = Some(from).filter(|_| lease.wants_first());
                let second = second.filter(|_| lease.wants_second());
                for peer in first.into_iter().chain(second) {
                    self.ask(call, peer, Subject::Neighbours, 1, out);
                }
            }
            (Verdict::Seconded, Some(after), Some(lease)) => {
                lease.seconded(from, after, until(call.config.lease));
            }
            (Verdict::Yours { after, epoch, left }, _, _) => {
                self.take_what_is_given(call, me, (after, epoch, until(left)));
                self.ask(call, from, Subject::Neighbours, 1, out);
            }
            // Who has no lease itself may not grant: the next one is asked.
            _ => self.ask_behind(call, from, out),
        }
        if let Some(lease) = self.lease.as_mut().filter(|it| !was_owner && it.is_valid(call.now)) {
            // While it had none others may have granted what lies before it.
            lease.since = call.now;
            self.promises.moved(&[]);
        }
        self.tell_new_range(call, out);
    }

    fn tell_new_range<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        if !self.is_range_told && self.is_owner(call.now) {
            self.is_range_told = true;
            self.tell_range(out);
            if core::mem::take(&mut self.is_join_untold) {
                out.event(Event::Joined { epoch: self.epoch });
            }
        }
    }

    fn take_what_is_given(
        &mut self,
        call: Call<'_, Config>,
        me: Position,
        (after, epoch, end): (Position, u64, Instant),
    ) {
        if after == me {
            return;
        }
        self.epoch = self.epoch.max(epoch);
        let epoch = self.next_epoch();
        // There is an owner: nothing is to be founded here.
        self.changed_at = call.now;
        self.founding_until = Instant::ZERO;
        let owned = self.lease.as_mut().filter(|lease| lease.is_valid(call.now));
        match owned {
            // It owned something else: two rings become one. What is not in both is not its own any more.
            Some(lease) if lease.range.contains(&after) => {
                lease.cut(after, epoch);
                self.promises.moved(&[]);
                self.is_range_told = false;
            }
            Some(_) => {}
            None => self.begin_lease(call, Range::new(after, me), epoch, end),
        }
    }

    /// A range that is had until `end`, or is still to be granted. Others may have granted what lies before
    /// it meanwhile.
    fn begin_lease(&mut self, call: Call<'_, Config>, range: Range, epoch: u64, end: Instant) {
        self.lease = Some(Lease::new(range, epoch, call.now, end));
        self.promises.moved(&[]);
        self.is_range_told = false;
        self.is_join_untold = true;
    }

    /// The successor behind `from`, when this node has no lease or not for long.
    fn ask_behind<H: Host>(&mut self, call: Call<'_, Config>, from: Handle, out: &mut H) {
        let wanted = match &self.lease {
            Some(lease) => lease.until() < call.now + call.config.period + call.config.answer_timeout,
            None => true,
        };
        let successors = self.successors.as_slice();
        let at = successors.iter().take(2).position(|it| it.handle == from);
        if wanted && let Some(next) = at.and_then(|at| successors.get(at + 1)) {
            let next = next.handle;
            self.ask(call, next, Subject::Neighbours, 1, out);
        }
    }

    /// G: what lies between the nearest node that stands before this one and its own range is taken over
    /// when every lease of it has ended.
    pub(super) fn tick_gap<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let former = self.gap.take();
        let Some((me, lease)) = self.position.clone().zip(self.lease.as_ref()) else { return };
        if !lease.is_valid(call.now) || lease.range.is_whole() {
            return;
        }
        let is_fresh = |heard: &&Heard| heard.at + call.config.below_limit() > call.now;
        let floor = match self.below.as_ref().filter(is_fresh) {
            Some(heard) => heard.contact.position.clone(),
            // Nobody asks this node: does it stand alone?
            None if self.successors.as_slice().is_empty() => me.clone(),
            None => return,
        };
        let begin = lease.range.after.clone();
        if floor == begin || (lease.range.contains(&floor) && floor != me) {
            return;
        }
        let space = Range::new(floor.clone(), begin.clone());
        let gap = match former {
            // What is a part of it has been silent for as long.
            Some(Gap { space: wider, since, is_searched })
                if wider.to == begin && (wider.after == floor || wider.contains(&floor)) =>
            {
                Gap { space: space.clone(), since, is_searched }
            }
            _ => Gap { space: space.clone(), since: call.now, is_searched: false },
        };
        let last = self.promises.last_end(&space);
        let end = self.promises.end_of(&space).unwrap_or_else(|| {
            last.max(lease.since).max(gap.since) + call.config.lease + call.config.drift()
        });
        let end = end.max(last);
        let is_known = self.promises.end_of(&space).is_some();
        // Who stands alone has nobody to ask.
        let is_alone = self.successors.as_slice().is_empty();
        let is_to_search = !is_known && !gap.is_searched && !is_alone;
        if call.now < end || is_to_search || (is_alone && out.is_cut_off()) {
            let soon = call.now + call.config.answer_timeout;
            self.gap = Some(gap);
            self.gap_due = if call.now < end { end.min(soon) } else { soon };
            if is_to_search && end <= call.now + call.config.gap_search() {
                self.search_gap(call, begin, out);
            }
            return;
        }
        let gone = self.promises.stood_in(&space);
        self.promises.drop_within(&space);
        self.promises.moved(&Some(&floor).filter(|_| is_known).into_iter().collect::<Vec<_>>());
        let epoch = self.next_epoch();
        if let Some(lease) = &mut self.lease {
            lease.extend(floor, epoch, call.now, call.now + call.config.lease);
        }
        self.tell_range(out);
        for from in gone {
            out.event(Event::TookOver { from, how: Departure::Vanished, epoch });
        }
        self.claim_anew(call, out);
    }

    /// Who stands between may know of other successors only, where many died at once: routes that lead there
    /// from elsewhere find it.
    fn search_gap<H: Host>(&mut self, call: Call<'_, Config>, begin: Position, out: &mut H) {
        if self.lookups.iter().all(|lookup| lookup.purpose != Purpose::Gap) {
            self.start_lookup(call, Purpose::Gap, begin, None, out);
        }
    }

    /// A search goes on to one who may stand in the gap: it hears of this node, and tells whether it owns
    /// anything.
    pub(super) fn ask_between<H: Host>(&mut self, call: Call<'_, Config>, contact: &Contact, out: &mut H) {
        if self.gap.as_ref().is_some_and(|gap| gap.space.contains(&contact.position)) {
            self.ask(call, contact.handle, Subject::Neighbours, call.config.tries, out);
        }
    }

    /// The answer to that: who has or promised anything is the floor, or ends the gap.
    pub(super) fn heed_between(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        position: &Position,
        quiet: Duration,
    ) {
        let is_between = self.gap.as_ref().is_some_and(|gap| gap.space.contains(position));
        if is_between && quiet == Duration::ZERO {
            self.consider_below(call, from, position);
        }
    }

    /// Whoever was asked last takes this node for the next one. Answers of those between are still under way.
    pub(super) fn gap_searched(&mut self, call: Call<'_, Config>, target: &Position) {
        if let Some(gap) = self.gap.as_mut().filter(|gap| gap.space.to == *target) {
            gap.is_searched = true;
            self.gap_due = call.now + call.config.answer_timeout;
        }
    }

    /// Tells both granters where the range begins now.
    pub(super) fn claim_anew<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let Some(lease) = &self.lease else { return };
        for granter in [lease.first_granter(), lease.second_granter()].into_iter().flatten() {
            self.ask(call, granter, Subject::Neighbours, 1, out);
        }
    }
}
