//! Commands beside a program: where they run, what they may, and that nothing of them is left.

use std::fs;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _, pipe};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use xtreem_agent::exec::{
    self, Beside, Door, Exit, Plan, ProgramUser, Running, StartError, Terminal, Wanted,
};

use crate::intruder::BE_INTRUDER;
use crate::kernel::as_nobody;
use crate::{PATIENCE, SELF, Slot, marker, processes_with, sleepers, until_processes};

/// A command and the test's ends of its streams.
struct Called {
    beside: Beside,
    input: Option<PipeWriter>,
    output: PipeReader,
    errors: PipeReader,
}

async fn call(door: &Door, command: &[&str]) -> Result<Called, StartError> {
    let pipes = || pipe().expect("a pipe");
    let ((in_far, input), (output, out_far), (errors, err_far)) = (pipes(), pipes(), pipes());
    let streams = [in_far.into(), out_far.into(), OwnedFd::from(err_far)];
    let command: Vec<String> = command.iter().copied().map(str::to_owned).collect();
    let beside = door.start(&command, &[], streams, false, Path::new(SELF)).await?;
    Ok(Called { beside, input: Some(input), output, errors })
}

impl Called {
    /// Everything that it wrote, and how it ended.
    async fn end(mut self) -> (String, String, Option<Exit>) {
        drop(self.input.take());
        let read = tokio::task::spawn_blocking(move || {
            let (mut output, mut errors) = (String::new(), String::new());
            self.output.read_to_string(&mut output).expect("text");
            self.errors.read_to_string(&mut errors).expect("text");
            (output, errors)
        });
        let exit = self.beside.wait().await;
        let (output, errors) = read.await.expect("read");
        (output, errors, exit)
    }
}

async fn said(door: &Door, script: &str) -> String {
    let (output, errors, exit) = call(door, &["sh", "-c", script]).await.expect("starts").end().await;
    assert_eq!((exit, errors.as_str()), (Some(Exit::Code(0)), ""), "{output}");
    output
}

/// As a slot's program is started here: in namespaces, as another user, and without namespaces.
fn ways(slot: &Slot, script: &str) -> Vec<Plan> {
    let plan = || {
        let mut plan = slot.shell(script);
        plan.env = vec![("SLOT".into(), "seven".into())];
        plan.hidden = vec![slot.state()];
        plan
    };
    let mut plans = vec![plan(), Plan { isolation: Wanted::ProcessGroup, ..plan() }];
    if xtreem_agent::is_root_of_machine() {
        plans.push(Plan { user: Some(ProgramUser { uid: 65_534, gid: 65_534 }), ..plan() });
    }
    plans
}

/// Starts the program in an empty directory of its user.
async fn begin(slot: &Slot, plan: Plan) -> Running {
    let _ = fs::remove_dir_all(slot.dir());
    fs::create_dir(slot.dir()).expect("made");
    if let Some(user) = plan.user {
        exec::give(&slot.dir(), user).expect("given");
    }
    let running = exec::start(plan, Path::new(SELF)).await.expect("starts");
    while running.log().end() == 0 {
        assert!(running.log().grown_beyond(0).await, "it says that it is up");
    }
    running
}

/// Once more as a user without rights, whose namespaces are not those of a superuser.
fn as_a_user_without_rights(test: &str) {
    if nix::unistd::geteuid().is_root() {
        let nobody = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        as_nobody(nobody.path(), &[test]);
    }
}

pub async fn a_command_beside_a_program_has_its_streams_and_its_exit_code() {
    let slot = Slot::new();
    for plan in ways(&slot, "echo up; exec sleep 1000") {
        let running = begin(&slot, plan).await;
        let door = running.door();
        let mut cat = call(door, &["sh", "-c", "cat; echo oops >&2; exit 7"]).await.expect("starts");
        cat.input.as_mut().expect("open").write_all(b"through").expect("taken");
        let ended = cat.end().await;
        assert_eq!(
            ended,
            ("through".into(), "oops\n".into(), Some(Exit::Code(7))),
            "{}",
            running.isolation()
        );
        let killed = call(door, &["sh", "-c", "kill -KILL $$"]).await.expect("starts").end().await;
        assert_eq!(killed.2, Some(Exit::Signal(9)));
        for (command, errno) in [("no-such-command", 2), ("./no-such-file", 2), ("/etc/passwd", 13)] {
            let refused = call(door, &[command]).await.map(drop);
            let is_it =
                matches!(&refused, Err(StartError::Refused { errno: Some(found), .. }) if *found == errno);
            assert!(is_it, "{command}: {refused:?}");
        }
    }
    as_a_user_without_rights("a_command_beside_a_program_has_its_streams");
}

pub async fn a_command_beside_a_program_is_where_that_is() {
    let slot = Slot::new();
    let up = "echo here > mine; echo private > /tmp/mine 2>/dev/null; echo up; exec sleep 1000";
    for plan in ways(&slot, up) {
        let (user, in_namespaces) = (plan.user, plan.isolation == Wanted::Namespaces);
        let running = begin(&slot, plan).await;
        let door = running.door();
        let isolation = running.isolation();
        let dir = slot.dir().canonicalize().expect("it is there").display().to_string();
        assert_eq!(
            said(door, "pwd; cat mine; echo $SLOT $HOME").await,
            format!("{dir}\nhere\nseven {dir}\n")
        );
        // What it leaves in the directory is there for the program.
        said(door, "echo left > left").await;
        assert_eq!(fs::read_to_string(slot.dir().join("left")).expect("left"), "left\n", "{isolation}");
        let limits = "ulimit -n; ulimit -c; grep -E 'NoNewPrivs|CapEff' /proc/self/status; cat /proc/self/oom_score_adj";
        let expected = "1024\n0\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n500\n";
        if in_namespaces {
            assert_eq!(said(door, limits).await, expected, "{isolation}");
            assert_eq!(said(door, "cat /tmp/mine").await, "private\n", "{isolation}");
            assert_eq!(said(door, "tr '\\0' ' ' < /proc/2/cmdline").await, "sleep 1000 ", "{isolation}");
            // The program is there to be signalled, and the agent is not there at all.
            assert_eq!(said(door, "kill -0 2 && ls /proc | grep -cx 1").await, "1\n", "{isolation}");
            let count = said(door, "ls /proc | grep -c '^[0-9]'").await;
            assert!(count.trim().parse::<u32>().is_ok_and(|count| count < 9), "{count}");
            let key = slot.state().join("key");
            fs::write(&key, "secret").expect("written");
            let (_, errors, _) =
                call(door, &["cat", &key.display().to_string()]).await.expect("starts").end().await;
            assert!(errors.contains("No such file"), "{errors}");
            assert_eq!(said(door, "touch /etc/new 2>/dev/null || echo refused").await, "refused\n");
        }
        if let Some(user) = user {
            assert_eq!(said(door, "id -u; id -G").await, format!("{0}\n{0}\n", user.uid));
        }
    }
    as_a_user_without_rights("a_command_beside_a_program_is_where_that_is");
}

pub async fn a_command_beside_a_program_gets_no_further_than_that() {
    let slot = Slot::new();
    for plan in ways(&slot, "echo up; exec sleep 1000") {
        if plan.isolation != Wanted::Namespaces {
            continue;
        }
        let running = begin(&slot, plan).await;
        fs::copy(std::env::current_exe().expect("known"), slot.dir().join("intruder")).expect("copied");
        let (agent, state) = (std::process::id(), slot.state().display().to_string());
        let tries = [
            format!("make:{state}/new"),
            "make:/etc/xtreem-new".into(),
            "write:/etc/passwd".into(),
            format!("signal:{agent}"),
            format!("environ:{agent}"),
            // The helper within the namespace has rights there that the command has not.
            "trace:1".into(),
            "environ:1".into(),
        ];
        let mut command = vec!["./intruder", BE_INTRUDER];
        command.extend(tries.iter().map(String::as_str));
        let (output, ..) = call(running.door(), &command).await.expect("starts").end().await;
        assert_eq!(output, "tried all\n", "{}", running.isolation());
        let descriptors = said(running.door(), "ls /proc/self/fd | wc -l").await;
        assert_eq!(descriptors, "4\n", "three streams, and the directory that is listed");
    }
}

pub async fn nothing_of_a_command_outlives_it() {
    let slot = Slot::new();
    for (number, plan) in ways(&slot, "echo up; exec sleep 1000").into_iter().enumerate() {
        let marker = marker(60 + number as u32);
        let running = begin(&slot, plan).await;
        let script = sleepers(&marker);
        // It ends by itself.
        let ended = call(running.door(), &["sh", "-c", &(script.clone() + "exit 3")]).await.expect("starts");
        let (output, _, exit) = ended.end().await;
        assert_eq!((output.as_str(), exit), ("up\n", Some(Exit::Code(3))), "{}", running.isolation());
        assert_eq!(processes_with(&marker), 0, "{}", running.isolation());
        // It is told to, and will not hear.
        let stubborn = format!("trap '' TERM; {script} wait; wait; wait");
        let mut stopped = call(running.door(), &["sh", "-c", &stubborn]).await.expect("starts");
        until_processes(&marker, 3).await;
        stopped.beside.stop(Duration::from_millis(100)).await;
        assert_eq!(processes_with(&marker), 0, "{}", running.isolation());
        // Whoever called it is gone.
        let dropped = call(running.door(), &["sh", "-c", &(script + "wait")]).await.expect("starts");
        until_processes(&marker, 3).await;
        drop(dropped);
        until_processes(&marker, 0).await;
    }
    as_a_user_without_rights("nothing_of_a_command_outlives_it");
}

pub async fn a_command_ends_with_the_program() {
    let slot = Slot::new();
    for (number, plan) in ways(&slot, "echo up; exec sleep 1000").into_iter().enumerate() {
        if plan.isolation != Wanted::Namespaces {
            continue;
        }
        let marker = marker(70 + number as u32);
        let mut running = begin(&slot, plan).await;
        let door = running.door().clone();
        let script = sleepers(&marker) + "trap '' TERM; wait";
        let mut called = call(&door, &["sh", "-c", &script]).await.expect("starts");
        until_processes(&marker, 3).await;
        running.stop(PATIENCE).await;
        assert_eq!(processes_with(&marker), 0);
        let exit = called.beside.wait().await;
        // The shell may see its children die before it dies itself.
        assert!(matches!(exit, None | Some(Exit::Signal(9) | Exit::Code(0))), "{exit:?}");
        assert!(call(&door, &["true"]).await.is_err(), "the door leads nowhere");
    }
}

async fn read_until(terminal: &mut tokio::net::unix::pipe::Receiver, wanted: &str) -> String {
    let (mut all, mut buffer) = (String::new(), [0; 256]);
    while !all.contains(wanted) {
        let len = terminal.read(&mut buffer).await.unwrap_or_default();
        assert!(len > 0, "it ended with {all:?}, without {wanted:?}");
        all.push_str(&String::from_utf8_lossy(&buffer[..len]));
    }
    all
}

pub async fn a_command_may_have_a_terminal() {
    let slot = Slot::new();
    for plan in ways(&slot, "echo up; exec sleep 1000") {
        let running = begin(&slot, plan).await;
        let door = running.door();
        let (near, far) = Terminal::open(door.user()).expect("a terminal");
        near.set_window(40, 120).expect("set");
        let clone = || far.try_clone().expect("a descriptor");
        let streams = [clone(), clone(), clone()];
        drop(far);
        let command = [
            "sh",
            "-c",
            "tty; stty size; trap 'stty size' WINCH; echo $TERM; until read word; do :; done; echo got $word; read w",
        ];
        let command: Vec<String> = command.map(str::to_owned).to_vec();
        let env = [("TERM".to_owned(), "xterm".to_owned())];
        let mut beside = door.start(&command, &env, streams, true, Path::new(SELF)).await.expect("starts");
        let (mut reader, mut writer) = (near.reader().expect("a reader"), near.writer().expect("a writer"));
        let first = read_until(&mut reader, "xterm").await;
        assert!(first.contains("/dev/pts/") && first.contains("40 120"), "{first}");
        // Another program of the same user is not to listen. Without namespaces nothing keeps it from that.
        let name = first.lines().next().expect("a line").trim();
        if running.isolation().has_namespaces() {
            let listens = format!("exec 3<>{name}; chmod 666 {name}; exec 3<>{name}");
            let (_, errors, exit) = call(door, &["bash", "-c", &listens]).await.expect("starts").end().await;
            assert!(exit != Some(Exit::Code(0)) && errors.contains("ermission denied"), "{exit:?} {errors}");
        }
        near.set_window(30, 90).expect("set");
        read_until(&mut reader, "30 90").await;
        writer.write_all(b"hello\n").await.expect("typed");
        read_until(&mut reader, "got hello").await;
        // Ctrl-C, as a terminal has it.
        writer.write_all(&[3]).await.expect("typed");
        assert_eq!(beside.wait().await, Some(Exit::Signal(2)), "{}", running.isolation());
    }
    as_a_user_without_rights("a_command_may_have_a_terminal");
}

pub async fn many_commands_start_at_once() {
    let slot = Slot::new();
    let running = begin(&slot, slot.shell("echo up; exec sleep 1000")).await;
    let door: Arc<Door> = running.door().clone();
    let calls = (0..48).map(|number: u32| {
        let door = door.clone();
        tokio::spawn(async move { said(&door, &format!("echo {number}")).await == format!("{number}\n") })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.expect("it ends"));
    }
}
