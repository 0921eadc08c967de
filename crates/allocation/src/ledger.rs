//! What this node offers, what is held, what is allocated. The sum never exceeds the offer.

use alloc::vec::Vec;

use xtreem_base::{AppId, Duration, Handle, Instant, Rng};

use crate::Resources;

/// Most open holds of one requester (architecture, "Allocation").
pub const HOLDS_PER_REQUESTER_MAX: usize = 64;
/// Most open holds of all requesters; one more is refused. Our guess.
pub const HOLDS_MAX: usize = 1_024;

/// What a visit asks to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub app: AppId,
    pub resources: Resources,
    pub colocate: bool,
}

/// Why a hold was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldRefusal {
    /// Not enough of some resource is free.
    Busy,
    /// The requester has too many open holds here, or all requesters together have.
    TooMany,
    /// This node runs or holds a slot of the application, which does not colocate.
    SameApp,
    /// The application is known here as stopped.
    Stopped,
}

#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub id: u64,
    pub requester: Handle,
    pub ask: Ask,
    expires: Instant,
}

/// The books of one node.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    offer: Resources,
    holds: Vec<Hold>,
    allocations: Vec<(AppId, u16, Resources)>,
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
        let allocated = self.allocations.iter().map(|(_, _, resources)| *resources);
        held.chain(allocated).fold(Resources::default(), |sum, part| sum.plus(&part))
    }

    pub fn allocated_slots(&self) -> usize {
        self.allocations.len()
    }

    pub fn open_holds(&self) -> usize {
        self.holds.len()
    }

    pub(crate) fn hold(
        &mut self,
        now: Instant,
        life: Duration,
        requester: Handle,
        ask: Ask,
        rng: &mut Rng,
    ) -> Result<u64, HoldRefusal> {
        self.expire(now);
        if !ask.colocate && self.has_app(ask.app) {
            return Err(HoldRefusal::SameApp);
        }
        let own = self.holds.iter().filter(|hold| hold.requester == requester).count();
        if own >= HOLDS_PER_REQUESTER_MAX || self.holds.len() >= HOLDS_MAX {
            return Err(HoldRefusal::TooMany);
        }
        if !self.offer.covers(&self.used().plus(&ask.resources)) {
            return Err(HoldRefusal::Busy);
        }
        let id = rng.next_u64();
        self.holds.push(Hold { id, requester, ask, expires: now + life });
        Ok(id)
    }

    pub(crate) fn renew(&mut self, now: Instant, life: Duration, requester: Handle, id: u64) -> bool {
        self.expire(now);
        let hold = self.holds.iter_mut().find(|hold| hold.id == id && hold.requester == requester);
        hold.map(|hold| hold.expires = now + life).is_some()
    }

    pub(crate) fn release(&mut self, requester: Handle, id: u64) {
        self.holds.retain(|hold| hold.id != id || hold.requester != requester);
    }

    /// Turns a live hold of `requester` for `app` into the allocation of `slot`.
    pub(crate) fn confirm(
        &mut self,
        now: Instant,
        requester: Handle,
        id: u64,
        app: AppId,
        slot: u16,
    ) -> bool {
        self.expire(now);
        let Some(at) = self
            .holds
            .iter()
            .position(|hold| hold.id == id && hold.requester == requester && hold.ask.app == app)
        else {
            return false;
        };
        let hold = self.holds.swap_remove(at);
        self.allocations.push((app, slot, hold.ask.resources));
        true
    }

    pub(crate) fn free(&mut self, app: AppId, slot: u16) {
        self.allocations.retain(|(a, s, _)| (*a, *s) != (app, slot));
    }

    /// True when `requester`, or anybody, holds resources for `app` here.
    pub(crate) fn has_hold(&self, now: Instant, app: AppId) -> bool {
        self.holds.iter().any(|hold| hold.ask.app == app && hold.expires > now)
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        self.holds.retain(|hold| hold.expires > now);
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.holds.iter().map(|hold| hold.expires).min()
    }

    pub(crate) fn for_each_handle(&self, f: &mut impl FnMut(Handle)) {
        self.holds.iter().for_each(|hold| f(hold.requester));
    }

    fn has_app(&self, app: AppId) -> bool {
        self.holds.iter().any(|hold| hold.ask.app == app)
            || self.allocations.iter().any(|(other, _, _)| *other == app)
    }
}

#[cfg(test)]
mod tests;
