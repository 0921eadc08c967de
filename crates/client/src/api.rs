//! Every body of the local API. Requests refuse unknown fields; replies may grow new ones.
//!
//! Identities are hexadecimal text, addresses are socket addresses in their usual text form
//! (`[fd00::1]:7946`), epochs are text that sorts as the epochs do.

mod application;
mod blob;
mod collection;
mod grid;
mod node;
mod policy;
mod ring;
mod slot;
mod topics;

pub use application::{
    AppList, AppShow, AppSummary, Covered, ExitView, Holder, MemberRole, ProgressLine, RecordReply,
    RecordRequest, RecordView, SlotPhase, SlotView, SubmitRequest, WantedView,
};
pub use blob::Blob;
pub use collection::{
    ATTEMPTS_DEFAULT, AppCollections, BROADCAST_MAX_BYTES, COLLECTION_NAME_MAX_BYTES, COLLECTIONS_MAX,
    COPIES_DEFAULT, CollectionChange, CollectionEvent, CollectionList, CollectionReply, CollectionSpec,
    FarmProgress, FarmView, KeyOwner, LOAD_BODY_MAX_BYTES, LOAD_ITEMS_MAX, LoadItem, LoadReply, LoadRequest,
    Metric, NearView, NeighbourView, NotLoaded, OUTCOMES_MAX, Outcomes, PlaceView, Profile, RankHolder,
    RingPlace, SlotCollections, StandingView, TASK_LEASE_S_DEFAULT, TaskReply, TaskState, ToldView, Work,
    WorkTask,
};
pub use grid::{GridAttribute, GridBar, GridEstimate, GridReply};
pub use node::{
    AttributeValue, Attributes, Bar, Ended, Excluded, Expected, Forbidden, Histogram, HoldRefusals,
    LeftBehind, LossAccepted, NodeMatch, NodeStatus, Plan, Reach, Reached, Resources, SearchLine,
    SearchReply, SearchReport, SearchRequest, SetReport, Validity,
};
pub use policy::{PolicyReply, PolicyRequest, PolicyView, RuleView};
pub use ring::{
    AnnounceReply, AnnounceRequest, AnnouncementView, RingItem, RingItems, RingMember, RingOwner, RingRange,
    RingReply, RingVersion, RingWrite,
};
pub use slot::{
    AddressView, AppBrief, Dropped, MailboxRequest, MemberReply, MessageView, Peer, Peers, SlotApplication,
    SlotCredential, SlotEvent, SlotSelf,
};
pub use topics::{TopicList, TopicView};

use serde::{Deserialize, Serialize};

/// What a connection goes over to for `POST /v1/apps/{id}/exec` and `POST /v1/self/exec`: the conversation
/// between a caller and the holder of a slot.
pub const EXEC_PROTOCOL: &str = "xtreem-exec/1";

/// Whether a request that failed may have had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// It did not happen.
    Definite,
    /// It may have happened: ask before you repeat it.
    Indefinite,
}

/// The body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What was wrong, in one sentence.
    pub error: String,
    pub kind: ErrorKind,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
