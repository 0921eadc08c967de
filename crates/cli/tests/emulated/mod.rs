//! A grid of emulated hosts for tests of the command, and what is done to it.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::cell::Cell;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A run takes some seconds, and half a minute where a host dies; only a failure waits for this.
pub const RUN_MAX: Duration = Duration::from_secs(300);

/// Emulated hosts, which end with this.
pub struct Grid {
    process: Child,
    home: tempfile::TempDir,
    /// What `emulate --json` said.
    pub told: Value,
    /// Number of the host whose agent is spoken to.
    pub speaker: Cell<usize>,
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

pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Grid {
    pub fn of(hosts: u16) -> Grid {
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
        let grid = Grid { process, home, told, speaker: Cell::new(0) };
        assert!(grid.told.is_object(), "no grid: {line}");
        grid
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Speaks to one of the hosts.
    pub fn xtreem(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtreem"));
        command.env_clear().env("HOME", self.home()).current_dir(self.home()).args(arguments);
        let text = |value: &Value| value.as_str().expect("a path").to_owned();
        command.env("XTREEM_CONTROL", text(&self.told["hosts"][self.speaker.get()]["socket"]));
        command.env("XTREEM_CREDENTIAL", text(&self.told["credential"]));
        command
    }

    pub fn ran(&self, arguments: &[&str], input: &str) -> Ran {
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
    pub fn app(&self, name: &str, rest: &str) -> String {
        let file = format!("{name}.toml");
        fs::write(self.home().join(&file), format!("name = \"{name}\"\n{rest}\n")).expect("written");
        file
    }

    pub fn show(&self, name: &str) -> Value {
        let shown = self.ran(&["show", name, "--json"], "");
        serde_json::from_str(&shown.out)
            .unwrap_or_else(|error| panic!("{error}: {} {}", shown.out, shown.err))
    }

    /// Name of the host that has a slot.
    pub fn host_of(&self, name: &str, slot: usize) -> String {
        let address = self.show(name)["slots"][slot]["address"].clone();
        let hosts = self.told["hosts"].as_array().expect("a list");
        let host = hosts.iter().find(|host| host["address"] == address).expect("one of them");
        host["name"].as_str().expect("a name").to_owned()
    }

    pub fn is_stopped(&self, name: &str) -> bool {
        self.show(name)["record"]["wanted"] == "stopped"
    }
}

/// The process of a host's agent.
pub fn agent_of(host: &str, home: &Path) -> u32 {
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
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + RUN_MAX;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

pub fn signal(name: &str, process: u32) {
    let killed = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(killed.expect("kill exists").success());
}

/// A run whose output is heard line by line.
pub struct Running {
    pub child: Child,
    lines: mpsc::Receiver<String>,
    heard: String,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let out = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || out.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Running { child, lines, heard: String::new() }
    }

    pub fn hears(&mut self, words: &str) {
        while !self.heard.contains(words) {
            let Ok(line) = self.lines.recv_timeout(RUN_MAX) else {
                let err = self.errors();
                panic!("never: {words}; {} {err}", self.heard);
            };
            self.heard.push_str(&(line + "\n"));
        }
    }

    pub fn errors(&mut self) -> String {
        let mut err = String::new();
        // What hangs is ended, so that there is an end.
        let _ = self.child.kill();
        let _ = self.child.stderr.take().map(|mut errors| errors.read_to_string(&mut err));
        err
    }

    pub fn end(mut self) -> Ran {
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
