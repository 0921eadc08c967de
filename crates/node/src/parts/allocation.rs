//! What the allocation core sees of its node.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_allocation::policy::Refusal;
use xtreem_allocation::{
    Allocation, AppHere, Claim, Connection, Host, Message as AllocationMessage, Notary, Notice, Record, Wish,
};
use xtreem_base::{AppId, Call, Coordinate, Events, Handle, Instant, NodeId, Sink};
use xtreem_discovery::{AppFilter, AppSummary, Facts, FactsAsk, Role, limits};
use xtreem_membership::Cyclon;
use xtreem_membership::reference::{self, Reference, Verdict};

use crate::desk::Post;
use crate::part::Seat;
use crate::parts::collections::Collections;
use crate::parts::policies::{Judge, claimant};
use crate::settle::Effect;
use crate::{Config, Message, Node, Output};

/// Lent to the core for one call.
pub(crate) struct AllocationHost<'a, O> {
    pub post: Post<'a, O>,
    pub effects: &'a mut VecDeque<Effect>,
    pub grid: &'a mut Cyclon,
    pub collections: &'a mut Collections,
    pub reference: (Call<'a, reference::Config>, &'a mut Reference),
    pub judge: Judge<'a>,
    pub coordinate: Coordinate,
}

impl Node {
    /// The core with all that it may use for one call.
    pub(crate) fn allocating_seat<'a, O: Output>(
        &'a mut self,
        now: Instant,
        out: &'a mut O,
    ) -> (&'a mut Seat<Allocation>, Call<'a, Config>, AllocationHost<'a, O>) {
        let (call, post) = self.desk.open(now, out);
        let host = AllocationHost {
            post,
            effects: &mut self.effects,
            grid: &mut self.grid,
            collections: &mut self.collections,
            reference: (self.reference.narrow(call), &mut self.reference),
            judge: self.policies.judge(&self.attributes),
            coordinate: self.coordinates.coordinate(),
        };
        (&mut self.allocation, call, host)
    }

    /// The same, for the core's own commands.
    pub(crate) fn allocating<'a, O: Output>(
        &'a mut self,
        now: Instant,
        out: &'a mut O,
    ) -> (&'a mut Allocation, Call<'a, xtreem_allocation::Config>, AllocationHost<'a, O>) {
        let (seat, call, host) = self.allocating_seat(now, out);
        let call = seat.narrow(call);
        (seat, call, host)
    }
}

impl<O: Output> Sink<AllocationMessage> for AllocationHost<'_, O> {
    fn send(&mut self, to: Handle, message: AllocationMessage) {
        self.post.send(to, Message::Allocation(message));
    }
}

impl<O> Events<Wish> for AllocationHost<'_, O> {
    fn event(&mut self, wish: Wish) {
        self.effects.push_back(Effect::Wish(wish));
    }
}

impl<O> Events<Notice> for AllocationHost<'_, O> {
    fn event(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Notice(notice));
    }
}

impl<O: Output> Notary for AllocationHost<'_, O> {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        self.post.out.id_of(peer)
    }

    fn sign(&self, claim: Claim<'_>) -> Arc<[u8]> {
        self.post.out.sign(claim)
    }
}

impl<O: Output> Host for AllocationHost<'_, O> {
    fn facts(&self, ask: &FactsAsk) -> Facts {
        Facts { coordinate: Some(self.coordinate), ..Facts::of(self.judge.attributes(), ask) }
    }

    fn connection(&mut self, _: Instant) -> Connection {
        let (call, reference) = &mut self.reference;
        match reference.check(*call, &mut self.post.lend(Message::Reference)) {
            Verdict::Connected => Connection::Connected,
            Verdict::CutOff => Connection::CutOff,
            Verdict::Pending => Connection::Pending,
        }
    }

    fn judge_hold(&self, record: &Record, here: u32) -> Result<(), Refusal> {
        self.judge.hold(&claimant(record), here)
    }

    fn judge_submission(&self, record: &Record) -> Result<(), Refusal> {
        self.judge.submission(&claimant(record))
    }

    fn limits_total(&self, record: &Record) -> bool {
        self.judge.limits_total(&claimant(record))
    }

    fn judge_total(&self, record: &Record, held: u32) -> Result<(), Refusal> {
        self.judge.total(&claimant(record), held)
    }

    fn grid_contacts(&mut self, k: usize) -> Vec<Handle> {
        self.grid.sample(k)
    }

    fn app_peers(&mut self, app: AppId, k: usize) -> Vec<Handle> {
        self.collections.sample(app, k)
    }
}

/// The applications that this node takes part in or remembers and `filter` accepts: those that run come
/// first. At most `max` of them, and how many more there are.
pub(crate) fn summaries(
    allocation: &Allocation,
    now: Instant,
    filter: &AppFilter,
    max: usize,
) -> (Vec<AppSummary>, u32) {
    let wants_active = matches!(filter, AppFilter::Owner(_) | AppFilter::Active);
    let is_out = |app: &AppHere<'_>| {
        let is_stopped = *filter == AppFilter::Active && app.record.is_stopped();
        is_stopped || wants_active && app.is_finished
    };
    let accepts = |app: &AppHere<'_>| filter.accepts(app.record.id, app.record.owner, &app.record.name);
    let mut here = allocation.apps(now).filter(|app| accepts(app) && !is_out(app));
    let list = here.by_ref().take(max).map(summary).collect();
    (list, here.count() as u32)
}

fn summary(app: AppHere<'_>) -> AppSummary {
    AppSummary {
        id: app.record.id,
        owner: app.record.owner,
        name: app.record.name.clone(),
        generation: app.record.generation,
        stopped: app.record.is_stopped(),
        slots: app.record.slots,
        role: match (app.is_former, app.slots.is_empty()) {
            (false, false) => Role::Holder,
            (false, true) if app.is_guardian => Role::Guardian,
            _ => Role::Former,
        },
        here: app.slots.into_iter().take(limits::SLOTS_HERE_MAX).collect(),
        ended: app.ended,
        ended_s: app.since_end.map(|age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX)),
    }
}
