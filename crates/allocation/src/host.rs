//! What the protocol asks of the node around it: messages out, effects, and a few answers.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{AppId, Duration, Handle, Instant, NodeId};
use xtreem_discovery::{Facts, FactsAsk};

use crate::policy::Refusal;
use crate::{Application, Ask, Exit, Known, Message, Record, SlotRun, SlotState};

/// Lent by the composing node to every call.
pub trait Host {
    fn send(&mut self, to: Handle, message: Message);
    fn effect(&mut self, effect: Effect);
    /// Whether this node is cut off from the grid. Starts a check when none is recent.
    fn connection(&mut self, now: Instant) -> Connection;
    /// What this node tells of itself; `free` is filled in by the caller.
    fn facts(&self, ask: &FactsAsk) -> Facts;
    /// Up to `k` random contacts of the grid-wide collection.
    fn grid_contacts(&mut self, k: usize) -> Vec<Handle>;
    /// Whether the VO's policy lets this node hold a slot of the application; `here` counts the slots that its
    /// owner has on this node.
    fn judge_hold(&self, record: &Record, here: u32) -> Result<(), Refusal>;
    /// Whether it lets the application be submitted.
    fn judge_submission(&self, record: &Record) -> Result<(), Refusal>;
    /// Whether it limits what the owner may hold in all.
    fn limits_total(&self, record: &Record) -> bool;
    /// Whether it lets the owner have this application beside others with so many slots.
    fn judge_total(&self, record: &Record, held: u32) -> Result<(), Refusal>;
    /// Up to `k` random members of the application's own collection, without this node.
    fn app_peers(&mut self, app: AppId, k: usize) -> Vec<Handle>;
}

/// The answer to "is it me?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    Connected,
    CutOff,
    /// A check is under way; ask again.
    Pending,
}

/// Names a search that the protocol asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ticket {
    Submission(AppId),
    Slot(AppId, u16),
}

/// Why a program has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A newer record stopped the application, or has no such slot.
    Stopped,
    /// A higher epoch of the slot runs elsewhere.
    Yielded,
    /// The operator of this machine freed it, or it did not start in time.
    Freed,
}

/// What a host reports when a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// No live node has the files.
    FilesLost,
    /// The program cannot be started on this node: counts as a failure of the slot.
    Broken(Exit),
}

/// How a submission goes on.
#[derive(Clone, Debug)]
pub enum Progress {
    /// So many nodes are held, of so many wanted.
    Held { nodes: u16, wanted: u16 },
    /// Too few nodes matched: nothing was allocated.
    NotPlaced,
    /// Too few nodes matched, and nothing is held: another attempt follows after this time.
    Waiting { attempts: u8, pause: Duration },
    /// The node that the application is to be near was not found: nothing was allocated.
    NoSuchNode { node: String },
    /// The VO's policy forbids it: nothing was allocated.
    Forbidden(Refusal),
    /// A newer record beat this submission.
    Beaten { by: Record },
    /// The first slot is confirmed: from here on the holders complete the application.
    Accepted,
    /// What is known of a slot changed.
    Slot { slot: u16, state: SlotState, holder: Option<Handle> },
    /// Every slot runs or ended: the submission is over.
    Complete { running: u16, done: u16, failed: u16 },
}

/// What the composing node has to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Search nodes that match, with holds and these facts; answered by `found` and `search_done`. `wanted` counts what is
    /// looked for beyond the need, too.
    Search {
        ticket: Ticket,
        requirement: Arc<str>,
        ask: Ask,
        wanted: u16,
        exclude: Vec<Handle>,
        facts: FactsAsk,
    },
    CancelSearch(Ticket),
    /// Find the node of this host name, id or address; answered by `located` with its coordinate.
    Locate {
        app: AppId,
        node: String,
    },
    /// Search the owner's applications; answered by `counted` with the slots of all but this one.
    CountOwner {
        app: AppId,
        owner: NodeId,
    },
    /// Let others probe a silent peer; answered by `alive`.
    AskOthers {
        about: Handle,
        helpers: Vec<Handle>,
    },
    Start {
        run: SlotRun,
        application: Application,
        sources: Vec<Handle>,
        restarts: u32,
    },
    Stop {
        run: SlotRun,
        why: StopReason,
    },
    /// This node guards the application: keep its files, so that it can be restarted when all holders died.
    KeepFiles {
        application: Application,
        sources: Vec<Handle>,
    },
    /// Take part in the application's own collection, or learn more members of it.
    JoinCollection {
        app: AppId,
        members: Vec<Handle>,
    },
    LeaveCollection {
        app: AppId,
    },
    SlotChanged {
        app: AppId,
        slot: Known,
    },
    RecordChanged {
        record: Record,
    },
    AppLeft {
        app: AppId,
    },
    /// A holder (or guardian, without slot) was declared lost.
    HolderLost {
        app: AppId,
        slot: Option<u16>,
        peer: Handle,
    },
    Submission {
        app: AppId,
        progress: Progress,
    },
    RecordTaken {
        app: AppId,
        by: Handle,
        newer: Option<Record>,
    },
    Described {
        from: Handle,
        record: Record,
        slots: Vec<Known>,
        guardians: Vec<Handle>,
        placement: String,
    },
}
