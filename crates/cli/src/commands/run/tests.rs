use super::*;
use xtreem_agent::program::Program;
use xtreem_allocation::{Resources, Restart};
use xtreem_client::api::{ErrorBody, ErrorKind};

fn app() -> AppFile {
    AppFile {
        name: "web".to_owned(),
        nodes: 6,
        requirement: Default::default(),
        placement: String::new(),
        set: None,
        resources: Resources::SLOT_DEFAULT,
        colocate: false,
        restart: Restart::OnFailure,
        program: Program { command: vec!["true".to_owned()], ..Program::default() },
        files: Vec::new(),
    }
}

fn attempt(outcome: Option<Outcome>, is_accepted: bool) -> Attempt {
    let so_far = SoFar { is_accepted, slots: Vec::new(), outcome };
    let elapsed = Duration::from_millis(2_345);
    Attempt {
        id: "12".to_owned(),
        so_far,
        elapsed,
        interrupted: false,
        ill: Vec::new(),
        wait: None,
        unguarded: None,
    }
}

#[test]
fn the_last_line_says_what_became_of_the_application() {
    let complete = |failed| Some(Outcome::Complete { running: 6 - failed, done: 0, failed });
    let error =
        ErrorBody { error: "no room".to_owned(), kind: ErrorKind::Definite, hint: Some("wait".to_owned()) };
    let table = [
        (attempt(complete(0), true), "web runs as 12: 6 slots running, 0 done, after 2.3 s.\n"),
        (
            attempt(complete(1), true),
            "web runs as 12 with 1 failed slot (5 running, 0 done): xtreem show 12\n",
        ),
        (
            Attempt { unguarded: Some(1), ..attempt(complete(0), true) },
            "web runs as 12: 6 slots running, 0 done, after 2.3 s.\nNobody guards it yet: should the node that runs it \
             die now, it goes on only when that is back.\n",
        ),
        (attempt(Some(Outcome::Failed(error)), false), "web was not started: no room\nhint: wait\n"),
        (attempt(None, true), "web goes on as 12: xtreem show 12, xtreem stop 12\n"),
        (Attempt { interrupted: true, ..attempt(None, false) }, "web was given up; nothing was started.\n"),
        (attempt(None, false), "what became of web is not known: xtreem show 12\n"),
    ];
    for (attempt, text) in table {
        assert_eq!(told(&app(), &attempt), text);
    }
}

#[test]
fn the_json_object_says_whether_it_is_good() {
    let app = app();
    let good = attempt(Some(Outcome::Complete { running: 6, done: 0, failed: 0 }), true);
    let json = serde_json::to_value(ran(&app, &good, Exit::Success)).expect("plain data");
    assert_eq!((&json["ok"], &json["running"], &json["elapsed_ms"]), (&true.into(), &6.into(), &2345.into()));
    let given_up = attempt(None, false);
    let json = serde_json::to_value(ran(&app, &given_up, Exit::Interrupted)).expect("plain data");
    assert_eq!((&json["ok"], &json["error"]), (&false.into(), &"interrupted".into()));
}

/// A slot that ended with code 7 and is started again.
fn failing(slot: u16) -> SlotView {
    SlotView {
        slot,
        state: SlotPhase::Failing,
        epoch: None,
        node: None,
        address: None,
        exit: Some(xtreem_client::api::ExitView::Code(7)),
        trouble: None,
        silent_s: None,
        last_lines: vec!["no such database".to_owned()],
        ports: Default::default(),
    }
}

#[test]
fn a_program_that_fails_at_once_is_no_success() {
    let complete = Some(Outcome::Complete { running: 2, done: 0, failed: 0 });
    let ill = vec![failing(0), failing(1)];
    let attempt = Attempt { ill, ..attempt(complete, true) };
    assert_eq!(attempt.exit(), Exit::Failed);
    let text = "web was accepted as 12, but slot 0 is failing (exit 7) and 1 slot like it after a second.\n\
                xtreem show 12, xtreem stop 12\n\nLast lines of slot 0:\n  no such database\n";
    assert_eq!(told(&app(), &attempt), text);
    let app = app();
    let json = serde_json::to_value(ran(&app, &attempt, attempt.exit())).expect("plain data");
    assert_eq!((&json["ok"], &json["error"]), (&false.into(), &"slot 0 failing (exit 7)".into()));
}

#[test]
fn whoever_found_no_room_is_told_how_to_see_who_offers_so_much() {
    let needs = Resources { cores_milli: 2_500, memory_bytes: 900 << 30, disk_bytes: 0 };
    let text = who_offers(&needs);
    assert!(text.ends_with("xtreem nodes 'offer.cores >= 2.5 && offer.mem >= 966367641600'\n"), "{text}");
}

#[test]
fn a_placement_names_the_attribute_that_it_spreads_by() {
    let table =
        [("spread by siet", Some("siet")), ("spread  by site ", Some("site")), ("pack", None), ("", None)];
    for (placement, name) in table {
        assert_eq!(spread_by(placement), name, "{placement:?}");
    }
}

#[test]
fn an_application_is_unguarded_when_only_nodes_that_run_it_know_it() {
    let on = |slot, node: &str, state| SlotView { node: Some(node.to_owned()), state, ..failing(slot) };
    let shown = |slots: Vec<SlotView>, guardians: usize| {
        let record = serde_json::json!({
            "id": "12", "owner": "34", "name": "web", "spec_digest": "56", "slots": slots.len(), "generation": 1,
            "wanted": "running", "submitter": "78",
        });
        let record = serde_json::from_value(record).expect("a record");
        let guardians = vec![Default::default(); guardians];
        let (placement, covered) = (String::new(), Default::default());
        AppShow { record, slots, guardians, lost: false, placement, covered }
    };
    let both = || vec![on(0, "a", SlotPhase::Running), on(1, "b", SlotPhase::Running)];
    assert_eq!(unguarded(&shown(both(), 1)), None);
    assert_eq!(unguarded(&shown(both(), 0)), Some(2));
    assert_eq!(
        unguarded(&shown(vec![on(0, "a", SlotPhase::Running), on(1, "a", SlotPhase::Running)], 0)),
        Some(1)
    );
    assert_eq!(unguarded(&shown(vec![on(0, "a", SlotPhase::Done)], 0)), None, "it is over");
}
