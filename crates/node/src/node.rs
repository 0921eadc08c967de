//! The state machine: routes messages to cores, drains what they ask for, knows the one deadline that matters.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_allocation::policy::{Policy, PolicyError, PolicyVersion, SignedPolicy};
use xtreem_allocation::{
    Allocation, Application, Effect, Exit, Me, NotStarted, Record, Resources, SlotRun, SubmitRefusal, Ticket,
};
use xtreem_base::{AppId, Coordinate, Duration, Handle, Instant, Rng};
use xtreem_discovery::forecast::Forecast;
use xtreem_discovery::{
    AppFilter, AppSummary, Attributes, Discovery, Report, Requirement, SearchEvent, SearchId, SearchSpec,
    StartRefusal,
};
use xtreem_membership::Cyclon;
use xtreem_membership::coordinates::Coordinates;
use xtreem_membership::reference::{Reference, Verdict};

use crate::adapters::{
    self, AllocationHost, CollectionOut, CoordinatesOut, PAUSED, Post, ReferenceOut, SearchHost, SearchOut,
};
use crate::aggregates::{Aggregates, AggregationOut};
use crate::policy::Policies;
use crate::settle::Count;
use crate::tries::{TrieOut, Tries};
use crate::{Config, Description, Event, Faults, GridEstimate, Message, Relay, Status};

/// Where a [`Node`] puts what it has to say.
pub trait Output {
    fn send(&mut self, to: Handle, message: Message);
    fn event(&mut self, event: Event);
}

/// A grid node without sockets, clock or processes.
///
/// Inputs: `handle_message`, `handle_timeout`, `handle_gone`, commands, `program_*` reports. Outputs go into the
/// [`Output`] lent by the caller; `next_timeout` tells the one deadline. Several inputs may come before the
/// driver looks at the outputs.
pub struct Node {
    pub(crate) config: Arc<Config>,
    pub(crate) me: Me,
    rng: Rng,
    pub(crate) grid: Cyclon,
    pub(crate) reference: Reference,
    pub(crate) discovery: Discovery,
    pub(crate) tries: Tries,
    pub(crate) aggregates: Aggregates,
    /// Peers that were silent when a search visited them.
    pub(crate) silent: Vec<Handle>,
    pub(crate) allocation: Allocation,
    pub(crate) collections: BTreeMap<AppId, Cyclon>,
    pub(crate) attributes: Attributes,
    /// What is declared of this machine is not what it measures: it grants no holds.
    contradicts: bool,
    /// Searches that the allocation core asked for; nothing once it has cancelled one.
    pub(crate) tickets: BTreeMap<SearchId, Option<Ticket>>,
    /// The report of a submission's search, until the submission says what it makes of it.
    pub(crate) last_report: Option<Report>,
    pub(crate) loopback: VecDeque<Message>,
    pub(crate) effects: VecDeque<Effect>,
    pub(crate) search_events: VecDeque<SearchEvent>,
    pub(crate) policies: Policies,
    pub(crate) coordinates: Coordinates,
    /// Searches for nodes to be near to: for which application, and where the node stands once it is found.
    pub(crate) locating: BTreeMap<SearchId, (AppId, Option<Coordinate>)>,
    /// Searches that count what the owner of a submission holds.
    pub(crate) counts: BTreeMap<SearchId, Count>,
    is_cut_off: bool,
    faults: Faults,
}

macro_rules! post {
    ($self:ident, $out:expr) => {
        Post { me: $self.me.handle, loopback: &mut $self.loopback, out: $out }
    };
}

macro_rules! allocation_host {
    ($self:ident, $out:expr) => {
        &mut AllocationHost {
            post: post!($self, $out),
            effects: &mut $self.effects,
            grid: &mut $self.grid,
            collections: &mut $self.collections,
            reference: &mut $self.reference,
            config: &$self.config,
            judge: $self.policies.judge(&$self.attributes),
            coordinate: $self.coordinates.coordinate(),
        }
    };
}

macro_rules! collection_out {
    ($self:ident, $now:expr, $app:expr, $out:expr) => {
        &mut CollectionOut {
            app: $app,
            now: $now,
            post: post!($self, $out),
            reference: &mut $self.reference,
            config: &$self.config,
        }
    };
}

macro_rules! search_out {
    ($self:ident, $now:expr, $out:expr) => {
        &mut SearchOut {
            now: $now,
            post: post!($self, $out),
            events: &mut $self.search_events,
            silent: &mut $self.silent,
            reference: &mut $self.reference,
            config: &$self.config,
        }
    };
}
macro_rules! coordinates_out {
    ($self:ident, $now:expr, $out:expr) => {
        &mut CoordinatesOut {
            now: $now,
            post: post!($self, $out),
            grid: &mut $self.grid,
            reference: &mut $self.reference,
            config: &$self.config,
        }
    };
}

macro_rules! trie_out {
    ($self:ident, $now:expr, $version:expr, $out:expr) => {
        &mut TrieOut {
            version: $version,
            now: $now,
            post: post!($self, $out),
            grid: &mut $self.grid,
            reference: &mut $self.reference,
            config: &$self.config,
        }
    };
}
macro_rules! aggregation_out {
    ($self:ident, $now:expr, $out:expr) => {
        &mut AggregationOut {
            now: $now,
            post: post!($self, $out),
            grid: &mut $self.grid,
            reference: &mut $self.reference,
            config: &$self.config,
        }
    };
}
macro_rules! search_host {
    ($self:ident) => {
        SearchHost {
            attributes: &$self.attributes,
            judge: $self.policies.judge(&$self.attributes),
            contradicts: $self.contradicts,
            coordinate: $self.coordinates.coordinate(),
            tries: &$self.tries,
            grid: &$self.grid,
            allocation: &mut $self.allocation,
        }
    };
}
pub(crate) use {allocation_host, post, search_out};

impl Node {
    /// A node that knows nobody and offers nothing yet. `seed` decides all its random choices.
    pub fn new(config: Arc<Config>, me: Me, seed: u64, now: Instant) -> Self {
        let stream = |label| Rng::derive(seed, me.id.as_u64() ^ u64::from(me.incarnation), label);
        let grid = Cyclon::new(&config.membership, me.handle, stream("grid"), now);
        let allocation = Allocation::new(config.allocation.clone(), me, stream("allocation"));
        Node {
            me,
            rng: stream("node"),
            grid,
            reference: Reference::default(),
            discovery: Discovery::new(me.handle, stream("discovery")),
            tries: Tries::new(stream("tries")),
            aggregates: Aggregates::new(stream("aggregates")),
            silent: Vec::new(),
            allocation,
            collections: BTreeMap::new(),
            attributes: Attributes::default(),
            contradicts: false,
            tickets: BTreeMap::new(),
            last_report: None,
            loopback: VecDeque::new(),
            effects: VecDeque::new(),
            search_events: VecDeque::new(),
            policies: Policies::new(now, config.membership.period, stream("policy")),
            coordinates: Coordinates::new(config.membership.period, stream("coordinates"), now),
            locating: BTreeMap::new(),
            counts: BTreeMap::new(),
            is_cut_off: false,
            faults: Faults::default(),
            config,
        }
    }

    pub fn me(&self) -> Me {
        self.me
    }

    /// Sets what this node says of itself, static and dynamic; called again whenever it was measured.
    pub fn set_attributes(&mut self, now: Instant, attributes: Attributes) {
        let hash = (self.me.id.as_u64() >> 32) as u32;
        self.tries.set_attributes(&self.config, now, self.me.handle, hash, &attributes);
        self.aggregates.set_attributes(&self.config, now, self.me.handle, &attributes);
        self.attributes = attributes;
    }

    /// Says whether what is declared of this machine contradicts what it measures. While it does, every hold is
    /// refused as a mismatch.
    pub fn set_contradicts(&mut self, contradicts: bool) {
        self.contradicts = contradicts;
    }

    /// As set by [`Self::set_contradicts`].
    pub fn contradicts(&self) -> bool {
        self.contradicts
    }

    /// Puts a policy of the VO in force, if it is newer, and spreads it. The caller has verified it. Returns whether it
    /// is in force now.
    pub fn set_policy(
        &mut self,
        now: Instant,
        signed: SignedPolicy,
        out: &mut impl Output,
    ) -> Result<bool, PolicyError> {
        let taken = self.policies.take(now, signed, &self.grid, &mut post!(self, out))?;
        self.settle(now, out);
        Ok(taken)
    }

    /// The policy in force here.
    pub fn policy(&self) -> Option<(&Arc<SignedPolicy>, &Policy, PolicyVersion)> {
        self.policies.in_force()
    }

    /// Sets what this node offers to slots.
    pub fn set_offer(&mut self, offer: Resources) {
        self.allocation.set_offer(offer);
    }

    /// Joins the grid through a node that is part of it.
    pub fn join(&mut self, now: Instant, contact: Handle, out: &mut impl Output) {
        self.grid.join(&self.config.membership, now, contact, collection_out!(self, now, None, out));
        self.tries.join(contact, trie_out!(self, now, 0, out));
    }

    /// A contact that was part of the grid once, or should be: tried in every round.
    pub fn remember(&mut self, contact: Handle) {
        self.grid.remember(contact);
    }

    pub fn handle_message(&mut self, now: Instant, from: Handle, message: Message, out: &mut impl Output) {
        self.dispatch(now, from, message, out);
        self.settle(now, out);
    }

    pub(crate) fn dispatch(&mut self, now: Instant, from: Handle, message: Message, out: &mut impl Output) {
        match message {
            Message::Grid(message) => {
                let to = collection_out!(self, now, None, out);
                if self.grid.handle_message(&self.config.membership, now, from, message, to).is_err() {
                    self.faults.membership += 1;
                }
            }
            Message::App(app, message) => match self.collections.get_mut(&app) {
                Some(collection) => {
                    let to = collection_out!(self, now, Some(app), out);
                    let config = &self.config.app_membership;
                    if collection.handle_message(config, now, from, message, to).is_err() {
                        self.faults.membership += 1;
                    }
                }
                None => {
                    self.faults.no_such_collection += 1;
                    self.allocation.answer_stranger(from, app, allocation_host!(self, out));
                }
            },
            Message::Reference(message) => {
                let mut post = post!(self, out);
                let to = &mut ReferenceOut(&mut post);
                if self.reference.handle_message(now, from, message, to).is_err() {
                    self.faults.reference += 1;
                }
            }
            Message::Discovery(message) => {
                let mut host = search_host!(self);
                let to = search_out!(self, now, out);
                if self.discovery.handle_message(now, from, message, &mut host, to).is_err() {
                    self.faults.discovery += 1;
                }
            }
            Message::Trie(version, message) => {
                let to = trie_out!(self, now, version, out);
                if self.tries.handle_message(from, message, to).is_err() {
                    self.faults.trie += 1;
                }
            }
            Message::Aggregation(message) => {
                let to = aggregation_out!(self, now, out);
                if self.aggregates.handle_message(from, message, to).is_err() {
                    self.faults.aggregation += 1;
                }
            }
            Message::Allocation(message) => {
                self.allocation.handle_message(now, from, message, allocation_host!(self, out));
            }
            Message::Relay(relay) => self.relay(now, from, relay, out),
            Message::Coordinates(message) => {
                let to = coordinates_out!(self, now, out);
                if self.coordinates.handle_message(now, from, message, to).is_err() {
                    self.faults.coordinates += 1;
                }
            }
            Message::Policy(message) => {
                let mut post = post!(self, out);
                if self.policies.handle_message(now, from, message, &self.grid, &mut post).is_err() {
                    self.faults.policy += 1;
                }
            }
        }
    }

    fn relay(&mut self, now: Instant, from: Handle, relay: Relay, out: &mut impl Output) {
        let mut post = post!(self, out);
        match relay {
            Relay::Ask { about } => post.send(about, Message::Relay(Relay::Ping { origin: from })),
            Relay::Ping { origin } => post.send(from, Message::Relay(Relay::Pong { origin })),
            Relay::Pong { origin } => post.send(origin, Message::Relay(Relay::Alive { about: from })),
            Relay::Alive { about } => self.allocation.alive(now, about),
        }
    }

    /// The peer behind `peer` has restarted under a newer incarnation: this handle is dead for good.
    pub fn handle_gone(&mut self, now: Instant, peer: Handle, out: &mut impl Output) {
        self.grid.forget(peer);
        self.collections.values_mut().for_each(|collection| collection.forget(peer));
        self.reference.forget(peer);
        self.coordinates.forget(peer);
        self.tries.remove(peer);
        self.allocation.handle_gone(now, peer);
        self.settle(now, out);
    }

    /// Fires everything that is due. The driver hands over queued messages first.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut impl Output) {
        let is_overdue = |due| now.since(due) > PAUSED;
        if self.next_timeout().is_some_and(is_overdue) {
            self.allocation.resume(now, allocation_host!(self, out));
        }
        let config = &self.config;
        self.grid.handle_timeout(&config.membership, now, collection_out!(self, now, None, out));
        for (app, collection) in &mut self.collections {
            let to = collection_out!(self, now, Some(*app), out);
            collection.handle_timeout(&config.app_membership, now, to);
        }
        let mut post = post!(self, out);
        self.reference.handle_timeout(&config.reference, now, &mut ReferenceOut(&mut post));
        self.discovery.handle_timeout(now, search_out!(self, now, out));
        self.tries.handle_timeout(trie_out!(self, now, 0, out));
        self.aggregates.handle_timeout(aggregation_out!(self, now, out));
        self.allocation.handle_timeout(now, allocation_host!(self, out));
        self.policies.handle_timeout(now, &self.grid, &mut post!(self, out));
        self.coordinates.handle_timeout(now, coordinates_out!(self, now, out));
        self.settle(now, out);
    }

    /// The next moment at which `handle_timeout` has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let collections = self.collections.values().map(Cyclon::next_timeout);
        let cores =
            [Some(self.grid.next_timeout()), self.discovery.next_timeout(), self.allocation.next_timeout()];
        let reference = self.reference.next_timeout(&self.config.reference);
        cores
            .into_iter()
            .flatten()
            .chain(collections)
            .chain([reference, self.policies.next_timeout(), self.coordinates.next_timeout()])
            .chain(self.tries.next_timeout())
            .chain(self.aggregates.next_timeout())
            .min()
            .filter(|at| *at < Instant::FAR)
    }

    /// Starts a search for this node's own user.
    pub fn search(
        &mut self,
        now: Instant,
        spec: SearchSpec,
        out: &mut impl Output,
    ) -> Result<SearchId, StartRefusal> {
        let id = self.start_search(now, spec, out)?;
        self.settle(now, out);
        Ok(id)
    }

    pub(crate) fn start_search(
        &mut self,
        now: Instant,
        spec: SearchSpec,
        out: &mut impl Output,
    ) -> Result<SearchId, StartRefusal> {
        let mut seeds = self.contacts();
        self.rng.shuffle(&mut seeds);
        let mut host = search_host!(self);
        self.discovery.start(now, spec, &seeds, &mut host, search_out!(self, now, out))
    }

    pub fn cancel_search(&mut self, now: Instant, id: SearchId, out: &mut impl Output) {
        self.discovery.cancel(now, id, search_out!(self, now, out));
        self.settle(now, out);
    }

    /// Begins to place an application; `Event::Submission` tells how it goes on. While too few nodes are found it
    /// tries again for as long as `wait`.
    pub fn submit(
        &mut self,
        now: Instant,
        application: Application,
        wait: Duration,
        out: &mut impl Output,
    ) -> Result<(), SubmitRefusal> {
        self.allocation.submit(now, application, wait, allocation_host!(self, out))?;
        self.settle(now, out);
        Ok(())
    }

    /// Gives a submission up before it is accepted; afterwards only a stopped record ends the application.
    pub fn withdraw(&mut self, now: Instant, app: AppId, out: &mut impl Output) {
        self.allocation.withdraw(now, app, allocation_host!(self, out));
        self.settle(now, out);
    }

    /// Sends a new record to nodes that take part; `Event::RecordTaken` tells who has it.
    pub fn publish(&mut self, now: Instant, record: Record, to: &[Handle], out: &mut impl Output) {
        self.allocation.publish(now, record, to, allocation_host!(self, out));
        self.settle(now, out);
    }

    /// Asks a node what it knows of an application; `Event::Described`, or silence.
    pub fn describe(&mut self, now: Instant, app: AppId, at: Handle, out: &mut impl Output) {
        self.allocation.describe(app, at, allocation_host!(self, out));
        self.settle(now, out);
    }

    pub fn program_started(&mut self, now: Instant, run: SlotRun, out: &mut impl Output) {
        self.allocation.program_started(now, run, allocation_host!(self, out));
        self.settle(now, out);
    }

    pub fn program_exited(&mut self, now: Instant, run: SlotRun, exit: Exit, out: &mut impl Output) {
        self.allocation.program_exited(now, run, exit, allocation_host!(self, out));
        self.settle(now, out);
    }

    pub fn program_not_started(
        &mut self,
        now: Instant,
        run: SlotRun,
        why: NotStarted,
        out: &mut impl Output,
    ) {
        self.allocation.program_not_started(now, run, why, allocation_host!(self, out));
        self.settle(now, out);
    }

    /// The operator of this machine takes a slot back; it is recruited elsewhere.
    pub fn free(&mut self, now: Instant, run: SlotRun, out: &mut impl Output) {
        self.allocation.free(now, run, allocation_host!(self, out));
        self.settle(now, out);
    }

    /// A random subset of an application's own collection, without this node.
    pub fn app_peers(&mut self, app: AppId, k: usize) -> Vec<Handle> {
        self.collections.get_mut(&app).map(|collection| collection.sample(k)).unwrap_or_default()
    }

    /// What this node knows of an application that it takes part in.
    pub fn app(&self, app: AppId) -> Option<Description> {
        let (record, slots, guardians) = self.allocation.describe_here(app)?;
        let placement = self.allocation.placement(app).into();
        Some(Description { record, slots, guardians, placement })
    }

    pub fn apps(&self) -> Vec<AppSummary> {
        adapters::summaries(&self.allocation, &AppFilter::All)
    }

    /// Where this node stands in the network.
    pub fn coordinate(&self) -> Coordinate {
        self.coordinates.coordinate()
    }

    /// The grid-wide partial view.
    pub fn contacts(&self) -> Vec<Handle> {
        self.grid.view().map(|(peer, _)| peer).collect()
    }

    /// What this node knows of all nodes together.
    pub fn grid_estimate(&self, now: Instant) -> GridEstimate {
        self.aggregates.picture(&self.config, now)
    }

    /// What a search for so many nodes (nothing: for all) will find and cost, about; nothing before an epoch of
    /// aggregation has ended.
    pub fn forecast(&self, requirement: &Requirement, wanted: Option<u32>) -> Option<Forecast> {
        self.aggregates.forecast(requirement, wanted)
    }

    pub fn status(&self) -> Status {
        let ledger = self.allocation.ledger();
        Status {
            contacts: self.grid.view().count(),
            offered: ledger.offer(),
            used: ledger.used(),
            open_holds: ledger.open_holds(),
            lapsed_holds: ledger.lapsed_holds(),
            slots: ledger.allocated_slots(),
            is_cut_off: self.is_cut_off,
            faults: Faults { allocation: self.allocation.faults(), ..self.faults },
        }
    }

    /// Every hold that is open here: its number, its requester and the application that it is for.
    pub fn holds(&self) -> impl Iterator<Item = (u64, Handle, AppId)> {
        self.allocation.ledger().holds()
    }

    /// Shows every handle in use, some more than once: the others may leave the driver's table.
    pub fn for_each_handle(&self, f: &mut impl FnMut(Handle)) {
        self.grid.for_each_handle(f);
        self.collections.values().for_each(|collection| collection.for_each_handle(f));
        self.reference.for_each_handle(f);
        self.discovery.for_each_handle(&mut *f);
        self.tries.for_each_handle(f);
        self.aggregates.for_each_handle(f);
        self.allocation.for_each_handle(f);
        self.coordinates.for_each_handle(f);
    }

    /// Tells the host when the verdict on the own connection changes.
    pub(crate) fn watch_connection(&mut self, now: Instant, out: &mut impl Output) {
        let is_cut_off = match self.reference.verdict(&self.config.reference, now) {
            Verdict::CutOff => true,
            Verdict::Connected => false,
            Verdict::Pending => return,
        };
        if is_cut_off != self.is_cut_off {
            self.is_cut_off = is_cut_off;
            out.event(Event::CutOff { is_cut_off });
        }
    }
}
