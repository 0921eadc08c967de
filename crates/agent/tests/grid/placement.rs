//! Placements, with sites from the agents' configuration.

use std::collections::BTreeMap;

use xtreem_client::api::{AppShow, ProgressLine};

use crate::lab::{Lab, until};
use crate::{all_run, holder, shell};

/// By number: the submitter, three workers at `a`, two at `b`, one at `c`.
fn site(number: usize) -> &'static str {
    ["", "a", "a", "a", "b", "b", "c"][number]
}

async fn lab() -> (Lab, BTreeMap<String, &'static str>) {
    let lab = Lab::with(7, |number| format!("site = \"{}\"\nrack = \"r{number}\"\n", site(number))).await;
    let sites = lab.agents.iter().enumerate().map(|(number, agent)| (agent.id.clone(), site(number)));
    let sites = sites.collect();
    (lab, sites)
}

fn sites_of(shown: &AppShow, sites: &BTreeMap<String, &'static str>) -> Vec<&'static str> {
    let mut found: Vec<_> = (0..shown.slots.len()).map(|slot| sites[&holder(shown, slot)]).collect();
    found.sort_unstable();
    found
}

pub async fn slots_are_spread_by_site_and_stay_so_when_one_is_replaced() {
    let (mut lab, sites) = lab().await;
    let app = lab.placed("web", 3, &shell("exec sleep 600"), "spread by site");
    let lines = lab.submit(&app).await;
    let done = ProgressLine::Complete { running: 3, done: 0, failed: 0 };
    assert_eq!(lines.last(), Some(&done), "{lines:?}");
    let id = app.record.id.to_string();
    let shown = lab.agents[0].client.app(&id).await.expect("it runs");
    assert_eq!(sites_of(&shown, &sites), ["a", "b", "c"], "{shown:?}");
    assert_eq!(shown.placement, "spread by site");

    let slot = (0..3).find(|slot| sites[&holder(&shown, *slot)] == "b").expect("one of the three");
    let lost = holder(&shown, slot);
    lab.kill(&lost);
    until("the lost slot runs at the other host of its site", async || {
        let shown = lab.agents[0].client.app(&id).await;
        shown.is_ok_and(|shown| {
            all_run(&shown) && holder(&shown, slot) != lost && sites_of(&shown, &sites) == ["a", "b", "c"]
        })
    })
    .await;
}

pub async fn a_node_to_be_near_to_is_found_by_name_or_missed_by_name() {
    let (lab, _) = lab().await;
    let address = lab.agents[4].client.node().await.expect("an answer").address;
    for to in ["node3", &lab.agents[5].id, &address.to_string()] {
        let name = format!("near-{}", &to[..4].replace([':', '['], "x"));
        let app = lab.placed(&name, 1, &shell("exec sleep 600"), &format!("near to {to}"));
        let lines = lab.submit(&app).await;
        let done = ProgressLine::Complete { running: 1, done: 0, failed: 0 };
        assert_eq!(lines.last(), Some(&done), "{to}: {lines:?}");
    }
    let app = lab.placed("nowhere", 1, &shell("exec sleep 600"), "near to node77");
    let lines = lab.submit(&app).await;
    let Some(ProgressLine::Failed { error }) = lines.last() else { panic!("{lines:?}") };
    assert!(error.error.contains("node77"), "{error:?}");
}
