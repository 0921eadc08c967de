//! What each core sees of the others: narrow traits, lent for one call.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use xtreem_allocation::policy::Refusal;
use xtreem_allocation::{Allocation, AppHere, Ask, Connection, Effect, Record, Resources};
use xtreem_base::{AppId, Coordinate, Handle, Instant};
use xtreem_discovery::trie::Trie;
use xtreem_discovery::{
    AppFilter, AppSummary, Attributes, Facts, FactsAsk, Free, HoldAnswer, HoldAsk, HoldRefusal, Role,
    SearchEvent, limits,
};
use xtreem_membership::reference::{self, Reference, Verdict};
use xtreem_membership::{Cyclon, coordinates, detector};

use crate::policy::{Judge, claimant};
use crate::tries::Tries;
use crate::{Config, Message, Output};

/// Messages out; those to this node itself come back in the same call.
pub(crate) struct Post<'a, O> {
    pub me: Handle,
    pub loopback: &'a mut VecDeque<Message>,
    pub out: &'a mut O,
}

impl<O: Output> Post<'_, O> {
    pub fn send(&mut self, to: Handle, message: Message) {
        if to == self.me {
            self.loopback.push_back(message);
        } else {
            self.out.send(to, message);
        }
    }
}

/// What the allocation core sees.
pub(crate) struct AllocationHost<'a, O> {
    pub post: Post<'a, O>,
    pub effects: &'a mut VecDeque<Effect>,
    pub grid: &'a mut Cyclon,
    pub collections: &'a mut BTreeMap<AppId, Cyclon>,
    pub reference: &'a mut Reference,
    pub config: &'a Config,
    pub judge: Judge<'a>,
    pub coordinate: Coordinate,
}

impl<O: Output> xtreem_allocation::Host for AllocationHost<'_, O> {
    fn send(&mut self, to: Handle, message: xtreem_allocation::Message) {
        self.post.send(to, Message::Allocation(message));
    }

    fn facts(&self, ask: &FactsAsk) -> Facts {
        Facts { coordinate: Some(self.coordinate), ..Facts::of(self.judge.attributes(), ask) }
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    fn connection(&mut self, now: Instant) -> Connection {
        match self.reference.check(&self.config.reference, now, &mut ReferenceOut(&mut self.post)) {
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
        self.collections.get_mut(&app).map(|collection| collection.sample(k)).unwrap_or_default()
    }
}

/// What the cut-off check sees.
pub(crate) struct ReferenceOut<'a, 'b, O>(pub &'a mut Post<'b, O>);

impl<O: Output> reference::Output for ReferenceOut<'_, '_, O> {
    fn send(&mut self, to: Handle, msg: reference::Message) {
        self.0.send(to, Message::Reference(msg));
    }
}

/// What the coordinates see; answers also feed the reference set.
pub(crate) struct CoordinatesOut<'a, O> {
    pub now: Instant,
    pub post: Post<'a, O>,
    pub grid: &'a mut Cyclon,
    pub reference: &'a mut Reference,
    pub config: &'a Config,
}

impl<O: Output> coordinates::Output for CoordinatesOut<'_, O> {
    fn send(&mut self, to: Handle, message: coordinates::Message) {
        self.post.send(to, Message::Coordinates(message));
    }

    fn fresh_peer(&mut self) -> Option<Handle> {
        self.grid.sample(1).first().copied()
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.reference.answered(&self.config.reference, self.now, peer);
    }
}

/// What a collection sees; answers also feed the reference set.
pub(crate) struct CollectionOut<'a, O> {
    pub app: Option<AppId>,
    pub now: Instant,
    pub post: Post<'a, O>,
    pub reference: &'a mut Reference,
    pub config: &'a Config,
}

impl<O: Output> xtreem_membership::Output for CollectionOut<'_, O> {
    fn send(&mut self, to: Handle, msg: xtreem_membership::Message) {
        let message = match self.app {
            Some(app) => Message::App(app, msg),
            None => Message::Grid(msg),
        };
        self.post.send(to, message);
    }

    fn contact_answered(&mut self, peer: Handle) {
        // Members of one application may all sit in one corner of the grid: only grid-wide contacts count.
        if self.app.is_none() {
            self.reference.answered(&self.config.reference, self.now, peer);
        }
    }
}

/// What a search sees of its node.
pub(crate) struct SearchHost<'a> {
    pub attributes: &'a Attributes,
    pub judge: Judge<'a>,
    pub contradicts: bool,
    pub coordinate: Coordinate,
    pub tries: &'a Tries,
    pub grid: &'a Cyclon,
    pub allocation: &'a mut Allocation,
}

impl xtreem_discovery::Host for SearchHost<'_> {
    fn attributes(&self) -> &Attributes {
        self.attributes
    }

    fn trie(&self, version: Option<u32>) -> Option<&Trie> {
        self.tries.get(version)
    }

    fn facts(&self, ask: &FactsAsk) -> Facts {
        let ledger = self.allocation.ledger();
        let Resources { cores_milli, memory_bytes, disk_bytes } = ledger.offer().minus(&ledger.used());
        let free = Free { cores_milli, memory_bytes, disk_bytes };
        Facts { free, coordinate: Some(self.coordinate), ..Facts::of(self.attributes, ask) }
    }

    fn contacts(&mut self, max: usize) -> Vec<Handle> {
        self.grid.view().map(|(peer, _)| peer).take(max).collect()
    }

    fn hold(&mut self, now: Instant, from: Handle, ask: &HoldAsk) -> HoldAnswer {
        if self.contradicts {
            return HoldAnswer::Refused(HoldRefusal::Mismatch);
        }
        if let Err(refusal) = self.judge.hold(&ask.by, self.allocation.slots_of(ask.by.owner)) {
            return HoldAnswer::Forbidden { rule: refusal.rule };
        }
        let resources = Resources {
            cores_milli: ask.cores_milli,
            memory_bytes: ask.memory_bytes,
            disk_bytes: ask.disk_bytes,
        };
        let (colocate, patience, is_spare) = (ask.colocate, ask.patience, ask.is_spare);
        let ask = Ask { app: ask.app, resources, colocate, patience, is_spare };
        match self.allocation.hold(now, from, ask) {
            Ok(id) => HoldAnswer::Granted { id },
            Err(refusal) => HoldAnswer::Refused(match refusal {
                xtreem_allocation::HoldRefusal::Busy => HoldRefusal::Busy,
                xtreem_allocation::HoldRefusal::TooMany => HoldRefusal::TooMany,
                xtreem_allocation::HoldRefusal::SameApp => HoldRefusal::SameApp,
                xtreem_allocation::HoldRefusal::Stopped => HoldRefusal::Stopped,
            }),
        }
    }

    fn applications(&self, wanted: &AppFilter) -> Vec<AppSummary> {
        summaries(self.allocation, wanted)
    }
}

/// The applications that this node takes part in and `wanted` accepts.
pub(crate) fn summaries(allocation: &Allocation, wanted: &AppFilter) -> Vec<AppSummary> {
    let is_over = |app: &AppHere<'_>| matches!(wanted, AppFilter::Owner(_)) && app.is_finished;
    let accepts = |app: &AppHere<'_>| wanted.accepts(app.record.id, app.record.owner, &app.record.name);
    let here = allocation.apps().filter(|app| accepts(app) && !is_over(app));
    here.take(limits::APPLICATIONS_MAX)
        .map(|app| AppSummary {
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
        })
        .collect()
}

/// Where a search puts what it has to say.
pub(crate) struct SearchOut<'a, O> {
    pub now: Instant,
    pub post: Post<'a, O>,
    pub events: &'a mut VecDeque<SearchEvent>,
    /// Peers that were silent.
    pub silent: &'a mut Vec<Handle>,
    pub reference: &'a mut Reference,
    pub config: &'a Config,
}

impl<O: Output> xtreem_discovery::Output for SearchOut<'_, O> {
    fn send(&mut self, to: Handle, message: xtreem_discovery::Message) {
        self.post.send(to, Message::Discovery(message));
    }

    fn event(&mut self, event: SearchEvent) {
        self.events.push_back(event);
    }

    fn contact_failed(&mut self, peer: Handle) {
        self.silent.push(peer);
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.reference.answered(&self.config.reference, self.now, peer);
    }
}

/// An agent whose timers are overdue by more than this was paused (docs/design/allocation.md, "Pauses").
pub(crate) const PAUSED: xtreem_base::Duration = xtreem_base::Duration::from_secs(2);

// The detector's whole span must fit the ten seconds in which a lost slot runs elsewhere.
const _: () = assert!(
    detector::PROBE_PERIOD.as_millis() * (1 + detector::MISSES as u64) + detector::INDIRECT_SPAN.as_millis()
        <= 6_000
);
