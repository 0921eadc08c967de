//! Tries at the start how programs can be shut in on this machine, and says it aloud.

use std::path::Path;
use std::sync::Arc;

use crate::agent::Agent;
use crate::exec::{self, Plan};

/// Starts a program that ends at once, in the way in which slots are started.
pub(crate) async fn probe(agent: Arc<Agent>) {
    let name = agent.state.name_of("probe");
    let (dir, log_dir) = (agent.state.slots_dir().join(&name), agent.state.logs_dir().join(&name));
    let outcome = match std::fs::create_dir_all(&dir) {
        Ok(()) => {
            let plan = Plan {
                hidden: agent.hidden(),
                isolation: agent.config.isolation,
                ..Plan::new(vec!["true".into()], dir.clone(), log_dir.clone())
            };
            match exec::start(plan, Path::new(crate::SELF_EXE)).await {
                Ok(mut running) => {
                    running.wait().await;
                    Ok(running.isolation().clone())
                }
                Err(error) => Err(error.to_string()),
            }
        }
        Err(error) => Err(error.to_string()),
    };
    let words = match outcome {
        Ok(isolation) => {
            match &isolation {
                exec::Isolation::Namespaces => tracing::info!(%isolation, "isolation of programs"),
                exec::Isolation::ProcessGroup { .. } => tracing::warn!(%isolation, "isolation of programs"),
            }
            isolation.to_string()
        }
        Err(reason) => {
            tracing::error!(%reason, "no program can be started on this machine");
            format!("no program can be started: {reason}")
        }
    };
    let _ = agent.isolation.set(words);
    agent.trash.discard(dir);
    agent.trash.discard(log_dir);
}
