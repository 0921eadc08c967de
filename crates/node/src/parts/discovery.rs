//! What a search sees of its node, and where it puts what it has to say.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use xtreem_allocation::{self as allocation, Allocation, Ask, Resources};
use xtreem_base::{Call, Coordinate, Events, Handle, Instant, Sink};
use xtreem_discovery::trie::Trie;
use xtreem_discovery::{
    AppFilter, AppSummary, Attributes, Discovery, Facts, FactsAsk, Free, HoldAnswer, HoldAsk, HoldRefusal,
    Host, Hosted, Message as DiscoveryMessage, SearchEvent,
};
use xtreem_membership::Cyclon;

use crate::desk::Lent;
use crate::part::Seat;
use crate::parts::allocation::summaries;
use crate::parts::policies::Judge;
use crate::parts::tries::Tries;
use crate::{Config, Message, Node, Output};

/// The visited node.
pub(crate) struct SearchHost<'a> {
    pub call: Call<'a, allocation::Config>,
    pub attributes: &'a Attributes,
    pub judge: Judge<'a>,
    pub contradicts: bool,
    pub is_cloned: bool,
    pub ports_in_use: &'a [u16],
    pub lowest_port: u16,
    pub isolates: bool,
    pub is_disk_full: bool,
    pub coordinate: Coordinate,
    pub tries: &'a Tries,
    pub grid: &'a Cyclon,
    pub allocation: &'a mut Allocation,
}

impl Node {
    /// The core with all that it may use for one call.
    pub(crate) fn searching<'a, O: Output>(
        &'a mut self,
        now: Instant,
        out: &'a mut O,
    ) -> (&'a mut Seat<Discovery>, Call<'a, Config>, Hosted<SearchHost<'a>, SearchOut<'a, O>>) {
        let (call, post) = self.desk.open(now, out);
        let host = SearchHost {
            call: self.allocation.narrow(call),
            attributes: &self.attributes,
            judge: self.policies.judge(&self.attributes),
            contradicts: self.contradicts,
            is_cloned: self.is_cloned,
            ports_in_use: &self.ports_in_use,
            lowest_port: self.lowest_port,
            isolates: self.isolates,
            is_disk_full: self.is_disk_full,
            coordinate: self.coordinates.coordinate(),
            tries: &self.tries,
            grid: &self.grid,
            allocation: &mut self.allocation,
        };
        let wrap: fn(DiscoveryMessage) -> Message = Message::Discovery;
        let out = SearchOut {
            lent: post.into_lent(wrap).answering(call, &mut self.reference),
            events: &mut self.search_events,
            silent: &mut self.silent,
        };
        (&mut self.discovery, call, Hosted { host, out })
    }
}

impl Host for SearchHost<'_> {
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
        self.grid.contacts().take(max).collect()
    }

    fn hold(&mut self, _: Instant, from: Handle, ask: &HoldAsk) -> HoldAnswer {
        if self.is_cloned {
            return HoldAnswer::Refused(HoldRefusal::Cloned);
        }
        if !self.isolates {
            return HoldAnswer::Refused(HoldRefusal::NotIsolated);
        }
        if self.is_disk_full {
            return HoldAnswer::Refused(HoldRefusal::Troubled);
        }
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
        if ask.ports.numbers().iter().any(|port| *port < self.lowest_port) {
            return HoldAnswer::Refused(HoldRefusal::PortTooLow);
        }
        if ask.ports.numbers().iter().any(|port| self.ports_in_use.contains(port)) {
            return HoldAnswer::Refused(HoldRefusal::PortTaken);
        }
        let (colocate, patience, is_spare, ports) = (ask.colocate, ask.patience, ask.is_spare, ask.ports);
        let ask = Ask { app: ask.app, resources, colocate, patience, is_spare, ports };
        match self.allocation.hold(self.call, from, ask) {
            Ok(id) => HoldAnswer::Granted { id },
            Err(refusal) => HoldAnswer::Refused(match refusal {
                allocation::HoldRefusal::Busy => HoldRefusal::Busy,
                allocation::HoldRefusal::PortTaken => HoldRefusal::PortTaken,
                allocation::HoldRefusal::TooMany => HoldRefusal::TooMany,
                allocation::HoldRefusal::SameApp => HoldRefusal::SameApp,
                allocation::HoldRefusal::Stopped => HoldRefusal::Stopped,
                allocation::HoldRefusal::Troubled | allocation::HoldRefusal::Stalled => HoldRefusal::Troubled,
            }),
        }
    }

    fn applications(&self, filter: &AppFilter, max: usize) -> (Vec<AppSummary>, u32) {
        summaries(self.allocation, self.call.now, filter, max)
    }
}

/// Beside the host: the way out.
pub(crate) struct SearchOut<'a, O> {
    pub lent: Lent<'a, O, fn(DiscoveryMessage) -> Message>,
    pub events: &'a mut VecDeque<SearchEvent>,
    /// Peers that were silent.
    pub silent: &'a mut Vec<Handle>,
}

impl<O: Output> Sink<DiscoveryMessage> for SearchOut<'_, O> {
    fn send(&mut self, to: Handle, message: DiscoveryMessage) {
        self.lent.send(to, message);
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.lent.contact_answered(peer);
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.silent.push(peer);
    }
}

impl<O> Events<SearchEvent> for SearchOut<'_, O> {
    fn event(&mut self, event: SearchEvent) {
        self.events.push_back(event);
    }
}
