//! The examples of `docs/use/structures.md` on emulated hosts, by the command that each names, while a
//! quarter of the hosts that they run on is killed.

mod emulated;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use emulated::{Grid, Running, agent_of, signal, until};

/// Eight slots, two of which move, and one host to speak to.
const HOSTS: u16 = 11;

/// One grid at a time: they share the machine.
static ALONE: Mutex<()> = Mutex::new(());

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Starts an example as a user does, and speaks to a host from then on that runs none of it.
fn start(grid: &Grid, name: &str) {
    let file = root().join("examples").join(name).join("app.toml");
    let ran = grid.ran(&["run", file.to_str().expect("text")], "");
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    let held: Vec<String> = (0..8).map(|slot| grid.host_of(name, slot)).collect();
    let hosts = grid.told["hosts"].as_array().expect("a list");
    let free = hosts.iter().position(|host| !held.iter().any(|it| host["name"] == it.as_str()));
    grid.speaker.set(free.expect("eleven hosts have eight slots"));
}

/// Kills the agents of the hosts of two slots, and with them their programs.
fn kill(grid: &Grid, name: &str, slots: [usize; 2]) {
    let hosts = slots.map(|slot| grid.host_of(name, slot));
    hosts.iter().for_each(|host| signal("KILL", agent_of(host, grid.home())));
}

fn log(grid: &Grid, slot: &str) -> String {
    grid.ran(&["logs", slot], "").out
}

/// A number that the members of a collection tell of it, all together.
fn counted(grid: &Grid, name: &str, collection: &str, of: fn(&serde_json::Value) -> Option<u64>) -> u64 {
    let shown = grid.ran(&["show", name, "--collections", "--json"], "").out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap_or_default();
    let slots = shown["slots"].as_array().cloned().unwrap_or_default();
    let all = slots.iter().flat_map(|slot| slot["collections"].as_array().cloned().unwrap_or_default());
    all.filter(|it| it["name"] == collection).filter_map(|it| of(&it)).sum()
}

/// What one process draws by itself: the last word of what it prints.
fn alone(script: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let mut python = Command::new("python3");
    python.args(["-c", script]).current_dir(dir.path());
    let ran = python.env("PYTHONPATH", root().join("python")).env("ROOT", root()).output().expect("python3");
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{out} {}", String::from_utf8_lossy(&ran.stderr));
    out.split_whitespace().next_back().expect("a digest").to_owned()
}

/// Waits until slot 0 says that its picture is done, and compares it.
fn is_drawn(grid: &Grid, name: &str, expected: &str) {
    let slot = format!("{name}/0");
    until("the picture is done", || log(grid, &slot).contains("is done"));
    let said = log(grid, &slot);
    let digest = said.split_whitespace().next_back().expect("a digest");
    assert_eq!(digest, expected, "{said}");
}

#[test]
fn the_picture_of_the_farm_is_right_although_the_farmer_and_a_worker_are_killed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let grid = Grid::of(HOSTS);
    start(&grid, "mandelbrot");
    let done = |it: &serde_json::Value| it["farm"]["progress"]["done"].as_u64();
    until("some tiles are drawn", || counted(&grid, "mandelbrot", "tiles", done) >= 16);
    kill(&grid, "mandelbrot", [0, 5]);
    let expected = alone(
        "import os, runpy, xtreem\n\
         draws = runpy.run_path(os.environ['ROOT'] + '/examples/mandelbrot/mandelbrot.py')\n\
         class Farm:\n\
         \tadd = lambda self, id, input: None\n\
         \toutcome = lambda self, id, wait: xtreem.Outcome(id, 'done', draws['draw'](xtreem.Task(id, id.encode())))\n\
         draws['put_together'](Farm())",
    );
    is_drawn(&grid, "mandelbrot", &expected);
}

#[test]
fn the_picture_of_the_mesh_is_right_although_two_of_its_members_are_killed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let grid = Grid::of(HOSTS);
    start(&grid, "heat");
    let items = |it: &serde_json::Value| it["ring"]["items"].as_u64();
    until("all have saved something", || counted(&grid, "heat", "saved", items) >= 16);
    kill(&grid, "heat", [0, 5]);
    let expected = alone(
        "import os, runpy\n\
         heat = runpy.run_path(os.environ['ROOT'] + '/examples/heat/heat.py')\n\
         part = heat['Part']((1, 1), (0, 0))\n\
         cells = part.first()\n\
         for _ in range(heat['STEPS']): cells = part.next(cells, {})\n\
         heat['write_picture']({(0, 0): cells}, part)",
    );
    is_drawn(&grid, "heat", &expected);
}

#[test]
fn nothing_that_the_store_acknowledged_is_lost_although_two_of_its_members_are_killed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let grid = Grid::of(HOSTS);
    start(&grid, "store");
    let mut command = grid.xtreem(&["exec", "store/0", "--", "python3", "check.py", "--seconds", "30"]);
    let check = Running::start(&mut command);
    let items = |it: &serde_json::Value| it["ring"]["items"].as_u64();
    until("something is written", || counted(&grid, "store", "items", items) >= 30);
    kill(&grid, "store", [3, 6]);
    let ran = check.end();
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    assert!(ran.out.contains("0 of "), "{}", ran.out);
}
