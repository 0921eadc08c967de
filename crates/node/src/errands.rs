//! What searches are made for when it is not a user who asked: one table, one entry a search.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use xtreem_allocation::placement::Candidate;
use xtreem_allocation::{Ask, Ticket};
use xtreem_base::{AppId, Coordinate, Duration, Handle, Instant, NodeId};
use xtreem_discovery::trie::Trie;
use xtreem_discovery::{
    AppFilter, AppSummary, Claimant, Ended, FactsAsk, HoldAsk, Need, Plan, Query, Report, Requirement, Role,
    SearchEvent, SearchId, SearchSpec, StartRefusal,
};

use crate::parts::policies::claimant;
use crate::{Event, Node, Output};

/// How long the applications of an owner are searched for. Our guess: what a submission may wait for it; on a
/// grid that cannot be visited whole in it, some are missed.
const COUNT_LIMIT: Duration = Duration::from_secs(3);
/// How long a node to be near to is searched for. Our guess, as for the count.
const LOCATE_LIMIT: Duration = Duration::from_secs(3);
/// Visits beyond those that find a node, so that a submission without a choice finds each node that matches
/// with equal odds. Our guess: two nodes of a grid of 100,000, or all of a small application on a smaller
/// one; who replaces a lost slot is in a hurry, and who chooses among many has them from all over the grid
/// anyway.
const ROAMS: u32 = 32;
/// Applications that one count remembers; with more, the limit is long passed.
const COUNTED_MAX: usize = 4_096;

/// For whom a search looks. One without an errand is a user's.
pub(crate) enum Errand {
    /// Nodes that the allocation core wants to hold.
    Recruit(Ticket),
    /// It has cancelled the search: what is still held for it is released.
    Cancelled,
    /// A node for an application to be near to, and where it stands once it is found.
    Locate { app: AppId, coordinate: Option<Coordinate> },
    /// What the owner of an application holds beside it.
    Count(Count),
}

/// The applications of one owner, as a search finds them.
pub(crate) struct Count {
    app: AppId,
    owner: NodeId,
    /// The slots of each.
    found: BTreeMap<AppId, u16>,
}

impl Count {
    fn add(&mut self, list: &[AppSummary]) {
        let counts = |summary: &&AppSummary| {
            let takes_part = matches!(summary.role, Role::Holder | Role::Guardian);
            summary.id != self.app && summary.owner == self.owner && !summary.stopped && takes_part
        };
        for summary in list.iter().filter(counts) {
            if self.found.len() < COUNTED_MAX {
                let slots = self.found.entry(summary.id).or_default();
                *slots = summary.slots.max(*slots);
            }
        }
    }

    fn total(&self) -> u32 {
        self.found.values().map(|slots| u32::from(*slots)).sum()
    }
}

/// For an application that this node has forgotten meanwhile.
fn nobody() -> Claimant {
    Claimant { owner: NodeId::from_bytes([0; 16]), roles: 0, name: String::new(), slots: 0 }
}

impl Node {
    /// Starts a search and remembers for whom. A refused one leaves nothing behind.
    fn send_out(
        &mut self,
        now: Instant,
        spec: SearchSpec,
        errand: Errand,
        out: &mut impl Output,
    ) -> Result<(), StartRefusal> {
        let id = self.discovery.next_id();
        self.errands.insert(id, errand);
        self.start_search(now, spec, out).inspect_err(|_| drop(self.errands.remove(&id)))?;
        Ok(())
    }

    /// Looks for nodes to hold.
    pub(crate) fn recruit(
        &mut self,
        now: Instant,
        (ticket, need, exclude): (Ticket, &Need, Vec<Handle>),
        ask: Ask,
        (wanted, facts): (u16, FactsAsk),
        out: &mut impl Output,
    ) {
        let hold = HoldAsk {
            app: ask.app,
            cores_milli: ask.resources.cores_milli,
            memory_bytes: ask.resources.memory_bytes,
            disk_bytes: ask.resources.disk_bytes,
            colocate: ask.colocate,
            patience: ask.patience,
            is_spare: ask.is_spare,
            ports: ask.ports,
            by: self.allocation.record(ask.app).map_or_else(nobody, claimant).into(),
        };
        // A submission holds a whole set or nothing: a part of one is not looked for.
        if let Ok(spec) = SearchSpec::slots(need, wanted, Some(hold)) {
            // Who is in a set the search itself decides, and needs no facts for it.
            let facts = spec.set.is_none().then_some(facts);
            let is_unhurried = matches!(ticket, Ticket::Submission(_)) && !ask.is_spare;
            let by_lot = Some(if is_unhurried { ROAMS } else { 0 });
            let spec = SearchSpec { exclude, facts, by_lot, ..spec };
            if self.send_out(now, spec, Errand::Recruit(ticket), out).is_ok() {
                return;
            }
        }
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.handle_search_done(call, ticket, None, &mut host);
    }

    pub(crate) fn cancel_recruiting(&mut self, now: Instant, ticket: Ticket, out: &mut impl Output) {
        let is_its = |errand: &Errand| matches!(errand, Errand::Recruit(its) if *its == ticket);
        if let Some((id, errand)) = self.errands.iter_mut().find(|(_, errand)| is_its(errand)) {
            *errand = Errand::Cancelled;
            let id = *id;
            self.cancel(now, id, out);
        }
    }

    /// Looks for the node that has this host name, id or address, and for where it stands.
    pub(crate) fn locate(&mut self, now: Instant, app: AppId, node: &str, out: &mut impl Output) {
        // The placement lets letters, digits and `-_.:[]%` through: nothing that could end the text.
        let requirement = format!("host == \"{node}\" || id == \"{node}\" || address == \"{node}\"");
        if let Ok(requirement) = Requirement::parse(&requirement) {
            let query = Query::Nodes { requirement, hold: None };
            let facts = Some(FactsAsk::default());
            let spec = SearchSpec { deadline: LOCATE_LIMIT, facts, ..SearchSpec::new(query, 1) };
            let errand = Errand::Locate { app, coordinate: None };
            if self.send_out(now, spec, errand, out).is_ok() {
                return;
            }
        }
        let (allocation, call, mut host) = self.allocating(now, out);
        allocation.handle_located(call, app, None, &mut host);
    }

    /// Counts what an owner holds with applications other than this one.
    pub(crate) fn count(&mut self, now: Instant, app: AppId, owner: NodeId, out: &mut impl Output) {
        let query = Query::Applications(AppFilter::Owner(owner));
        let spec = SearchSpec { deadline: COUNT_LIMIT, ..SearchSpec::new(query, u32::MAX) };
        let errand = Errand::Count(Count { app, owner, found: BTreeMap::new() });
        if self.send_out(now, spec, errand, out).is_err() {
            // Too many searches run: what is known here has to do.
            let (allocation, call, mut host) = self.allocating(now, out);
            allocation.handle_counted(call, app, allocation.slots_of(owner), &mut host);
        }
    }

    /// Hands what a search says to whoever sent it out; to the host when that was a user.
    pub(crate) fn on_search_event(&mut self, now: Instant, event: SearchEvent, out: &mut impl Output) {
        match event {
            SearchEvent::Surplus { peer, hold } => self.release(now, peer, hold, out),
            SearchEvent::Match { search, peer, hold, attributes, facts } => {
                match (self.errands.get_mut(&search), hold) {
                    (Some(Errand::Recruit(ticket)), Some(hold)) => {
                        let (ticket, facts) = (*ticket, facts.map(|facts| *facts).unwrap_or_default());
                        let candidate = Candidate { peer, hold, facts };
                        let (allocation, call, mut host) = self.allocating(now, out);
                        allocation.handle_found(call, ticket, candidate, &mut host);
                    }
                    (Some(Errand::Locate { coordinate, .. }), _) => {
                        *coordinate = facts.and_then(|facts| facts.coordinate);
                    }
                    (Some(_), Some(hold)) => self.release(now, peer, hold, out),
                    // Without a hold nobody but a user makes use of it.
                    (Some(_), None) => {}
                    (None, hold) => {
                        let event = SearchEvent::Match { search, peer, hold, attributes, facts };
                        out.event(Event::Search(event));
                    }
                }
            }
            SearchEvent::Applications { search, peer, list, left_out } => match self.errands.get_mut(&search)
            {
                Some(Errand::Count(count)) => count.add(&list),
                Some(_) => {}
                None => {
                    let event = SearchEvent::Applications { search, peer, list, left_out };
                    out.event(Event::Search(event));
                }
            },
            SearchEvent::Done { search, report } => self.on_search_done(now, search, report, out),
        }
    }

    fn on_search_done(&mut self, now: Instant, search: SearchId, mut report: Report, out: &mut impl Output) {
        report.grid_size_estimate = self.grid_size(&report);
        let errand = self.errands.remove(&search);
        let (allocation, call, mut host) = self.allocating(now, out);
        match errand {
            Some(Errand::Recruit(ticket)) => {
                allocation.handle_search_done(call, ticket, Some(report), &mut host);
            }
            Some(Errand::Locate { app, coordinate }) => {
                allocation.handle_located(call, app, coordinate, &mut host);
            }
            Some(Errand::Count(count)) => {
                allocation.handle_counted(call, count.app, count.total(), &mut host);
            }
            Some(Errand::Cancelled) => {}
            None => out.event(Event::Search(SearchEvent::Done { search, report })),
        }
    }

    fn release(&mut self, now: Instant, peer: Handle, hold: u64, out: &mut impl Output) {
        let (allocation, _, mut host) = self.allocating(now, out);
        allocation.release(peer, hold, &mut host);
    }

    /// What a report says of the grid's size: a node whose trie does not count it yet knows it from
    /// aggregation, unless the search has been everywhere.
    fn grid_size(&self, report: &Report) -> Option<u32> {
        let is_counted = self.tries.get(None).is_some_and(Trie::is_settled);
        let was_everywhere = report.plan != Plan::Gather && report.ended == Ended::Exhausted;
        if is_counted || was_everywhere {
            return report.grid_size_estimate;
        }
        self.aggregates.size().map(|size| size.max(report.answered)).or(report.grid_size_estimate)
    }
}
