//! Who a node is: its key, its starts, and others with the same key.

use xtreem_client::api::ProgressLine;

use crate::lab::{Lab, until};
use crate::shell;

/// Others know higher starts of it than it does itself: they must not take it for an older run.
pub async fn a_node_that_lost_its_state_but_not_its_key_takes_applications_again() {
    let mut lab = Lab::of(2).await;
    let worker = lab.agents[1].id.clone();
    let first = lab.application("first", 1, &shell("exec sleep 600"));
    lab.place(&first).await;
    let before = lab.status(&worker).await.incarnation;
    lab.kill(&worker);
    lab.lose_state(&worker);
    let again = lab.restart(&worker).await;
    assert!((again.id == worker) && again.incarnation > before, "{again:?}");
    let second = lab.application("second", 1, &shell("exec sleep 600"));
    let lines = lab.place(&second).await;
    assert!(matches!(lines.last(), Some(ProgressLine::Complete { running: 1, .. })), "{lines:?}");
}

/// Neither side can check the other's certificate; both say whose it is and what to do.
pub async fn nodes_of_two_vos_are_told_so_on_both_sides() {
    let lab = Lab::of(1).await;
    let intruder = lab.intruder().await;
    let own = lab.status(&lab.agents[0].id).await.vo;
    let theirs = intruder.client.node().await.expect("an answer").vo;
    until("both logs name both VOs and what to do", async || {
        [&lab.agents[0], &intruder].iter().all(|agent| {
            let log = agent.log();
            let is_told = |line: &str| {
                line.contains(&own) && line.contains(&theirs) && line.contains("xtreem vo invite")
            };
            log.lines().any(is_told) && !log.contains("BadSignature")
        })
    })
    .await;
}
