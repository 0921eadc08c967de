//! The program of the slots: holds them for `xtreem mpirun`, and not for ever when that is gone.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime};

use clap::Args;
use tokio::time::{Instant, sleep};

use crate::exit::{Exit, Failure};
use crate::runtime::block_on;

/// A file in the temporary directory of each slot, written whenever the slot is asked something.
pub const MARK: &str = "mpirun-asks";
/// Our guess: the first slots that run wait for the last ones to have their files.
const IDLE_MAX: &str = "1h";
/// Between two looks. Commands of MPI stay for longer; who stays for less leaves the mark.
const LOOK: Duration = Duration::from_secs(15);

#[derive(Args, Debug)]
pub struct Arguments {
    /// Ends once nothing has run beside it for so long
    #[arg(long, default_value = IDLE_MAX, value_parser = humantime::parse_duration)]
    idle: Duration,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    println!("This slot is held for `xtreem mpirun`, which says what runs in it.");
    let temporary = env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let mark = temporary.join(MARK);
    block_on(async {
        let (mut seen, mut marked) = (Instant::now(), written(&mark));
        while seen.elapsed() < arguments.idle {
            sleep(LOOK.min(arguments.idle)).await;
            let now = written(&mark);
            if now != marked || has_company(Path::new("/proc"), process::id()) {
                (seen, marked) = (Instant::now(), now);
            }
        }
        println!("Nothing has run here for {}: it ends.", humantime::format_duration(arguments.idle));
        Ok(Exit::Success)
    })
}

fn written(mark: &Path) -> Option<SystemTime> {
    fs::metadata(mark).and_then(|found| found.modified()).ok()
}

/// Whether there are processes beside this one and the first, which started it. Without a namespace of its
/// own it sees those of the machine, and holds its slot until it is stopped.
fn has_company(proc: &Path, own: u32) -> bool {
    let Ok(entries) = fs::read_dir(proc) else { return true };
    let mut numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.any(|number| number != 1 && number != own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn company_is_every_process_but_the_own_and_the_first() {
        let proc = tempfile::tempdir().expect("a directory");
        let has = |name: &str| {
            fs::create_dir(proc.path().join(name)).expect("made");
            has_company(proc.path(), 2)
        };
        assert!(!has("1") && !has("2") && !has("self") && !has("sys"));
        assert!(has("17"));
        assert!(has_company(&proc.path().join("none"), 2), "nobody can tell");
    }
}
