//! Structured collections of an application: what its programs ask, and what they are told.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Blob, ErrorKind, RingRange};

/// Longest name of a collection, in bytes: letters, digits, `-` and `_`.
pub const COLLECTION_NAME_MAX_BYTES: usize = 64;
/// Collections of one application at most (our guess).
pub const COLLECTIONS_MAX: usize = 16;

/// `[collections.NAME]` of `app.toml`, and the body of `PUT /v1/self/collections/NAME`. Members that say
/// different things of one name do not meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum CollectionSpec {
    /// Keys in their order, spread over the members by load: items, scans, owners.
    Ring {
        /// Copies of each item beside its owner's.
        #[serde(default = "copies")]
        copies: u8,
    },
    /// Keys by their hash, members at random places, as Chord has it.
    Chord {
        #[serde(default = "copies")]
        copies: u8,
    },
    /// Each member a number from 0 on.
    Ranks {},
    /// Ranks laid out in rows and columns, in as many dimensions as there are sides.
    Mesh {
        shape: Vec<u32>,
        /// The end of each side leads to its beginning: a torus.
        #[serde(default)]
        joined: bool,
    },
    /// The member of the lowest rank hands out tasks, the others do them; it does, too, while nobody else
    /// is there.
    Farm {
        #[serde(default = "copies")]
        copies: u8,
        /// Seconds in which a worker has to say that it is still at it.
        #[serde(default = "lease_s")]
        lease_s: u32,
        /// Attempts that fail before a task is given up.
        #[serde(default = "attempts")]
        attempts: u16,
        /// Seconds after which whoever has a task in hand has failed at it. Without it a task may take any
        /// time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_s: Option<u32>,
    },
    /// Those that are most like this member, by profiles that the members give themselves.
    Nearest { metric: Metric },
}

impl CollectionSpec {
    /// Its kind, as `app.toml` names it.
    pub fn kind(&self) -> &'static str {
        match self {
            CollectionSpec::Ring { .. } => "ring",
            CollectionSpec::Chord { .. } => "chord",
            CollectionSpec::Ranks {} => "ranks",
            CollectionSpec::Mesh { .. } => "mesh",
            CollectionSpec::Farm { .. } => "farm",
            CollectionSpec::Nearest { .. } => "nearest",
        }
    }
}

/// What is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Who has most items in common.
    Items,
    /// Whose number differs least.
    Number,
}

/// `copies`, where nothing else is said.
pub const COPIES_DEFAULT: u8 = 2;
/// `lease_s` of a farm, where nothing else is said.
pub const TASK_LEASE_S_DEFAULT: u32 = 30;
/// `attempts` of a farm, where nothing else is said.
pub const ATTEMPTS_DEFAULT: u16 = 4;

fn copies() -> u8 {
    COPIES_DEFAULT
}

fn lease_s() -> u32 {
    TASK_LEASE_S_DEFAULT
}

fn attempts() -> u16 {
    ATTEMPTS_DEFAULT
}

/// `GET /v1/self/collections`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionList {
    pub collections: Vec<CollectionReply>,
}

/// `GET /v1/self/collections/NAME`: a collection as this member sees it. What its kind has not is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionReply {
    pub name: String,
    #[serde(flatten, deserialize_with = "spec_of_reply")]
    pub spec: CollectionSpec,
    /// Other members that this one knows: not all.
    pub known: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingView>,
    /// Of a mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<PlaceView>,
    /// Of a ring, and of what lies on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<RingPlace>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub farm: Option<FarmView>,
    /// Nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<NearView>,
    /// What keeps the collection from being used, in words: a shape that does not fit its members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// The specification among the other fields of a reply, which may grow new ones.
fn spec_of_reply<'de, D: Deserializer<'de>>(fields: D) -> Result<CollectionSpec, D::Error> {
    const KEYS: [&str; 8] =
        ["kind", "copies", "shape", "joined", "lease_s", "attempts", "timeout_s", "metric"];
    let mut fields = serde_json::Map::deserialize(fields)?;
    fields.retain(|name, _| KEYS.contains(&name.as_str()));
    CollectionSpec::deserialize(serde_json::Value::Object(fields)).map_err(D::Error::custom)
}

/// `GET /v1/apps/{id}/collections`: an application's collections, as its slots see them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppCollections {
    /// Those whose nodes told.
    pub slots: Vec<SlotCollections>,
    /// How many slots are known to run.
    pub known: u16,
}

/// The collections of which one slot is a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotCollections {
    pub slot: u16,
    pub collections: Vec<CollectionReply>,
}

/// Where a member stands in the numbering that it knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingView {
    /// Absent for one that the numbering leaves out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    pub members: u32,
    /// Who names the same numbering means the same ranks.
    pub numbering: String,
    /// All that have a rank are known to be there. False on each side of a split.
    pub settled: bool,
}

/// A place of a mesh, and who stands beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceView {
    pub at: Vec<u32>,
    pub neighbours: Vec<NeighbourView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourView {
    /// Counted from 0.
    pub dimension: u8,
    /// 1 to higher coordinates, -1 to lower ones.
    pub way: i8,
    pub rank: u32,
    /// Absent while nobody is known to stand there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
}

/// A member's place on the ring of its collection. Keys are hexadecimal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RingPlace {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owns: Option<RingRange>,
    /// Slots of those that come next, nearest first.
    pub successors: Vec<u16>,
    /// Items that lie here as the owner's, and all bytes.
    pub items: u64,
    pub bytes: u64,
}

/// A farm as a member sees it; the counts are the farmer's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarmView {
    /// This member hands out the tasks.
    pub is_farmer: bool,
    /// The slot that does, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub farmer: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<FarmProgress>,
}

/// `GET /v1/self/collections/NAME/progress`: as the farmer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarmProgress {
    /// Not done yet; those at which a worker is are among them.
    pub open: u32,
    pub in_hand: u32,
    /// Done, and not collected yet.
    pub done: u32,
    /// Given up, and not collected yet.
    pub given_up: u32,
    pub collected: u32,
    /// Results that came once more and were not kept.
    pub duplicates: u64,
    /// Whether these are all tasks that there are: not while members are missing, as on one side of a cut,
    /// nor for up to a minute after that.
    #[serde(default = "yes")]
    pub whole: bool,
    /// For how many seconds the task is in hand that is so longest, as far as the farmer has seen; absent
    /// while nobody is at anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_s: Option<u32>,
}

/// Agents that do not say it count what they see.
fn yes() -> bool {
    true
}

/// `GET /v1/self/collections/NAME/ranks/R` and `.../places?at=1,2`: who has a rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankHolder {
    pub rank: u32,
    pub slot: u16,
    pub numbering: String,
    pub settled: bool,
}

/// `GET /v1/self/collections/NAME/owner?key=TEXT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOwner {
    pub slot: u16,
    /// Of its range: higher than that of everybody who owned the key before.
    pub epoch: u64,
    pub hops: u8,
}

/// Where a task of a farm stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    Open,
    Done,
    /// It failed as often as it may.
    GivenUp,
    /// Its outcome was taken out of the table.
    Collected,
}

/// `GET .../tasks?id=TEXT[&wait_ms=N]`, and the answer to `PUT` (added) and `DELETE` (collected).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReply {
    pub id: String,
    pub state: TaskState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Blob>,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// `GET .../outcomes[?wait_ms=N]`: ids of tasks that are done or given up, and not collected; at most
/// [`OUTCOMES_MAX`]. With `wait_ms` it waits while there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    pub ids: Vec<String>,
    /// Tasks that are not done yet.
    pub open: u32,
    /// Whether these are all tasks that there are, as in [`FarmProgress`]: nothing is left to wait for when
    /// `ids` is empty, nothing is open and it is whole.
    #[serde(default = "yes")]
    pub whole: bool,
}

/// Ids in one answer.
pub const OUTCOMES_MAX: usize = 1_024;

/// `GET .../work[?wait_ms=N]`: the task that this member shall do, or nothing after that time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<WorkTask>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkTask {
    pub id: String,
    pub input: Blob,
}

/// `PUT .../profile`: by what this member is near to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    Items(Vec<u64>),
    Number(i64),
}

/// A member that is near.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearView {
    pub slot: u16,
    pub profile: Profile,
}

/// Data of a `collection` event of `GET /v1/self/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionEvent {
    pub name: String,
    pub change: CollectionChange,
}

/// Longest body of `POST /v1/self/collections/NAME/broadcast`, in bytes: readers that are slow have some of
/// them waiting.
pub const BROADCAST_MAX_BYTES: usize = 16 << 10;

/// Items of `POST /v1/self/collections/NAME/load` at most: more are refused, and loaded by another one.
pub const LOAD_ITEMS_MAX: usize = 1_024;
/// Longest body of it, in bytes of JSON: values of 3 MiB, in base64.
pub const LOAD_BODY_MAX_BYTES: usize = 4 << 20;

/// `POST /v1/self/collections/NAME/load`: many items, written together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadRequest {
    pub items: Vec<LoadItem>,
    /// Copies beside the owner's; absent: what the collection has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<u8>,
    /// Seconds that they lie there; absent: a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_s: Option<u64>,
}

/// One of them; each key once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadItem {
    pub key: String,
    pub value: Blob,
}

/// What came of it: all items but these were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReply {
    pub written: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<NotLoaded>,
}

/// An item that was not written, or of which nobody can say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotLoaded {
    pub key: String,
    pub error: String,
    /// Definite: it was not written.
    pub kind: ErrorKind,
}

/// Data of a `told` event of `GET /v1/self/events`: a member told all members of a ring something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldView {
    /// Of the collection.
    pub name: String,
    /// The slot in whose name; it comes by other members, and is no more than their word.
    pub slot: u16,
    pub body: Blob,
}

/// What changed for this member: ask for the collection again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectionChange {
    /// The own rank, the numbering, or whether it is settled.
    Standing,
    /// Who stands beside this member, or is nearest to it.
    Neighbours,
    /// What this member owns of the ring.
    Range,
    /// Whether this member is the farmer.
    Farmer,
    /// Tasks are done: ask for the outcomes.
    Outcomes,
    /// The task at hand is not wanted any more.
    Stop,
}
