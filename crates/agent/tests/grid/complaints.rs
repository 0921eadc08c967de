//! What users of other systems complain of: one node's fault that is taken for the program's, or for
//! everybody's.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::TcpListener;

use xtreem_agent::program::{FileRef, PortRef, Program};
use xtreem_allocation::Restart;
use xtreem_client::api::{AppShow, ExitView, ProgressLine, SlotPhase};

use super::lab::{Lab, until};
use super::{all_run, holder, shell};

async fn show(lab: &Lab, id: &str) -> Option<AppShow> {
    lab.agents[0].client.app(id).await.ok()
}

/// Six slots on five nodes, on three of which the program fails by itself.
pub async fn a_program_that_fails_on_three_of_five_nodes_runs_on_the_others() {
    let lab = Lab::of(6).await;
    let sick = "case $XTREEM_SOCKET in */[123]/state/*) echo sick; exit 1;; esac; exec sleep 600";
    let app = lab.application("sick", 6, &shell(sick));
    let app = lab.changed(app, |spec| spec.colocate = true);
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("all slots run on the two nodes that are well", async || {
        show(&lab, &id).await.is_some_and(|shown| {
            let is_well = |slot| lab.agents[4..].iter().any(|agent| agent.id == holder(&shown, slot));
            all_run(&shown) && (0..6).all(is_well)
        })
    })
    .await;
}

fn fill(file: &std::path::Path) {
    let mut filler = File::create(file).expect("a file on that disk");
    let error = io::copy(&mut io::repeat(7), &mut filler).expect_err("the disk is full at last");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let _ = filler.flush();
}

pub async fn a_node_with_a_full_disk_takes_no_slots_until_there_is_room() {
    let mut lab = Lab::of(3).await;
    lab.start_on_a_disk(3, 24).await;
    let content = vec![7; 700_000];
    let file = lab.upload(&content).await;
    let program = Program {
        command: ["sh", "-c", "test -s data && exec sleep 600"].map(String::from).to_vec(),
        files: vec![FileRef { path: "data".into(), ..file }],
        ..Program::default()
    };
    let with_room = lab.application("with-room", 3, &program);
    lab.place(&with_room).await;
    let id = with_room.record.id.to_string();
    until("it runs on all workers", async || show(&lab, &id).await.is_some_and(|shown| all_run(&shown)))
        .await;
    lab.agents[0].client.publish(&id, lab.stopped(&with_room)).await.expect("taken");
    until("all is given back", async || lab.uses_nothing().await).await;

    let filler = lab.agents[3].on_its_disk("filler");
    fill(&filler);
    // Nothing has failed there yet.
    let lines = lab.submit(&lab.application("three", 3, &program)).await;
    let Some(ProgressLine::NotPlaced { report }) = lines.last() else { panic!("{lines:?}") };
    assert_eq!((report.matched, report.refused.troubled), (3, 1), "{report:?}");
    assert!(lab.agents[3].client.node().await.expect("an answer").disk_is_full);
    let two = lab.application("two", 2, &program);
    let lines = lab.place(&two).await;
    let done = ProgressLine::Complete { running: 2, done: 0, failed: 0 };
    assert_eq!(lines.last(), Some(&done), "{lines:?}");

    fs::remove_file(&filler).expect("removed");
    let three = lab.application("three", 3, &program);
    let lines = lab.place(&three).await;
    let done = ProgressLine::Complete { running: 3, done: 0, failed: 0 };
    assert_eq!(lines.last(), Some(&done), "{lines:?}");
    assert!(!lab.agents[3].client.node().await.expect("an answer").disk_is_full);
}

pub async fn a_port_in_use_on_one_node_keeps_only_that_one_away() {
    // Each agent has an address of its own.
    let lab = Lab::with(4, |number| format!("bind = \"127.0.0.{}:0\"\n", number + 1)).await;
    let taken = TcpListener::bind("127.0.0.3:0").expect("bound");
    let port = taken.local_addr().expect("an address").port();
    let ports = vec![PortRef { name: "http".into(), port }];
    let program = Program { ports, ..shell("exec sleep 600") };
    let app = lab.application("web", 2, &program);
    let lines = lab.place(&app).await;
    let done = ProgressLine::Complete { running: 2, done: 0, failed: 0 };
    assert_eq!(lines.last(), Some(&done), "{lines:?}");
    let shown = show(&lab, &app.record.id.to_string()).await.expect("it runs");
    assert!((0..2).all(|slot| holder(&shown, slot) != lab.agents[2].id), "{shown:?}");
    // No node gives the number twice, whether or not slots may share it.
    let more = lab.changed(lab.application("more", 1, &program), |spec| spec.colocate = true);
    let lines = lab.submit(&more).await;
    let Some(ProgressLine::NotPlaced { report }) = lines.last() else { panic!("{lines:?}") };
    assert_eq!((report.matched, report.refused.port_taken), (3, 3), "{report:?}");
}

pub async fn a_program_that_ends_well_again_and_again_is_shown_to_pause_and_never_failed() {
    let lab = Lab::of(2).await;
    let app = lab.application("again", 1, &shell("exit 0"));
    let app = lab.changed(app, |spec| spec.restart = Restart::Always);
    let lines = lab.place(&app).await;
    assert!(matches!(lines.last(), Some(ProgressLine::Complete { failed: 0, .. })), "{lines:?}");
    let id = app.record.id.to_string();
    until("its pause is shown, with the exit before it", async || {
        let Some(shown) = show(&lab, &id).await else { return false };
        let slot = &shown.slots[0];
        let is_fine = |state| !matches!(state, SlotPhase::Failed | SlotPhase::Failing | SlotPhase::Done);
        assert!(is_fine(slot.state), "{slot:?}");
        slot.state == SlotPhase::Pausing && slot.exit == Some(ExitView::Code(0))
    })
    .await;
}
