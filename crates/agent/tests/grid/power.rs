//! All machines lose their power at once.

use xtreem_agent::program::{FileRef, Program};
use xtreem_client::api::SlotPhase;

use crate::lab::{Lab, until};
use crate::{all_run, shell};

pub async fn all_agents_are_killed_at_once_and_everything_runs_again() {
    let mut lab = Lab::of(5).await;
    let script = format!(
        "#!/bin/sh\necho slot $XTREEM_SLOT runs\nwhile :; do sleep 1; done\n#{}\n",
        "x".repeat(700_000)
    );
    let file = lab.upload(script.as_bytes()).await;
    let web = Program {
        command: vec!["./program".into()],
        files: vec![FileRef { path: "program".into(), executable: true, ..file }],
        ..Program::default()
    };
    let web = lab.application("web", 3, &web);
    let solo =
        lab.through(2, lab.application("solo", 1, &shell("echo solo runs; while :; do sleep 1; done")));
    let job = lab.through(3, lab.application("job", 1, &shell("echo work")));
    let old = lab.through(4, lab.application("old", 1, &shell("while :; do sleep 1; done")));
    // Each from another node.
    for (at, app) in [(0, &web), (2, &solo), (3, &job), (4, &old)] {
        lab.place_at(at, app).await;
    }
    let id = |app: &xtreem_allocation::Application| app.record.id.to_string();
    let client = lab.agents[0].client.clone();
    until("the job is done", async || {
        client.app(&id(&job)).await.is_ok_and(|shown| shown.slots[0].state == SlotPhase::Done)
    })
    .await;
    client.publish(&id(&old), lab.stopped(&old)).await.expect("taken");
    until("what is to run runs, and nothing else", async || {
        let web = client.app(&id(&web)).await;
        web.is_ok_and(|shown| all_run(&shown)) && lab.programs().len() == 4
    })
    .await;
    let before = client.app(&id(&web)).await.expect("it runs");

    lab.cut_power().await;
    until("all of it runs again", async || {
        let (web, solo) = (client.app(&id(&web)).await, client.app(&id(&solo)).await);
        let web_runs = web.is_ok_and(|now| {
            let is_newer = now.slots.iter().zip(&before.slots).all(|(now, then)| now.epoch > then.epoch);
            all_run(&now) && is_newer
        });
        web_runs && solo.is_ok_and(|now| all_run(&now)) && lab.programs().len() == 4
    })
    .await;
    until("its output is shown", async || lab.log(&id(&web), 1).await.contains("slot 1 runs")).await;
    let job = client.app(&id(&job)).await.expect("it is known");
    assert_eq!(job.slots[0].state, SlotPhase::Done, "{job:?}");
    until("nobody is cut off", async || {
        for agent in &lab.agents {
            if agent.client.node().await.is_ok_and(|node| node.cut_off) {
                return false;
            }
        }
        true
    })
    .await;
    // What was stopped or done has had time enough to start again, if anything let it.
    assert_eq!(lab.programs().len(), 4, "{:?}", lab.programs());
}

pub async fn a_node_that_is_to_join_others_waits_for_them_before_it_accepts_anything() {
    let mut lab = Lab::of(1).await;
    let app = lab.application("alone", 1, &shell("exec sleep 600"));
    lab.place(&app).await;
    let told = "though no other node was met";
    assert!(!lab.agents[0].log().contains(told), "nobody to wait for");
    let id = lab.agents[0].id.clone();
    lab.kill(&id);
    lab.lose_state(&id);
    lab.join_nobody(&id);
    lab.restart(&id).await;
    lab.place(&app).await;
    assert!(lab.agents[0].log().contains(told), "{}", lab.agents[0].log());
}
