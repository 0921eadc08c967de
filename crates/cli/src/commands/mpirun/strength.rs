//! Waits until all slots run, as one run of MPI needs all of them.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use xtreem_client::api::{AppShow, SlotPhase, SlotView, WantedView};
use xtreem_client::{ClientError, OperatorClient};

use super::round::Loss;
use crate::exit::{Exit, Failure};
use crate::text;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// A slot that was lost and still runs as before, as far as the grid says, is believed to after so long: the
/// way to it was lost, and not the slot. Longer than a loss takes to be noticed.
const BELIEVED_AFTER: Duration = Duration::from_secs(30);
/// So long an agent may fail to tell of the application.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A run of a slot that was lost.
struct Suspect {
    slot: u16,
    epoch: Option<String>,
    since: Instant,
}

/// Which runs of slots are not to be waited for any more.
#[derive(Default)]
pub struct Strength {
    suspects: Vec<Suspect>,
    /// As they were seen last.
    slots: Vec<SlotView>,
}

impl Strength {
    /// These slots were lost just now.
    pub fn lost(&mut self, losses: &[Loss]) {
        for Loss { slot, .. } in losses {
            let seen = self.slots.iter().find(|seen| seen.slot == *slot);
            let epoch = seen.and_then(|seen| seen.epoch.clone());
            self.suspects.retain(|suspect| suspect.slot != *slot);
            self.suspects.push(Suspect { slot: *slot, epoch, since: Instant::now() });
        }
    }

    /// Returns once all slots run. Says on standard error what is waited for.
    pub async fn reach(&mut self, client: &OperatorClient, id: &str) -> Result<(), Failure> {
        let (mut said, mut answered_at) = (String::new(), Instant::now());
        loop {
            match client.app(id).await {
                Ok(shown) => {
                    answered_at = Instant::now();
                    let missing = self.missing(&shown, answered_at)?;
                    self.slots = shown.slots;
                    if missing.is_empty() {
                        self.suspects.clear();
                        return Ok(());
                    }
                    let words = format!("xtreem mpirun: waiting for {}", missing.join(", "));
                    if words != said {
                        eprintln!("{words}");
                        said = words;
                    }
                }
                Err(error @ ClientError::Unreachable { .. }) => return Err(error.into()),
                Err(error) if answered_at.elapsed() > SILENCE_MAX => return Err(error.into()),
                Err(_) => {}
            }
            sleep(LOOK).await;
        }
    }

    /// Slots that do not run, in words.
    fn missing(&self, shown: &AppShow, now: Instant) -> Result<Vec<String>, Failure> {
        if shown.record.wanted == WantedView::Stopped {
            return Err(Failure::new(Exit::Failed, "the application was stopped meanwhile"));
        }
        let mut missing = Vec::new();
        for view in &shown.slots {
            match view.state {
                SlotPhase::Done | SlotPhase::Failed => {
                    let state = text::apps::slot_state(view);
                    return Err(Failure::new(Exit::Failed, format!("slot {} is {state}", view.slot)));
                }
                SlotPhase::Running if !self.is_suspect(view, now) => {}
                SlotPhase::Running => missing.push(format!("slot {} (lost)", view.slot)),
                _ => missing.push(format!("slot {} ({})", view.slot, text::apps::slot_state(view))),
            }
        }
        let known = shown.slots.len();
        if known < usize::from(shown.record.slots) {
            missing.push(text::count(usize::from(shown.record.slots) - known, "more slot"));
        }
        Ok(missing)
    }

    fn is_suspect(&self, view: &SlotView, now: Instant) -> bool {
        let is_it = |suspect: &&Suspect| suspect.slot == view.slot && suspect.epoch == view.epoch;
        self.suspects.iter().find(is_it).is_some_and(|suspect| now - suspect.since < BELIEVED_AFTER)
    }

    /// The node of a slot, as it was seen last.
    pub fn node(&self, slot: u16) -> String {
        let seen = self.slots.iter().find(|seen| seen.slot == slot);
        let node = seen.and_then(|seen| seen.node.as_deref());
        node.map_or_else(|| format!("slot {slot}"), |node| format!("slot {slot} on {}", text::short(node)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(wanted: &str, slots: &[(&str, &str)]) -> AppShow {
        let view = |(number, (state, epoch)): (usize, &(&str, &str))| serde_json::json!({ "slot": number, "state": state, "epoch": epoch, "node": "ab12cd34ef" });
        let slots: Vec<_> = slots.iter().enumerate().map(view).collect();
        serde_json::from_value(serde_json::json!({
            "record": {
                "id": "12", "owner": "34", "name": "pi", "spec_digest": "56", "slots": 2,
                "generation": 1, "wanted": wanted, "submitter": "78",
            },
            "slots": slots,
            "guardians": [],
        }))
        .expect("an application")
    }

    #[test]
    fn a_lost_slot_is_waited_for_until_it_runs_anew() {
        let runs = shown("running", &[("running", "1"), ("running", "1")]);
        let mut strength = Strength { slots: runs.slots.clone(), ..Strength::default() };
        let none: Vec<String> = vec![];
        let now = Instant::now();
        assert_eq!(strength.missing(&runs, now), Ok(none.clone()));
        strength.lost(&[Loss { slot: 1, why: String::new() }]);
        assert_eq!(strength.missing(&runs, now), Ok(vec!["slot 1 (lost)".to_owned()]));
        let starts = shown("running", &[("running", "1"), ("starting", "2")]);
        assert_eq!(strength.missing(&starts, now), Ok(vec!["slot 1 (starting)".to_owned()]));
        let anew = shown("running", &[("running", "1"), ("running", "2")]);
        assert_eq!(strength.missing(&anew, now), Ok(none.clone()));
        // The way to it was lost only.
        let later = Instant::now() + BELIEVED_AFTER;
        assert_eq!(strength.missing(&runs, later), Ok(none));
        assert_eq!(strength.node(1), "slot 1 on ab12cd34");
        assert_eq!(strength.node(7), "slot 7");
    }

    #[test]
    fn what_is_over_is_not_waited_for() {
        let (strength, now) = (Strength::default(), Instant::now());
        let stopped = shown("stopped", &[("running", "1"), ("running", "1")]);
        assert!(
            strength.missing(&stopped, now).is_err_and(|failure| failure.message.contains("was stopped"))
        );
        let failed = shown("running", &[("running", "1"), ("failed", "1")]);
        assert!(
            strength.missing(&failed, now).is_err_and(|failure| failure.message.contains("slot 1 is failed"))
        );
        let few = shown("running", &[("running", "1")]);
        assert_eq!(strength.missing(&few, now), Ok(vec!["1 more slot".to_owned()]));
    }
}
