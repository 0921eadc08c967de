//! Hosts without namespaces: an address of the machine's loopback network each, and a file for a cable.
//!
//! A cut cannot be made from outside the agent then, so the agent makes it itself. The contract: an agent that is
//! started with [`FAULT_SWITCH_ENV`] set watches the file that it names (at least twice a second; replaced by rename,
//! so always whole) and, while it reads `{"cut":true}`, drops what it would send to and what it receives from every
//! address but its own. A missing or unreadable file means no cut. Only a lab sets the variable, so a production agent
//! has no such switch.

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

/// Labs that can run side by side on addresses of their own: 2^22 addresses of 127.64.0.0/10, 2^10 for the indexes.
const LABS: u32 = 1 << 12;

/// The address of a host of a loopback lab. `process` is the lab's caller: labs that run side by side shall not share
/// addresses. They do when their callers' numbers are the same modulo 4,096; the second one's agents then fail to bind.
pub(crate) fn host_address(process: u32, index: u16) -> Ipv4Addr {
    const { assert!(MAX_HOSTS < 1 << 10) };
    let first = u32::from(Ipv4Addr::new(127, 64, 0, 0));
    Ipv4Addr::from(first + ((process % LABS) << 10) + u32::from(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labs_of_neighbouring_processes_share_no_address() {
        let table = [
            (0, 1, [127, 64, 0, 1]),
            (0, MAX_HOSTS, [127, 64, 3, 232]),
            (1, 1, [127, 64, 4, 1]),
            (4_095, MAX_HOSTS, [127, 127, 255, 232]),
            (4_096, 1, [127, 64, 0, 1]),
            (4_194_303, 7, [127, 127, 252, 7]),
        ];
        for (process, index, expected) in table {
            assert_eq!(host_address(process, index).octets(), expected, "process {process}, host {index}");
        }
    }
}
