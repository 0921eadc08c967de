//! What a node tells its host. The host is the agent, or the simulator's model of one.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_allocation::policy::{Refusal, SignedPolicy};
use xtreem_allocation::{Known, Record, SlotRun, SlotState, Spec, StopReason};
use xtreem_base::{AppId, Duration, Handle};
use xtreem_discovery::{AppSummary, Attributes, Report, SearchId};

/// One thing that happened, in the order it happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Start this program. Answer with `program_started`, `program_exited` or `program_not_started`.
    StartProgram {
        run: SlotRun,
        name: String,
        /// Number of slots of the application.
        slots: u16,
        spec: Arc<Spec>,
        /// Nodes that may have the files.
        sources: Vec<Handle>,
        /// Times the program was started before in this run.
        restarts: u32,
    },
    /// This node guards an application: fetch and keep its files, nothing else.
    KeepFiles { app: AppId, spec: Arc<Spec>, sources: Vec<Handle> },
    /// Stop this program, then say `program_exited`.
    StopProgram { run: SlotRun, why: StopReason },
    /// A slot of an application that this node takes part in changed: the stream of membership changes.
    SlotChanged { app: AppId, slot: Known },
    /// The record of an application that this node takes part in is new or changed.
    RecordChanged { record: Record },
    /// This node has nothing to do with the application any more; its files may go when space is wanted.
    AppLeft { app: AppId },
    /// How a submission made here goes on.
    Submission { app: AppId, progress: Progress },
    /// Answer to `describe`.
    Described { app: AppId, from: Handle, description: Description },
    /// A record sent by `publish` has arrived at `by`; `newer` is the record that beat it, if one did.
    RecordTaken { app: AppId, by: Handle, newer: Option<Record> },
    /// A search made here found a match.
    Match { search: SearchId, peer: Handle, attributes: Option<Attributes> },
    /// A search made here met a node that takes part in applications.
    Applications { search: SearchId, peer: Handle, list: Vec<AppSummary> },
    /// A search made here is over.
    SearchDone { search: SearchId, report: Report },
    /// A holder (or, without slot, a guardian) was declared lost by this node.
    HolderLost { app: AppId, slot: Option<u16>, peer: Handle },
    /// A newer policy of the VO is in force here: keep it. `conflicts` when it has the version of the one before it:
    /// its author signed two of one version.
    PolicyChanged { signed: Arc<SignedPolicy>, version: u64, conflicts: bool },
    /// Fewer than half of the reference set answer: this node recruits nobody until they do.
    CutOff { is_cut_off: bool },
}

/// How a submission goes on.
#[derive(Clone, Debug)]
pub enum Progress {
    /// So many nodes are held, of so many wanted.
    Held { nodes: u16, wanted: u16 },
    /// Too few nodes matched, or their holds lapsed: nothing was allocated.
    NotPlaced {
        /// How the search went; nothing when the nodes were found but did not confirm.
        report: Option<Report>,
    },
    /// Too few nodes matched and nothing is held: the next attempt follows after this time.
    Waiting {
        /// Attempts so far.
        attempts: u8,
        pause: Duration,
        /// How the last search went; nothing when the nodes were found and lost again.
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
}

/// What one node knows of an application.
#[derive(Clone, Debug)]
pub struct Description {
    pub record: Record,
    pub slots: Vec<Known>,
    pub guardians: Vec<Handle>,
    /// As the application's specification has it; empty for a node that only remembers its record.
    pub placement: String,
}
