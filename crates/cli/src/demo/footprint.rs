//! What the agents of an emulated grid cost, as this machine's kernel counts it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::sleep;

/// `USER_HZ`, in which Linux tells CPU times to programs on every architecture that Rust's standard library
/// supports.
pub const TICKS_PER_SECOND: f64 = 100.0;

/// An agent at rest, on the average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Footprint {
    pub agents: usize,
    /// Of one core.
    pub cpu_percent: f64,
    /// Of one core, all agents together.
    pub cpu_percent_all: f64,
    /// What would be free without it: pages that agents share count for each in part.
    pub memory_mib: f64,
    pub threads: f64,
    pub open_files: f64,
}

/// One process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    ticks: u64,
    memory_kib: u64,
    threads: u64,
    open_files: u64,
}

/// Looks at all agents below `dir` for so long.
pub async fn measure(dir: &Path, span: Duration) -> Footprint {
    let (began, before) = (Instant::now(), all(dir));
    sleep(span).await;
    let (seconds, after) = (began.elapsed().as_secs_f64(), all(dir));
    let agents = after.len();
    let sum = |samples: &[Sample], part: fn(&Sample) -> u64| samples.iter().map(part).sum::<u64>() as f64;
    let mean = |part| sum(&after, part) / agents.max(1) as f64;
    let ticks = sum(&after, |sample| sample.ticks) - sum(&before, |sample| sample.ticks);
    let cpu_percent_all = 100.0 * ticks.max(0.0) / TICKS_PER_SECOND / seconds;
    Footprint {
        agents,
        cpu_percent: cpu_percent_all / agents.max(1) as f64,
        cpu_percent_all,
        memory_mib: mean(|sample| sample.memory_kib) / 1_024.0,
        threads: mean(|sample| sample.threads),
        open_files: mean(|sample| sample.open_files),
    }
}

/// Every agent whose configuration lies below `dir`.
fn all(dir: &Path) -> Vec<Sample> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let is_agent = |process: &Path| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).skip(1);
        words.next() == Some(b"agent")
            && words.any(|word| Path::new(&*String::from_utf8_lossy(word)).starts_with(dir))
    };
    let processes = processes.flatten().map(|process| process.path());
    processes.filter(|path| is_agent(path)).filter_map(|path| sample(&path)).collect()
}

/// Nothing when it has just ended.
fn sample(process: &Path) -> Option<Sample> {
    let (ticks, threads) = times(&fs::read_to_string(process.join("stat")).ok()?)?;
    let memory = fs::read_to_string(process.join("smaps_rollup")).unwrap_or_default();
    let open_files = fs::read_dir(process.join("fd")).map_or(0, |files| files.count() as u64);
    Some(Sample { ticks, memory_kib: proportional(&memory), threads, open_files })
}

/// CPU time of a process in ticks and its number of threads: fields 14, 15 and 20 of proc(5)'s `stat`, behind
/// the name in brackets.
pub fn times(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some((number(14)? + number(15)?, number(20)?))
}

/// The proportional set size, in KiB.
fn proportional(smaps: &str) -> u64 {
    let size = |line: &str| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse().ok();
    smaps.lines().find_map(size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 900 0 1 0 250 70 0 0 20 0 7 0 100 500000 900 184467";
        assert_eq!(times(stat), Some((320, 7)));
        assert_eq!(times("42 (a) S 1"), None);
        assert_eq!(
            proportional("00-ff ---p 0 00:00 0 [rollup]\nRss:  9000 kB\nPss:    8123 kB\nPss_Dirty: 1 kB"),
            8_123
        );
    }

    #[test]
    fn a_process_is_sampled_and_others_are_no_agents() {
        let own = sample(Path::new("/proc/self")).expect("it runs");
        assert!(own.threads > 0 && own.open_files > 0 && own.memory_kib > 0, "{own:?}");
        assert_eq!(all(Path::new("/nowhere")), []);
    }
}
