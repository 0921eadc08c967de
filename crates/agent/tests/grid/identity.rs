//! Who a node is: its key, its starts, and others with the same key.

use std::time::{Duration, SystemTime};

use xtreem_client::api::{AttributeValue, ProgressLine, SearchRequest};

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
    // The number that a start begins with is the second of it, counted from the year 2026.
    let year = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let second = || year.elapsed().expect("a clock that is right").as_secs();
    until("another second has begun", async || second() > before.into()).await;
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

/// Two run with one key: both say so with both addresses, the later one is marked and takes no slots.
pub async fn a_cloned_machine_is_told_of_on_both_and_the_later_one_takes_no_slots() {
    let mut lab = Lab::of(2).await;
    let worker = lab.agents[1].id.clone();
    let original = lab.status(&worker).await;
    let clone = lab.clone_of(&worker).await;
    let copy = clone.client.node().await.expect("an answer");
    assert!(copy.id == original.id && copy.incarnation > original.incarnation);
    until("both logs and both nodes name both addresses", async || {
        for agent in [&lab.agents[1], &clone] {
            let troubles = agent.client.node().await.expect("an answer").troubles;
            let is_named = |text: &str| {
                text.contains("used by two machines")
                    && text.contains(&original.address)
                    && text.contains(&copy.address)
            };
            if !troubles.iter().any(|trouble| is_named(trouble)) || !agent.log().lines().any(is_named) {
                return false;
            }
        }
        true
    })
    .await;
    until("a search marks the one that the grid listens to", async || {
        let request = SearchRequest { limit: 10, timeout_ms: Some(2_000), ..SearchRequest::default() };
        let found = lab.agents[0].client.search(&request).await.map_or(Vec::new(), |reply| reply.matches);
        let mark = found
            .iter()
            .find(|node| node.id == worker)
            .and_then(|node| node.attributes.get("identity.cloned"));
        mark == Some(&AttributeValue::Text(original.address.clone()))
    })
    .await;
    let app = lab.application("refused", 1, &shell("exec sleep 600"));
    until("the report says why nobody took it", async || {
        let lines = lab.submit(&app).await;
        matches!(lines.last(), Some(ProgressLine::NotPlaced { report }) if report.refused.cloned == 1)
    })
    .await;
}

/// Its state is lost and its clock is late: what it hears of itself is enough to be a member again.
pub async fn a_node_whose_last_start_was_higher_than_its_clock_says_starts_again_above_it() {
    let mut lab = Lab::of(2).await;
    let worker = lab.agents[1].id.clone();
    lab.kill(&worker);
    // As if the clock had been far ahead at that start.
    lab.set_last_incarnation(&worker, 4_000_000_000);
    assert_eq!(lab.restart(&worker).await.incarnation, 4_000_000_001);
    let first = lab.application("first", 1, &shell("exec sleep 600"));
    lab.place(&first).await;
    lab.kill(&worker);
    lab.lose_state(&worker);
    lab.restart(&worker).await;
    until("it has taken a higher number than the grid knew", async || {
        let agent = &lab.agents[1];
        agent.client.node().await.is_ok_and(|node| node.incarnation > 4_000_000_001)
    })
    .await;
    let second = lab.application("second", 1, &shell("exec sleep 600"));
    let lines = lab.place(&second).await;
    assert!(matches!(lines.last(), Some(ProgressLine::Complete { running: 1, .. })), "{lines:?}");
}

/// Its `join` names itself, a dead machine and a name that nobody knows.
pub async fn a_node_whose_join_names_nobody_finds_its_grid_again_by_the_contacts_that_it_kept() {
    let mut lab = Lab::of(3).await;
    let last = lab.agents[2].id.clone();
    assert!(lab.terminate(&last).await.success());
    lab.join_nobody(&last);
    lab.restart(&last).await;
    until("it knows both others again", async || lab.status(&last).await.contacts == 2).await;
    until("it says which name leads nowhere", async || lab.agents[2].log().contains("no-such-name.invalid"))
        .await;
}
