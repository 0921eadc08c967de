//! What this node believes of an application, and how it comes to know more: whoever names what is not proven
//! here is asked for the proof.

use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Duration, Handle, Instant, NodeId};

use super::App;
use crate::context::Context;
use crate::message::{GuardianSet, Message};
use crate::proof::{Evidence, Final, LINKS_MAX, Link, Signed};
use crate::{Epoch, Fault, Host, Known, SlotState};

/// A peer is asked for proof of one slot at most so often, and told of it at most twice as often. Our guess:
/// a slow round trip.
const ASK_PERIOD: Duration = Duration::from_secs(1);
const TELL_PERIOD: Duration = Duration::from_millis(500);
/// Peers and slots remembered for that; the oldest goes first, and may be asked again earlier.
const LATELY_MAX: usize = 64;
/// Own links that were not answered yet; the oldest goes first. Our guess: some confirms of each recruiting.
const SIGNED_MAX: usize = 64;
/// Links for which guardians are asked; the oldest goes first. Our guess.
const DOUBTS_MAX: usize = 8;
/// Guardians known before that have to say the same of what hangs on nothing that is known here.
const VOUCHERS: usize = 2;

/// Who was asked, or told, of which slot lately.
#[derive(Clone, Debug)]
pub(crate) struct Lately {
    period: Duration,
    list: Vec<(Instant, Handle, u16)>,
}

impl Lately {
    pub fn asked() -> Self {
        Lately { period: ASK_PERIOD, list: Vec::new() }
    }

    fn told() -> Self {
        Lately { period: TELL_PERIOD, list: Vec::new() }
    }

    /// True when it is time again; it is taken to be done then.
    pub fn may(&mut self, now: Instant, peer: Handle, slot: u16) -> bool {
        let period = self.period;
        self.list.retain(|(at, _, _)| now.since(*at) < period);
        if self.list.iter().any(|(_, other, about)| (*other, *about) == (peer, slot)) {
            return false;
        }
        if self.list.len() >= LATELY_MAX {
            self.list.remove(0);
        }
        self.list.push((now, peer, slot));
        true
    }
}

/// A link that hangs on nothing known here, and the guardians known before that tell of it.
#[derive(Clone, Debug)]
struct Doubt {
    link: Arc<Signed<Link>>,
    by: Vec<NodeId>,
}

/// What is asked, told and doubted at the moment.
#[derive(Clone, Debug)]
pub(crate) struct Proving {
    asked: Lately,
    told: Lately,
    doubts: Vec<Doubt>,
    /// Links that this node signed for confirms that were not answered yet.
    signed: Vec<Arc<Signed<Link>>>,
}

impl Default for Proving {
    fn default() -> Self {
        Proving { asked: Lately::asked(), told: Lately::told(), doubts: Vec::new(), signed: Vec::new() }
    }
}

impl Proving {
    /// A guardian tells of this link, which hangs on nothing known here: true when it is the last one that is
    /// needed. What others tell is not remembered: they could make all of it forgotten.
    fn vouch(&mut self, link: &Arc<Signed<Link>>, guardian: NodeId) -> bool {
        let doubts = &mut self.doubts;
        let at = doubts.iter().position(|doubt| doubt.link.body == link.body).unwrap_or_else(|| {
            if doubts.len() >= DOUBTS_MAX {
                doubts.remove(0);
            }
            doubts.push(Doubt { link: link.clone(), by: Vec::new() });
            doubts.len() - 1
        });
        let by = &mut doubts[at].by;
        if !by.contains(&guardian) {
            by.push(guardian);
        }
        let is_enough = by.len() >= VOUCHERS;
        if is_enough {
            doubts.remove(at);
        }
        is_enough
    }
}

impl App {
    /// Takes what can be believed of what somebody sent.
    pub fn admit<H: Host>(&mut self, cx: &mut Context<'_, H>, evidence: &Evidence) {
        let before = self.chain.size();
        if self.chain.admit(evidence) > 0 {
            cx.books.fault(Fault::NotEntitled);
        }
        if self.chain.size() != before {
            cx.books.journal.mark(self.id());
        }
        self.trim();
    }

    pub fn trim(&mut self) {
        let mine = self.mine.iter().map(|mine| (mine.slot, mine.epoch));
        let current: Vec<(u16, Epoch)> =
            mine.chain(self.known.iter().map(|(slot, entry)| (slot, entry.epoch))).collect();
        self.chain.trim(LINKS_MAX, current);
    }

    /// Whether this peer has or had a part in the application.
    pub fn is_member<H: Host>(&self, cx: &Context<'_, H>, peer: Handle) -> bool {
        cx.host.id_of(peer).is_some_and(|id| self.chain.is_entitled(id))
    }

    /// Whether `peer` is the node that holds the slot under this epoch.
    pub fn is_holder<H: Host>(&self, cx: &Context<'_, H>, peer: Handle, slot: u16, epoch: Epoch) -> bool {
        let holder = self.chain.holder(slot, epoch);
        holder.is_some() && holder == cx.host.id_of(peer)
    }

    /// `peer` named an epoch, or an end, that is not proven here.
    pub fn ask_proof<H: Host>(&mut self, cx: &mut Context<'_, H>, peer: Handle, slot: u16, epoch: Epoch) {
        if peer != cx.me.handle && self.proving.asked.may(cx.now, peer, slot) {
            cx.host.send(peer, Message::AskProof { app: self.id(), slot, epoch });
        }
    }

    pub fn on_ask_proof<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, slot: u16, epoch: Epoch) {
        let newest: Vec<Known> = self.proven(slot, cx.me.handle).into_iter().collect();
        let is_known = !newest.is_empty() || self.chain.holder(slot, epoch).is_some();
        if is_known && self.proving.told.may(cx.now, from, slot) {
            self.tell_of(cx, from, newest, Some((slot, epoch)));
        }
    }

    /// Tells somebody who seems not to know it what is known of a slot, but not again and again.
    pub fn enlighten<H: Host>(&mut self, cx: &mut Context<'_, H>, peer: Handle, slot: u16) {
        if let Some(known) = self.proven(slot, cx.me.handle)
            && self.proving.told.may(cx.now, peer, slot)
        {
            self.tell(cx, peer, alloc::vec![known]);
        }
    }

    /// Whether this peer may be told of this slot again.
    pub fn may_tell(&mut self, now: Instant, peer: Handle, slot: u16) -> bool {
        self.proving.told.may(now, peer, slot)
    }

    /// The best that is proven of a slot, own or not.
    pub fn proven(&self, slot: u16, me: Handle) -> Option<Known> {
        self.newest(slot, me).filter(|known| known.state != SlotState::Planned)
    }

    /// Sends proven news with its proofs; `also` is an epoch that the peer asked for.
    pub fn tell_of<H: Host>(
        &self,
        cx: &mut Context<'_, H>,
        to: Handle,
        slots: Vec<Known>,
        also: Option<(u16, Epoch)>,
    ) {
        let told = slots.iter().map(|known| (known.slot, known.epoch)).chain(also);
        let evidence = self.chain.evidence(told, cx.me.id).into();
        cx.host.send(to, Message::Tell { app: self.id(), versions: self.versions(), slots, evidence });
    }

    /// Somebody tells of slots, and proves it.
    pub fn on_tell<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        from: Handle,
        slots: &[Known],
        evidence: &Evidence,
    ) {
        self.admit(cx, evidence);
        for news in slots {
            self.weigh(cx, from, news, evidence);
            self.learn(cx, from, *news);
        }
        for ended in &evidence.finals {
            self.take_final(cx, ended.body.slot);
        }
    }

    /// A link that hangs on nothing known here is believed when two guardians known before tell of it;
    /// whoever else tells of it is a reason to ask them.
    fn weigh<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, news: &Known, evidence: &Evidence) {
        let is_it = |link: &&Arc<Signed<Link>>| {
            (link.body.slot, link.body.epoch) == (news.slot, news.epoch) && link.body.app == self.id()
        };
        let Some(link) = evidence.links.iter().find(is_it).cloned() else { return };
        let is_new = self.proven(news.slot, cx.me.handle).is_none_or(|known| known.epoch < news.epoch);
        if !is_new || !link.body.is_step() || self.chain.holder(news.slot, news.epoch).is_some() {
            return;
        }
        let guardians: Vec<Handle> = self.guardians.set.members.clone();
        if guardians.contains(&from)
            && let Some(id) = cx.host.id_of(from)
            && self.proving.vouch(&link, id)
        {
            self.chain.take_on_word(&link);
            self.admit(cx, evidence);
            return;
        }
        for guardian in guardians.into_iter().filter(|guardian| *guardian != from) {
            self.ask_proof(cx, guardian, news.slot, news.epoch);
        }
    }

    /// A proven end counts whatever else is known of the slot.
    fn take_final<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        // What is proven, which need not be what the message said.
        if let Some(ended) = self.chain.ended(slot).filter(|_| slot < self.slots()) {
            let Final { epoch, state, .. } = ended.body;
            self.take(cx, Known { slot, epoch, holder: None, state }, None);
        }
    }

    /// Signs the link with which `peer` is to hold a slot; nothing when nobody is behind the handle.
    pub fn sign_link<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        slot: u16,
        peer: Handle,
    ) -> Option<Arc<Signed<Link>>> {
        let holder = cx.host.id_of(peer)?;
        let counter = self.next_counter(slot);
        let epoch = cx.fresh_epoch(counter);
        let link = Link { app: self.id(), slot, epoch, holder, after: counter.saturating_sub(1) };
        let link = Signed::by(cx.host, link);
        if self.proving.signed.len() >= SIGNED_MAX {
            self.proving.signed.remove(0);
        }
        self.proving.signed.push(link.clone());
        Some(link)
    }

    /// `peer` says that it holds the slot under an epoch of this node's: now the link counts.
    pub fn own_link_taken<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        peer: Handle,
        slot: u16,
        epoch: Epoch,
    ) -> bool {
        let is_it = |link: &Arc<Signed<Link>>| (link.body.slot, link.body.epoch) == (slot, epoch);
        if let Some(at) = self.proving.signed.iter().position(is_it) {
            let links = alloc::vec![self.proving.signed.remove(at)];
            self.admit(cx, &Evidence { links, ..Evidence::default() });
        }
        self.is_holder(cx, peer, slot, epoch)
    }

    /// The counter of the next epoch of a slot: one more than what is known of it, or of any slot.
    pub fn next_counter(&self, slot: u16) -> u32 {
        let top = self.chain.top();
        let known = self.known.entry(slot).map_or(0, |entry| entry.epoch.counter);
        // A slot that moves is held here.
        let own = self.mine(slot).map_or(0, |mine| mine.epoch.counter);
        // What is only planned is not proven: it counts for one step at most.
        let before = known.min(top.saturating_add(1)).max(own);
        if before > 0 { before.saturating_add(1) } else { top.saturating_add(1) }
    }

    /// Whether a guardian set was appointed by somebody entitled to.
    pub fn believes_set<H: Host>(&mut self, cx: &mut Context<'_, H>, set: &GuardianSet) -> bool {
        let Some(claim) = set.stated(cx.host).cloned() else { return false };
        let sets = alloc::vec![Arc::new(claim.clone())];
        self.chain.admit(&Evidence { sets, ..Evidence::default() });
        self.chain.has_set(set.version, &claim.body.members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_asked_of_a_slot_once_a_second_and_what_is_remembered_is_bounded() {
        let mut lately = Lately::asked();
        let at = |millis| Instant::from_millis(millis);
        let peer = Handle::from_u32;
        for (millis, who, slot, may) in
            [(0, 1, 0, true), (999, 1, 0, false), (999, 1, 1, true), (999, 2, 0, true), (1_000, 1, 0, true)]
        {
            assert_eq!(lately.may(at(millis), peer(who), slot), may, "{who} of {slot} at {millis} ms");
        }
        for number in 0..1_000 {
            assert!(lately.may(at(1_500), peer(number + 10), 0));
            assert!(lately.list.len() <= LATELY_MAX);
        }
    }

    #[test]
    fn a_link_is_vouched_for_by_two_guardians_whatever_else_they_tell_of_between() {
        let id = |number: u8| NodeId::from_bytes([number; 16]);
        let link = |slot: u16| {
            let epoch = Epoch { counter: 5, recruiter: id(9), incarnation: 1, attempt: 1 };
            let app = xtreem_base::AppId::from_bytes([1; 16]);
            let body = Link { app, slot, epoch, holder: id(8), after: 4 };
            Arc::new(Signed { body, proof: Arc::from([]) })
        };
        let mut proving = Proving::default();
        assert!(!proving.vouch(&link(0), id(1)));
        assert!(!proving.vouch(&link(0), id(1)), "the same one again");
        (1..DOUBTS_MAX as u16).for_each(|slot| assert!(!proving.vouch(&link(slot), id(1))));
        assert!(proving.vouch(&link(0), id(2)) && proving.doubts.len() == DOUBTS_MAX - 1);
        for slot in 10..100 {
            proving.vouch(&link(slot), id(1));
            assert!(proving.doubts.len() <= DOUBTS_MAX);
        }
    }
}
