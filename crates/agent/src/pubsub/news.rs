//! What this agent says of the grid: of its own node, of nodes whose part of the ring it takes over, and of
//! slots, as far as it knows them at first hand.
//!
//! A slot's own agent says that its program runs or failed; who declares a holder lost says so, and who has
//! found another place for the slot says that. `docs/protocols/pubsub.md`, "Events of the grid".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use xtreem_allocation::{Epoch, Known, Notice, SlotState};
use xtreem_base::{AppId, NodeId};
use xtreem_net::Contacts;
use xtreem_overlay::ring::{self, Departure};
use xtreem_pubsub::{Pattern, Topic, reserved};

use crate::environment::epoch_text;

/// Applications whose events do not wait for a list of servers; of more they may. Our guess: far more than
/// one machine takes part in.
pub(super) const READY_MAX: usize = 256;

/// One event of the grid, or what it takes to say one at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Say(Said),
    /// This agent takes part in the application: something may happen to its slots.
    TakesPart(AppId),
    TakesPartNoMore(AppId),
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// The application it is of; without one the grid.
    pub app: Option<AppId>,
    /// Behind `grid/node/` or `app/ID/slot/`.
    pub what: String,
    /// Without its time.
    pub about: About,
}

/// The payload of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct About {
    /// The node that it is of: of a slot, its holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
    pub reason: String,
    /// Milliseconds since 1970, by the clock of the agent that says it.
    pub time: u64,
    /// Of the slot, or of the node's range on the ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// So many events were too many for one second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Said {
    pub(super) fn topic(&self) -> Option<Pattern<'static>> {
        let above = match self.app {
            Some(app) => format!("app/{app}/slot"),
            None => "grid/node".to_owned(),
        };
        Topic::new(format!("{above}/{}", self.what)).ok().map(Pattern::Topic)
    }

    pub(super) fn family(&self) -> String {
        self.app.map_or_else(String::new, |app| app.to_string())
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        let time = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
        // Plain values: nothing in them has no JSON.
        serde_json::to_vec(&About { time, ..self.about.clone() }).unwrap_or_default()
    }

    /// So many events of a family were not said by this node.
    pub(super) fn unsaid(own: NodeId, family: &str, count: u64) -> Said {
        let app = family.parse().ok();
        let what =
            if app.is_some() { reserved::LOST.to_owned() } else { format!("{own}/{}", reserved::LOST) };
        let reason = "more happened than one agent says in a second".to_owned();
        let about = About { node: Some(own.to_string()), reason, count: Some(count), ..About::default() };
        Said { app, what, about }
    }

    fn of_node(node: NodeId, what: &str, reason: &str, epoch: u64) -> News {
        let (of, reason, epoch) = (Some(node.to_string()), reason.to_owned(), Some(epoch.to_string()));
        let about = About { node: of, reason, epoch, ..About::default() };
        News::Say(Said { app: None, what: format!("{node}/{what}"), about })
    }

    fn of_slot(app: AppId, (slot, epoch): (u16, Epoch), node: NodeId, what: &str, reason: String) -> News {
        let (node, epoch) = (Some(node.to_string()), Some(epoch_text(&epoch)));
        let about = About { node, slot: Some(slot), reason, epoch, ..About::default() };
        News::Say(Said { app: Some(app), what: format!("{slot}/{what}"), about })
    }
}

/// What this node has said, as far as the next word depends on it.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    /// It has left its place on the ring to take another one.
    moves: bool,
    /// Applications that it takes part in.
    parts: BTreeSet<AppId>,
    /// What was said last of the slots that it holds.
    own: BTreeMap<(AppId, u16), (Epoch, SlotState)>,
}

impl Reporter {
    pub(crate) fn of_ring(&mut self, own: NodeId, event: &ring::Event) -> Option<News> {
        match *event {
            ring::Event::Left => {
                self.moves = true;
                None
            }
            // A node that goes to another place is not new to anybody.
            ring::Event::Joined { .. } if std::mem::take(&mut self.moves) => None,
            ring::Event::Joined { epoch } => {
                Some(Said::of_node(own, "joined", "it owns its part of the ring", epoch))
            }
            ring::Event::TookOver { from, how: Departure::Left, epoch } => {
                Some(Said::of_node(from, "left", "it said that it leaves", epoch))
            }
            ring::Event::TookOver { from, how: Departure::Vanished, epoch } => {
                Some(Said::of_node(from, "left", "its lease on the ring ended without a word of it", epoch))
            }
            _ => None,
        }
    }

    pub(crate) fn of_notice(&mut self, own: NodeId, notice: &Notice, contacts: &Contacts) -> Vec<News> {
        let node = |peer| contacts.of(peer).map(|contact| contact.id);
        match notice {
            Notice::SlotChanged { app, slot } => {
                let is_own = slot.holder.and_then(node) == Some(own);
                let said = if is_own { self.of_own(own, *app, slot) } else { None };
                self.takes_part(*app).into_iter().chain(said).collect()
            }
            Notice::HolderLost { app, slot: Some(slot), peer, epoch } => {
                let Some(lost) = node(*peer) else { return Vec::new() };
                let reason = "its node was declared lost: it does not answer".to_owned();
                vec![Said::of_slot(*app, (*slot, *epoch), lost, "failed", reason)]
            }
            Notice::SlotPlaced { app, slot, moves } => {
                let Some(holder) = slot.holder.and_then(node) else { return Vec::new() };
                let (what, reason) = if *moves {
                    ("moved", "it moves here from a node that goes on")
                } else {
                    ("replaced", "it was lost, and has a new holder")
                };
                vec![Said::of_slot(*app, (slot.slot, slot.epoch), holder, what, reason.to_owned())]
            }
            Notice::RecordChanged { record } if !record.is_stopped() => {
                self.takes_part(record.id).into_iter().collect()
            }
            Notice::AppLeft { app } => {
                self.own.retain(|(of, _), _| of != app);
                self.parts.remove(app);
                vec![News::TakesPartNoMore(*app)]
            }
            _ => Vec::new(),
        }
    }

    fn takes_part(&mut self, app: AppId) -> Option<News> {
        self.parts.insert(app).then_some(News::TakesPart(app))
    }

    /// What the slot's own agent says of its program.
    fn of_own(&mut self, own: NodeId, app: AppId, slot: &Known) -> Option<News> {
        let now = (slot.epoch, slot.state);
        if self.own.insert((app, slot.slot), now) == Some(now) {
            return None;
        }
        let (what, reason) = match slot.state {
            SlotState::Running => ("running", "its program runs".to_owned()),
            SlotState::Failing(exit) => {
                ("failed", format!("its program failed and is started again: {exit}"))
            }
            SlotState::Failed(exit) => ("failed", format!("its program failed: {exit}")),
            _ => return None,
        };
        Some(Said::of_slot(app, (slot.slot, slot.epoch), own, what, reason))
    }
}

/// Lists that are kept ready, one for each application.
#[derive(Debug, Default)]
pub(super) struct Ready(BTreeMap<AppId, Arc<Pattern<'static>>>);

impl Ready {
    /// The list to make, if it is new.
    pub fn add(&mut self, app: AppId) -> Option<Arc<Pattern<'static>>> {
        if self.0.len() >= READY_MAX || self.0.contains_key(&app) {
            return None;
        }
        let family = Arc::new(reserved::family_of_app(app)?);
        self.0.insert(app, family.clone());
        Some(family)
    }

    pub fn remove(&mut self, app: AppId) {
        self.0.remove(&app);
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Pattern<'static>>> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_allocation::Exit;

    const OWN: NodeId = NodeId::from_bytes([1; 16]);
    const OTHER: NodeId = NodeId::from_bytes([2; 16]);

    fn said(news: Option<News>) -> String {
        match news {
            Some(News::Say(said)) => said.topic().expect("a topic").text().into_owned(),
            _ => String::new(),
        }
    }

    #[test]
    fn a_node_that_goes_to_another_place_is_neither_gone_nor_new() {
        let mut reporter = Reporter::default();
        let joined = ring::Event::Joined { epoch: 1 };
        assert_eq!(said(reporter.of_ring(OWN, &joined)), format!("grid/node/{OWN}/joined"));
        assert_eq!(reporter.of_ring(OWN, &ring::Event::Left), None);
        assert_eq!(reporter.of_ring(OWN, &joined), None);
        assert_eq!(said(reporter.of_ring(OWN, &joined)), format!("grid/node/{OWN}/joined"));
        for (how, is_said) in
            [(Departure::Left, true), (Departure::Vanished, true), (Departure::Moves, false)]
        {
            let event = ring::Event::TookOver { from: OTHER, how, epoch: 2 };
            let expected = if is_said { format!("grid/node/{OTHER}/left") } else { String::new() };
            assert_eq!(said(reporter.of_ring(OWN, &event)), expected);
        }
    }

    #[test]
    fn a_slots_own_agent_says_that_it_runs_or_failed_and_nothing_of_the_rest() {
        let app = AppId::from_bytes([9; 16]);
        let of = |state| {
            let slot = Known { slot: 3, epoch: Epoch::NONE, holder: None, state };
            said(Reporter::default().of_own(OWN, app, &slot))
        };
        assert_eq!(of(SlotState::Running), format!("app/{app}/slot/3/running"));
        assert_eq!(of(SlotState::Failed(Exit::Code(1))), format!("app/{app}/slot/3/failed"));
        assert_eq!(of(SlotState::Failing(Exit::Signal(9))), format!("app/{app}/slot/3/failed"));
        assert_eq!(of(SlotState::Starting), "");
        // Once.
        let slot = Known { slot: 3, epoch: Epoch::NONE, holder: None, state: SlotState::Running };
        let mut reporter = Reporter::default();
        assert!(reporter.of_own(OWN, app, &slot).is_some() && reporter.of_own(OWN, app, &slot).is_none());
    }

    #[test]
    fn every_topic_that_is_said_is_one_that_others_believe() {
        let app = AppId::from_bytes([9; 16]);
        let slot = (3, Epoch::NONE);
        let all = [
            Said::of_node(OWN, "joined", "", 1),
            Said::of_node(OTHER, "left", "", 1),
            Said::of_slot(app, slot, OTHER, "replaced", String::new()),
            Said::of_slot(app, slot, OTHER, "moved", String::new()),
            News::Say(Said::unsaid(OWN, "", 7)),
            News::Say(Said::unsaid(OWN, &app.to_string(), 7)),
        ];
        let third = NodeId::from_bytes([3; 16]);
        for news in all {
            let News::Say(said) = news else { panic!("{news:?}") };
            let topic = said.topic().expect("a topic");
            assert!(reserved::may_say(OWN, third, &topic) && reserved::family(&topic).is_some(), "{topic}");
            let payload = String::from_utf8(said.payload()).expect("text");
            assert!(payload.contains("\"time\":1") || payload.contains("\"time\":2"), "{payload}");
        }
    }
}
