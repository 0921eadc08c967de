//! Programs that cannot be started, and the reason that is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use xtreem_agent::exec::{self, Plan, PlanError, StartError};

use crate::{Slot, refusal};

pub async fn impossible_plans_are_refused_with_the_reason() {
    let slot = Slot::new();
    fs::write(slot.dir().join("program"), "not executable").expect("written");
    let with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = slot.shell("true");
        change(&mut plan);
        plan
    };
    let command = |name: &str| with(&|plan| plan.command = vec![name.into()]);
    let table: Vec<(Plan, &str)> = vec![
        (with(&|plan| plan.command.clear()), "no command given"),
        (command("no-such-command"), "command `no-such-command` not found in PATH (/usr/local/bin:"),
        (command("program"), "write `./program`"),
        (command("./program"), "program is not executable: mark it executable"),
        (command("/no/such/file"), "there is no file /no/such/file"),
        (with(&|plan| plan.dir = "/no/such/dir".into()), "directory /no/such/dir cannot be entered"),
        (with(&|plan| plan.dir = "/dev/null".into()), "not a directory"),
        (with(&|plan| plan.env.push(("A=B".into(), "c".into()))), "environment variable \"A=B\""),
        (with(&|plan| plan.command.push("a\0b".into())), "argument \"a\\0b\""),
        (with(&|plan| plan.command.push("x".repeat(2 << 20))), "at most 1048576"),
        (with(&|plan| plan.log_dir = slot.dir()), "where the program could change it"),
        (with(&|plan| plan.hidden = vec!["/".into()]), "/ cannot be hidden"),
    ];
    for (plan, expected) in table {
        let error = refusal(plan).await;
        assert!(matches!(error, StartError::Plan(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(matches!(refusal(command("")).await, StartError::Plan(PlanError::BadText { .. })));
}

pub async fn a_file_that_cannot_be_executed_is_refused_with_the_reason() {
    let slot = Slot::new();
    for (text, expected) in
        [("#!/no/such/interpreter\n", "No such file"), ("\x7fELF garbage", "Exec format error")]
    {
        let file = slot.dir().join("program");
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("set");
        let mut plan = slot.shell("");
        plan.command = vec!["./program".into()];
        let error = refusal(plan).await.to_string();
        assert!(error.contains(expected) && error.contains("program"), "{error}");
    }
    let error =
        exec::start(slot.shell("true"), Path::new("/bin/true")).await.expect_err("no helper").to_string();
    assert!(error.contains("internal_main"), "{error}");
}
