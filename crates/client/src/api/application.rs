//! Submitting, finding, showing and stopping applications.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Blob, ErrorBody, Peer, SearchReport};

/// `POST /v1/apps`: submit an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// CBOR of the application: signed record and specification.
    pub application: Blob,
    /// How long to try again while too few nodes are found; not at all when absent, a day at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// One line of the answer to [`SubmitRequest`]; the answer ends after `complete`, `troubled`, `not_placed`,
/// `beaten` or `failed`. Closing the connection earlier gives the submission up unless it was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ProgressLine {
    /// So many nodes are held, of so many wanted.
    Held { nodes: u16, wanted: u16 },
    /// Too few nodes matched or kept their holds: nothing was allocated.
    NotPlaced { report: SearchReport },
    /// Too few nodes matched or kept their holds: nothing is held, and the next attempt follows after the
    /// pause.
    Waiting {
        /// Attempts so far.
        attempts: u8,
        pause_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<SearchReport>,
    },
    /// Another record of the same id won: nothing more is started.
    Beaten { by: RecordView },
    /// The first slot is confirmed: from here on the holders complete the application by themselves.
    Accepted { id: String },
    /// What is known of a slot changed.
    Slot { slot: SlotView },
    /// Every slot runs or ended.
    Complete { running: u16, done: u16, failed: u16 },
    /// Every slot runs, has ended or cannot be started, as this one: for this reason, on several nodes or on
    /// all that match. The holders go on trying.
    Troubled { slot: u16, trouble: String },
    /// The agent could not go on with the submission.
    Failed { error: ErrorBody },
}

/// Whether the owner wants an application to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedView {
    Running,
    /// Final.
    Stopped,
}

/// A record without its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordView {
    pub id: String,
    /// Key hash of the user that owns the application.
    pub owner: String,
    pub name: String,
    /// BLAKE3 hash of the encoded specification.
    pub spec_digest: String,
    /// Slots are numbered from 0 up to one less.
    pub slots: u16,
    pub generation: u32,
    pub wanted: WantedView,
    /// The node through which this generation was submitted.
    pub submitter: String,
}

/// Where a slot is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotPhase {
    /// A node is held for it.
    Planned,
    /// Confirmed; its program is fetched and started.
    Starting,
    Running,
    /// The program finished its work.
    Done,
    /// The program failed too often.
    Failed,
    /// No live node has its files.
    FilesLost,
    /// The program failed and is started again, here or on another node.
    Failing,
    /// The program ended well and is started again after a pause, as `restart = "always"` says.
    Pausing,
    /// Nodes could not start it, for the reason in `trouble`; it is tried again.
    Troubled,
    /// Its holder does not answer: it may run, or not.
    Silent,
    /// Nobody who was asked knows a holder.
    Unknown,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitView {
    Code(i32),
    Signal(i32),
}

/// What is known of one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotView {
    pub slot: u16,
    pub state: SlotPhase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Id of the node that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitView>,
    /// Of a silent one: seconds since one of its watchers heard it last, where one of them can be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_s: Option<u32>,
    /// Why nodes cannot start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The last lines that a failed program wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// Port numbers by the names of `app.toml`, where its node told them. The program listens at them, and at
    /// the IP address of `address`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
}

/// How much of an application an answer covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// Slots that the application has.
    pub slots: u16,
    /// Those that are known here to run on a node.
    pub known: u16,
    /// Those of them whose nodes told their ports. When the first to be asked has none, nobody else is asked.
    pub ports: u16,
}

/// `GET /v1/apps[?name=N][&all=true]`: the applications that a search over the grid met; without `all` those
/// that are neither stopped nor over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppList {
    /// Those that run come first, then those that ended last.
    pub apps: Vec<AppSummary>,
    /// So many more one of the nodes has, or this answer has no room for.
    #[serde(default)]
    pub left_out: u32,
    pub report: SearchReport,
}

/// One application as its holders and guardians summarise it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSummary {
    pub id: String,
    pub name: String,
    pub owner: String,
    pub generation: u32,
    pub wanted: WantedView,
    pub slots: u16,
    /// Slots that are done or failed.
    pub done: u16,
    /// For how many seconds it has been stopped or over, as far as the nodes that answered know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_s: Option<u64>,
    pub holders: Vec<Holder>,
}

/// What a node does for an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// Runs slots.
    Holder,
    /// Keeps the record and runs nothing.
    Guardian,
}

/// One node that takes part in an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub node: String,
    pub address: String,
    /// Slots that it holds.
    pub slots: Vec<u16>,
    pub role: MemberRole,
}

/// `GET /v1/apps/{id}`: one application in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppShow {
    pub record: RecordView,
    pub slots: Vec<SlotView>,
    pub guardians: Vec<Peer>,
    /// It was submitted here and nobody who holds or guards it answers any more.
    #[serde(default)]
    pub lost: bool,
    /// Which of the matching nodes get the slots; empty when any does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub placement: String,
    #[serde(default)]
    pub covered: Covered,
}

/// `POST /v1/apps/{id}/record`: publish a newer record, for example a stopped one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordRequest {
    /// CBOR of the signed record.
    pub record: Blob,
}

/// Answer to [`RecordRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordReply {
    /// Nodes that took it.
    pub taken_by: usize,
    /// The record that beat it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer: Option<RecordView>,
}
