//! What the core tells the host of the node. The host is the agent, or the simulator's model of one.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_base::{AppId, Duration, Handle};
use xtreem_discovery::Report;

use crate::policy::Refusal;
use crate::{Application, Epoch, Exit, Kept, Known, Record, SlotRun, SlotState, Trouble};

/// One thing that happened or has to be done on this machine. The node around passes it on as it is.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Start this program. Answered by `handle_started`, `handle_exited` or `handle_not_started`.
    Start {
        run: SlotRun,
        application: Application,
        /// Nodes that may have the files.
        sources: Vec<Handle>,
        /// Times the program was started before in this run.
        restarts: u32,
    },
    /// This node guards the application: fetch and keep its files, so that it can be restarted when all
    /// holders died.
    KeepFiles {
        application: Application,
        /// Nodes that may have the files.
        sources: Vec<Handle>,
    },
    /// Stop this program; answered by `handle_exited`.
    Stop { run: SlotRun, why: StopReason },
    /// A slot of an application that this node takes part in changed: the stream of membership changes.
    SlotChanged { app: AppId, slot: Known },
    /// The record of an application that this node takes part in is new or changed.
    RecordChanged { record: Record },
    /// This node has nothing to do with the application any more; its files may go when space is wanted. It
    /// has left the application's collection just before.
    AppLeft { app: AppId },
    /// A holder (or, without slot, a guardian) was declared lost by this node; the epoch is the slot's.
    HolderLost { app: AppId, slot: Option<u16>, peer: Handle, epoch: Epoch },
    /// This node has given a slot to another holder: it was lost, or it was this node's own and moves.
    SlotPlaced { app: AppId, slot: Known, moves: bool },
    /// How a submission made here goes on.
    Submission { app: AppId, progress: Progress },
    /// A record sent by `publish` has arrived at `by`; `newer` is the record that beat it, if one did.
    RecordTaken { app: AppId, by: Handle, newer: Option<Record> },
    /// Keep this on disk in the place of what was kept of the application, or nothing any more; answered by
    /// `handle_stored` with the number.
    Store { number: u64, app: AppId, what: Option<Box<Kept>> },
    /// The answer to `describe`.
    Described { app: AppId, from: Handle, description: Description },
}

impl Notice {
    /// Shows every peer that the notice names, for the driver to say who that is.
    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        match self {
            Notice::Start { sources, .. } | Notice::KeepFiles { sources, .. } => {
                sources.iter().copied().for_each(f);
            }
            Notice::SlotChanged { slot, .. } | Notice::SlotPlaced { slot, .. } => {
                slot.holder.into_iter().for_each(f)
            }
            Notice::HolderLost { peer, .. } => f(*peer),
            Notice::Submission { progress: Progress::Slot { holder, .. }, .. } => {
                holder.iter().copied().for_each(f);
            }
            Notice::RecordTaken { by, .. } => f(*by),
            Notice::Store { what, .. } => what.iter().for_each(|kept| kept.for_each_handle(f)),
            Notice::Described { from, description, .. } => {
                f(*from);
                description.for_each_handle(f);
            }
            Notice::Stop { .. } | Notice::RecordChanged { .. } | Notice::AppLeft { .. } => {}
            Notice::Submission { .. } => {}
        }
    }
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
    /// The node is not able to: another one is tried at once.
    Trouble(Trouble),
    /// The program is not fit to be started, as a file that is not executable: this counts as its exit.
    Broken(Exit),
}

/// How a submission goes on.
#[derive(Clone, Debug)]
pub enum Progress {
    /// So many nodes are held, of so many wanted.
    Held { nodes: u16, wanted: u16 },
    /// Too few nodes matched, or their holds lapsed: nothing was allocated.
    NotPlaced {
        /// How the last search went, unless it was told already.
        report: Option<Report>,
    },
    /// Too few nodes matched and nothing is held: the next attempt follows after this time.
    Waiting {
        /// Attempts so far.
        attempts: u8,
        pause: Duration,
        /// How the last search went, unless it was told already.
        report: Option<Report>,
    },
    /// The node that the application is to be near to was not found: nothing was allocated.
    NoSuchNode { node: String },
    /// The VO's policy forbids it: nothing was allocated.
    Forbidden { refusal: Refusal },
    /// Another record of the same id, or a stopped one, beat this submission: nothing more is started.
    Beaten { by: Record },
    /// The first slot is confirmed: from here on the holders complete the application.
    Accepted,
    /// What is known of a slot changed.
    Slot { slot: u16, state: SlotState, holder: Option<Handle> },
    /// Every slot runs or ended: the submission is over.
    Complete { running: u16, done: u16, failed: u16 },
    /// Every slot runs, has ended, or cannot be started, as this one: the submission is over, and the holders
    /// go on trying.
    Troubled { slot: u16, trouble: Trouble },
}

/// What one node knows of an application.
#[derive(Clone, Debug)]
pub struct Description {
    pub record: Record,
    pub slots: Vec<Known>,
    pub guardians: Vec<Handle>,
    /// As the application's specification has it; empty for a node that only remembers its record.
    pub placement: String,
    /// Of the slots that it watches.
    pub silences: Vec<Silence>,
}

/// A slot whose holder a watcher hears no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Silence {
    #[n(0)]
    pub slot: u16,
    /// Since its last sign of life.
    #[n(1)]
    pub seconds: u32,
}

impl Description {
    /// Shows every holder and guardian.
    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.slots.iter().filter_map(|known| known.holder).for_each(&mut *f);
        self.guardians.iter().copied().for_each(f);
    }
}
