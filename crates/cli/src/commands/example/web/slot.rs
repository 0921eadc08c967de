//! What the application knows of itself: asked of the agent, kept for a second, and told by its event stream.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use xtreem_client::api::{Peer, SlotEvent, SlotSelf, WantedView};
use xtreem_client::{ClientError, SlotClient};

use crate::text;

/// Peers that are asked for.
const PEERS: u16 = 4;
/// How long an answer of the agent is shown: many requests a second must not become as many questions.
const FRESH: Duration = Duration::from_secs(1);
/// Membership changes that are remembered; the oldest go first.
const CHANGES_MAX: usize = 20;
/// Between two tries to listen to the agent's events.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Shared by all requests.
pub(super) struct Slot {
    client: Option<SlotClient>,
    started: Instant,
    requests: AtomicU64,
    answer: tokio::sync::Mutex<Option<(Instant, Answer)>>,
    changes: Mutex<VecDeque<Change>>,
}

type Answer = Result<(SlotSelf, Vec<Peer>), String>;

/// One membership change.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Change {
    /// Seconds after this program's start.
    pub(super) at_seconds: u64,
    pub(super) what: String,
}

/// Everything the page and `/whoami` show.
#[derive(Debug, Serialize)]
pub(super) struct View {
    /// Absent outside a grid, and while the agent does not answer.
    #[serde(flatten)]
    pub(super) whoami: Option<SlotSelf>,
    pub(super) peers: Vec<Peer>,
    /// The newest first.
    pub(super) changes: Vec<Change>,
    pub(super) uptime_seconds: u64,
    /// Requests answered by this program, this one included.
    pub(super) requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Slot {
    pub(super) fn new(client: Option<SlotClient>) -> Slot {
        Slot {
            client,
            started: Instant::now(),
            requests: AtomicU64::new(0),
            answer: tokio::sync::Mutex::new(None),
            changes: Mutex::new(VecDeque::new()),
        }
    }

    pub(super) async fn view(&self) -> View {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let (whoami, peers, error) = match self.ask().await {
            Ok((whoami, peers)) => (Some(whoami), peers, None),
            Err(error) => (None, Vec::new(), Some(error)),
        };
        // A panic while the lock was held cannot have left the list half changed.
        let changes =
            self.changes.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect();
        View { whoami, peers, changes, uptime_seconds: self.started.elapsed().as_secs(), requests, error }
    }

    /// The agent's answer, at most [`FRESH`] old. Concurrent requests wait for one question.
    async fn ask(&self) -> Answer {
        let Some(client) = &self.client else {
            return Err("this program runs in no grid: it was not started by an xtreem agent".to_owned());
        };
        let mut kept = self.answer.lock().await;
        match &*kept {
            Some((asked, answer)) if asked.elapsed() < FRESH => answer.clone(),
            _ => {
                let both =
                    async { Ok::<_, ClientError>((client.whoami().await?, client.peers(PEERS).await?)) };
                let answer = both.await.map_err(|e| e.to_string());
                *kept = Some((Instant::now(), answer.clone()));
                answer
            }
        }
    }

    fn note(&self, what: String) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() == CHANGES_MAX {
            changes.pop_front();
        }
        changes.push_back(Change { at_seconds: self.started.elapsed().as_secs(), what });
    }
}

/// Notes membership changes until aborted; listens again whenever the stream ends.
pub(super) async fn keep_listening(slot: Arc<Slot>) {
    let Some(client) = &slot.client else { return };
    loop {
        if let Ok(mut events) = client.events().await {
            while let Ok(Some(event)) = events.next().await {
                slot.note(described(&event));
            }
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

fn described(event: &SlotEvent) -> String {
    match event {
        SlotEvent::Slot(slot) => match &slot.address {
            Some(address) => format!("slot {} {} at {address}", slot.slot, text::apps::slot_state(slot)),
            None => format!("slot {} {}", slot.slot, text::apps::slot_state(slot)),
        },
        SlotEvent::Lost(peer) => match peer.slot {
            Some(slot) => format!("slot {slot} lost with {}", peer.address),
            None => format!("{} lost", peer.address),
        },
        SlotEvent::Record(record) => match record.wanted {
            WantedView::Running => {
                format!(
                    "{} wanted (generation {})",
                    text::count(record.slots.into(), "slot"),
                    record.generation
                )
            }
            WantedView::Stopped => "the application is stopped".to_owned(),
        },
        SlotEvent::Collection(event) => format!("collection {} changed", event.name),
        SlotEvent::Told(told) => format!("slot {} told all of {} something", told.slot, told.name),
        SlotEvent::Dropped(events) => format!("{} missed", text::count(*events as usize, "change")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_changes_are_forgotten() {
        let slot = Slot::new(None);
        for n in 0..=CHANGES_MAX {
            slot.note(n.to_string());
        }
        let changes = slot.changes.lock().expect("no panic");
        assert_eq!((changes.len(), changes[0].what.as_str()), (CHANGES_MAX, "1"));
    }

    #[tokio::test]
    async fn without_an_agent_the_view_says_so_and_counts() {
        let slot = Slot::new(None);
        slot.view().await;
        let view = slot.view().await;
        assert_eq!((view.requests, view.whoami.is_none()), (2, true));
        assert!(view.error.expect("a reason").contains("no grid"));
    }
}
