//! What programs see of the machine, and what they can do to it.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use xtreem_agent::exec::{self, Exit, Kernel, Landlock, Plan, ProgramUser, Wanted};

use crate::intruder::BE_INTRUDER;
use crate::kernel::as_nobody;
use crate::{SELF, Slot, output};

pub async fn the_environment_is_only_what_was_given() {
    let slot = Slot::new();
    let mut plan = slot.shell("exec /usr/bin/env");
    plan.env = vec![("XTREEM_SLOT".into(), "3".into()), ("PATH".into(), "/bin".into())];
    let mut lines = output(plan).await;
    lines.retain(|line| !line.starts_with("PWD="));
    lines.sort();
    let dir = slot.dir().canonicalize().expect("exists");
    let expected = [
        format!("HOME={}", dir.display()),
        "PATH=/bin".into(),
        format!("TMPDIR={}/{}", dir.display(), exec::TEMPORARY),
        "XTREEM_SLOT=3".into(),
    ];
    assert_eq!(lines, expected);
}

pub async fn hidden_directories_are_hidden_and_the_slots_own_is_not() {
    let slot = Slot::new();
    let state = slot.state();
    fs::create_dir_all(state.join("slots/b")).expect("a directory");
    for (file, text) in
        [("key", "secret"), ("slots/b/data", "theirs"), ("slots/a/data", "mine"), ("api", "open")]
    {
        fs::write(state.join(file), text).expect("written");
    }
    fs::write(slot.root.path().join("single"), "secret").expect("written");
    let mut plan = slot.shell(
        "cat data; echo; cat ../../api; echo; cat ../../../single; find ../.. -mindepth 1 | sort; echo new > written; \
         touch ../x ../../key 2>/dev/null && echo writable; cat /proc/1/environ 2>/dev/null; echo",
    );
    plan.hidden =
        vec![state.clone(), state.join("slots"), slot.root.path().join("single"), "/not/there".into()];
    plan.visible = vec![state.join("api")];
    let lines = output(plan).await;
    let expected = [
        "mine",
        "open",
        "../../api",
        "../../slots",
        "../../slots/a",
        "../../slots/a/.xtreem-tmp",
        "../../slots/a/data",
        "",
    ];
    assert_eq!(lines, expected);
    assert_eq!(fs::read_to_string(slot.dir().join("written")).expect("outlives the program"), "new\n");
    assert_eq!(fs::read_to_string(state.join("key")).expect("unharmed"), "secret");
}

pub async fn the_program_has_no_capability_and_cannot_undo_a_mount() {
    let slot = Slot::new();
    fs::write(slot.state().join("key"), "secret").expect("written");
    let state = slot.state().canonicalize().expect("exists");
    let mut plan = slot.shell(&format!(
        "grep -E 'Cap(Prm|Eff):|NoNewPrivs' /proc/self/status; cd /; for d in {0}/slots/a {0}; do umount $d; done; \
         cat {0}/key; unshare -Urm umount {0}; unshare -Urm cat {0}/key; ls /proc/1/root; kill -9 1; \
         echo $(ls -d /proc/[0-9]* | wc -l)",
        state.display()
    ));
    plan.hidden = vec![slot.state()];
    let lines = output(plan).await;
    for line in ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(lines.iter().any(|l| l == line), "{lines:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("secret")), "{lines:?}");
    let processes: usize = lines.last().and_then(|line| line.parse().ok()).expect("a number");
    assert!(processes <= 5, "sees {processes} processes");
}

pub async fn no_descriptor_reaches_the_program() {
    let slot = Slot::new();
    // Left open on purpose, without close-on-exec.
    let leak = nix::unistd::dup(fs::File::open("/dev/null").expect("opens")).expect("copied");
    // The last one is the listed directory.
    assert!(leak.as_raw_fd() > 3);
    assert_eq!(output(slot.shell("exec ls /proc/self/fd")).await, ["0", "1", "2", "3"]);
}

/// Places that a program has no business with, on a machine laid out for it in the slot's temporary
/// directory.
pub struct Target {
    slot: Slot,
    control: std::os::unix::net::UnixListener,
    hall: std::os::unix::net::UnixListener,
    tries: Vec<String>,
}

impl Target {
    fn new() -> Target {
        use std::os::linux::net::SocketAddrExt;
        let slot = Slot::new();
        let root = slot.root.path().canonicalize().expect("exists");
        for dir in ["etc/xtreem", "home", "state/store", "state/slots/b"] {
            fs::create_dir_all(root.join(dir)).expect("a directory");
        }
        let files = [
            "etc/xtreem/agent.toml",
            "etc/xtreem/node.pem",
            "home/mail",
            "state/store/blob",
            "state/slots/b/data",
            "open",
        ];
        for file in files {
            fs::write(root.join(file), "of others").expect("written");
        }
        let control = std::os::unix::net::UnixListener::bind(root.join("state/control.sock"));
        let name = format!("xtreem-test-{}", std::process::id());
        let hall = std::os::unix::net::SocketAddr::from_abstract_name(&name);
        let hall = std::os::unix::net::UnixListener::bind_addr(&hall.expect("a name"));
        let agent = std::process::id();
        let mut tries: Vec<String> = Vec::new();
        for file in files {
            let kinds: &[&str] = if file == "open" { &[] } else { &["read"] };
            for kind in kinds.iter().chain(&["write", "mode", "rename", "remove"]) {
                tries.push(format!("{kind}:{}", root.join(file).display()));
            }
        }
        for place in ["etc/xtreem", "home", "state", "state/store", "state/slots", "state/slots/b", ""] {
            tries.push(format!("make:{}", root.join(place).join("new").display()));
        }
        tries.push(format!("make:/etc/{name}"));
        tries.push(format!("make:/var/tmp/{name}"));
        tries.push(format!("connect:{}", root.join("state/control.sock").display()));
        tries.push(format!("abstract:{name}"));
        for kind in ["signal", "trace", "environ"] {
            tries.push(format!("{kind}:{agent}"));
        }
        Target { slot, control: control.expect("bound"), hall: hall.expect("bound"), tries }
    }

    /// What of `tries` the program could.
    async fn could(
        &self,
        tries: &[String],
        change: impl FnOnce(&mut Plan),
    ) -> (Vec<String>, exec::Isolation) {
        let dir = self.slot.dir();
        let binary = dir.join("intruder");
        if !binary.exists() {
            fs::copy(std::env::current_exe().expect("known"), &binary).expect("copied");
        }
        let root = self.slot.root.path();
        let mut plan = self.slot.shell("");
        plan.command = vec!["./intruder".to_owned(), BE_INTRUDER.to_owned()];
        plan.command.extend_from_slice(tries);
        plan.hidden = vec![root.join("state"), root.join("etc/xtreem"), root.join("home")];
        change(&mut plan);
        let mut running = exec::start(plan, Path::new(SELF)).await.expect("starts");
        assert_eq!(running.wait().await, Exit::Code(0), "{:?}", running.log().tail_lines(99));
        let mut lines = running.log().tail_lines(1000).expect("readable");
        assert_eq!(lines.pop().as_deref(), Some("tried all"), "{lines:?}");
        (lines, running.isolation().clone())
    }
}

pub async fn a_program_that_tries_everything_gets_nowhere_behind_either_layer() {
    let target = Target::new();
    let shared = |dir: &str| format!("{dir}/xtreem-left-{}", std::process::id());
    let own = [format!("leave:{}", target.slot.dir().join("mine").display()), "write:/dev/null".to_owned()];
    let temporary = ["/tmp", "/dev/shm"].map(|dir| format!("leave:{}", shared(dir)));
    let tries = [&target.tries[..], &own, &temporary].concat();
    let could = |tries: &[String]| tries.iter().map(|one| format!("could {one}")).collect::<Vec<_>>();
    for kernel in [Kernel::AsItIs, Kernel::Before5_12] {
        let (done, isolation) = target.could(&tries, |plan| plan.kernel = kernel).await;
        let mut expected = could(&[&own[..], &temporary].concat());
        if kernel == Kernel::Before5_12 {
            // The network's namespace is the machine's, and with it these names.
            assert!(matches!(isolation.landlock, Landlock::Missing { .. }), "{isolation}");
            let hall = target.tries.iter().filter(|one| one.starts_with("abstract")).cloned();
            expected.splice(..0, could(&hall.collect::<Vec<_>>()));
        }
        assert_eq!(done, expected, "{isolation}");
        for dir in ["/tmp", "/dev/shm"] {
            assert!(!Path::new(&shared(dir)).exists(), "{dir} is the machine's");
        }
    }
    if nix::unistd::geteuid().is_root() {
        // Alone, the second layer does not hold a superuser.
        let me = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        return as_nobody(me.path(), &["a_program_that_tries_everything"]);
    }
    let process_group = |plan: &mut Plan| plan.isolation = Wanted::ProcessGroup;
    let (done, isolation) = target.could(&tries, process_group).await;
    if matches!(isolation.landlock, Landlock::Version(6..)) {
        // Without namespaces Landlock alone: it knows nothing of permission bits and of the way to a socket,
        // and nobody has a /tmp of his own.
        let is_open = |one: &&String| one.starts_with("mode") || one.starts_with("connect");
        let open: Vec<_> = target.tries.iter().filter(is_open).cloned().collect();
        let expected = [&open[..], &own].concat();
        assert_eq!(done, could(&expected), "{isolation}");
    }
    // And without any layer the program could nearly all: this test can fail.
    let (done, _) = target
        .could(&tries, |plan| {
            plan.isolation = Wanted::ProcessGroup;
            plan.kernel = Kernel::Before5_12;
        })
        .await;
    assert!(done.len() * 2 > tries.len(), "{done:?}");
    for expected in ["node.pem", "connect:", "abstract:", "signal:", "trace:", "environ:", "/dev/shm/"] {
        assert!(done.iter().any(|line| line.contains(expected)), "{expected}: {done:?}");
    }
    for dir in ["/tmp", "/dev/shm"] {
        let _ = fs::remove_file(shared(dir));
    }
    drop((target.control, target.hall));
}

/// Where this is root of the machine.
pub async fn programs_of_an_agent_that_is_root_run_as_the_user_that_it_names() {
    if !xtreem_agent::is_root_of_machine() {
        return;
    }
    let user = ProgramUser { uid: 65_534, gid: 65_534 };
    let target = Target::new();
    let mut tries = target.tries.clone();
    tries.extend(["read:/etc/shadow", "write:/etc/passwd", "list:/root", "make:/root/new"].map(String::from));
    let own = format!("leave:{}", target.slot.dir().join("mine").display());
    tries.push(own.clone());
    // What namespaces open, an operator who has none must.
    for dir in [target.slot.root.path().to_owned(), target.slot.state(), target.slot.state().join("slots")] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).expect("opened");
    }
    fs::copy(std::env::current_exe().expect("known"), target.slot.dir().join("intruder")).expect("copied");
    for (isolation, kernel) in [
        (Wanted::Namespaces, Kernel::AsItIs),
        (Wanted::Namespaces, Kernel::Before5_12),
        (Wanted::ProcessGroup, Kernel::AsItIs),
        (Wanted::ProcessGroup, Kernel::Before5_12),
    ] {
        exec::give(&target.slot.dir(), user).expect("given");
        let change =
            |plan: &mut Plan| (plan.isolation, plan.kernel, plan.user) = (isolation, kernel, Some(user));
        let (done, found) = target.could(&tries, change).await;
        // What everybody may, this user may: without namespaces nothing hides it.
        let everybodys = [own.as_str(), "abstract:", "read:/var/tmp", "make:/var/tmp/xtreem-test", "signal:"];
        let may = if isolation == Wanted::Namespaces { &everybodys[..2] } else { &everybodys[..] };
        let harmful = |line: &&String| !may.iter().any(|one| line.contains(one));
        let harm: Vec<_> = done.iter().filter(harmful).collect();
        assert!(harm.is_empty() && done.iter().any(|line| line.contains(&own)), "{found}: {done:?}");
    }
    let who =
        "id -u; id -G; grep -E '^(Groups|CapEff|NoNewPrivs)' /proc/self/status; id -u > own; stat -c %u own";
    let mut plan = target.slot.shell(who);
    plan.user = Some(user);
    fs::remove_dir_all(target.slot.dir()).expect("removed");
    fs::create_dir(target.slot.dir()).expect("made");
    exec::give(&target.slot.dir(), user).expect("given");
    let lines = output(plan).await;
    let expected = ["65534", "65534", "Groups:\t", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "65534"];
    assert_eq!(lines.iter().map(|line| line.trim_end_matches(' ')).collect::<Vec<_>>(), expected);
}

/// A fence that stops ordinary programs would be switched off.
pub async fn what_a_program_needs_of_the_machine_it_has() {
    let script = "ls / > /dev/null; cat /etc/hostname > /dev/null; ls /proc/self/fd > /dev/null
        echo out > /dev/stdout; echo err > /dev/stderr; head -c 8 /dev/urandom | wc -c
        mktemp > /dev/null; d=$(mktemp -d /tmp/x.XXX); echo a > $d/a; mv $d/a $d/b; ln -s b $d/c; cat $d/c
        mkfifo p; (echo through > p &); cat p; cp /bin/true ./t; ./t && echo ran; : > /dev/shm/s && echo shared
        sleep 100 & kill $! && echo killed; chmod 700 t; touch -d yesterday t; rm t; mkdir -p a/b; mv a/b c";
    let expected = ["out", "err", "8", "a", "through", "ran", "shared", "killed"];
    for kernel in [Kernel::AsItIs, Kernel::Before5_12] {
        let slot = Slot::new();
        let mut plan = slot.shell(script);
        plan.hidden = vec![slot.state()];
        plan.kernel = kernel;
        assert_eq!(output(plan).await, expected, "{kernel:?}");
    }
}
