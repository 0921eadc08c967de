//! `xtreem mpirun` with Open MPI as Debian packs it, on emulated hosts: unmodified MPI programs run on many
//! of them, and again when one dies.
//!
//! Open MPI is installed by the tests where it is missing. Where the kernel forbids namespaces, the hosts are
//! processes of one machine, and have one name.

mod emulated;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use emulated::{Grid, Running, agent_of, signal, until};

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

#[test]
fn an_mpi_program_runs_on_several_hosts_and_again_when_one_dies() {
    open_mpi();
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
    open_mpi();
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
