//! Bringing an application to its agent and following how it goes on.

use std::time::Duration;

use xtreem_allocation::Application;
use xtreem_base::Digest;
use xtreem_client::api::{ErrorBody, ProgressLine, RecordView, SearchReport, SlotView};
use xtreem_client::{ClientError, JsonLines, OperatorClient};

use crate::app_file::AppFile;
use crate::exit::{Exit, Failure};
use crate::sign::encoded;

/// Gives the agent those files that it lacks; `told` hears the name of each before it is sent.
pub async fn upload(
    client: &OperatorClient,
    app: &AppFile,
    mut told: impl FnMut(&str),
) -> Result<(), Failure> {
    let mut sent: Vec<Digest> = Vec::new();
    for (file, named) in app.files.iter().zip(&app.program.files) {
        let digest = file.digest.to_string();
        if sent.contains(&file.digest) || client.has_file(&digest).await? {
            continue;
        }
        told(&named.path);
        client.put_file(&digest, &file.path).await?;
        sent.push(file.digest);
    }
    Ok(())
}

/// A submission under way. Dropping it before it was accepted gives it up.
pub struct Submission {
    lines: JsonLines<ProgressLine>,
    /// What is known so far.
    pub so_far: SoFar,
}

/// What a submission has come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SoFar {
    pub is_accepted: bool,
    /// The newest of each slot, by its number.
    pub slots: Vec<SlotView>,
    pub outcome: Option<Outcome>,
}

/// How a submission ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Complete {
        running: u16,
        done: u16,
        failed: u16,
    },
    /// This slot cannot be started; its holder goes on trying.
    Troubled {
        slot: u16,
        trouble: String,
    },
    NotPlaced(SearchReport),
    Beaten(RecordView),
    Failed(ErrorBody),
}

impl Submission {
    /// While too few nodes are found the agent tries again for as long as `wait`.
    pub async fn begin(
        client: &OperatorClient,
        application: &Application,
        wait: Option<Duration>,
    ) -> Result<Submission, Failure> {
        let lines = client.submit_within(encoded(application)?, wait).await?;
        Ok(Submission { lines, so_far: SoFar::default() })
    }

    /// The next step; `None` at the end, when the outcome is there.
    pub async fn next(&mut self) -> Result<Option<ProgressLine>, Failure> {
        if self.so_far.outcome.is_some() {
            return Ok(None);
        }
        match self.lines.next().await {
            Ok(Some(line)) => {
                self.so_far.take(&line);
                Ok(Some(line))
            }
            Ok(None) => {
                let reason = "it ended without an outcome".to_owned();
                Err(ClientError::Broken { reason, is_read: false }.into())
            }
            Err(e) => Err(e.into()),
        }
    }
}

impl SoFar {
    fn take(&mut self, line: &ProgressLine) {
        match line {
            ProgressLine::Held { .. } | ProgressLine::Waiting { .. } => {}
            ProgressLine::Accepted { .. } => self.is_accepted = true,
            ProgressLine::Slot { slot } => {
                match self.slots.binary_search_by_key(&slot.slot, |known| known.slot) {
                    Ok(at) => self.slots[at] = slot.clone(),
                    Err(at) => self.slots.insert(at, slot.clone()),
                }
            }
            ProgressLine::Complete { running, done, failed } => {
                self.outcome = Some(Outcome::Complete { running: *running, done: *done, failed: *failed });
            }
            ProgressLine::Troubled { slot, trouble } => {
                self.outcome = Some(Outcome::Troubled { slot: *slot, trouble: trouble.clone() });
            }
            ProgressLine::NotPlaced { report } => self.outcome = Some(Outcome::NotPlaced(report.clone())),
            ProgressLine::Beaten { by } => self.outcome = Some(Outcome::Beaten(by.clone())),
            ProgressLine::Failed { error } => self.outcome = Some(Outcome::Failed(error.clone())),
        }
    }

    /// The exit code that this outcome deserves.
    pub fn exit(&self) -> Exit {
        match &self.outcome {
            Some(Outcome::Complete { failed: 0, .. }) => Exit::Success,
            Some(Outcome::Complete { .. } | Outcome::Troubled { .. } | Outcome::NotPlaced(_)) => Exit::Failed,
            Some(Outcome::Beaten(_)) => Exit::Refused,
            Some(Outcome::Failed(error)) => {
                Failure::from(ClientError::Refused { status: 500, body: error.clone() }).exit
            }
            None => Exit::Indefinite,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_client::api::{ErrorKind, SlotPhase};

    fn slot(slot: u16, state: SlotPhase) -> ProgressLine {
        let none = None;
        let slot = SlotView {
            slot,
            state,
            epoch: none.clone(),
            node: none.clone(),
            address: none,
            exit: None,
            silent_s: None,
            trouble: None,
            last_lines: vec![],
            ports: std::collections::BTreeMap::new(),
        };
        ProgressLine::Slot { slot }
    }

    #[test]
    fn the_newest_word_on_each_slot_stays() {
        let mut so_far = SoFar::default();
        for line in [
            slot(2, SlotPhase::Starting),
            slot(0, SlotPhase::Running),
            ProgressLine::Accepted { id: String::new() },
            slot(2, SlotPhase::Running),
        ] {
            so_far.take(&line);
        }
        let slots: Vec<_> = so_far.slots.iter().map(|slot| (slot.slot, slot.state)).collect();
        assert_eq!(slots, [(0, SlotPhase::Running), (2, SlotPhase::Running)]);
        assert!(so_far.is_accepted && so_far.outcome.is_none());
    }

    #[test]
    fn every_outcome_has_its_exit_code() {
        let error = |kind| ErrorBody { error: String::new(), kind, hint: None };
        let table = [
            (Some(ProgressLine::Complete { running: 6, done: 0, failed: 0 }), Exit::Success),
            (Some(ProgressLine::Complete { running: 5, done: 0, failed: 1 }), Exit::Failed),
            (Some(ProgressLine::Troubled { slot: 0, trouble: "port in use".into() }), Exit::Failed),
            (Some(ProgressLine::Failed { error: error(ErrorKind::Definite) }), Exit::Failed),
            (Some(ProgressLine::Failed { error: error(ErrorKind::Indefinite) }), Exit::Indefinite),
            (None, Exit::Indefinite),
        ];
        for (line, exit) in table {
            let mut so_far = SoFar::default();
            line.iter().for_each(|line| so_far.take(line));
            assert_eq!(so_far.exit(), exit, "{line:?}");
        }
    }
}
