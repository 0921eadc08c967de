//! What this process costs, as Linux tells it; zero where there is no `/proc`.

use std::fs;
use std::time::Duration;

/// Resident memory.
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Processor time of this thread so far.
pub fn cpu_time() -> Duration {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = schedstat.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_and_work_done_show() {
        let (bytes, cpu) = (resident_bytes(), cpu_time());
        let block: Vec<u64> = (0..4_000_000u64).map(|i| i ^ bytes).collect();
        assert!(resident_bytes() >= bytes + 16_000_000, "{}", block.len());
        assert!(cpu_time() > cpu);
    }
}
