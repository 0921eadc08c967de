//! Applications that are over, as other nodes and those that had a part in them show them.

use xtreem_client::api::{SlotPhase, WantedView};

use crate::lab::{Lab, until};
use crate::{all_run, holder, shell};

pub async fn a_stopped_application_is_not_listed_as_running_by_who_left_it_before() {
    let mut lab = Lab::of(4).await;
    let app = lab.application("moved", 1, &shell("exec sleep 600"));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    let first = holder(&lab.agents[0].client.app(&id).await.expect("it runs"), 0);
    lab.kill(&first);
    until("the slot runs elsewhere", async || {
        let shown = lab.agents[0].client.app(&id).await;
        shown.is_ok_and(|shown| all_run(&shown) && holder(&shown, 0) != first)
    })
    .await;
    lab.restart(&first).await;
    until("the old holder is back, has heard of the new one, and has left", async || {
        let apps = lab.agents[0].client.apps(None, false).await;
        let member = |app: &xtreem_client::api::AppSummary| app.holders.iter().any(|at| at.node == first);
        lab.status(&first).await.used.cores_milli == 0 && apps.is_ok_and(|list| !list.apps.iter().any(member))
    })
    .await;
    lab.agents[0].client.publish(&id, lab.stopped(&app)).await.expect("taken");
    until("nobody lists it as running", async || {
        for agent in &lab.agents {
            let Ok(list) = agent.client.apps(None, false).await else { return false };
            if !list.apps.is_empty() {
                return false;
            }
        }
        true
    })
    .await;
    for agent in &lab.agents {
        let all = agent.client.apps(None, true).await.expect("a list");
        assert!(all.apps.iter().all(|app| app.wanted == WantedView::Stopped), "{all:?}");
        let shown = agent.client.app(&id).await.expect("it is remembered");
        let rows = shown.slots.iter().map(|slot| slot.state).collect::<Vec<_>>();
        assert_eq!((rows, shown.guardians.len()), (vec![SlotPhase::Unknown], 0), "{shown:?}");
    }
}

pub async fn what_ended_is_shown_with_its_nodes_and_logs_from_everywhere() {
    let lab = Lab::of(3).await;
    let app = lab.application("job", 2, &shell("echo done by $XTREEM_SLOT"));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("it is over everywhere", async || {
        for agent in &lab.agents {
            let Ok(shown) = agent.client.app(&id).await else { return false };
            if shown.slots.iter().any(|slot| slot.state != SlotPhase::Done) {
                return false;
            }
            let used = agent.client.node().await.map_or(1, |status| status.used.cores_milli);
            let Ok(list) = agent.client.apps(None, false).await else { return false };
            if used > 0 || !list.apps.is_empty() {
                return false;
            }
        }
        true
    })
    .await;
    for agent in &lab.agents {
        let shown = agent.client.app(&id).await.expect("it is remembered");
        assert_ne!(holder(&shown, 0), holder(&shown, 1));
        for slot in 0..2 {
            let mut log = agent.client.logs(&id, slot, 10).await.expect("its node lives");
            let text = log.next().await.expect("read").expect("a line");
            assert_eq!(String::from_utf8_lossy(&text), format!("done by {slot}\n"));
        }
    }
}

pub async fn of_two_that_ended_under_one_name_everybody_knows_the_newer_also_after_a_restart() {
    let mut lab = Lab::of(3).await;
    // The first is stopped and the second runs to its end: they are remembered in different tables.
    let first = lab.application("job", 1, &shell("exec sleep 600"));
    lab.place(&first).await;
    lab.agents[0].client.publish(&first.record.id.to_string(), lab.stopped(&first)).await.expect("taken");
    let ended = async |at: usize| {
        let list = lab.agents[at].client.apps(Some("job"), true).await.expect("a list");
        list.apps.into_iter().map(|app| (app.id, app.ended_s)).collect::<Vec<_>>()
    };
    until("the end of the first lies more than a second back", async || {
        matches!(ended(1).await[..], [(_, Some(2..))])
    })
    .await;
    let second = lab.application("job", 1, &shell("exit 0"));
    lab.place(&second).await;
    let ids = [&second, &first].map(|app| app.record.id.to_string());
    let is_told = |told: &[(String, Option<u64>)]| match told {
        [(newer, Some(new)), (older, Some(old))] => [newer, older] == [&ids[0], &ids[1]] && new < old,
        _ => false,
    };
    until("all list the newer one first", async || {
        for at in 0..3 {
            if !is_told(&ended(at).await) {
                return false;
            }
        }
        true
    })
    .await;
    lab.cut_power().await;
    until("all list the newer one first after a restart of everybody", async || {
        for agent in &lab.agents {
            let Ok(list) = agent.client.apps(Some("job"), true).await else { return false };
            let told: Vec<_> = list.apps.into_iter().map(|app| (app.id, app.ended_s)).collect();
            if !is_told(&told) {
                return false;
            }
        }
        true
    })
    .await;
}
