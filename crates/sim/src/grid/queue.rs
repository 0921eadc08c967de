//! What happens next: the events of a grid world. The wheel gives them their total order.

use xtreem_base::{AppId, Handle};
use xtreem_node::Message;

use super::host::HostNo;
use super::process::Step;

/// One event of the world, beside the timers of nodes.
pub(super) enum What {
    Deliver {
        from: Handle,
        to: Handle,
        message: Box<Message>,
    },
    /// A host learns that the incarnation it wrote to is dead, and which one is there now.
    Gone {
        to: Handle,
        peer: Handle,
        by: Handle,
    },
    Process {
        process: usize,
        step: Step,
    },
    /// A guardian fetches files to keep them.
    KeepFiles {
        incarnation: u8,
        app: AppId,
        sources: Vec<Handle>,
        attempts: u32,
    },
    /// The oldest write that its node ordered is on the disk.
    Synced {
        incarnation: u8,
    },
    /// The next action of the schedule.
    Action {
        index: usize,
    },
    Undo(Undo),
    /// An agent without contacts tries one of its configured ones.
    Join {
        incarnation: u8,
    },
    /// A user tries again what found no nodes.
    Resubmit {
        shape: usize,
        attempts: u32,
    },
    /// A user sends the stopped record, again if need be.
    SendStop {
        app: usize,
    },
    /// A user writes on the ring of all nodes, at one of them.
    Put {
        number: u32,
        by: u32,
    },
    /// A liar says something that nobody asked for.
    Lie,
    /// Every node is asked how much it has given away.
    Sample,
}

/// The end of a fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Undo {
    Heal,
    Merge,
    Resume,
    Start,
}

/// For events of the world itself: at one instant they come after those of the hosts.
pub(super) const WORLD: HostNo = HostNo::MAX;
