//! What programs leave behind, and the agents that have to live with it.

use std::time::Duration;

use crate::lab::{Lab, until};
use crate::{all_run, shell};

/// Files that the program leaves: their removal takes seconds on a slow disk.
const FILES: usize = 20_000;
const LEVELS: usize = 1_500;
/// Longest time in which the agent answers its operator meanwhile, which is far more than it needs.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A healthy application shares all its nodes with one that leaves a mountain, which is then stopped.
pub async fn removing_a_mountain_of_files_disturbs_nobody() {
    let lab = Lab::of(4).await;
    let steady = lab.application("steady", 3, &shell("exec sleep 600"));
    lab.place(&steady).await;
    let script = format!(
        "mkdir many && (cd many && seq {FILES} | xargs touch) && \
         (n=0; while [ $n -lt {LEVELS} ]; do mkdir d && cd d || exit 1; n=$((n+1)); done) && \
         echo made; exec sleep 600"
    );
    let mountain = lab.application("mountain", 2, &shell(&script));
    lab.place(&mountain).await;
    let id = mountain.record.id.to_string();
    until("both have made their files", async || {
        lab.log(&id, 0).await.contains("made") && lab.log(&id, 1).await.contains("made")
    })
    .await;
    let steady_id = steady.record.id.to_string();
    let before = lab.agents[0].client.app(&steady_id).await.expect("it runs");
    assert!(all_run(&before), "{before:?}");

    lab.agents[0].client.publish(&id, lab.stopped(&mountain)).await.expect("taken");
    until("all of it is gone", async || {
        for agent in &lab.agents {
            let answer = tokio::time::timeout(ANSWER_MAX, agent.client.node()).await;
            answer.expect("the agent answers while it removes files").expect("a status");
        }
        lab.leftovers().is_empty()
    })
    .await;
    let after = lab.agents[0].client.app(&steady_id).await.expect("it runs");
    let epochs = |shown: &xtreem_client::api::AppShow| {
        shown.slots.iter().map(|slot| slot.epoch.clone()).collect::<Vec<_>>()
    };
    assert_eq!(epochs(&before), epochs(&after), "no slot was started again");
    for agent in &lab.agents {
        assert!(
            !lab.agent_log(&agent.id).contains("a holder was declared lost"),
            "nobody was taken for dead"
        );
    }
}

pub async fn an_agent_starts_whatever_its_slots_left() {
    let mut lab = Lab::of(1).await;
    let script = "mkdir -p d/e a/b && touch d/e/f a/b/c && chmod 000 d/e && chmod -R a-w a && chmod 000 d \
                  && echo made; exec sleep 600";
    let app = lab.application("spiteful", 1, &shell(script));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("it has done its worst", async || lab.log(&id, 0).await.contains("made")).await;
    let agent = lab.agents[0].id.clone();
    lab.kill(&agent);
    until("the program has died with it", async || lab.leftovers().len() == 1).await;
    let status = lab.restart(&agent).await;
    assert_eq!(status.left_behind.count, 0);
    until("its leftovers are gone", async || lab.leftovers().is_empty()).await;
}
