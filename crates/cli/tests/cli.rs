//! The built command: help, exit codes and where its words go.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

/// The command with an empty environment but for a home directory of its own.
fn xtreem(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtreem"));
    command.env_clear().env("HOME", home).current_dir(home);
    command
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn ran(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn help_goes_to_standard_output_with_the_exit_codes() {
    let home = home();
    let help = ran(xtreem(home.path()).arg("--help"));
    assert_eq!(help.code, Some(0));
    assert!(help.out.contains("Exit codes:") && help.out.contains("nodes"), "{}", help.out);
    let version = ran(xtreem(home.path()).arg("--version"));
    assert_eq!((version.code, version.err.as_str()), (Some(0), ""));
}

#[test]
fn bad_input_is_refused_with_code_2_and_words_on_standard_error() {
    let home = home();
    fs::write(home.path().join("app.toml"), "name = \"web\"\nnodes = 0\ncommand = [\"true\"]\n")
        .expect("a file");
    let table: [(&[&str], &str); 13] = [
        (&["fly"], "unrecognized subcommand"),
        (&["nodes", "cpu.cores >= "], " --> requirement:1:14\n"),
        (&["run", "none.toml"], "none.toml: No such file"),
        (&["run", "app.toml"], "error: from 1 to 4096 nodes can be wanted\n --> app.toml:2:9\n"),
        (&["stop", "web"], "user.pem"),
        (&["agent", "--config", "none.toml"], "none.toml"),
        (&["agent", "--config", "app.toml"], " --> app.toml:3:1\n"),
        (&["agent", "--state-dir", "s", "--join", "nowhere"], "nowhere"),
        (&["vo", "issue", "--name", "n"], "there is no VO"),
        (&["vo", "invite", "--join", "a:1"], "there is no VO"),
        (&["vo", "accept", "hello", "--state-dir", "s"], "this is no invitation"),
        (&["vo", "accept", "xtreem-invite-1.AAAA", "--out", "n.pem"], "this is no invitation"),
        (&["sim", "membership", "--nodes", "1"], "expected 2 to"),
    ];
    for (arguments, words) in table {
        let ran = ran(xtreem(home.path()).args(arguments));
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(words), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn a_wrong_requirement_is_shown_with_a_caret() {
    let home = home();
    let ran = ran(xtreem(home.path()).args(["nodes", "arch = \"x86_64\""]));
    let lines: Vec<_> = ran.err.lines().collect();
    let caret = lines.iter().position(|line| line.trim_end().ends_with('^')).expect("a caret");
    assert_eq!(lines[caret].find('^'), lines[caret - 1].find("= "), "{}", ran.err);
}

#[test]
fn without_an_agent_the_code_is_3_and_the_hint_says_what_to_do() {
    let home = home();
    let none = home.path().join("none.sock");
    for arguments in [["nodes", "--socket"], ["apps", "--socket"], ["node", "--socket"]] {
        let ran = ran(xtreem(home.path()).args(arguments).arg(&none));
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{}", ran.err);
        assert!(ran.err.contains("none.sock") && ran.err.contains("hint: start an agent"), "{}", ran.err);
    }
    let default = ran(xtreem(home.path()).env("XDG_RUNTIME_DIR", home.path()).arg("apps"));
    assert_eq!(default.code, Some(3), "{}", default.err);
}

#[test]
fn variables_name_the_socket_and_the_credential_unless_an_option_does() {
    let home = home();
    let with = |variable: &str, value: &str, arguments: &[&str]| {
        ran(xtreem(home.path()).env("XDG_RUNTIME_DIR", "/r").env(variable, value).args(arguments)).err
    };
    for (value, arguments, words) in [
        ("/v.sock", &["apps"][..], "/v.sock"),
        ("/v.sock", &["apps", "--socket", "/o.sock"], "/o.sock"),
        ("", &["apps"], "/r/xtreem/control.sock"),
    ] {
        let err = with("XTREEM_CONTROL", value, arguments);
        assert!(err.contains(words), "{value:?} {arguments:?}: {err}");
    }
    let named = with("XTREEM_CREDENTIAL", "/v.pem", &["vo", "show"]);
    let own = with("XTREEM_CREDENTIAL", "", &["vo", "show"]);
    assert!(named.contains("/v.pem") && own.contains("user.pem"), "{named} {own}");
    let help = ran(xtreem(home.path()).args(["stop", "--help"])).out;
    for variable in ["[env: XTREEM_CONTROL=]", "[env: XTREEM_CREDENTIAL=]"] {
        assert!(help.contains(variable), "{help}");
    }
}

#[test]
fn a_vo_is_made_shown_and_used_and_its_keys_are_never_overwritten() {
    let home = home();
    let made = ran(xtreem(home.path()).args(["vo", "create", "physics.example"]));
    assert_eq!(made.code, Some(0), "{}", made.err);
    let issued = ran(xtreem(home.path()).args(["vo", "issue", "--name", "node7", "--json"]));
    assert_eq!(issued.code, Some(0), "{}", issued.err);
    let issued: serde_json::Value = serde_json::from_str(&issued.out).expect("one object");
    assert_eq!((&issued["name"], &issued["file"]), (&"node7".into(), &"node7.pem".into()));
    let shown = ran(xtreem(home.path()).args(["vo", "show", "node7.pem", "--json"]));
    let shown: serde_json::Value = serde_json::from_str(&shown.out).expect("one object");
    assert_eq!((&shown["id"], &shown["vo"]), (&issued["id"], &issued["vo"]));
    let again = ran(xtreem(home.path()).args(["vo", "issue", "--name", "node7"]));
    assert_eq!(again.code, Some(2));
    assert!(again.err.contains("never overwritten"), "{}", again.err);
    let root = ran(xtreem(home.path()).args(["vo", "show", ".config/xtreem/vo/physics.example/root.pem"]));
    assert!(root.out.starts_with("root key of VO"), "{}", root.out);
}

/// Says `answer` to one request.
fn agent_saying(socket: &Path, answer: &'static str) -> thread::JoinHandle<String> {
    let listener = UnixListener::bind(socket).expect("a socket");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut reader = BufReader::new(stream.try_clone().expect("an open socket"));
        let mut asked = String::new();
        reader.read_line(&mut asked).expect("a request");
        let length = answer.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        stream.write_all((head + answer).as_bytes()).expect("the client takes the answer");
        // The rest of the request is read, or the kernel would throw the answer away with it.
        let mut rest = Vec::new();
        let _ = reader.read_to_end(&mut rest);
        asked
    })
}

const FOUND: &str = concat!(
    r#"{"event":"match","id":"abababababababababababababababab","address":"[fd00::1]:7227","#,
    r#""attributes":{"cpu.cores":8}}"#,
    "\n",
    r#"{"event":"done","report":{"visited":3,"answered":3,"silent":0,"matched":1,"grid_size":3,"#,
    r#""excluded":[{"clause":"cpu.cores >= 4","count":2}],"ended":"exhausted","plan":"contacts","covered":1}}"#,
    "\n",
);

#[test]
fn nodes_are_a_table_for_humans_and_one_object_for_programs() {
    let home = home();
    let socket = home.path().join("a.sock");
    let agent = agent_saying(&socket, FOUND);
    let human = ran(xtreem(home.path()).env("XTREEM_CONTROL", &socket).args([
        "nodes",
        "cpu.cores >= 4",
        "--limit",
        "2",
    ]));
    assert_eq!(human.code, Some(0), "{}", human.err);
    assert_eq!(
        human.out,
        "NODE      ADDRESS         cpu.cores\nabababab  [fd00::1]:7227  8\n\n1 of 2 wanted: of 3 nodes visited of \
         about 3 in the grid, 1 matched; `cpu.cores >= 4` excluded 2. Every node that could be reached was asked.\n"
    );
    assert_eq!(agent.join().expect("the agent ends well"), "POST /v1/search HTTP/1.1\r\n");
    fs::remove_file(&socket).expect("own file");
    let agent = agent_saying(&socket, FOUND);
    let json = ran(xtreem(home.path()).env("XTREEM_CONTROL", &socket).args(["nodes", "--json"]));
    let object: serde_json::Value = serde_json::from_str(&json.out).expect("one object alone");
    assert_eq!((&object["report"]["visited"], json.err.as_str()), (&3.into(), ""));
    agent.join().expect("the agent ends well");
}

#[test]
fn an_agent_that_dies_in_the_middle_of_an_answer_is_said_to_have() {
    let home = home();
    let socket = home.path().join("a.sock");
    let cut = FOUND.find("\"visited\"").expect("it is there");
    for (partial, shown) in [(&FOUND[..cut], "abababab"), (FOUND.lines().next().expect("a line"), "")] {
        for (arguments, out) in [(&["nodes"][..], shown), (&["nodes", "--json"], "")] {
            let agent = agent_saying(&socket, partial);
            let ran = ran(xtreem(home.path()).env("XTREEM_CONTROL", &socket).args(arguments));
            assert_eq!(ran.code, Some(1), "a search changes nothing: {}", ran.err);
            assert!(ran.out.contains(out) && (ran.out.is_empty() == out.is_empty()), "{}", ran.out);
            assert!(
                ran.err.contains("the agent's answer broke off") && ran.err.contains("hint:"),
                "{}",
                ran.err
            );
            agent.join().expect("the agent ends well");
            fs::remove_file(&socket).expect("own file");
        }
    }
}

#[test]
fn a_requirement_beyond_all_measure_is_refused_by_its_length() {
    let home = home();
    // As long as one argument may be (MAX_ARG_STRLEN in execve(2)).
    let long = "true && ".repeat(16_000);
    let ran = ran(xtreem(home.path()).args(["nodes", &long]));
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("at most 4096 bytes") && ran.err.len() < 500, "{}", ran.err);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let home = home();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended = xtreem(home.path())
        .args(["sim", "membership", "--nodes", "50", "--rounds", "5", "--json"])
        .stdout(writer)
        .output()
        .expect("the command starts");
    assert_eq!((ended.status.code(), ended.stderr), (Some(141), Vec::new()));
}

#[test]
fn the_simulator_prints_one_object_with_the_figures() {
    let home = home();
    let line = [
        "sim",
        "membership",
        "--nodes",
        "200",
        "--rounds",
        "20",
        "--seed",
        "7",
        "--kill",
        "0.5@10",
        "--json",
    ];
    let (first, second) = (ran(xtreem(home.path()).args(line)), ran(xtreem(home.path()).args(line)));
    let figures: serde_json::Value = serde_json::from_str(&first.out).expect("one object");
    let again: serde_json::Value = serde_json::from_str(&second.out).expect("one object");
    assert!(figures["survivors_cut_off"].is_number() && figures["dead_links"].is_array(), "{figures}");
    assert_eq!(figures["digest"], again["digest"]);
}

#[test]
fn a_quiet_grid_keeps_its_promises_and_a_sweep_counts_its_seeds() {
    let home = home();
    let world = ["--nodes", "40", "--apps", "1", "--faults", "none", "--json"];
    let grid = ran(xtreem(home.path()).args(["sim", "grid", "--seed", "3"]).args(world));
    let report: serde_json::Value = serde_json::from_str(&grid.out).expect("one object");
    assert_eq!((grid.code, &report["ok"], &report["seed"]), (Some(0), &true.into(), &3.into()), "{report}");
    let sweep = ran(xtreem(home.path()).args(["sim", "sweep", "--seeds", "3..5"]).args(world));
    let report: serde_json::Value = serde_json::from_str(&sweep.out).expect("one object");
    assert_eq!(
        (sweep.code, &report["seeds"], &report["failed"]),
        (Some(0), &2.into(), &0.into()),
        "{report}"
    );
}

#[test]
fn the_web_example_serves_its_page_without_a_grid_and_ends_on_sigterm() {
    let home = home();
    let mut child = xtreem(home.path())
        .args(["example", "web"])
        .env("XTREEM_ADDRESS", "127.0.0.1")
        .env("XTREEM_PORT_HTTP", "0")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut words = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut said = String::new();
    while !said.contains("serving http://") {
        assert!(words.read_line(&mut said).expect("text") > 0, "{said}");
    }
    assert!(said.contains("was not started by an xtreem agent"), "{said}");
    let address = said.rsplit_once("http://").expect("an address").1.trim().trim_end_matches('/');
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    };
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(get("/").contains("runs in no grid"));
    assert!(get("/whoami").contains("\"uptime_seconds\""));
    assert!(get("/none").starts_with("HTTP/1.1 404"));
    let kill = Command::new("kill").arg(child.id().to_string()).status().expect("kill exists");
    assert!(kill.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let nowhere = ran(xtreem(home.path()).args(["example", "web"]).env("XTREEM_PORT_HTTP", "http"));
    assert_eq!(nowhere.code, Some(2));
    assert!(nowhere.err.contains("'http' for '--port <PORT>'"), "{}", nowhere.err);
}

/// An agent of this test, ended with it.
struct Agent(std::process::Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It is a child that was not waited for yet.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an agent with this state directory in `home`, on a free port of loopback, and waits until it
/// answers.
fn agent(home: &Path, state: &str) -> Agent {
    agent_with(home, state, "")
}

/// The same, with more lines of configuration.
fn agent_with(home: &Path, state: &str, more: &str) -> Agent {
    let config = format!("state_dir = \"{state}\"\nbind = \"127.0.0.1:0\"\nemulated = true\n{more}");
    fs::write(home.join(format!("{state}.toml")), config).expect("written");
    let log = fs::File::create(home.join(format!("{state}.log"))).expect("a log");
    let mut command = xtreem(home);
    command.args(["agent", "--config", &format!("{state}.toml")]).stderr(log);
    let agent = Agent(command.spawn().expect("started"));
    node(home, state, |_| true);
    agent
}

/// What `xtreem node` says of it, once it is as it should be.
fn node(home: &Path, state: &str, is_good: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let socket = format!("{state}/control.sock");
    loop {
        let asked = ran(xtreem(home).args(["node", "--json", "--socket", &socket]));
        let answer = serde_json::from_str(&asked.out).ok().filter(|answer| is_good(answer));
        if let Some(answer) = answer {
            return answer;
        }
        let log = fs::read_to_string(home.join(format!("{state}.log"))).unwrap_or_default();
        assert!(std::time::Instant::now() < end, "{} {}\n{log}", asked.out, asked.err);
    }
}

#[test]
fn the_line_of_an_invitation_makes_a_second_machine_a_member() {
    let home = home();
    let home = home.path();
    let _first = agent(home, "first");
    let first = node(home, "first", |_| true);
    let invite = ["vo", "invite", "--dir", "first/development", "--socket", "first/control.sock"];
    let invited = ran(xtreem(home).args(invite));
    assert_eq!((invited.code, invited.out.lines().count()), (Some(0), 1), "{}", invited.err);
    assert!(invited.err.contains("contains the private key"), "{}", invited.err);
    // The line as it is printed, but for the second command, whose agent would take the usual port.
    let (accept, start) = invited.out.trim().split_once(" && ").expect("two commands");
    assert_eq!(start, "xtreem agent --state-dir ~/xtreem");
    let bin = Path::new(env!("CARGO_BIN_EXE_xtreem")).parent().expect("a directory").to_owned();
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().env("HOME", home).env("PATH", bin).current_dir(home).args(["-c", accept]);
    let accepted = ran(&mut shell);
    assert_eq!(accepted.code, Some(0), "{}", accepted.err);
    let _second = agent(home, "xtreem");
    let second = node(home, "xtreem", |node| node["contacts"] == 1);
    assert_eq!(second["vo"], first["vo"]);
    assert_ne!(second["id"], first["id"]);
    let again = ran(&mut shell);
    assert_eq!(again.code, Some(2));
    assert!(again.err.contains("another agent uses the state directory"), "{}", again.err);
}

/// An application of one slot that runs on an agent of this test.
fn running(home: &Path) -> Agent {
    // An agent that is root of the machine runs programs as somebody else.
    let run_as = if xtreem_agent::is_root_of_machine() { "run_as = \"nobody\"\n" } else { "" };
    let agent = agent_with(home, "first", run_as);
    let app = "name = \"web\"\nnodes = 1\ncommand = [\"sh\", \"-c\", \"echo here > mine; exec sleep 600\"]\n";
    fs::write(home.join("app.toml"), app).expect("written");
    let run = ran(xtreem(home).args(["run", "app.toml", "--wait=60s"]).envs(user_of(home)));
    assert_eq!(run.code, Some(0), "{} {}", run.out, run.err);
    agent
}

/// How commands find the agent and the user of its development VO.
fn user_of(home: &Path) -> [(&'static str, std::path::PathBuf); 2] {
    let state = home.join("first");
    [
        ("XTREEM_CONTROL", state.join("control.sock")),
        ("XTREEM_CREDENTIAL", state.join("development/user.pem")),
    ]
}

fn exec(home: &Path, arguments: &[&str]) -> Command {
    let mut command = xtreem(home);
    command.arg("exec").args(arguments).envs(user_of(home));
    command
}

#[test]
fn a_command_beside_a_slot_is_run_as_if_it_were_here() {
    let home = home();
    let home = home.path();
    let _agent = running(home);
    let shell = |script: &str| ran(exec(home, &["web/0", "--", "sh", "-c", script]).stdin(Stdio::null()));
    let all = shell("cat mine; echo $XTREEM_SLOT; echo oops >&2; exit 7");
    assert_eq!((all.code, all.out.as_str(), all.err.as_str()), (Some(7), "here\n0\n", "oops\n"));
    assert_eq!(shell("kill -TERM $$").code, Some(143));
    let much = exec(home, &["web/0", "--", "head", "-c", "20000000", "/dev/zero"]).output().expect("it runs");
    assert!(much.status.success() && much.stdout.len() == 20_000_000, "{}", much.stdout.len());

    let mut child = exec(home, &["web/0", "--", "wc", "-c"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("open");
    input.write_all(&vec![7; 1_000_000]).expect("taken");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1000000");

    // A terminal there, with none here.
    let mut child =
        exec(home, &["-t", "web/0", "--", "sh", "-c", "tty; echo $TERM; read word; echo got $word"]);
    let child = child.env("TERM", "vt100").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().expect("it starts");
    child.stdin.take().expect("open").write_all(b"hello\n").expect("typed");
    let output = String::from_utf8_lossy(&child.wait_with_output().expect("it ends").stdout).into_owned();
    for word in ["/dev/pts/", "vt100\r\n", "got hello\r\n"] {
        assert!(output.contains(word), "{output}");
    }

    let table: [(&[&str], i32, &str); 7] = [
        (&["web/0", "--", "no-such-command"], 127, "not found in PATH"),
        (&["web/0", "--", "./none"], 127, "there is no file"),
        (&["web/0", "--", "/etc/passwd"], 126, "is not executable"),
        (&["web/9", "--", "true"], 122, "has slots 0 to 0"),
        (&["none/0", "--", "true"], 122, "no application `none`"),
        (&["web", "--", "true"], 125, "name it, as in web/0"),
        (&["--socket", "none", "web/0", "--", "true"], 125, "no agent answers"),
    ];
    for (arguments, code, words) in table {
        let refused = ran(exec(home, arguments).stdin(Stdio::null()));
        assert_eq!((refused.code, refused.out.as_str()), (Some(code), ""), "{arguments:?}: {}", refused.err);
        assert!(refused.err.contains(words), "{arguments:?}: {}", refused.err);
    }
    let issue = [
        "vo",
        "issue",
        "--user",
        "bob",
        "--role",
        "submit",
        "--dir",
        "first/development",
        "--out",
        "bob.pem",
    ];
    assert_eq!(ran(xtreem(home).args(issue)).code, Some(0));
    let refused = ran(exec(home, &["--credential", "bob.pem", "web/0", "--", "true"]).stdin(Stdio::null()));
    assert_eq!(refused.code, Some(121), "{}", refused.err);
    assert!(refused.err.contains("neither the application's owner nor an administrator"), "{}", refused.err);
}

#[test]
fn a_command_beside_a_slot_ends_with_the_one_that_called_it_and_with_the_slot() {
    let home = home();
    let home = home.path();
    let _agent = running(home);
    let sleepers = |marker: &str| {
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        // With the path by which it was found before its name; the command that calls it has more words.
        let is_it = |line: &Vec<u8>| {
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.len() == 3 && words[0].ends_with(b"sleep") && words[1] == marker.as_bytes()
        };
        lines.filter(is_it).count()
    };
    let until = |what: &str, is_true: &dyn Fn() -> bool| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !is_true() {
            assert!(std::time::Instant::now() < end, "not in time: {what}");
            thread::yield_now();
        }
    };
    let marker = |number: u32| format!("3000000.{}{number:03}", std::process::id());
    for (number, signal, code) in [(1, "KILL", None), (2, "TERM", Some(143)), (3, "INT", Some(130))] {
        let marker = marker(number);
        let mut child = exec(home, &["web/0", "--", "sleep", &marker]);
        let mut child = child.stdin(Stdio::null()).spawn().expect("it starts");
        until("it runs", &|| sleepers(&marker) == 1);
        let kill = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(kill.expect("kill exists").success());
        assert_eq!(child.wait().expect("it ends").code(), code);
        until("nothing is left", &|| sleepers(&marker) == 0);
    }
    let marker = marker(4);
    let mut child = exec(home, &["web/0", "--", "sleep", &marker]);
    let child = child.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    until("it runs", &|| sleepers(&marker) == 1);
    assert_eq!(ran(xtreem(home).args(["stop", "web"]).envs(user_of(home))).code, Some(0));
    let output = child.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(123), "{words}");
    assert!(words.contains("the slot was stopped, or went to another node"), "{words}");
}
