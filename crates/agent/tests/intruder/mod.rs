//! A program that tries everything against its node, and says what it could.

use std::fs::{self, File};
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::sys::signal::kill;
use nix::unistd::Pid;

pub const BE_INTRUDER: &str = "be-intruder";

/// Tries every `KIND:WHAT` and prints those that worked, then `tried all`.
pub fn be_intruder(tries: &[&str]) -> ExitCode {
    for one in tries {
        let (kind, what) = one.split_once(':').expect("KIND:WHAT");
        if attempt(kind, what) {
            println!("could {one}");
        }
    }
    println!("tried all");
    ExitCode::SUCCESS
}

fn attempt(kind: &str, what: &str) -> bool {
    let path = Path::new(what);
    match kind {
        "read" => {
            let mut byte = [0];
            File::open(path).and_then(|mut file| file.read(&mut byte)).is_ok_and(|len| len > 0)
        }
        "list" => fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()),
        "write" => File::options().append(true).open(path).is_ok(),
        // Undone at once where that works: a test that fails shall not litter the machine.
        "make" => File::create_new(path).map(|_| fs::remove_file(path)).is_ok(),
        "leave" => fs::write(path, "left").is_ok(),
        "remove" => fs::remove_file(path).is_ok(),
        "rename" => fs::rename(path, path.with_extension("renamed")).is_ok(),
        "mode" => fs::metadata(path).and_then(|found| fs::set_permissions(path, found.permissions())).is_ok(),
        "connect" => UnixStream::connect(path).is_ok(),
        "abstract" => {
            SocketAddr::from_abstract_name(what).and_then(|name| UnixStream::connect_addr(&name)).is_ok()
        }
        "signal" => kill(Pid::from_raw(what.parse().expect("a number")), None).is_ok(),
        // Memory of a process opens for those who may trace it.
        "trace" => File::open(format!("/proc/{what}/mem")).is_ok(),
        "environ" => fs::read(format!("/proc/{what}/environ")).is_ok_and(|text| !text.is_empty()),
        "run" => Command::new(what).output().is_ok_and(|output| output.status.success()),
        _ => panic!("no such kind: {kind}"),
    }
}
