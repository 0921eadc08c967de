//! `xtreem stop`: the owner's last word on an application.

use clap::Args;
use serde::Serialize;
use xtreem_client::api::{AppShow, RecordReply, SlotPhase, WantedView};

use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::user::Credential;
use crate::{output, sign, text, which};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  xtreem stop web\n  xtreem stop 1f2e3d4c\n\nA stopped application stays \
                        stopped; `xtreem run` submits it as a new one."
)]
pub struct Arguments {
    /// Name, id, or the beginning of an id (4 characters or more)
    app: String,
    #[command(flatten)]
    agent: AgentSocket,
    #[command(flatten)]
    user: Credential,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Stopped<'a> {
    id: &'a str,
    #[serde(flatten)]
    reply: &'a RecordReply,
    /// It had ended before, and nothing was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
}

/// How an application is over that nobody stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Ended {
    done: usize,
    failed: usize,
    /// Seconds since then, where a node knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_s: Option<u64>,
}

impl Ended {
    /// Nothing while a slot may still run: `failed` slots are given up, too.
    fn of(shown: &AppShow) -> Option<Ended> {
        let in_phase = |phase| shown.slots.iter().filter(|slot| slot.state == phase).count();
        let (done, failed) = (in_phase(SlotPhase::Done), in_phase(SlotPhase::Failed));
        let is_over = !shown.slots.is_empty() && done + failed == shown.slots.len();
        is_over.then_some(Ended { done, failed, ended_s: None })
    }

    fn told(&self, id: &str) -> String {
        let when = self.ended_s.map_or_else(|| "by itself".to_owned(), text::ago);
        let Ended { done, failed, .. } = self;
        format!("{id} ended {when}: {done} done, {failed} failed. Nothing was changed: xtreem show {id}")
    }
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let user = arguments.user.load()?;
    let client = arguments.agent.client()?;
    let (id, reply, ended) = block_on(async {
        let id = which::find(&client, &arguments.app).await?;
        let shown = client.app(&id).await?;
        let ended = Ended::of(&shown);
        let current = shown.record;
        if current.wanted == WantedView::Stopped {
            return Ok((id, RecordReply { taken_by: 0, newer: Some(current) }, None));
        }
        if let Some(ended) = ended {
            // Who stops it takes the logs away, and nothing else.
            let listed = client.apps(Some(&current.name), true).await?.apps;
            let ended_s = listed.into_iter().find(|app| app.id == id).and_then(|app| app.ended_s);
            return Ok((id, RecordReply { taken_by: 0, newer: None }, Some(Ended { ended_s, ..ended })));
        }
        let record = sign::stopped(&current, &user)?;
        let reply = client.publish(&id, sign::encoded(&record)?).await?;
        Ok((id, reply, None))
    })?;
    if arguments.json {
        output::print_json(&Stopped { id: &id, reply: &reply, ended })?;
    } else {
        let words = ended.map_or_else(|| told(&id, &reply), |ended| ended.told(&id));
        output::print(&(words + "\n"))?;
    }
    Ok(if ended.is_some() { Exit::Success } else { exit(&reply) })
}

fn told(id: &str, reply: &RecordReply) -> String {
    match (&reply.newer, reply.taken_by) {
        (Some(newer), _) if newer.wanted == WantedView::Stopped => format!("{id} was stopped already."),
        (Some(newer), _) => {
            format!("{id} is not stopped: generation {} is newer. Try again.", newer.generation)
        }
        (None, 0) => format!("{id} is not stopped: no node that runs it could be told. Try again."),
        (None, 1) => format!("{id} is stopped: 1 node was told and tells the others."),
        (None, nodes) => format!("{id} is stopped: {nodes} nodes were told and tell the others."),
    }
}

fn exit(reply: &RecordReply) -> Exit {
    match &reply.newer {
        Some(newer) if newer.wanted == WantedView::Running => Exit::Failed,
        None if reply.taken_by == 0 => Exit::Failed,
        _ => Exit::Success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_client::api::RecordView;

    #[test]
    fn what_is_over_by_itself_is_not_stopped() {
        let shown = |states: &[&str]| {
            let slots: Vec<_> =
                states.iter().map(|state| serde_json::json!({ "slot": 0, "state": state })).collect();
            serde_json::from_value::<AppShow>(serde_json::json!({
                "record": {
                    "id": "12", "owner": "34", "name": "web", "spec_digest": "56", "slots": slots.len(),
                    "generation": 1, "wanted": "running", "submitter": "78",
                },
                "slots": slots,
                "guardians": [],
            }))
            .expect("an application")
        };
        type Row = (&'static [&'static str], Option<(usize, usize)>);
        let table: [Row; 5] = [
            (&["done", "done", "failed"], Some((2, 1))),
            (&["done", "running"], None),
            (&["done", "failing"], None),
            (&["done", "unknown"], None),
            (&[], None),
        ];
        for (states, expected) in table {
            let ended = Ended::of(&shown(states));
            assert_eq!(ended.map(|ended| (ended.done, ended.failed)), expected, "{states:?}");
        }
        let ended = Ended { done: 2, failed: 1, ended_s: Some(300) };
        assert_eq!(
            ended.told("12"),
            "12 ended 5 min ago: 2 done, 1 failed. Nothing was changed: xtreem show 12"
        );
    }

    #[test]
    fn only_a_word_that_counts_is_success() {
        let newer = |wanted| {
            Some(RecordView {
                id: String::new(),
                owner: String::new(),
                name: "web".to_owned(),
                spec_digest: String::new(),
                slots: 1,
                generation: 7,
                wanted,
                submitter: String::new(),
            })
        };
        let table = [
            (3, None, Exit::Success, "3 nodes were told"),
            (0, None, Exit::Failed, "no node"),
            (1, newer(WantedView::Stopped), Exit::Success, "stopped already"),
            (1, newer(WantedView::Running), Exit::Failed, "generation 7 is newer"),
        ];
        for (taken_by, newer, expected, words) in table {
            let reply = RecordReply { taken_by, newer };
            assert_eq!(exit(&reply), expected);
            assert!(told("12", &reply).contains(words), "{}", told("12", &reply));
        }
    }
}
