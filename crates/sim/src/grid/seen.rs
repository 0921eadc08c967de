//! What an observer with eyes everywhere sees of a run. The checkers judge nothing else, so that each can be
//! shown a history made by hand.

use std::collections::BTreeSet;

use xtreem_allocation::{Epoch, Exit, Resources, SlotRun, SlotState};
use xtreem_base::{AppId, Handle, Instant};
use xtreem_overlay::{Key, Position, Range};

use super::host::HostNo;

/// One observation. Its time, on the world's clock, stands beside it.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A node told its host to start a program; `restarts` counts earlier starts of the same run there.
    StartOrdered {
        host: HostNo,
        incarnation: u8,
        run: SlotRun,
    },
    ProcessStarted {
        host: HostNo,
        run: SlotRun,
    },
    /// `exit` is nothing when host or agent died, `ordered` when the node had asked for the end.
    ProcessEnded {
        host: HostNo,
        run: SlotRun,
        exit: Option<Exit>,
        ordered: bool,
    },
    /// No live node that the host can reach has the files.
    FilesLost {
        run: SlotRun,
    },
    /// A node told of a change of a slot.
    SlotChanged {
        /// Who says so.
        by: HostNo,
        app: AppId,
        slot: u16,
        epoch: Epoch,
        holder: Option<Handle>,
        state: SlotState,
    },
    /// What a node says of its resources, and what the processes on it really take.
    Usage {
        host: HostNo,
        offered: Resources,
        used: Resources,
        running: Resources,
    },
    /// A hold that is open on a node, and who asked for it.
    Hold {
        host: HostNo,
        hold: u64,
        requester: HostNo,
        app: AppId,
    },
    /// A submission holds nodes or is about to (`is_active`), or waits, or is over.
    Submission {
        host: HostNo,
        app: AppId,
        is_active: bool,
    },
    /// A node declared a holder failed, or a guardian (without slot).
    HolderLost {
        host: HostNo,
        app: AppId,
        slot: Option<u16>,
        peer: Handle,
    },
    /// A node has seen the stopped record of an application.
    StopKnown {
        app: AppId,
        host: HostNo,
        incarnation: u8,
    },
    /// The user who stopped an application was told that this node took the record.
    StopTaken {
        app: AppId,
        by: Handle,
    },
    /// Somebody was told that the node has taken this; `is_stored` when a disk has it.
    Acknowledged {
        app: AppId,
        what: &'static str,
        is_stored: bool,
    },
    /// These members lie.
    Liars {
        hosts: Vec<HostNo>,
    },
    /// An honest node confirms a slot: under this epoch it runs elsewhere from now on.
    Confirming {
        by: HostNo,
        app: AppId,
        slot: u16,
        epoch: Epoch,
    },
    /// Something was acknowledged as written on the ring of all nodes.
    Put {
        number: u32,
        key: Key,
        /// Beside the owner's.
        copies: u8,
    },
    /// A node dies, with all that lies on it; `ring`: who stood there before, it included.
    RingDeath {
        place: Position,
        ring: Vec<Position>,
    },
    Fault(Fault),
}

/// What befell hosts and network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Killed {
        host: HostNo,
    },
    Restarted {
        host: HostNo,
    },
    Paused {
        host: HostNo,
    },
    Resumed {
        host: HostNo,
    },
    Cut {
        host: HostNo,
    },
    Healed {
        host: HostNo,
    },
    /// Some machines are about to lose their power.
    PowerCut,
    /// This one has; it comes back as another incarnation.
    PowerLost {
        host: HostNo,
    },
    /// The part of each host.
    Split {
        parts: Vec<u8>,
    },
    Merged,
}

/// How the programs of an application behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Runs until it is stopped.
    Service,
    /// Exits with 0 after a while.
    Batch,
    /// Exits with 0 after a few seconds.
    Task,
    /// Exits with 1 now and then, until the faults stop.
    Flaky,
    /// Exits with 1 at once, always.
    Broken,
}

/// One application at the end of a run.
#[derive(Clone, Debug)]
pub(crate) struct AppFacts {
    pub app: AppId,
    pub slots: u16,
    pub behaviour: Behaviour,
    /// The submitter was told so, or a program was started.
    pub is_accepted: bool,
    /// Live hosts that have its files.
    pub files_on: Vec<HostNo>,
    /// At some instant no live node held or guarded it: nobody could have saved it.
    pub is_lost: bool,
    /// Slots that some live node knows as done or failed.
    pub over: BTreeSet<u16>,
    /// When the time began that lasts to the end and in which somebody could have given it a missing process,
    /// yet no further slot came: a holder that is not cut off, or without any holder such a guardian, and a
    /// host that matches and has room.
    pub chance_since: Option<Instant>,
}

/// The world when the run is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// Hosts that run, with those that their nodes' views name (dead ones included).
    pub views: Vec<(Handle, Vec<Handle>)>,
    /// Hosts that run and say that they are cut off: how many contacts their reference set has, and how many
    /// of them run.
    pub cut_off: Vec<(HostNo, usize, usize)>,
    /// Hosts that run, with what their nodes own of the ring of all nodes.
    pub ring: Vec<(HostNo, Option<Range>)>,
    /// Numbers of puts that lie at their owners.
    pub puts: Vec<u32>,
    pub apps: Vec<AppFacts>,
}
