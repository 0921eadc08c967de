//! Hosts without namespaces: an address of the machine's loopback network each, and a file for a cable.
//!
//! A cut cannot be made from outside the agent then, so the agent makes it itself. The contract: an agent
//! that is started with [`FAULT_SWITCH_ENV`] set watches the file that it names (at least twice a second;
//! replaced by rename, so always whole) and, while it reads `{"cut":true}`, drops what it would send to and
//! what it receives from every address but its own. A missing or unreadable file means no cut. Only a lab
//! sets the variable, so a production agent has no such switch.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::spec::MAX_HOSTS;

/// Names the file of a host's [`FaultSwitch`]; set for agents of loopback labs only.
pub const FAULT_SWITCH_ENV: &str = "XTREEM_FAULT_SWITCH";

/// Content of the file that [`FAULT_SWITCH_ENV`] names, as JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSwitch {
    /// The host's cable is out.
    pub cut: bool,
}

impl FaultSwitch {
    /// Where the switch of the host with this directory is.
    pub(crate) fn path(host_dir: &Path) -> PathBuf {
        host_dir.join("faults")
    }

    pub(crate) fn write(self, host_dir: &Path) -> io::Result<()> {
        let path = Self::path(host_dir);
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&self)?)?;
        fs::rename(fresh, path)
    }
}

/// The address of a host of a loopback lab. `process` is the lab's caller and `lab` the number of the lab
/// within it. Labs that run side by side shall not share addresses, nor shall a lab with the one before it,
/// whose agents may still be dying when it was dropped: an agent whose address is taken fails to bind. Two
/// labs share them when their callers' numbers are the same modulo 4,095, and their own modulo 4. What the
/// system uses, 127.0.0.0/20, is left alone.
pub(crate) fn host_address(process: u32, lab: u32, index: u16) -> Ipv4Addr {
    const { assert!(MAX_HOSTS < 1 << 10) };
    let loopback = u32::from(Ipv4Addr::new(127, 0, 0, 0));
    Ipv4Addr::from(loopback | (1 + process % 4_095) << 12 | (lab % 4) << 10 | u32::from(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labs_of_neighbouring_processes_and_of_one_process_share_no_address() {
        // Process, lab and index; the address.
        let table = [
            ((0, 0, 1), [127, 0, 16, 1]),
            ((0, 0, MAX_HOSTS), [127, 0, 19, 232]),
            ((0, 1, 1), [127, 0, 20, 1]),
            ((0, 3, MAX_HOSTS), [127, 0, 31, 232]),
            ((0, 4, 1), [127, 0, 16, 1]),
            ((1, 0, 1), [127, 0, 32, 1]),
            ((4_094, 3, MAX_HOSTS), [127, 255, 255, 232]),
            ((4_095, 0, 1), [127, 0, 16, 1]),
        ];
        for ((process, lab, index), expected) in table {
            let address = host_address(process, lab, index);
            assert_eq!(address.octets(), expected, "process {process}, lab {lab}, host {index}");
        }
    }
}
