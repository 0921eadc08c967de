//! `xtreem mpirun` with Open MPI as Debian packs it, on emulated hosts: unmodified MPI programs run on many
//! of them, and again when one dies.
//!
//! Open MPI is installed by the tests where it is missing. Where the kernel forbids namespaces, the hosts are
//! processes of one machine, and have one name.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Once, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A run takes some seconds, and half a minute where a host dies; only a failure waits for this.
const RUN_MAX: Duration = Duration::from_secs(150);

/// Makes sure that this machine has Open MPI and its compiler.
fn open_mpi() {
    static ONCE: Once = Once::new();
    let is_there = || {
        let mut found = ["mpicc", "mpirun", "orted"].into_iter().map(|name| {
            env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(name).is_file())
        });
        found.all(|found| found)
    };
    ONCE.call_once(|| {
        if is_there() {
            return;
        }
        let install = "apt-get update -qq && apt-get install -y -qq openmpi-bin libopenmpi-dev";
        let ran = Command::new("sh").args(["-c", install]).env("DEBIAN_FRONTEND", "noninteractive").output();
        let ran = ran.expect("a shell");
        assert!(
            is_there(),
            "this test needs Open MPI, and could not install it ({install}): {}",
            String::from_utf8_lossy(&ran.stderr)
        );
    });
}

/// Emulated hosts, which end with this.
struct Grid {
    process: Child,
    home: tempfile::TempDir,
    told: Value,
}

impl Drop for Grid {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.home.path().join("log")).unwrap_or_default());
        }
        // It is a child that was not waited for yet, and leaves nothing behind.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Grid {
    fn of(hosts: u16) -> Grid {
        open_mpi();
        let home = tempfile::Builder::new().prefix("xtm").tempdir().expect("a directory");
        // The hosts are another user's where this one is root.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("mine");
        let log = fs::File::create(home.path().join("log")).expect("a file");
        let mut process = Command::new(env!("CARGO_BIN_EXE_xtreem"))
            .args(["emulate", "--json", "--hosts", &hosts.to_string(), "--dir"])
            .arg(home.path().join("grid"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the command starts");
        let mut line = String::new();
        let _ = BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line);
        let told = serde_json::from_str(&line).unwrap_or_default();
        let grid = Grid { process, home, told };
        assert!(grid.told.is_object(), "no grid: {line}");
        grid
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    /// Speaks to the first host.
    fn xtreem(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtreem"));
        command.env_clear().env("HOME", self.home()).current_dir(self.home()).args(arguments);
        let text = |value: &Value| value.as_str().expect("a path").to_owned();
        command.env("XTREEM_CONTROL", text(&self.told["hosts"][0]["socket"]));
        command.env("XTREEM_CREDENTIAL", text(&self.told["credential"]));
        command
    }

    fn ran(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.xtreem(arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        // It may have ended before it reads.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Writes `NAME.toml` for an application of that name, and returns the file's name.
    fn app(&self, name: &str, rest: &str) -> String {
        let file = format!("{name}.toml");
        fs::write(self.home().join(&file), format!("name = \"{name}\"\n{rest}\n")).expect("written");
        file
    }

    fn show(&self, name: &str) -> Value {
        let shown = self.ran(&["show", name, "--json"], "");
        serde_json::from_str(&shown.out)
            .unwrap_or_else(|error| panic!("{error}: {} {}", shown.out, shown.err))
    }

    /// Name of the host that has a slot.
    fn host_of(&self, name: &str, slot: usize) -> String {
        let address = self.show(name)["slots"][slot]["address"].clone();
        let hosts = self.told["hosts"].as_array().expect("a list");
        let host = hosts.iter().find(|host| host["address"] == address).expect("one of them");
        host["name"].as_str().expect("a name").to_owned()
    }

    fn is_stopped(&self, name: &str) -> bool {
        self.show(name)["record"]["wanted"] == "stopped"
    }
}

/// The example's program, compiled beside the application files.
fn pi(grid: &Grid) {
    let source = example().join("pi.c");
    let made = Command::new("mpicc").arg("-O2").arg(source).arg("-o").arg(grid.home().join("pi")).output();
    let made = made.expect("mpicc starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/mpi")
}

/// The hosts of all ranks, from the last line.
fn hosts_in(out: &str) -> Vec<&str> {
    let line = out.lines().last().unwrap_or_default();
    let (_, hosts) = line.split_once(" on ").unwrap_or_else(|| panic!("no hosts: {out}"));
    hosts.split(' ').collect()
}

/// The process of a host's agent.
fn agent_of(host: &str, home: &Path) -> u32 {
    let config = home.join("grid/hosts").join(host).join("agent.toml");
    let config = config.canonicalize().expect("a host");
    let is_it = |line: &[u8]| {
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        words.get(1) == Some(&&b"agent"[..]) && words.contains(&config.as_os_str().as_encoded_bytes())
    };
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let mut found =
        processes.filter(|process| fs::read(process.path().join("cmdline")).is_ok_and(|line| is_it(&line)));
    let found = found.next().unwrap_or_else(|| panic!("no agent of {host}"));
    found.file_name().to_string_lossy().parse().expect("a number")
}

#[expect(clippy::disallowed_methods, reason = "a condition with a deadline, looked at from outside")]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + RUN_MAX;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn signal(name: &str, process: u32) {
    let killed = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(killed.expect("kill exists").success());
}

/// A run whose output is heard line by line.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    heard: String,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let out = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || out.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Running { child, lines, heard: String::new() }
    }

    fn hears(&mut self, words: &str) {
        while !self.heard.contains(words) {
            let Ok(line) = self.lines.recv_timeout(RUN_MAX) else {
                let err = self.errors();
                panic!("never: {words}; {} {err}", self.heard);
            };
            self.heard.push_str(&(line + "\n"));
        }
    }

    fn errors(&mut self) -> String {
        let mut err = String::new();
        // What hangs is ended, so that there is an end.
        let _ = self.child.kill();
        let _ = self.child.stderr.take().map(|mut errors| errors.read_to_string(&mut err));
        err
    }

    fn end(mut self) -> Ran {
        let mut errors = self.child.stderr.take().expect("piped");
        let reading = thread::spawn(move || {
            let mut err = String::new();
            errors.read_to_string(&mut err).map(|_| err)
        });
        while let Ok(line) = self.lines.recv_timeout(RUN_MAX) {
            self.heard.push_str(&(line + "\n"));
        }
        let code = self.child.wait().expect("it ends").code();
        Ran { code, out: self.heard, err: reading.join().expect("read").expect("text") }
    }
}

#[test]
fn an_mpi_program_runs_on_several_hosts_and_again_when_one_dies() {
    let grid = Grid::of(5);
    pi(&grid);
    fs::copy(example().join("app.toml"), grid.home().join("app.toml")).expect("copied");
    let ran = grid.ran(&["mpirun", "app.toml"], "");
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    assert!(ran.out.starts_with("pi is 3.1415926535"), "{}", ran.out);
    let hosts = hosts_in(&ran.out);
    assert_eq!(hosts.len(), 8, "{}", ran.out);
    let is_many = grid.told["network"] == "namespaces";
    assert_eq!(hosts.iter().collect::<BTreeSet<_>>().len(), if is_many { 4 } else { 1 }, "{}", ran.out);
    assert!(grid.is_stopped("pi"));

    // Not on the host whose agent is spoken to.
    let app = "nodes = 3\nrequirement = 'host != \"host01\"'\ncommand = [\"./pi\", \"10000000\", \"500\"]\n\
               files = [\"pi\"]";
    let mut running = Running::start(&mut grid.xtreem(&["mpirun", &grid.app("long", app)]));
    running.hears("part 2 of 10");
    let host = grid.host_of("long", 1);
    signal("KILL", agent_of(&host, grid.home()));
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    assert_eq!(ran.out.matches("part 1 of 10").count(), 2, "{}", ran.out);
    assert!(ran.out.lines().last().is_some_and(|line| line.starts_with("pi is 3.1415926535")), "{}", ran.out);
    for words in [") was lost: ", "the program is started again (1 of 3)", "mpirun: started again\n"] {
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    if is_many {
        assert!(ran.err.contains(&format!("({host}) was lost")), "{host}: {}", ran.err);
        assert!(!hosts_in(&ran.out).contains(&host.as_str()), "{host}: {}", ran.out);
    }
    assert!(grid.is_stopped("long"));
}

#[test]
fn what_keeps_an_mpi_program_from_its_end_is_told_and_nothing_runs_on() {
    let grid = Grid::of(2);
    for tool in ["sh", "uname", "head"] {
        let paths = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(tool));
        let path = paths.iter().find(|path| path.exists()).expect("a tool of every machine");
        fs::copy(path, grid.home().join(tool)).expect("copied");
    }
    // Its input goes to the first rank, and its code comes back: that is no reason to start it again.
    let exits = "nodes = 2\ncommand = [\"sh\", \"-c\", \"read word; echo got $word by \
                 $OMPI_MCA_btl_tcp_if_include; exit 7\"]";
    let ran = grid.ran(&["mpirun", &grid.app("exits", exits), "-n", "1"], "hello\n");
    // Over the network of the agents and no other.
    let network = if grid.told["network"] == "namespaces" { " eth0" } else { "" };
    assert_eq!((ran.code, ran.out), (Some(7), format!("got hello by{network}\n")), "{}", ran.err);
    let named = ["mpirun", "exits.toml", "-n", "1", "--", "--mca", "btl_tcp_if_include", "lo"];
    assert_eq!(grid.ran(&named, "hello\n").out, "got hello by lo\n");
    assert!(!ran.err.contains("started again"), "{}", ran.err);

    // A node with nothing in its PATH but the slot's own files.
    let bare =
        "nodes = 2\ncommand = [\"sh\"]\nfiles = [\"sh\", \"uname\", \"head\"]\nenvironment.PATH = \".\"";
    let bare = grid.app("bare", &bare.replace("[\"sh\"]", "[\"./sh\"]"));
    let waits = grid.app("waits", "nodes = 2\ncommand = [\"sleep\", \"600\"]");
    let none = grid.app("none", "nodes = 2\ncommand = [\"no-such-program\"]");
    let table: [(&[&str], i32, &[&str]); 5] = [
        (
            &["mpirun", &bare],
            1,
            &["slot 0 on ", "slot 1 on ", "mpirun: not found", "apt-get install openmpi-bin"],
        ),
        (&["mpirun", &none], 1, &["there is no program `no-such-program`", "slot 1 on "]),
        (&["mpirun", &waits, "-n", "3"], 2, &["3 ranks, and 2 slots with 1 core each have room for 2"]),
        (&["mpirun", &grid.app("many", "nodes = 300\ncommand = [\"x\"]")], 2, &["MPI runs in 255 at most"]),
        (&["mpirun", &grid.app("few", "nodes = 3\ncommand = [\"x\"]")], 1, &["2 of 3 wanted", "--wait"]),
    ];
    for (arguments, code, words) in table {
        let ran = grid.ran(arguments, "");
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{arguments:?}: {}", ran.err);
        for words in words {
            assert!(ran.err.contains(words), "{arguments:?}: {}", ran.err);
        }
    }
    assert!(["exits", "bare", "none"].iter().all(|name| grid.is_stopped(name)));

    // Nobody reads on.
    let talks = "nodes = 1\ncommand = [\"sh\", \"-c\", \"while echo talks; do sleep 0.1; done\"]";
    let mut child = grid.xtreem(&["mpirun", &grid.app("talks", talks)]);
    let mut child =
        child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
    let mut line = String::new();
    let _ = BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line);
    assert_eq!((line.as_str(), child.wait().expect("it ends").code()), ("talks\n", Some(141)));
    assert!(grid.is_stopped("talks"));

    // Whoever was ended without a word holds no node for ever.
    let left = "nodes = 1\ncommand = [\"xtreem\", \"mpi-hold\", \"--idle\", \"1s\"]";
    assert_eq!(grid.ran(&["run", &grid.app("left", left)], "").code, Some(0));
    until("it ends", || grid.show("left")["slots"][0]["state"] == "done");

    let says = "nodes = 2\ncommand = [\"sh\", \"-c\", \"echo runs; exec sleep 600\"]";
    let mut running = Running::start(&mut grid.xtreem(&["mpirun", &grid.app("says", says)]));
    running.hears("runs");
    let ran = grid.ran(&["mpirun", "says.toml"], "");
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("runs already"), "{}", ran.err);
    assert!(!grid.is_stopped("says"), "the one that runs is another's");
    signal("INT", running.child.id());
    assert_eq!(running.end().code, Some(130));
    assert!(grid.is_stopped("says"));
}
