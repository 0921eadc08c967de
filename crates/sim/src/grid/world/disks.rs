//! Nodes have things written, and are told when they are.

use super::World;
use crate::grid::disk::{Disk, Write};
use crate::grid::host::{HostNo, Power};
use crate::grid::queue::{WORLD, What};

impl World {
    /// A node wants something kept.
    pub(super) fn write(&mut self, number: HostNo, write: Write) {
        let host = &mut self.hosts[number as usize];
        host.disk.order(write);
        let incarnation = host.incarnation;
        let at = self.now + Disk::sync_time(&mut self.disk_rng);
        self.queue.push(at, number, WORLD, What::Synced { incarnation });
    }

    /// One write is done: the oldest, as the events of all of them come.
    pub(super) fn synced(&mut self, number: HostNo, incarnation: u8) {
        let now = self.now();
        let host = &mut self.hosts[number as usize];
        if host.incarnation != incarnation {
            return;
        }
        if let Power::Paused { until } = host.power {
            return self.queue.push(
                until + Disk::sync_time(&mut self.disk_rng),
                number,
                WORLD,
                What::Synced { incarnation },
            );
        }
        if let Some(written) = host.disk.sync(now) {
            self.with_node(number, |node, now, out| node.stored(now, written, out));
        }
    }
}
