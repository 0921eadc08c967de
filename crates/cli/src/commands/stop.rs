//! `xtreem stop`: the owner's last word on an application.

use clap::Args;
use serde::Serialize;
use xtreem_client::api::{RecordReply, WantedView};

use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::user::Credential;
use crate::{output, sign, which};

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
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let user = arguments.user.load()?;
    let client = arguments.agent.client()?;
    let (id, reply) = block_on(async {
        let id = which::find(&client, &arguments.app).await?;
        let current = client.app(&id).await?.record;
        if current.wanted == WantedView::Stopped {
            return Ok((id, RecordReply { taken_by: 0, newer: Some(current) }));
        }
        let record = sign::stopped(&current, &user)?;
        let reply = client.publish(&id, sign::encoded(&record)?).await?;
        Ok((id, reply))
    })?;
    if arguments.json {
        output::print_json(&Stopped { id: &id, reply: &reply })?;
    } else {
        output::print(&(told(&id, &reply) + "\n"))?;
    }
    Ok(exit(&reply))
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
