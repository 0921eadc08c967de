//! Which hosts really run which slots: the programs' processes, as this machine's kernel lists them.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// Pairs of a slot and the address of a host that runs it, a program and its children counted once. The
/// environment that an agent gives to a program tells them.
pub fn running(app: &str) -> BTreeSet<(u16, IpAddr)> {
    let Ok(processes) = fs::read_dir("/proc") else { return BTreeSet::new() };
    processes.flatten().filter_map(|process| slot_of(&process.path(), app)).collect()
}

fn slot_of(process: &Path, app: &str) -> Option<(u16, IpAddr)> {
    // Other users' processes, and those that have just ended, cannot be read.
    let environment = fs::read(process.join("environ")).ok()?;
    told_by(&String::from_utf8_lossy(&environment), app)
}

fn told_by(environment: &str, app: &str) -> Option<(u16, IpAddr)> {
    let variable =
        |name: &str| environment.split('\0').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    if variable("XTREEM_APP")? != app {
        return None;
    }
    Some((variable("XTREEM_SLOT")?.parse().ok()?, variable("XTREEM_ADDRESS")?.parse().ok()?))
}

/// Slots that more than one host runs.
pub fn duplicates(running: &BTreeSet<(u16, IpAddr)>) -> usize {
    let slots: BTreeSet<u16> = running.iter().map(|(slot, _)| *slot).collect();
    let is_double = |slot: &&u16| running.iter().filter(|(other, _)| other == *slot).count() > 1;
    slots.iter().filter(is_double).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_environment() {
        let environment = "PATH=/bin\0XTREEM_APP=ab\0XTREEM_APP_NAME=web\0XTREEM_SLOT=3\0XTREEM_SLOTS=6\0\
                           XTREEM_ADDRESS=fd00::7\0";
        assert_eq!(told_by(environment, "ab"), Some((3, "fd00::7".parse().expect("an address"))));
        assert_eq!(told_by(environment, "cd"), None);
        assert_eq!(told_by("", "ab"), None);
    }

    #[test]
    fn a_slot_on_two_hosts_is_one_duplicate() {
        let ip = |last| IpAddr::from([127, 0, 0, last]);
        let table =
            [(vec![(0, ip(1)), (1, ip(2))], 0), (vec![(0, ip(1)), (0, ip(2)), (0, ip(3)), (1, ip(1))], 1)];
        for (running, expected) in table {
            assert_eq!(duplicates(&running.into_iter().collect()), expected);
        }
    }
}
