//! Nobody healthy is declared failed by a healthy node.
//!
//! Source: docs/design/allocation.md, "What is judged in the simulator": members never crashed, paused or
//! cut, declared failed by a node that was not itself cut or paused. During a split the other side counts as
//! cut.

use std::collections::BTreeSet;

use xtreem_base::Instant;

use super::partitions::Partitions;
use super::{Checker, Findings};
use crate::grid::host::{HostNo, host_of};
use crate::grid::seen::Seen;

pub(crate) const NAME: &str = "false_failures";

pub(super) struct FalseFailures {
    partitions: Partitions,
    /// What these say, and what is said of them, nobody judges.
    liars: BTreeSet<HostNo>,
}

impl FalseFailures {
    pub fn new(hosts: u32) -> Self {
        FalseFailures { partitions: Partitions::new(hosts), liars: BTreeSet::new() }
    }
}

impl Checker for FalseFailures {
    fn observe(&mut self, at: Instant, seen: &Seen, findings: &mut Findings) {
        match seen {
            Seen::Liars { hosts } => self.liars.extend(hosts),
            Seen::Fault(fault) => self.partitions.observe(at, fault),
            Seen::HolderLost { host, app, slot, peer } => {
                let peer = host_of(*peer);
                let excused = self.liars.contains(host)
                    || self.liars.contains(&peer)
                    || self.partitions.ever_faulted(peer)
                    || self.partitions.was_out(*host, at)
                    || self.partitions.were_apart(*host, peer, at);
                if !excused {
                    let role = slot.map_or_else(|| "a guardian".into(), |slot| format!("slot {slot}"));
                    let what = format!("host {host} declares host {peer} lost, {role} of {app:?}");
                    findings.add_about(*app, NAME, at, what);
                }
            }
            _ => {}
        }
    }
}
