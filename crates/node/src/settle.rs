//! After each input: drains effects, search events and messages to the node itself until nothing is left.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use xtreem_allocation::placement::Candidate;
use xtreem_allocation::{Ask, Effect, Ticket};
use xtreem_base::{AppId, Duration, Handle, Instant, NodeId, Rng};
use xtreem_discovery::trie::Trie;
use xtreem_discovery::{
    AppFilter, AppSummary, Claimant, Ended, FactsAsk, HoldAsk, Plan, Query, Report, Requirement, Role,
    SearchEvent, SearchSpec, SetQuery,
};
use xtreem_membership::Cyclon;

use crate::adapters::{AllocationHost, Post, SearchOut};
use crate::node::{allocation_host, post, search_out};
use crate::policy::claimant;
use crate::{Description, Event, Message, Node, Output, Progress, Relay};

/// More steps than this for one input mean that two cores keep each other busy: a bug, not a load.
const STEPS_MAX: usize = 100_000;

/// How long the applications of an owner are searched for. Our guess: what a submission may wait for it; on a grid
/// that cannot be visited whole in it, some are missed.
const COUNT_LIMIT: Duration = Duration::from_secs(3);
/// How long a node to be near to is searched for. Our guess, as for the count.
const LOCATE_LIMIT: Duration = Duration::from_secs(3);
/// Applications that one count remembers; with more, the limit is long passed.
const COUNTED_MAX: usize = 4_096;

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

/// Of a requirement that wants a set: its submission holds the whole set or nothing, so that a part of it is not looked for
/// and the attempt ends.
fn search_for_slots(
    requirement: &str,
    hold: HoldAsk,
    (wanted, facts): (u16, FactsAsk),
) -> Option<SearchSpec> {
    if SetQuery::is_meant(requirement) {
        let set = SetQuery::parse(requirement).ok()?.of_exactly(wanted).ok()?;
        return Some(SearchSpec::set(set, Some(hold)));
    }
    let requirement = Requirement::parse(requirement).ok()?;
    let query = Query::Nodes { requirement, hold: Some(hold) };
    Some(SearchSpec { facts: Some(facts), ..SearchSpec::new(query, u32::from(wanted)) })
}

/// For an application that this node has forgotten meanwhile.
fn nobody() -> Claimant {
    Claimant { owner: NodeId::from_bytes([0; 16]), roles: 0, name: String::new(), slots: 0 }
}

impl Node {
    pub(crate) fn settle(&mut self, now: Instant, out: &mut impl Output) {
        for peer in core::mem::take(&mut self.silent) {
            self.tries.forget(now, peer);
        }
        for _ in 0..STEPS_MAX {
            self.allocation.tell_revoked(allocation_host!(self, out));
            if let Some(effect) = self.effects.pop_front() {
                self.carry_out(now, effect, out);
            } else if let Some(event) = self.search_events.pop_front() {
                self.on_search_event(now, event, out);
            } else if let Some(message) = self.loopback.pop_front() {
                self.dispatch(now, self.me.handle, message, out);
            } else {
                return self.watch_connection(now, out);
            }
        }
        panic!("a node keeps itself busy for ever");
    }

    fn carry_out(&mut self, now: Instant, effect: Effect, out: &mut impl Output) {
        match effect {
            Effect::Search { ticket, requirement, ask, wanted, exclude, facts } => {
                self.search_for(now, ticket, &requirement, ask, (wanted, facts), exclude, out);
            }
            Effect::CancelSearch(ticket) => {
                let id = self.tickets.iter().find(|(_, t)| **t == Some(ticket)).map(|(id, _)| *id);
                if let Some(id) = id {
                    self.tickets.insert(id, None);
                    self.discovery.cancel(now, id, search_out!(self, now, out));
                }
            }
            Effect::Locate { app, node } => self.locate(now, app, &node, out),
            Effect::CountOwner { app, owner } => self.count(now, app, owner, out),
            Effect::AskOthers { about, helpers } => {
                for helper in helpers {
                    post!(self, out).send(helper, Message::Relay(Relay::Ask { about }));
                }
            }
            Effect::Start { run, application, sources, restarts } => out.event(Event::StartProgram {
                run,
                name: application.record.name.clone(),
                slots: application.record.slots,
                spec: application.spec.clone(),
                sources,
                restarts,
            }),
            Effect::KeepFiles { application, sources } => {
                let (app, spec) = (application.record.id, application.spec);
                out.event(Event::KeepFiles { app, spec, sources });
            }
            Effect::Stop { run, why } => out.event(Event::StopProgram { run, why }),
            Effect::JoinCollection { app, members } => {
                let (me, config) = (self.me.handle, &self.config.app_membership);
                let seed = self.me.id.as_u64() ^ u64::from(self.me.incarnation);
                let stream = u64::from_be_bytes(app.as_bytes()[..8].try_into().unwrap_or_default());
                let collection = self
                    .collections
                    .entry(app)
                    .or_insert_with(|| Cyclon::new(config, me, Rng::derive(seed, stream, "collection"), now));
                members.into_iter().filter(|peer| *peer != me).for_each(|peer| collection.seed(config, peer));
            }
            Effect::LeaveCollection { app } => {
                self.collections.remove(&app);
            }
            Effect::SlotChanged { app, slot } => out.event(Event::SlotChanged { app, slot }),
            Effect::RecordChanged { record } => out.event(Event::RecordChanged { record }),
            Effect::AppLeft { app } => {
                self.collections.remove(&app);
                out.event(Event::AppLeft { app });
            }
            Effect::HolderLost { app, slot, peer } => out.event(Event::HolderLost { app, slot, peer }),
            Effect::Submission { app, progress } => self.on_progress(app, progress, out),
            Effect::RecordTaken { app, by, newer } => out.event(Event::RecordTaken { app, by, newer }),
            Effect::Described { from, record, slots, guardians, placement } => {
                let app = record.id;
                out.event(Event::Described {
                    app,
                    from,
                    description: Description { record, slots, guardians, placement },
                });
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one effect")]
    fn search_for(
        &mut self,
        now: Instant,
        ticket: Ticket,
        requirement: &str,
        ask: Ask,
        (wanted, facts): (u16, FactsAsk),
        exclude: Vec<Handle>,
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
            by: self.allocation.record(ask.app).map_or_else(nobody, claimant).into(),
        };
        // Whoever signed the application wrote the requirement: one that does not parse finds nobody.
        if let Some(spec) = search_for_slots(requirement, hold, (wanted, facts)) {
            let spec = SearchSpec { exclude, ..spec };
            let id = self.discovery.next_id();
            self.tickets.insert(id, Some(ticket));
            if self.start_search(now, spec, out).is_ok() {
                return;
            }
            self.tickets.remove(&id);
        }
        self.allocation.search_done(now, ticket, allocation_host!(self, out));
    }

    /// Looks for the node that has this host name, id or address, and for where it stands.
    fn locate(&mut self, now: Instant, app: AppId, node: &str, out: &mut impl Output) {
        // The placement lets letters, digits and `-_.:[]%` through: nothing that could end the text.
        let requirement = format!("host == \"{node}\" || id == \"{node}\" || address == \"{node}\"");
        if let Ok(requirement) = Requirement::parse(&requirement) {
            let query = Query::Nodes { requirement, hold: None };
            let facts = Some(FactsAsk::default());
            let spec = SearchSpec { deadline: LOCATE_LIMIT, facts, ..SearchSpec::new(query, 1) };
            let id = self.discovery.next_id();
            self.locating.insert(id, (app, None));
            if self.start_search(now, spec, out).is_ok() {
                return;
            }
            self.locating.remove(&id);
        }
        self.allocation.located(now, app, None, allocation_host!(self, out));
    }

    /// Counts what an owner holds with applications other than this one.
    fn count(&mut self, now: Instant, app: AppId, owner: NodeId, out: &mut impl Output) {
        let query = Query::Applications(AppFilter::Owner(owner));
        let spec = SearchSpec { deadline: COUNT_LIMIT, ..SearchSpec::new(query, u32::MAX) };
        let id = self.discovery.next_id();
        self.counts.insert(id, Count { app, owner, found: BTreeMap::new() });
        if self.start_search(now, spec, out).is_err() {
            self.counts.remove(&id);
            // Too many searches run: what is known here has to do.
            self.allocation.counted(now, app, self.allocation.slots_of(owner), allocation_host!(self, out));
        }
    }

    fn on_search_event(&mut self, now: Instant, event: SearchEvent, out: &mut impl Output) {
        match event {
            SearchEvent::Match { search, facts, .. } if self.locating.contains_key(&search) => {
                if let Some((_, coordinate)) = self.locating.get_mut(&search) {
                    *coordinate = facts.and_then(|facts| facts.coordinate);
                }
            }
            SearchEvent::Done { search, .. } if self.locating.contains_key(&search) => {
                if let Some((app, coordinate)) = self.locating.remove(&search) {
                    self.allocation.located(now, app, coordinate, allocation_host!(self, out));
                }
            }
            SearchEvent::Match { search, peer, hold, attributes, facts } => {
                match (self.tickets.get(&search), hold) {
                    (Some(Some(ticket)), Some(hold)) => {
                        let candidate =
                            Candidate { peer, hold, facts: facts.map(|facts| *facts).unwrap_or_default() };
                        self.allocation.found(now, *ticket, candidate, allocation_host!(self, out));
                    }
                    (Some(_), Some(hold)) => self.allocation.release(peer, hold, allocation_host!(self, out)),
                    _ => out.event(Event::Match { search, peer, attributes }),
                }
            }
            SearchEvent::Applications { search, peer, list } => match self.counts.get_mut(&search) {
                Some(count) => count.add(&list),
                None => out.event(Event::Applications { search, peer, list }),
            },
            SearchEvent::Surplus { peer, hold } => {
                self.allocation.release(peer, hold, allocation_host!(self, out));
            }
            SearchEvent::Done { search, .. } if self.counts.contains_key(&search) => {
                if let Some(count) = self.counts.remove(&search) {
                    let (app, held) = (count.app, count.total());
                    self.allocation.counted(now, app, held, allocation_host!(self, out));
                }
            }
            SearchEvent::Done { search, mut report } => {
                report.grid_size_estimate = self.grid_size(&report);
                match self.tickets.remove(&search) {
                    Some(Some(ticket)) => {
                        self.last_report = matches!(ticket, Ticket::Submission(_)).then_some(report);
                        self.allocation.search_done(now, ticket, allocation_host!(self, out));
                    }
                    Some(None) => {}
                    None => out.event(Event::SearchDone { search, report }),
                }
            }
        }
    }

    /// What a report says of the grid's size: a node whose trie does not count it yet knows it from aggregation, unless
    /// the search has been everywhere.
    fn grid_size(&self, report: &Report) -> Option<u32> {
        let is_counted = self.tries.get(None).is_some_and(Trie::is_settled);
        let was_everywhere = report.plan != Plan::Gather && report.ended == Ended::Exhausted;
        if is_counted || was_everywhere {
            return report.grid_size_estimate;
        }
        self.aggregates.size().map(|size| size.max(report.answered)).or(report.grid_size_estimate)
    }

    fn on_progress(&mut self, app: AppId, progress: xtreem_allocation::Progress, out: &mut impl Output) {
        use xtreem_allocation::Progress as From;
        let progress = match progress {
            From::Held { nodes, wanted } => Progress::Held { nodes, wanted },
            From::NotPlaced => Progress::NotPlaced { report: self.last_report.take() },
            From::Waiting { attempts, pause } => {
                Progress::Waiting { attempts, pause, report: self.last_report.take() }
            }
            From::NoSuchNode { node } => Progress::NoSuchNode { node },
            From::Forbidden(refusal) => Progress::Forbidden { refusal },
            From::Beaten { by } => Progress::Beaten { by },
            From::Accepted => Progress::Accepted,
            From::Slot { slot, state, holder } => Progress::Slot { slot, state, holder },
            From::Complete { running, done, failed } => Progress::Complete { running, done, failed },
        };
        out.event(Event::Submission { app, progress });
    }
}
