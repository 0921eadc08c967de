//! The state machine: routes messages to cores, drains what they ask for, knows the one deadline that
//! matters.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_allocation::{AWAY_MAX, Allocation, Found, Me, Notary, Trouble};
use xtreem_base::{Call, Duration, Events, Handle, Instant, Rng, Sink, Wake};
use xtreem_discovery::{Attributes, Discovery, SearchEvent, SearchId};
use xtreem_membership::Cyclon;
use xtreem_membership::coordinates::Coordinates;
use xtreem_membership::detector;
use xtreem_membership::reference::Reference;
use xtreem_overlay::Overlay;

use crate::desk::Desk;
use crate::errands::Errand;
use crate::part::{Part, Seat};
use crate::parts::aggregates::Aggregates;
use crate::parts::collections::Collections;
use crate::parts::policies::Policies;
use crate::parts::tries::Tries;
use crate::relay::AskedFor;
use crate::settle::Effect;
use crate::{Config, Event, Message};

/// An agent whose timers are overdue by more than this was paused (`docs/design/allocation.md`, "Yielding").
const PAUSED: Duration = Duration::from_secs(2);

// The detector's whole span must fit the ten seconds in which a lost slot runs elsewhere.
const _: () = assert!(
    detector::PROBE_PERIOD.as_millis() * (1 + detector::MISSES as u64) + detector::INDIRECT_SPAN.as_millis()
        <= 6_000
);

/// Where a [`Node`] puts what it has to say, and who signs it.
pub trait Output: Notary + Sink<Message> + Events<Event> {}

impl<T: Notary + Sink<Message> + Events<Event>> Output for T {}

/// What a host kept of a node's time before its start.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    pub found: Vec<Found>,
    /// The contacts by which it saw whether it was cut off.
    pub reference: Vec<Handle>,
    /// How long ago it was last known to run.
    pub away: Duration,
}

/// A grid node without sockets, clock or processes.
///
/// Inputs: `handle_message`, `handle_timeout`, `handle_gone`, commands, `program_*` reports. Outputs go into
/// the [`Output`] lent by the caller; `next_timeout` tells the one deadline. Several inputs may come before
/// the driver looks at the outputs.
pub struct Node {
    pub(crate) desk: Desk,
    pub(crate) rng: Rng,
    pub(crate) grid: Seat<Cyclon>,
    pub(crate) collections: Collections,
    pub(crate) reference: Seat<Reference>,
    pub(crate) coordinates: Seat<Coordinates>,
    pub(crate) aggregates: Seat<Aggregates>,
    pub(crate) tries: Seat<Tries>,
    pub(crate) discovery: Seat<Discovery>,
    pub(crate) allocation: Seat<Allocation>,
    pub(crate) policies: Seat<Policies>,
    pub(crate) ring: Seat<Overlay>,
    pub(crate) attributes: Attributes,
    /// What is declared of this machine is not what it measures: it grants no holds.
    pub(crate) contradicts: bool,
    /// Another machine has this node's key.
    pub(crate) is_cloned: bool,
    /// Of those that were asked for last.
    pub(crate) ports_in_use: Vec<u16>,
    /// Programs cannot listen below it.
    pub(crate) lowest_port: u16,
    pub(crate) isolates: bool,
    /// No program could write a file here.
    pub(crate) is_disk_full: bool,
    /// Searches that no user asked for.
    pub(crate) errands: BTreeMap<SearchId, Errand>,
    pub(crate) effects: VecDeque<Effect>,
    pub(crate) search_events: VecDeque<SearchEvent>,
    /// Peers that were silent when a search visited them.
    pub(crate) silent: Vec<Handle>,
    pub(crate) is_cut_off: bool,
    /// Silent peers that others were asked for.
    pub(crate) asked_for: AskedFor,
    /// The host keeps things on disk.
    pub(crate) keeps_reference: bool,
}

impl Node {
    /// A node that knows nobody and offers nothing yet. `seed` decides all its random choices.
    pub fn new(config: Arc<Config>, me: Me, seed: u64, now: Instant) -> Self {
        let stream = |label| Rng::derive(seed, me.id.as_u64() ^ u64::from(me.incarnation), label);
        let grid = Cyclon::new(&config.membership, me.handle, stream("grid"), now);
        let policies = Policies::new(&config.policy, stream("policy"), now);
        let coordinates = Coordinates::new(&config.coordinates, stream("coordinates"), now);
        let ring = Overlay::new(&config.ring, me.id, me.handle, stream("ring"), now);
        let discovery = Discovery::new(me.handle, stream("discovery"));
        Node {
            rng: stream("node"),
            grid: Seat::new(Some("membership"), |config| &config.membership, grid),
            collections: Collections::new(stream("collections")),
            reference: Seat::new(Some("reference"), |config| &config.reference, Reference::default()),
            coordinates: Seat::new(Some("coordinates"), |config| &config.coordinates, coordinates),
            aggregates: Seat::new(
                Some("aggregation"),
                |config| config,
                Aggregates::new(stream("aggregates")),
            ),
            tries: Seat::new(Some("trie"), |config| config, Tries::new(stream("tries"))),
            discovery: Seat::new(Some("discovery"), |_| &(), discovery),
            allocation: Seat::new(
                None,
                |config| &config.allocation,
                Allocation::new(me, stream("allocation")),
            ),
            policies: Seat::new(Some("policy"), |config| &config.policy, policies),
            ring: Seat::new(Some("ring"), |config| &config.ring, ring),
            attributes: Attributes::default(),
            contradicts: false,
            is_cloned: false,
            ports_in_use: Vec::new(),
            lowest_port: 0,
            isolates: true,
            is_disk_full: false,
            errands: BTreeMap::new(),
            effects: VecDeque::new(),
            search_events: VecDeque::new(),
            silent: Vec::new(),
            is_cut_off: false,
            asked_for: AskedFor::default(),
            keeps_reference: false,
            desk: Desk { me, config, loopback: VecDeque::new() },
        }
    }

    pub(crate) fn parts(&self) -> [&dyn Part; 10] {
        [
            &self.grid,
            &self.collections,
            &self.reference,
            &self.coordinates,
            &self.aggregates,
            &self.tries,
            &self.discovery,
            &self.allocation,
            &self.policies,
            &self.ring,
        ]
    }

    /// Takes up what the host kept of the time before this start; from now on it keeps what
    /// [`Notice::Store`](xtreem_allocation::Notice::Store) and [`Event::Reference`] tell it to. To be called once,
    /// when the offer is set and before anything else comes in.
    pub fn restore(&mut self, now: Instant, saved: Saved, out: &mut impl Output) {
        let Saved { found, mut reference, away } = saved;
        if away > AWAY_MAX {
            // So many of them are somewhere else by now that it would take itself for cut off.
            reference.clear();
        }
        let call = self.reference.narrow(self.desk.call(now));
        self.reference.restore(call, reference);
        self.keeps_reference = true;
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.restore(call, found, away, &mut host);
        self.settle(now, out);
    }

    /// The host has on disk what it was told to keep, up to `number`.
    pub fn stored(&mut self, now: Instant, number: u64, out: &mut impl Output) {
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.handle_stored(call, number, &mut host);
        self.settle(now, out);
    }

    /// The disk takes too long to write: this node grants no holds until it has.
    pub fn is_disk_stalled(&self, now: Instant) -> bool {
        self.allocation.is_disk_stalled(now)
    }

    /// What keeps programs from being started here just now: while it lasts every hold is refused.
    pub fn trouble(&self, now: Instant) -> Option<Trouble> {
        self.allocation.trouble(now)
    }

    /// The peer behind `peer` has restarted under a newer incarnation: this handle is dead for good. What it
    /// is now, if that is known, is remembered in its place: it may have lost everybody, and may have its old
    /// roles yet.
    pub fn handle_gone(
        &mut self,
        now: Instant,
        peer: Handle,
        successor: Option<Handle>,
        out: &mut impl Output,
    ) {
        if let Some(successor) = successor {
            let call = self.reference.narrow(self.desk.call(now));
            self.reference.rename(call, peer, successor);
            self.allocation.handle_successor(peer, successor);
        }
        let parts: [&mut dyn Part; 10] = [
            &mut self.grid,
            &mut self.collections,
            &mut self.reference,
            &mut self.coordinates,
            &mut self.aggregates,
            &mut self.tries,
            &mut self.discovery,
            &mut self.allocation,
            &mut self.policies,
            &mut self.ring,
        ];
        for part in parts {
            part.handle_gone(self.desk.call(now), peer);
        }
        if let Some(successor) = successor {
            self.grid.remember(successor);
        }
        self.settle(now, out);
    }

    pub fn handle_message(&mut self, now: Instant, from: Handle, message: Message, out: &mut impl Output) {
        self.dispatch(now, from, message, out);
        self.settle(now, out);
    }

    pub(crate) fn dispatch(&mut self, now: Instant, from: Handle, message: Message, out: &mut impl Output) {
        let Node {
            desk, grid, collections, reference, coordinates, aggregates, tries, policies, ring, ..
        } = self;
        let (call, mut post) = desk.open(now, out);
        match message {
            Message::Grid(message) => {
                grid.handle_message(
                    call,
                    from,
                    message,
                    &mut post.lend(Message::Grid).answering(call, reference),
                );
            }
            Message::App(app, message) => {
                if !collections.handle_message(call, from, (app, message), &mut post) {
                    let (allocation, _, mut host) = self.allocating(now, out);
                    allocation.answer_stranger(from, app, &mut host);
                }
            }
            Message::Reference(message) => {
                reference.handle_message(call, from, message, &mut post.lend(Message::Reference));
            }
            Message::Coordinates(message) => {
                let lent = post.lend(Message::Coordinates).answering(call, reference);
                coordinates.handle_message(call, from, message, &mut lent.sampling(grid));
            }
            Message::Aggregation(message) => {
                let lent = post.lend(Message::Aggregation).answering(call, reference);
                aggregates.handle_message(call, from, message, &mut lent.sampling(grid));
            }
            Message::Trie(version, message) => {
                let lent = post.lend(trie_message).answering(call, reference);
                tries.handle_message(call, from, (version, message), &mut lent.sampling(grid));
            }
            Message::Policy(message) => {
                let mut lent = post.lend(Message::Policy).sampling(grid);
                policies.handle_message(call, from, message, &mut lent);
            }
            Message::Ring(message) => {
                let lent = post.lend(Message::Ring).answering(call, reference);
                ring.handle_message(call, from, message, &mut lent.sampling(grid));
            }
            Message::Discovery(message) => {
                let (discovery, call, mut hosted) = self.searching(now, out);
                discovery.handle_message(call, from, message, &mut hosted);
            }
            Message::Allocation(message) => {
                let (allocation, call, mut host) = self.allocating_seat(now, out);
                allocation.handle_message(call, from, message, &mut host);
            }
            Message::Relay(relay) => self.relay(now, from, relay, out),
        }
    }
    /// Fires everything that is due. The driver hands over queued messages first.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut impl Output) {
        if now.since(self.next_timeout().at) > PAUSED {
            let (allocation, call, mut host) = self.allocating(now, out);
            allocation.handle_resume(call, &mut host);
        }
        let Node { desk, grid, collections, reference, rng, .. } = self;
        let (call, mut post) = desk.open(now, out);
        grid.handle_timeout(call, &mut post.lend(Message::Grid).answering(call, reference));
        turn_to_proven(grid, reference, rng, call);
        collections.handle_timeout(call, &mut post);
        reference.handle_timeout(call, &mut post.lend(Message::Reference));
        let (discovery, call, mut hosted) = self.searching(now, out);
        discovery.handle_timeout(call, &mut hosted);
        let Node { desk, grid, reference, aggregates, tries, .. } = self;
        let (call, mut post) = desk.open(now, out);
        let lent = post.lend(trie_message).answering(call, reference);
        tries.handle_timeout(call, &mut lent.sampling(grid));
        let lent = post.lend(Message::Aggregation).answering(call, reference);
        aggregates.handle_timeout(call, &mut lent.sampling(grid));
        let (allocation, call, mut host) = self.allocating_seat(now, out);
        allocation.handle_timeout(call, &mut host);
        let Node { desk, grid, reference, coordinates, policies, ring, .. } = self;
        let (call, mut post) = desk.open(now, out);
        let lent = post.lend(Message::Ring).answering(call, reference);
        ring.handle_timeout(call, &mut lent.sampling(grid));
        policies.handle_timeout(call, &mut post.lend(Message::Policy).sampling(grid));
        let lent = post.lend(Message::Coordinates).answering(call, reference);
        coordinates.handle_timeout(call, &mut lent.sampling(grid));
        self.settle(now, out);
    }

    /// The next moment at which `handle_timeout` has something to do, and what.
    pub fn next_timeout(&self) -> Wake {
        self.parts().into_iter().map(|part| part.next_timeout(&self.desk.config)).collect()
    }

    /// Shows every handle in use, some more than once: the others may leave the driver's table.
    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.parts().into_iter().for_each(|part| part.for_each_handle(f));
    }
}

/// A contact that was silent makes room for one that answered lately: what others say fills views, and never
/// the reference set.
fn turn_to_proven(grid: &mut Seat<Cyclon>, reference: &Reference, rng: &mut Rng, call: Call<'_, Config>) {
    if grid.has_vacancy() {
        let known: Vec<Handle> = grid.contacts().collect();
        let proven: Vec<Handle> = reference.peers().filter(|peer| !known.contains(peer)).collect();
        if let Some(contact) = rng.pick(&proven).copied() {
            let config = grid.narrow(call).config;
            grid.prefer(config, contact);
        }
    }
}

fn trie_message((version, message): (u32, xtreem_discovery::trie::Message)) -> Message {
    Message::Trie(version, message)
}
