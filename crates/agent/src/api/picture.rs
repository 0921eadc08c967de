//! One application as its members know it, put together by asking them.
//!
//! No node knows a whole application: each knows the slots around its own. So holders are asked, and then the
//! holders that they name, until nobody new is named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration as StdDuration;

use axum::http::StatusCode;
use tokio::time::{Instant, timeout_at};
use xtreem_allocation::{Description, Known, Notice, Record, Silence};
use xtreem_base::{AppId, Duration, Handle};
use xtreem_discovery::{AppFilter, Query, SearchSpec};
use xtreem_net::{Contact, Contacts, Named};
use xtreem_node::Event;

use super::error::ApiError;
use super::search;
use crate::agent::Agent;
use crate::waiting::{Subscription, Topic};

/// Longest walk from member to member.
const WALK_MAX: StdDuration = StdDuration::from_secs(3);
/// When every slot is known, those who have not answered yet get so much longer (our guess: a round trip
/// between continents).
const LINGER: StdDuration = StdDuration::from_millis(300);
/// Members asked in one walk.
const ASKED_MAX: usize = 1_024;
/// Members asked at one time.
const ASKED_AT_ONCE: usize = 32;
/// Longest search for a first member.
const SEARCH_MAX: Duration = Duration::from_secs(5);
/// Members after which that search ends: some may be gone already.
const FIRST_MEMBERS: u32 = 3;
/// The same of an application that is over, beside its slots: nobody watches it any more, so that each member
/// names itself alone, and guardians, the submitter and earlier holders are met, too. Our guess.
const OTHER_MEMBERS: u32 = 8;
/// And in all.
const LAST_MEMBERS_MAX: u32 = 256;

/// What members say, merged.
pub(super) struct Picture {
    pub(super) record: Record,
    /// Of the specification.
    pub(super) placement: String,
    pub(super) slots: BTreeMap<u16, Known>,
    pub(super) guardians: BTreeSet<Handle>,
    /// Members that were asked and have not answered.
    pub(super) silent: BTreeSet<Handle>,
    /// Members that answered.
    pub(super) answered: BTreeSet<Handle>,
    /// Members, this node among them, that know it as stopped: they run and guard nothing of it.
    ended: BTreeSet<Handle>,
    /// Of slots whose watchers hear nothing of them: seconds since one of them did.
    pub(super) silences: BTreeMap<u16, u32>,
    /// Who all these are.
    pub(super) contacts: Contacts,
}

impl Picture {
    fn new(from: Handle, Named { what: description, contacts }: Named<Description>) -> Self {
        let mut picture = Picture {
            record: description.record.clone(),
            placement: String::new(),
            slots: BTreeMap::new(),
            guardians: BTreeSet::new(),
            silent: BTreeSet::new(),
            answered: BTreeSet::new(),
            ended: BTreeSet::new(),
            silences: BTreeMap::new(),
            contacts: Contacts::default(),
        };
        picture.merge(from, Named { what: description, contacts });
        picture
    }

    /// The newest record counts; of a slot the highest epoch, under one epoch the later state, and of that
    /// who names the holder.
    fn merge(&mut self, from: Handle, Named { what: description, contacts }: Named<Description>) {
        self.contacts.extend(contacts);
        if description.record.is_stopped() {
            self.ended.insert(from);
        }
        if description.record.version() > self.record.version() {
            self.record = description.record;
        }
        if !description.placement.is_empty() {
            self.placement = description.placement;
        }
        self.guardians.extend(description.guardians);
        for Silence { slot, seconds } in description.silences {
            let least = self.silences.entry(slot).or_insert(seconds);
            *least = seconds.min(*least);
        }
        for known in description.slots {
            let age = |known: &Known| (known.epoch, known.state, known.holder.is_some());
            let is_newer = |old: &Known| age(&known) > age(old);
            if self.slots.get(&known.slot).is_none_or(is_newer) {
                self.slots.insert(known.slot, known);
            }
        }
    }

    fn members(&self) -> impl Iterator<Item = Handle> + '_ {
        self.slots.values().filter_map(|known| known.holder).chain(self.guardians.iter().copied())
    }

    fn is_covered(&self) -> bool {
        (0..self.record.slots).all(|slot| self.slots.contains_key(&slot))
    }

    /// Where the holder of a slot is.
    pub(super) fn holder(&self, known: &Known) -> Option<Contact> {
        self.contacts.of(known.holder?)
    }

    /// Its holder was asked just now, as everybody it watches asks it, and does not answer.
    pub(super) fn is_silent(&self, known: &Known) -> bool {
        !known.state.is_final() && known.holder.is_some_and(|holder| self.silent.contains(&holder))
    }

    /// Without what somebody who has not heard of the stop says of those who have.
    fn without_the_stopped(mut self) -> Self {
        self.slots.retain(|_, known| {
            known.state.is_final() || known.holder.is_none_or(|holder| !self.ended.contains(&holder))
        });
        self.guardians.retain(|guardian| !self.ended.contains(guardian));
        self
    }

    /// It is over, and nobody who was asked names the node of one of its slots.
    fn misses_holders(&self) -> bool {
        !self.record.is_stopped()
            && self.slots.values().all(|known| known.state.is_final())
            && (0..self.record.slots)
                .any(|slot| self.slots.get(&slot).is_none_or(|known| known.holder.is_none()))
    }

    /// Every slot is known to be over.
    pub(super) fn is_over(&self) -> bool {
        self.is_covered() && self.slots.values().all(|known| known.state.is_final())
    }

    /// Everybody who is to hear of a new record.
    pub(super) fn everybody(&self) -> BTreeSet<Handle> {
        self.members().chain(self.answered.iter().copied()).collect()
    }
}

/// Looks for members and asks them all; nothing when none was found.
pub(super) async fn look(agent: &Arc<Agent>, app: AppId) -> Result<Option<Picture>, ApiError> {
    let own = agent.node(move |node, now, _| node.app(now, app)).await?;
    let mut first: Vec<Handle> = Vec::new();
    if own.is_none_or(|description| description.slots.iter().all(|known| known.holder.is_none())) {
        first = members(agent, app, FIRST_MEMBERS).await?;
    }
    let picture = walk(agent, app, first).await?;
    match picture {
        Some(picture) if picture.misses_holders() => {
            let wanted = (u32::from(picture.record.slots) + OTHER_MEMBERS).min(LAST_MEMBERS_MAX);
            walk(agent, app, members(agent, app, wanted).await?).await
        }
        picture => Ok(picture),
    }
}

/// So many nodes that know something of the application.
async fn members(agent: &Arc<Agent>, app: AppId, wanted: u32) -> Result<Vec<Handle>, ApiError> {
    let filter = Query::Applications(AppFilter::Id(app));
    let spec = SearchSpec { deadline: SEARCH_MAX, ..SearchSpec::new(filter, wanted) };
    Ok(search::run(agent, spec).await?.applications.into_iter().map(|(peer, _)| peer).collect())
}

/// Asks this node, these members and those they name.
pub(super) async fn walk(
    agent: &Arc<Agent>,
    app: AppId,
    first: Vec<Handle>,
) -> Result<Option<Picture>, ApiError> {
    let mut answers = agent.waiting.subscribe(Topic::Described(app))?;
    let me = agent.node(|node, _, _| node.me().handle).await?;
    let Named { what: own, contacts } = agent.net.call_named(move |node, now, _| node.app(now, app)).await?;
    let mut picture = own.map(|own| Picture::new(me, Named { what: own, contacts }));
    let mut asked = BTreeSet::from([me]);
    let mut waiting: BTreeSet<Handle> = BTreeSet::new();
    let mut next: Vec<Handle> = first;
    let end = Instant::now() + WALK_MAX;
    loop {
        next.extend(picture.iter().flat_map(Picture::members));
        next.retain(|member| !asked.contains(member));
        while waiting.len() < ASKED_AT_ONCE && asked.len() < ASKED_MAX {
            let Some(member) = next.pop() else { break };
            if asked.insert(member) {
                waiting.insert(member);
                agent.tell(move |node, now, out| node.describe(now, app, member, out)).await;
            }
        }
        if waiting.is_empty() {
            return Ok(picture.map(Picture::without_the_stopped));
        }
        let is_covered = picture.as_ref().is_some_and(Picture::is_covered);
        let until = if is_covered { end.min(Instant::now() + LINGER) } else { end };
        let Ok((from, description)) = timeout_at(until, answer(&mut answers)).await else {
            return Ok(silent(picture, waiting));
        };
        waiting.remove(&from);
        match &mut picture {
            None => picture = Some(Picture::new(from, description)),
            Some(picture) => picture.merge(from, description),
        }
        picture.iter_mut().for_each(|picture| {
            picture.answered.insert(from);
        });
    }
}

fn silent(picture: Option<Picture>, waiting: BTreeSet<Handle>) -> Option<Picture> {
    picture.map(|picture| Picture { silent: waiting, ..picture }.without_the_stopped())
}

async fn answer(answers: &mut Subscription) -> (Handle, Named<Description>) {
    loop {
        let Named { what, contacts } = answers.event().await;
        if let Event::Allocation(Notice::Described { from, description, .. }) = what {
            return (from, Named { what: description, contacts });
        }
    }
}

/// The answer to a question about an application that nobody knows.
pub(super) fn nobody_knows(app: AppId) -> ApiError {
    let error = format!("no node that could be asked knows application {app}");
    ApiError::definite(StatusCode::NOT_FOUND, error).with_hint("`xtreem apps` lists those that are known")
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_allocation::{Epoch, Exit, SlotState, Wanted};
    use xtreem_base::{Digest, NodeId};

    const ASKED: Handle = Handle::from_u32(9);

    fn description(generation: u32, slots: &[(u16, u32, SlotState)]) -> Named<Description> {
        let id = NodeId::from_bytes([1; 16]);
        let record = Record {
            id: AppId::from_bytes([1; 16]),
            owner: id,
            name: "web".into(),
            spec_digest: Digest::from_bytes([0; 32]),
            slots: 2,
            generation,
            wanted: Wanted::Running,
            proof: [].into(),
            submitter: id,
        };
        let known = |&(slot, counter, state): &(u16, u32, SlotState)| Known {
            slot,
            epoch: Epoch { counter, recruiter: id, incarnation: 1, attempt: 1 },
            holder: Some(Handle::from_u32(counter)),
            state,
        };
        Named::without_peers(Description {
            record,
            slots: slots.iter().map(known).collect(),
            guardians: Vec::new(),
            placement: String::new(),
            silences: Vec::new(),
        })
    }

    #[test]
    fn the_highest_epoch_counts_then_the_later_state() {
        use SlotState::{Done, Running, Starting};
        let mut picture = Picture::new(ASKED, description(1, &[(0, 1, Running)]));
        assert!(!picture.is_covered());
        picture.merge(ASKED, description(2, &[(0, 2, Starting), (1, 1, Running)]));
        picture.merge(ASKED, description(1, &[(0, 1, Done(Exit::Code(0))), (1, 1, Done(Exit::Code(0)))]));
        assert_eq!((picture.record.generation, picture.is_covered()), (2, true));
        assert_eq!((picture.slots[&0].epoch.counter, picture.slots[&0].state), (2, Starting));
        assert_eq!(picture.slots[&1].state, Done(Exit::Code(0)));
        assert!(!picture.is_over());
    }

    #[test]
    fn what_is_stopped_runs_nowhere_where_the_stop_is_known() {
        use SlotState::{Done, Running};
        // One who has left tells the old record, and names holders 1, 2 and 3.
        let ended = (2, 3, Done(Exit::Code(0)));
        let mut old = description(1, &[(0, 1, Running), (1, 2, Running), ended]);
        old.what.guardians = vec![Handle::from_u32(1), Handle::from_u32(4)];
        let stopped = || {
            let mut stopped = description(2, &[]);
            stopped.what.record.wanted = Wanted::Stopped;
            stopped
        };
        let mut picture = Picture::new(ASKED, old);
        picture.merge(Handle::from_u32(1), stopped());
        picture.merge(Handle::from_u32(3), stopped());
        let picture = picture.without_the_stopped();
        assert!(picture.record.is_stopped());
        // Holder 2 has not answered: it may run.
        assert_eq!(picture.slots.keys().collect::<Vec<_>>(), [&1, &2]);
        assert_eq!(picture.guardians, [Handle::from_u32(4)].into());
    }

    #[test]
    fn an_ended_slot_whose_holder_nobody_names_is_missed() {
        use SlotState::{Done, Running};
        let mut two = description(1, &[(0, 1, Done(Exit::Code(0))), (1, 1, Done(Exit::Code(0)))]);
        assert!(!Picture::new(ASKED, two.clone()).misses_holders());
        two.what.slots[1].holder = None;
        assert!(Picture::new(ASKED, two.clone()).misses_holders());
        two.what.slots[0].state = Running;
        assert!(!Picture::new(ASKED, two).misses_holders(), "whoever holds slot 0 watches slot 1");
        assert!(Picture::new(ASKED, description(1, &[(0, 1, Done(Exit::Code(0)))])).misses_holders());
    }
}
