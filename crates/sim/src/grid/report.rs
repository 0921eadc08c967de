//! What a run and a sweep say of themselves.

use serde::{Deserialize, Serialize};

use super::checker::Violation;

/// One run of one seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub nodes: u32,
    pub apps: u32,
    pub seed: u64,
    /// Kinds of faults that were allowed.
    pub faults: String,
    /// No invariant was broken.
    pub ok: bool,
    /// At most 100; `violations_dropped` counts the rest.
    pub violations: Vec<Violation>,
    pub violations_dropped: u64,
    /// Applications that were accepted; some are submitted again after a refusal.
    pub accepted: u32,
    /// Applications whose stop was taken by a node.
    pub stopped: u32,
    /// Applications all of whose holders and guardians were gone at one instant.
    pub lost: u32,
    /// Slots with a running process at the end.
    pub slots_running: u32,
    /// Slots whose host or agent died and that ran again on another host.
    pub replaced: u32,
    /// Virtual time from the death to the running replacement.
    pub replacement_ms_p50: u64,
    pub replacement_ms_p99: u64,
    pub replacement_ms_max: u64,
    pub false_failures: u32,
    /// Members that lie, and how many lies they told.
    pub liars: u32,
    pub lies: u64,
    /// Applications that a liar submitted or was asked to hold or guard: they are not judged.
    pub entrusted: u32,
    /// Messages with a claim that its signer has not signed: dropped on arrival, as every driver does.
    #[serde(default)]
    pub forged: u64,
    pub messages: u64,
    pub events: u64,
    pub virtual_ms: u64,
    pub cpu_seconds: f64,
    pub events_per_cpu_second: u64,
    /// Resident memory of the whole process at the end.
    pub rss_bytes: u64,
    /// Growth of resident memory divided by the nodes; means little when several seeds run at once.
    pub bytes_per_node: u64,
    /// Mean over nodes and gossip rounds, as encoded, estimated from a sample; without envelopes and
    /// signatures.
    pub bytes_sent_per_node_round: u64,
    /// Over every event in its order: equal for equal seeds on every machine.
    pub digest: String,
    /// The command that runs this again.
    pub replay: String,
}

/// One broken promise of one seed of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub seed: u64,
    pub checker: String,
    pub at_ms: u64,
    pub replay: String,
}

/// Many seeds. A seed counts once in `failed`, and once in `failures` for each invariant that it broke.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepReport {
    pub seeds: u64,
    pub failed: u64,
    pub failures: Vec<Failure>,
}

impl Report {
    /// The first violation of each invariant.
    pub(super) fn failures(&self) -> Vec<Failure> {
        let mut failures: Vec<Failure> = Vec::new();
        for violation in &self.violations {
            if failures.iter().all(|failure| failure.checker != violation.checker) {
                failures.push(Failure {
                    seed: self.seed,
                    checker: violation.checker.clone(),
                    at_ms: violation.at_ms,
                    replay: self.replay.clone(),
                });
            }
        }
        failures
    }
}

/// Figures of the machine that runs the simulation, read from /proc; zero where there is none.
pub(super) mod machine {
    use std::fs;

    /// Processor time of this thread in seconds.
    pub fn thread_cpu_seconds() -> f64 {
        let nanos = fs::read_to_string("/proc/thread-self/schedstat").ok().and_then(|text| {
            text.split_ascii_whitespace().next().and_then(|first| first.parse::<u64>().ok())
        });
        nanos.unwrap_or(0) as f64 / 1e9
    }

    /// Resident memory of this process.
    pub fn resident_bytes() -> u64 {
        read_bytes("/proc/self/status", "VmRSS:").unwrap_or(0)
    }

    /// Memory that this machine could still give without swapping, if it says so.
    pub fn available_bytes() -> Option<u64> {
        read_bytes("/proc/meminfo", "MemAvailable:")
    }

    /// A line of kibibytes.
    fn read_bytes(path: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(path).ok()?;
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes = rest.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
        kilobytes.checked_mul(1_024)
    }
}
