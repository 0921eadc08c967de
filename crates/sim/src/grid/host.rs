//! One machine of the world: its agent's node, its clock, what befell it.

use std::collections::VecDeque;

use xtreem_allocation::Resources;
use xtreem_base::{AppId, Handle, Instant, NodeId};
use xtreem_discovery::Attributes;
use xtreem_node::{Message, Node};

use super::clock::LocalClock;
use super::disk::Disk;

/// A host's place in the arena.
pub(crate) type HostNo = u32;

/// Messages that wait for a paused host; further ones are lost, as in a full socket buffer (our guess:
/// Linux's default of 208 KiB holds about 170 packets, a QUIC endpoint's queues about as many again).
pub(crate) const PAUSED_QUEUE_MAX: usize = 512;

/// 24 bits of host, 8 bits of incarnation: a message to a dead incarnation stays recognisable.
pub(crate) fn handle_of(host: HostNo, incarnation: u8) -> Handle {
    Handle::from_u32(host << 8 | u32::from(incarnation))
}

pub(crate) fn host_of(handle: Handle) -> HostNo {
    handle.as_u32() >> 8
}

pub(crate) fn incarnation_of(handle: Handle) -> u8 {
    (handle.as_u32() & 0xff) as u8
}

/// Ids are spread evenly, as hashes of keys are, and do not sort as the hosts do.
pub(crate) fn node_id(seed: u64, host: HostNo) -> NodeId {
    let mut rng = xtreem_base::Rng::derive(seed, u64::from(host), "node-id");
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&rng.next_u64().to_be_bytes());
    bytes[8..].copy_from_slice(&rng.next_u64().to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// Whether a host runs. A split is the network's affair, a cut too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    On,
    /// Everything on it stands still until then.
    Paused {
        until: Instant,
    },
    /// The agent is down and comes back as a new incarnation.
    Restarting,
    Dead,
}

pub(crate) struct Host {
    /// Nothing while the agent is down.
    pub node: Option<Box<Node>>,
    pub incarnation: u8,
    pub power: Power,
    pub clock: LocalClock,
    /// When the pending timer event fires, on the world's clock.
    pub armed: Option<Instant>,
    /// Sender, receiver and message of what arrived while the host was paused, oldest first.
    pub waiting: VecDeque<(Handle, Handle, Message)>,
    pub attributes: Attributes,
    pub offer: Resources,
    /// Applications whose files are in this host's store; a store outlives its agent.
    pub files: Vec<AppId>,
    pub disk: Disk,
}

impl Host {
    pub fn is_running(&self) -> bool {
        self.power == Power::On
    }

    pub fn handle(&self, host: HostNo) -> Handle {
        handle_of(host, self.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_hold_host_and_incarnation() {
        let handle = handle_of(999_999, 7);
        assert_eq!((host_of(handle), incarnation_of(handle)), (999_999, 7));
        assert_ne!(handle, Handle::NONE);
        assert_ne!(node_id(1, 1), node_id(1, 2));
        assert_ne!(node_id(1, 1), node_id(2, 1));
    }
}
