//! What this node offers, what is held, what is allocated. The sum never exceeds the offer.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use xtreem_base::{AppId, Duration, Handle, Instant, Rng};
use xtreem_discovery::FixedPorts;

use self::debts::Debts;
use crate::{Resources, Spec};

mod debts;

/// Most open holds of one requester (docs/design/allocation.md, "Allocation").
pub const HOLDS_PER_REQUESTER_MAX: usize = 64;
/// Most open holds of all requesters; one more is refused. Our guess.
pub const HOLDS_MAX: usize = 1_024;

/// However often it is renewed, a hold that is not confirmed ends after so long: twice what the longest
/// attempt of a submission takes. Our guess. Who needs it has to ask again, in turn with others.
pub const HOLD_LIFE_MAX: Duration = Duration::from_secs(120);

/// What a visit asks to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub app: AppId,
    pub resources: Resources,
    pub colocate: bool,
    /// How often the asker was turned away before; [`Ask::FIRST_OF_ALL`] replaces a lost slot.
    pub patience: u8,
    /// One of more than the asker needs, to choose among them: it gets what is free only, never what somebody
    /// holds, and whoever needs the node gets it. Once renewed or locked it is like any other.
    pub is_spare: bool,
    /// Numbers that the slot wants to listen on: a node has each of them once.
    pub ports: FixedPorts,
}

impl Ask {
    /// The patience of a recruiter: it wants one node, so that it never waits with others in its hands, and
    /// its hold is locked from the start.
    pub const FIRST_OF_ALL: u8 = u8::MAX;

    /// Whose turn it is of two who want the same node: who was turned away more often, then the lower id. All
    /// nodes see it alike, so that of all who hold some of what they need one is first everywhere
    /// (wound-wait: Rosenkrantz, Stearns, Lewis, System Level Concurrency Control, 1978).
    fn is_before(&self, other: &Ask) -> bool {
        match (self.is_spare, other.is_spare) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => (Reverse(self.patience), self.app) < (Reverse(other.patience), other.app),
        }
    }
}

/// A hold that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub id: u64,
    /// Requester and number of each hold that had to go for it.
    pub revoked: Vec<(Handle, u64)>,
}

/// Why a hold was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldRefusal {
    /// Not enough of some resource is free.
    Busy,
    /// Another slot has one of the ports.
    PortTaken,
    /// The requester has too many open holds here, or all requesters together have.
    TooMany,
    /// This node runs or holds a slot of the application, which does not colocate.
    SameApp,
    /// The application is known here as stopped.
    Stopped,
    /// The disk of this node does not take what it would have to remember.
    Stalled,
    /// The node could not start this application just now, or could not start any.
    Troubled,
}

#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub id: u64,
    pub requester: Handle,
    pub ask: Ask,
    /// Its requester has all that it needs and is about to confirm: not to be revoked.
    is_locked: bool,
    expires: Instant,
    /// It is not renewed beyond this.
    ends: Instant,
}

/// A confirmed hold.
#[derive(Clone, Debug)]
struct Booked {
    app: AppId,
    slot: u16,
    resources: Resources,
    ports: FixedPorts,
}

/// Room kept for a slot that this node held when its agent ended.
#[derive(Clone, Debug)]
struct Reserved {
    id: u64,
    booked: Booked,
}

/// The books of one node.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    offer: Resources,
    holds: Vec<Hold>,
    allocations: Vec<Booked>,
    /// Nobody's yet; whoever confirms its slot gets it.
    reserved: Vec<Reserved>,
    /// Holds that ended because nobody renewed, released or confirmed them.
    lapsed: u64,
    /// Who has held something here, and confirmed nothing.
    debts: Debts,
}

impl Ledger {
    /// Sets what this node offers. Running slots keep what they have when the offer shrinks below it.
    pub fn set_offer(&mut self, offer: Resources) {
        self.offer = offer;
    }

    pub fn offer(&self) -> Resources {
        self.offer
    }

    /// Held and allocated together.
    pub fn used(&self) -> Resources {
        let held = self.holds.iter().map(|hold| hold.ask.resources);
        let allocated = self.allocations.iter().map(|booked| booked.resources);
        let reserved = self.reserved.iter().map(|reserved| reserved.booked.resources);
        held.chain(allocated).chain(reserved).fold(Resources::default(), |sum, part| sum.plus(&part))
    }

    pub fn allocated_slots(&self) -> usize {
        self.allocations.len()
    }

    pub fn open_holds(&self) -> usize {
        self.holds.len()
    }

    /// Every open hold: its number, its requester and the application that it is for.
    pub fn holds(&self) -> impl Iterator<Item = (u64, Handle, AppId)> {
        self.holds.iter().map(|hold| (hold.id, hold.requester, hold.ask.app))
    }

    /// Holds since the start that lapsed: nobody renewed, released or confirmed them.
    pub fn lapsed_holds(&self) -> u64 {
        self.lapsed
    }

    /// Grants a hold. Where too little is free, holds that are neither locked nor of somebody whose turn is
    /// earlier go, the last ones first, and only if that helps. Those of who is overdrawn go in any case, and
    /// for who is overdrawn no hold of another goes.
    pub(crate) fn hold(
        &mut self,
        now: Instant,
        life: Duration,
        requester: Handle,
        ask: Ask,
        rng: &mut Rng,
    ) -> Result<Granted, HoldRefusal> {
        self.expire(now);
        if !ask.colocate && self.has_app(ask.app, requester) {
            return Err(HoldRefusal::SameApp);
        }
        let own = self.holds.iter().filter(|hold| hold.requester == requester).count();
        if own >= HOLDS_PER_REQUESTER_MAX {
            return Err(HoldRefusal::TooMany);
        }
        let mut going = self.in_the_way(requester, &ask)?;
        if self.holds.len() - going.len() >= HOLDS_MAX {
            going.push(self.last_of_the_greediest(own).ok_or(HoldRefusal::TooMany)?);
        }
        let revoked = going.iter().map(|hold| (hold.requester, hold.id)).collect();
        self.holds.retain(|hold| !going.iter().any(|gone| gone.id == hold.id));
        let id = rng.next_u64();
        let is_locked = ask.patience == Ask::FIRST_OF_ALL && !ask.is_spare;
        let (expires, ends) = (now + life, now + HOLD_LIFE_MAX);
        self.holds.push(Hold { id, requester, ask, is_locked, expires, ends });
        self.note_holders(now);
        Ok(Granted { id, revoked })
    }

    /// The last hold of whoever has most of them, when that is more than one more than `own`: a few who ask
    /// for nothing, often, leave room in the table for everybody.
    fn last_of_the_greediest(&self, own: usize) -> Option<Hold> {
        let mut counts: BTreeMap<Handle, usize> = BTreeMap::new();
        self.holds.iter().for_each(|hold| *counts.entry(hold.requester).or_default() += 1);
        let (greediest, most) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let last = self.holds.iter().rev().find(|hold| hold.requester == greediest)?;
        (most > own + 1).then(|| last.clone())
    }

    /// The holds that have to go for `ask`, or why it does not fit even so.
    fn in_the_way(&self, requester: Handle, ask: &Ask) -> Result<Vec<Hold>, HoldRefusal> {
        let is_overdrawn = self.debts.is_overdrawn(requester);
        let is_later = |hold: &Hold| match (is_overdrawn, self.debts.is_overdrawn(hold.requester)) {
            (false, true) => !ask.is_spare,
            (true, false) => false,
            _ => !hold.is_locked && ask.is_before(&hold.ask),
        };
        let clashes = |ports: &FixedPorts| ports.overlaps(&ask.ports);
        let is_kept = |hold: &Hold| clashes(&hold.ask.ports) && !is_later(hold);
        let booked = self.allocations.iter().chain(self.reserved.iter().map(|reserved| &reserved.booked));
        if booked.into_iter().any(|booked| clashes(&booked.ports)) || self.holds.iter().any(is_kept) {
            return Err(HoldRefusal::PortTaken);
        }
        let mut used = self.used().plus(&ask.resources);
        let mut later: Vec<&Hold> = self.holds.iter().filter(|hold| is_later(hold)).collect();
        // Those that have a port of this one go in any case.
        later.sort_by_key(|hold| {
            let stays = !clashes(&hold.ask.ports);
            (stays, !hold.ask.is_spare, hold.ask.patience, Reverse(hold.ask.app))
        });
        let mut going = Vec::new();
        let mut later = later.into_iter().peekable();
        while later.peek().is_some_and(|hold| clashes(&hold.ask.ports)) || !self.offer.covers(&used) {
            let hold = later.next().ok_or(HoldRefusal::Busy)?;
            used = used.minus(&hold.ask.resources);
            going.push(hold.clone());
        }
        Ok(going)
    }

    /// Keeps a hold for another life, `locked` against those whose turn is earlier or not. False when there
    /// is none.
    pub(crate) fn renew(
        &mut self,
        now: Instant,
        life: Duration,
        requester: Handle,
        id: u64,
        locked: bool,
    ) -> bool {
        self.expire(now);
        let Some(hold) = self.holds.iter_mut().find(|hold| hold.id == id && hold.requester == requester)
        else {
            return false;
        };
        hold.expires = (now + life).min(hold.ends);
        // Its asker has made its choice.
        hold.ask.is_spare = false;
        hold.is_locked = locked || hold.ask.patience == Ask::FIRST_OF_ALL;
        true
    }

    pub(crate) fn release(&mut self, now: Instant, requester: Handle, id: u64) {
        self.expire(now);
        self.holds.retain(|hold| hold.id != id || hold.requester != requester);
        self.note_holders(now);
    }

    /// The requester has confirmed what an owner signed for it to submit: it held for that.
    pub(crate) fn forgive(&mut self, requester: Handle) {
        self.debts.forgive(requester);
    }

    /// A requester has restarted, and is `new` from now on.
    pub(crate) fn rename(&mut self, old: Handle, new: Handle) {
        self.debts.rename(old, new);
    }

    fn note_holders(&mut self, now: Instant) {
        self.debts.changed(now, self.holds.iter().map(|hold| hold.requester));
    }

    /// Keeps room for a slot of before, whatever is offered now: a slot that runs keeps its room as well.
    pub(crate) fn reserve(&mut self, id: u64, app: AppId, slot: u16, spec: &Spec) {
        let booked = Booked { app, slot, resources: spec.resources, ports: spec.ports };
        self.reserved.push(Reserved { id, booked });
    }

    pub(crate) fn unreserve(&mut self, id: u64) {
        self.reserved.retain(|reserved| reserved.id != id);
    }

    /// Turns a live hold of `requester` for `app`, or the room kept for `slot`, into the allocation of
    /// `slot`.
    pub(crate) fn confirm(
        &mut self,
        now: Instant,
        requester: Handle,
        id: u64,
        app: AppId,
        slot: u16,
    ) -> bool {
        self.expire(now);
        let is_kept = |kept: &Reserved| kept.id == id && (kept.booked.app, kept.booked.slot) == (app, slot);
        if let Some(at) = self.reserved.iter().position(is_kept) {
            let reserved = self.reserved.swap_remove(at);
            self.allocations.push(reserved.booked);
            return true;
        }
        let Some(at) = self
            .holds
            .iter()
            .position(|hold| hold.id == id && hold.requester == requester && hold.ask.app == app)
        else {
            return false;
        };
        if !self.holds[at].ask.colocate && self.runs(app) {
            // Somebody else was first.
            self.holds.swap_remove(at);
            self.note_holders(now);
            return false;
        }
        let hold = self.holds.swap_remove(at);
        self.note_holders(now);
        let Ask { resources, ports, .. } = hold.ask;
        self.allocations.push(Booked { app, slot, resources, ports });
        true
    }

    pub(crate) fn free(&mut self, app: AppId, slot: u16) {
        self.allocations.retain(|booked| (booked.app, booked.slot) != (app, slot));
    }

    /// True when anybody holds resources for `app` here.
    pub(crate) fn has_hold(&self, now: Instant, app: AppId) -> bool {
        self.holds.iter().any(|hold| hold.ask.app == app && hold.expires > now)
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        self.debts.pass(now);
        let open = self.holds.len();
        self.holds.retain(|hold| hold.expires > now);
        if self.holds.len() < open {
            self.lapsed += (open - self.holds.len()) as u64;
            self.note_holders(now);
        }
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.holds.iter().map(|hold| hold.expires).min()
    }

    pub(crate) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.holds.iter().for_each(|hold| f(hold.requester));
        self.debts.for_each_handle(f);
    }

    /// Whether another slot of `app` is here, or is to come for this requester. What others hold for it keeps
    /// nobody out: whoever likes could hold something for an application that is none of its business.
    fn has_app(&self, app: AppId, requester: Handle) -> bool {
        self.holds.iter().any(|hold| hold.ask.app == app && hold.requester == requester)
            || self.runs(app)
            || self.reserved.iter().any(|reserved| reserved.booked.app == app)
    }

    fn runs(&self, app: AppId) -> bool {
        self.allocations.iter().any(|booked| booked.app == app)
    }
}

#[cfg(test)]
mod tests;
