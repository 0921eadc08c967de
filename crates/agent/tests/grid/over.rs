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
