use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use xtreem_agent::program::{CollectionRef, ExecBy};
use xtreem_client::api::CollectionSpec;

use super::*;

const GOOD: &str = r#"
name = "web"
nodes = 6
command = ["./serve", "--verbose"]
files = ["serve", { path = "data/model.bin", as = "model", executable = false }]
"#;

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("data")).expect("a directory");
    fs::write(directory.path().join("data/model.bin"), [7; 1000]).expect("a file");
    let serve = directory.path().join("serve");
    fs::write(&serve, "#!/bin/sh\n").expect("a file");
    fs::set_permissions(&serve, fs::Permissions::from_mode(0o755)).expect("own file");
    directory
}

fn parse(text: &str) -> Result<AppFile, Complaint> {
    AppFile::parse(text, "app.toml", directory().path())
}

/// Line and column that a complaint shows.
fn place(complaint: &Complaint) -> (usize, usize) {
    let shown = complaint.to_string();
    let place = shown.lines().find_map(|line| line.strip_prefix(" --> app.toml:")).expect("a place");
    let (line, column) = place.split_once(':').expect("line and column");
    (line.parse().expect("a number"), column.parse().expect("a number"))
}

/// The minimal file, with one line more at its end.
fn with_line(line: &str) -> String {
    format!("name = \"web\"\nnodes = 6\ncommand = [\"true\"]\n{line}\n")
}

#[test]
fn a_minimal_file_gets_the_defaults() {
    let app = parse(&with_line("")).expect("a good file");
    assert_eq!((app.name.as_str(), app.nodes, app.requirement.text()), ("web", 6, ""));
    assert_eq!(
        (app.resources, app.restart, app.colocate),
        (Resources::SLOT_DEFAULT, Restart::OnFailure, false)
    );
    assert_eq!(app.program.exec, ExecBy::Owner);
}

#[test]
fn every_key_reaches_its_place() {
    let app = parse(
        r#"
        name = "job-1"
        nodes = 4096
        requirement = 'arch == "x86_64"'
        placement = 'spread by rack'
        command = ["sh", "-c", "true"]
        restart = "never"
        exec = "slots"
        colocate = true
        environment = { LANG = "C", EMPTY = "" }
        ports = { http = 8080, "debug-1" = "auto" }
        [collections.world]
        kind = "mesh"
        shape = [64, 64]
        joined = true
        [collections.jobs]
        kind = "farm"
        attempts = 2
        timeout_s = 600
        [resources]
        cores = 0.5
        memory = "1 GiB"
        disk = "20GB"
        "#,
    )
    .expect("a good file");
    assert_eq!((app.nodes, app.restart, app.colocate), (4096, Restart::Never, true));
    assert_eq!(app.program.exec, ExecBy::Slots);
    assert_eq!(app.requirement.text(), r#"arch == "x86_64""#);
    assert_eq!(
        (app.placement.as_str(), &*app.spec().expect("it fits").placement),
        ("spread by rack", "spread by rack")
    );
    let resources = Resources { cores_milli: 500, memory_bytes: 1 << 30, disk_bytes: 20_000_000_000 };
    assert_eq!(app.resources, resources);
    let variables: Vec<_> = app.program.env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(variables, [("EMPTY", ""), ("LANG", "C")]);
    let ports: Vec<_> = app.program.ports.iter().map(|p| (p.name.as_str(), p.port)).collect();
    assert_eq!(ports, [("debug-1", 0), ("http", 8080)]);
    let named = |name: &str, spec| CollectionRef { name: name.to_owned(), spec };
    let jobs = CollectionSpec::Farm { copies: 2, lease_s: 30, attempts: 2, timeout_s: Some(600) };
    let world = CollectionSpec::Mesh { shape: vec![64, 64], joined: true };
    assert_eq!(app.program.collections, [named("jobs", jobs), named("world", world)]);
    let spec = app.spec().expect("a specification");
    assert_eq!(Program::from_payload(&spec.payload), Ok(app.program));
}

#[test]
fn files_are_hashed_and_keep_their_mode_unless_told() {
    let app = parse(GOOD).expect("a good file");
    let files: Vec<_> = app.program.files.iter().map(|f| (f.path.as_str(), f.len, f.executable)).collect();
    assert_eq!(files, [("serve", 10, true), ("model", 1000, false)]);
    let digest = *blake3::hash(&[7; 1000]).as_bytes();
    assert_eq!(*app.files[1].digest.as_bytes(), digest);
    assert!(app.files[1].path.ends_with("data/model.bin"));
}

#[test]
fn what_is_wrong_is_refused_with_its_place_and_reason() {
    // Line to add to the minimal file (its line 4), column, part of the reason.
    let table: &[(&str, usize, &str)] = &[
        ("requirment = ''", 1, "unknown key `requirment`"),
        ("requirement = 3", 15, "expected a string"),
        ("requirement = 'cpu.cores >= '", 29, "expected"),
        (r#"requirement = "arch == \"x\" &&""#, 15, "column 15 of the text"),
        ("requirement = 'cpu.cores > 1 ", 30, ""),
        ("files = 'serve'", 9, "expected a list"),
        ("files = ['none']", 10, "none"),
        ("files = ['data']", 10, "no regular file"),
        ("files = [{ path = 'serve', mode = 1 }]", 28, "unknown key `mode`"),
        ("files = [{ as = 'serve' }]", 10, "missing key `path`"),
        ("files = [7]", 10, "expected a path or"),
        ("files = ['serve', 'serve']", 19, "given twice"),
        ("files = [{ path = 'serve', as = '../serve' }]", 10, "inside the slot's directory"),
        ("files = ['serve', { path = 'serve', as = 'serve/x' }]", 19, "lies below another file"),
        ("environment = { A = 1 }", 21, "expected a string"),
        ("environment = { XTREEM_SLOT = '1' }", 17, "belong to the agent"),
        ("environment = { '1A' = '1' }", 17, "does not begin with a digit"),
        ("ports = { http = 0 }", 18, "from 1 to 65535"),
        ("ports = { http = 65536 }", 18, "from 1 to 65535"),
        ("ports = { http = 'any' }", 18, "a port number or \"auto\""),
        ("collections.a = { kind = 'tree' }", 26, "collections.a.kind = \"tree\": want \"ranks\""),
        ("collections.a = { copies = 2 }", 17, "missing key `kind`"),
        ("collections.a = { kind = 'ring', copy = 2 }", 34, "unknown key `copy`"),
        ("collections.a = { kind = 'ranks', copies = 2 }", 35, "ranks has no keys beside kind"),
        ("collections.a = { kind = 'ring', copies = 8 }", 43, "collections.a.copies = 8: want a whole"),
        ("collections.a = { kind = 'ring', copies = -1 }", 43, "0 to 7 are possible"),
        ("collections.a = { kind = 'ring', copies = '2' }", 43, "collections.a.copies = \"2\": want a"),
        ("collections.a = { kind = 'farm', lease_s = '30s' }", 44, "a.lease_s = \"30s\": want a whole"),
        ("collections.a = { kind = 'farm', lease_s = 0 }", 44, "a.lease_s = 0: want a whole number of"),
        ("collections.a = { kind = 'farm', lease_s = 86401 }", 44, "seconds, from 3 to 86400 (1 day)"),
        ("collections.a = { kind = 'farm', timeout_s = 0 }", 46, "a.timeout_s = 0: want a whole number"),
        ("collections.a = { kind = 'farm', timeout_s = 2592001 }", 46, "from 1 to 2592000 (30 days)"),
        ("collections.a = { kind = 'farm', attempts = 0 }", 45, "collections.a.attempts = 0: want"),
        ("collections.a = { kind = 'nearest', metric = 'euclid' }", 46, "want \"items\" or \"number\""),
        ("collections.a = { kind = 'nearest' }", 17, "missing key `metric` in collections.a"),
        ("collections.a = { kind = 'mesh', shape = '2x2' }", 42, "collections.a.shape = \"2x2\": want"),
        ("collections.a = { kind = 'mesh', shape = [6], joined = 1 }", 56, "want true or false"),
        ("collections.a = { kind = 'mesh', shape = [2, 2] }", 17, "near it and possible: 3 x 2, 2 x 3"),
        ("collections.a = { kind = 'mesh', shape = [0] }", 17, "every side is at least 1"),
        ("collections.'a b' = { kind = 'ranks' }", 13, "letters, digits"),
        ("ports = { 'a b' = 80 }", 11, "letters, digits"),
        ("ports = { a = 80, b = 80 }", 19, "another port has its number"),
        ("restart = 'sometimes'", 11, "unknown value `sometimes`"),
        ("colocate = 'no'", 12, "expected a boolean"),
        ("resources = { cores = 0 }", 23, "from 0.001 to 4096"),
        ("resources = { cores = nan }", 23, "from 0.001 to 4096"),
        ("resources = { cores = '2' }", 23, "from 0.001 to 4096"),
        ("resources = { cores = 9223372036854775807 }", 23, "from 0.001 to 4096"),
        ("resources = { memory = -1 }", 24, "a size is"),
        ("resources = { memory = 4000 }", 24, "a size is"),
        ("resources = { memory = '256 mib' }", 24, "a size is"),
        ("resources = { disk = '99999PiB' }", 22, "a size is"),
        ("resources = { gpu = 1 }", 15, "unknown key `gpu`"),
        ("nodes = 7", 1, "duplicate key"),
    ];
    for (line, column, reason) in table {
        let complaint = parse(&with_line(line)).expect_err(line);
        assert_eq!(place(&complaint), (4, *column), "{line}: {complaint}");
        assert!(complaint.reason.contains(reason), "{line}: {complaint}");
    }
}

#[test]
fn wrong_names_numbers_and_commands_are_refused() {
    let long = "n".repeat(65);
    let table = [
        (r#"name = """#, "nodes = 1", "command = [\"x\"]", 1, "1 to 64 bytes"),
        (&format!("name = \"{long}\""), "nodes = 1", "command = [\"x\"]", 1, "1 to 64 bytes"),
        (r#"name = "a/0""#, "nodes = 1", "command = [\"x\"]", 1, "letters, digits"),
        (r#"name = "-a""#, "nodes = 1", "command = [\"x\"]", 1, "begins with a letter"),
        (
            r#"name = "00112233445566778899aabbccddeeff""#,
            "nodes = 1",
            "command = [\"x\"]",
            1,
            "id of an application",
        ),
        (r#"name = "a""#, "nodes = 0", "command = [\"x\"]", 2, "from 1 to 4096"),
        (r#"name = "a""#, "nodes = 4097", "command = [\"x\"]", 2, "from 1 to 4096"),
        (r#"name = "a""#, "nodes = -1", "command = [\"x\"]", 2, "from 1 to 4096"),
        (r#"name = "a""#, "nodes = 1.5", "command = [\"x\"]", 2, "a number, or a range such as \"1..6\""),
        (r#"name = "a""#, "nodes = \"6..1\"", "command = [\"x\"]", 2, "from 1 to 4096"),
        (r#"name = "a""#, "nodes = \"1..\"", "command = [\"x\"]", 2, "from 1 to 4096"),
        (r#"name = "a""#, "nodes = \"1..6\"", "command = [\"x\"]", 2, "a range needs `together`"),
        (r#"name = "a""#, "nodes = 1", "command = []", 3, "command is empty"),
        (r#"name = "a""#, "nodes = 1", "command = [\"\"]", 3, "command is empty"),
        (r#"name = "a""#, "nodes = 1", "command = [\"x\", \"\\u0000\"]", 3, "zero byte"),
        (r#"name = "a""#, "nodes = 1", "command = \"x\"", 3, "expected a list"),
        (r#"name = "a""#, "nodes = 1", "command = [\"./none\"]", 3, "none of the files"),
    ];
    for (name, nodes, command, line, reason) in table {
        let complaint = parse(&format!("{name}\n{nodes}\n{command}\n")).expect_err(reason);
        assert_eq!(place(&complaint).0, line, "{complaint}");
        assert!(complaint.reason.contains(reason), "{complaint}");
    }
}

#[test]
fn a_missing_key_is_named() {
    for key in ["name", "nodes", "command"] {
        let text: String =
            GOOD.lines().filter(|line| !line.starts_with(key)).map(|l| format!("{l}\n")).collect();
        let complaint = parse(&text).expect_err(key);
        assert!(complaint.reason.contains(&format!("missing key `{key}`")), "{complaint}");
    }
}

#[test]
fn a_command_that_is_a_file_must_be_executable() {
    let text = GOOD.replace("\"serve\",", "{ path = \"serve\", executable = false },");
    let complaint = parse(&text).expect_err("not executable");
    assert!(complaint.reason.contains("not executable"), "{complaint}");
}

#[test]
fn a_requirement_of_several_lines_points_into_its_line() {
    let text = with_line("requirement = '''\ncpu.cores >= 4\n&& mem.total >= 8Gb'''");
    let complaint = parse(&text).expect_err("no such unit");
    assert_eq!(place(&complaint), (6, 18), "{complaint}");
    assert!(complaint.reason.contains("a unit"), "{complaint}");
}

#[test]
fn a_placement_that_is_none_points_into_its_text() {
    let complaint =
        parse(&with_line("placement = 'weighted by 2 * mem.free / 1Gb'")).expect_err("no such unit");
    assert_eq!(place(&complaint), (4, 42), "{complaint}");
    let complaint = parse(&with_line("placement = 'tight'")).expect_err("no such placement");
    assert!(complaint.reason.contains("`random`, `pack`, `spread`"), "{complaint}");
}

#[test]
fn unreadable_files_are_named() {
    let directory = directory();
    let missing = AppFile::load(&directory.path().join("none.toml")).expect_err("no file");
    assert!(missing.to_string().contains("none.toml"), "{missing}");
    let binary = directory.path().join("binary.toml");
    fs::write(&binary, [0xff, 0xfe]).expect("a file");
    assert!(AppFile::load(&binary).is_err());
    assert!(AppFile::load(Path::new("/")).is_err());
}

#[test]
fn nodes_can_be_wanted_that_are_enough_together() {
    let app = |lines: &str| parse(&format!("name = \"a\"\ncommand = [\"true\"]\n{lines}\n"));
    let six = app("nodes = \"1..6\"\nrequirement = \"ecc || old\"\ntogether = \"sum(disk.free) >= 10GiB\"")
        .unwrap();
    let requirement =
        |nodes: u16| format!("{nodes} nodes with sum(disk.free) >= 10737418240 where ecc || old");
    assert_eq!((six.nodes, six.requirement.text()), (6, &*requirement(6)));
    let two = six.clone().with_size(2);
    assert_eq!((two.nodes, two.requirement.text()), (2, &*requirement(2)));
    assert_eq!(six.clone().with_size(9).nodes, 6);
    let exact = app("nodes = 3\ntogether = \"max(load.1m) < 0.5 spread by site\"").unwrap();
    assert_eq!(exact.requirement.text(), "3 nodes with max(load.1m) < 0.5 spread by site");

    let table = [
        ("nodes = 3\ntogether = 'sum(disk.free) > x'", 30, "a number"),
        ("nodes = 3\ntogether = \"spread by site\"\ncolocate = true", 12, "different ones"),
        ("nodes = 3\ntogether = \"spread by site\"\nplacement = \"pack\"", 12, "has no say"),
        ("nodes = 65\ntogether = \"spread by site\"", 9, "from 1 to 64"),
        ("nodes = \"1..6\"\ntogether = \"count > 6\"", 9, "from 1 to 64"),
    ];
    for (lines, column, reason) in table {
        let complaint = app(lines).expect_err(reason);
        assert_eq!(place(&complaint).1, column, "{complaint}");
        assert!(complaint.reason.contains(reason), "{complaint}");
    }
}
