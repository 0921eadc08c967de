//! Nodes whose programs cannot be shut in, and a program that tries everything against its node.

use xtreem_agent::is_root_of_machine;
use xtreem_agent::program::Program;
use xtreem_client::api::{AttributeValue, ProgressLine, SearchRequest};

use crate::intruder::BE_INTRUDER;
use crate::lab::{Lab, until};
use crate::shell;

/// The node of a lab of one takes no slot, and tells why at home and abroad.
async fn takes_none(lab: &Lab, reason: &str) {
    let status = lab.agents[0].client.node().await.expect("an answer");
    assert!(status.takes_no_slots.as_ref().is_some_and(|why| why.contains(reason)), "{status:?}");
    let request = SearchRequest { limit: 1, ..SearchRequest::default() };
    let found = lab.agents[0].client.search(&request).await.expect("an answer").matches;
    let mark = found.first().and_then(|node| node.attributes.get("slots.none"));
    let is_reason = |mark: &AttributeValue| matches!(mark, AttributeValue::Text(why) if why.contains(reason));
    assert!(mark.is_some_and(is_reason), "{found:?}");
    let lines = lab.submit(&lab.application("refused", 1, &shell("true"))).await;
    let Some(ProgressLine::NotPlaced { report }) = lines.last() else { panic!("{lines:?}") };
    assert_eq!((report.matched, report.granted, report.refused.not_isolated), (1, 0, 1), "{report:?}");
    let log = std::fs::read_to_string(lab.agents[0].dir().join("log")).expect("a log");
    assert!(log.contains("this node takes no slots") && log.contains(reason), "{log}");
}

pub async fn a_node_that_cannot_isolate_programs_takes_no_slots_unless_its_operator_allows_it() {
    takes_none(&Lab::without_namespaces("").await, "programs cannot be isolated (unshare").await;
    let lab = Lab::without_namespaces("isolation = \"namespaces-if-possible\"\n").await;
    let status = lab.agents[0].client.node().await.expect("an answer");
    assert!(status.takes_no_slots.is_none() && status.isolation.contains("no namespaces"), "{status:?}");
    lab.place(&lab.application("allowed", 1, &shell("exec sleep 600"))).await;
}

pub async fn an_agent_that_is_root_takes_no_slots_until_it_is_told_whom_to_run_programs_as() {
    let lab = Lab::unprepared().await;
    if is_root_of_machine() {
        takes_none(&lab, "the agent is root").await;
    } else {
        lab.place(&lab.application("ordinary", 1, &shell("exec sleep 600"))).await;
    }
}

pub async fn a_program_that_tries_everything_against_its_node_gets_nowhere() {
    let lab = Lab::of(2).await;
    let mut tries: Vec<String> =
        ["read:/etc/shadow", "make:/etc/xtreem-intruder", "leave:/tmp/xtreem-intruder", "leave:mine"]
            .map(String::from)
            .to_vec();
    for agent in &lab.agents {
        let at = |path: &str| agent.dir().join(path).display().to_string();
        for file in ["agent.toml", "node.pem", "state/incarnation", "state/store/index", "log"] {
            tries.extend(
                ["read", "write", "mode", "rename", "remove"].map(|kind| format!("{kind}:{}", at(file))),
            );
        }
        for dir in ["", "state", "state/store", "state/s"] {
            tries.push(format!("make:{}", at(&format!("{dir}/new"))));
        }
        tries.push(format!("connect:{}", at("state/control.sock")));
        tries.extend(["signal", "trace", "environ"].map(|kind| format!("{kind}:{}", agent.pid())));
    }
    let command = [vec!["xtreem".into(), BE_INTRUDER.into()], tries].concat();
    let app = lab.application("intruder", 1, &Program { command, ..Program::default() });
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("it has tried all", async || lab.log(&id, 0).await.contains("tried all")).await;
    let log = lab.log(&id, 0).await;
    let could: Vec<_> = log.lines().filter(|line| line.starts_with("could")).collect();
    assert_eq!(could, ["could leave:/tmp/xtreem-intruder", "could leave:mine"], "{log}");
    assert!(!std::path::Path::new("/tmp/xtreem-intruder").exists(), "the machine's /tmp");
}
