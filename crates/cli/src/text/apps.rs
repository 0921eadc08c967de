//! Applications, their slots and how they go on.

use xtreem_client::api::{
    AppShow, AppSummary, ExitView, MemberRole, ProgressLine, SlotPhase, SlotView, WantedView,
};

use super::{Table, ago, count, nodes, short};

/// A row an application. `me` is the asking user's id, where it is known; `all`: also what is over, and since
/// when.
pub fn list(apps: &[AppSummary], me: Option<&str>, all: bool) -> Table {
    let head = ["APP", "NAME", "OWNER", "STATE", "SLOTS", "DONE", "NODES", "GUARDIANS", "ENDED"];
    let columns = if all { head.len() } else { head.len() - 1 };
    let mut table = Table::new(head.into_iter().take(columns));
    for app in apps {
        let count = |role| app.holders.iter().filter(|holder| holder.role == role).count().to_string();
        let row = [
            short(&app.id).to_owned(),
            app.name.clone(),
            owner(&app.owner, me),
            state(app.wanted, app.done, app.slots).to_owned(),
            app.slots.to_string(),
            app.done.to_string(),
            count(MemberRole::Holder),
            count(MemberRole::Guardian),
            app.ended_s.map_or_else(|| "-".to_owned(), ago),
        ];
        table.row(row.into_iter().take(columns));
    }
    table
}

/// That a list is not complete.
pub fn left_out(more: u32) -> String {
    if more == 0 { String::new() } else { format!("{more} more or so are left out: --name finds them.\n") }
}

/// What an application is doing, from its record and the slots that ended.
pub fn state(wanted: WantedView, ended: u16, slots: u16) -> &'static str {
    match wanted {
        WantedView::Stopped => "stopped",
        WantedView::Running if ended >= slots => "ended",
        WantedView::Running => "running",
    }
}

fn owner(owner: &str, me: Option<&str>) -> String {
    if me == Some(owner) { "you".to_owned() } else { short(owner).to_owned() }
}

/// One application in full.
pub fn show(app: &AppShow) -> String {
    let record = &app.record;
    let mut head = Table::new(["application", &record.name]);
    head.row(["id", &record.id]);
    head.row(["owner", &record.owner]);
    head.row(["state", &overall(app)]);
    head.row(["generation", &record.generation.to_string()]);
    if !app.placement.is_empty() {
        head.row(["placement", &app.placement.replace(char::is_control, "?")]);
    }
    let guardians: Vec<_> = app.guardians.iter().map(|peer| short(&peer.node)).collect();
    head.row([
        "guardians",
        if guardians.is_empty() { "-".to_owned() } else { guardians.join(", ") }.as_str(),
    ]);
    let has_ports = app.slots.iter().any(|slot| !slot.ports.is_empty());
    let head_of_table = ["SLOT", "STATE", "NODE", "ADDRESS", "EPOCH", "PORTS"];
    let mut table = Table::new(head_of_table.into_iter().take(if has_ports { 6 } else { 5 }));
    // Of a stopped application nobody has to remember the slots.
    let is_known =
        |slot: &&SlotView| record.wanted == WantedView::Running || slot.state != SlotPhase::Unknown;
    for slot in app.slots.iter().filter(is_known) {
        let row = [
            slot.slot.to_string(),
            slot_state(slot),
            slot.node.as_deref().map_or("-", short).to_owned(),
            slot.address.clone().unwrap_or_else(|| "-".to_owned()),
            slot.epoch.clone().unwrap_or_else(|| "-".to_owned()),
            ports(slot),
        ];
        table.row(row.into_iter().take(if has_ports { 6 } else { 5 }));
    }
    let mut text = head.to_string();
    if !table.is_empty() {
        text.push_str(&format!("\n{table}"));
    }
    if has_ports && app.covered.ports < app.covered.known {
        let known = count(app.covered.known.into(), "running slot");
        text.push_str(&format!("\nPorts of {} of {known} were told.\n", app.covered.ports));
    }
    text.extend(app.slots.iter().filter(|slot| !slot.last_lines.is_empty()).map(last_lines));
    text
}

/// What a slot wrote last.
pub fn last_lines(slot: &SlotView) -> String {
    let mut text = format!("\nLast lines of slot {}:\n", slot.slot);
    for line in &slot.last_lines {
        text.push_str(&format!("  {}\n", line.replace(|c: char| c.is_control() && c != '\t', "?")));
    }
    text
}

fn overall(app: &AppShow) -> String {
    let in_phase = |phase| app.slots.iter().filter(|slot| slot.state == phase).count();
    let (done, failed) = (in_phase(SlotPhase::Done), in_phase(SlotPhase::Failed));
    if app.lost {
        "lost: nobody who held or guarded it answers".to_owned()
    } else if app.record.wanted == WantedView::Stopped {
        "stopped".to_owned()
    } else if done + failed < app.slots.len() {
        "running".to_owned()
    } else if failed == 0 {
        "done".to_owned()
    } else {
        format!("ended: {failed} of {} failed", count(app.slots.len(), "slot"))
    }
}

/// Names and numbers of a slot's ports.
fn ports(slot: &SlotView) -> String {
    let ports: Vec<_> = slot.ports.iter().map(|(name, number)| format!("{name} {number}")).collect();
    if ports.is_empty() { "-".to_owned() } else { ports.join(", ") }
}

/// A slot's state in words, with its exit.
pub fn slot_state(slot: &SlotView) -> String {
    let phase = match slot.state {
        SlotPhase::Planned => "planned",
        SlotPhase::Starting => "starting",
        SlotPhase::Running => "running",
        SlotPhase::Done => "done",
        SlotPhase::Failed => "failed",
        SlotPhase::FilesLost => "files lost",
        SlotPhase::Failing => "failing",
        SlotPhase::Pausing => "pausing",
        SlotPhase::Troubled => "troubled",
        SlotPhase::Silent => "silent",
        SlotPhase::Unknown => "unknown",
    };
    if let (SlotPhase::Silent, Some(seconds)) = (slot.state, slot.silent_s) {
        return format!("silent for {seconds} s");
    }
    if let Some(trouble) = &slot.trouble {
        return format!("{phase} ({})", trouble.replace(char::is_control, "?"));
    }
    match slot.exit {
        None => phase.to_owned(),
        Some(ExitView::Code(code)) => format!("{phase} (exit {code})"),
        Some(ExitView::Signal(signal)) => format!("{phase} (signal {signal})"),
    }
}

/// One step of a submission of `wanted` slots, in one line.
pub fn progress(line: &ProgressLine, wanted: u16) -> String {
    match line {
        ProgressLine::Held { nodes, wanted } => {
            format!("{nodes} of {} held", count((*wanted).into(), "node"))
        }
        ProgressLine::NotPlaced { report } => {
            format!("not placed: {}", nodes::too_few(wanted.into(), report))
        }
        ProgressLine::Waiting { attempts, pause_ms, report } => {
            let why = match report {
                Some(report) => nodes::too_few(wanted.into(), report),
                None => "the nodes that were found went to others".to_owned(),
            };
            let seconds = *pause_ms as f64 / 1_000.0;
            format!("attempt {attempts}: {why}\ntrying again in {seconds:.1} s (Ctrl-C to give up)")
        }
        ProgressLine::Beaten { by } => {
            format!(
                "beaten by generation {} of {}, which is {}",
                by.generation,
                short(&by.id),
                state(by.wanted, 0, by.slots)
            )
        }
        ProgressLine::Accepted { id } => format!("accepted as {id}"),
        ProgressLine::Slot { slot } => {
            let place = match (&slot.node, &slot.address) {
                (Some(node), Some(address)) => format!(" on {} ({address})", short(node)),
                (Some(node), None) => format!(" on {}", short(node)),
                _ => String::new(),
            };
            format!("slot {} {}{place}", slot.slot, slot_state(slot))
        }
        ProgressLine::Complete { running, done, failed } => {
            format!("{} running, {done} done, {failed} failed", count((*running).into(), "slot"))
        }
        ProgressLine::Troubled { slot, trouble } => {
            format!("slot {slot} cannot be started: {}", trouble.replace(char::is_control, "?"))
        }
        ProgressLine::Failed { error } => error.error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use xtreem_client::api::{Covered, Holder, Peer, RecordView};

    fn slot(slot: u16, state: SlotPhase, exit: Option<ExitView>) -> SlotView {
        SlotView {
            slot,
            state,
            epoch: Some("0000000001".to_owned()),
            node: Some("ab".repeat(16)),
            address: Some("[fd00::1]:7227".to_owned()),
            exit,
            silent_s: None,
            trouble: None,
            last_lines: Vec::new(),
            ports: BTreeMap::new(),
        }
    }

    fn app(slots: Vec<SlotView>) -> AppShow {
        let record = RecordView {
            id: "12".repeat(16),
            owner: "cd".repeat(16),
            name: "web".to_owned(),
            spec_digest: "ef".repeat(32),
            slots: slots.len() as u16,
            generation: 1,
            wanted: WantedView::Running,
            submitter: "56".repeat(16),
        };
        let guardians =
            vec![Peer { node: "34".repeat(16), address: "[fd00::9]:7227".to_owned(), ..Peer::default() }];
        let covered = Covered { slots: 2, known: 1, ports: 0 };
        AppShow { record, slots, guardians, lost: false, placement: "spread by site".to_owned(), covered }
    }

    #[test]
    fn show_has_a_row_a_slot_and_the_last_lines_of_failed_ones() {
        let mut failed = slot(1, SlotPhase::Failed, Some(ExitView::Signal(9)));
        failed.last_lines = vec!["out of luck\u{7}".to_owned()];
        let text = show(&app(vec![slot(0, SlotPhase::Running, None), failed]));
        let expected = "\
application  web
id           12121212121212121212121212121212
owner        cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
state        running
generation   1
placement    spread by site
guardians    34343434

SLOT  STATE              NODE      ADDRESS         EPOCH
0     running            abababab  [fd00::1]:7227  0000000001
1     failed (signal 9)  abababab  [fd00::1]:7227  0000000001

Last lines of slot 1:
  out of luck?
";
        assert_eq!(text, expected);
    }

    #[test]
    fn show_tells_ports_where_there_are_some_and_says_how_many_told_theirs() {
        let mut first = slot(0, SlotPhase::Running, None);
        first.ports = [("admin".to_owned(), 9_000), ("http".to_owned(), 20_123)].into();
        let slots = vec![first, slot(1, SlotPhase::Running, None)];
        let shown = AppShow { covered: Covered { slots: 2, known: 2, ports: 1 }, ..app(slots) };
        let text = show(&shown);
        assert!(text.contains("EPOCH       PORTS\n"), "{text}");
        assert!(text.contains("0000000001  admin 9000, http 20123\n"), "{text}");
        assert!(text.ends_with("\nPorts of 1 of 2 running slots were told.\n"), "{text}");
    }

    #[test]
    fn a_slot_that_nobody_hears_is_silent_and_does_not_run() {
        let silent = SlotView { silent_s: Some(12), ..slot(0, SlotPhase::Silent, None) };
        assert_eq!(slot_state(&silent), "silent for 12 s");
        assert_eq!(slot_state(&SlotView { silent_s: None, ..silent }), "silent");
    }

    #[test]
    fn the_state_follows_from_record_and_slots() {
        let done = slot(0, SlotPhase::Done, Some(ExitView::Code(0)));
        let failed = slot(1, SlotPhase::Failed, Some(ExitView::Code(3)));
        assert_eq!(overall(&app(vec![done.clone()])), "done");
        assert_eq!(overall(&app(vec![done.clone(), failed])), "ended: 1 of 2 slots failed");
        assert_eq!(overall(&app(vec![done.clone(), slot(1, SlotPhase::Starting, None)])), "running");
        assert!(overall(&AppShow { lost: true, ..app(vec![done]) }).starts_with("lost"));
    }

    #[test]
    fn a_stopped_application_has_no_rows_of_forgotten_slots() {
        let mut stopped = app(vec![slot(0, SlotPhase::Unknown, None)]);
        stopped.record.wanted = WantedView::Stopped;
        let text = show(&stopped);
        assert!(text.contains("state        stopped\n") && !text.contains("SLOT"), "{text}");
    }

    #[test]
    fn lists_count_holders_and_guardians_and_know_the_user() {
        let holder = |role| Holder { node: String::new(), address: String::new(), slots: vec![], role };
        let summary = AppSummary {
            id: "12".repeat(16),
            name: "web".to_owned(),
            owner: "cd".repeat(16),
            generation: 1,
            wanted: WantedView::Running,
            slots: 3,
            done: 1,
            ended_s: None,
            holders: vec![
                holder(MemberRole::Holder),
                holder(MemberRole::Holder),
                holder(MemberRole::Guardian),
            ],
        };
        let me = summary.owner.clone();
        let text = list(std::slice::from_ref(&summary), Some(&me), false).to_string();
        let row: Vec<_> = text.lines().nth(1).expect("one row").split_whitespace().collect();
        assert_eq!(row, ["12121212", "web", "you", "running", "3", "1", "2", "1"]);
        let over = AppSummary { done: 3, ended_s: Some(310), holders: vec![], ..summary.clone() };
        let text = list(&[summary, over], Some(&me), true).to_string();
        let ended = |line: &str| line.rsplit("  ").next().map(str::to_owned).unwrap_or_default();
        assert_eq!(text.lines().map(ended).collect::<Vec<_>>(), ["ENDED", "-", "5 min ago"]);
    }

    #[test]
    fn progress_is_one_line_a_step() {
        let table = [
            (ProgressLine::Held { nodes: 3, wanted: 6 }, "3 of 6 nodes held"),
            (
                ProgressLine::Slot { slot: slot(2, SlotPhase::FilesLost, None) },
                "slot 2 files lost on abababab ([fd00::1]:7227)",
            ),
            (ProgressLine::Complete { running: 5, done: 0, failed: 1 }, "5 slots running, 0 done, 1 failed"),
            (ProgressLine::Complete { running: 1, done: 0, failed: 0 }, "1 slot running, 0 done, 0 failed"),
        ];
        for (line, text) in table {
            assert_eq!(progress(&line, 6), text);
        }
    }
}
