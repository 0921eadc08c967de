//! What the program of a slot asks of its agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Blob, CollectionEvent, Covered, RecordView, SlotView, ToldView, WantedView};

/// An application in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppBrief {
    pub id: String,
    pub name: String,
    pub slots: u16,
    pub generation: u32,
    pub wanted: WantedView,
}

/// `GET /v1/self`: who the asking program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotSelf {
    pub application: AppBrief,
    pub slot: u16,
    /// Of two runs of one slot the one with the greater text is the newer; a store can refuse the older one.
    pub epoch: String,
    pub node: String,
    /// IP address of this node, without a port.
    pub address: String,
    /// Port numbers by the names of `app.toml`.
    pub ports: BTreeMap<String, u16>,
}

/// One member of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub node: String,
    pub address: String,
    /// The slot it holds, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
    /// Port numbers of that slot by the names of `app.toml`, where its node told them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
}

/// `GET /v1/self/peers?count=k`: a random subset of the other members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    pub peers: Vec<Peer>,
    #[serde(default)]
    pub covered: Covered,
}

/// `GET /v1/self/application`: the application as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotApplication {
    pub application: AppBrief,
    /// Slots that this node knows something of, not all.
    pub slots: Vec<SlotView>,
    #[serde(default)]
    pub covered: Covered,
}

/// Data of a `dropped` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Events that were lost because the reader was slow.
    pub dropped: u64,
}

/// One event of `GET /v1/self/events` or `GET /v1/apps/{id}/events` (server-sent events; the variant is the
/// event's name, its content the data).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotEvent {
    /// `slot`: what is known of a slot changed.
    Slot(SlotView),
    /// `lost`: the agent that is asked declared the holder of a slot lost.
    Lost(Peer),
    /// `record`: the application's record is new or changed.
    Record(RecordView),
    /// `collection`: what a collection is to this member changed.
    Collection(CollectionEvent),
    /// `told`: a member of a ring told all members something.
    Told(ToldView),
    /// `dropped`: this reader was too slow.
    Dropped(u64),
}

/// `GET /v1/self/credential`: what shows other members which slot this is, and what to judge theirs by. It is
/// good for two minutes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotCredential {
    /// The slot's private key: 32 bytes, an Ed25519 seed.
    pub key: Blob,
    /// As `docs/protocols/messaging.md` has it.
    pub credential: Blob,
    /// CBOR of the grounds.
    pub grounds: Blob,
    /// What time the agent has, in Unix milliseconds.
    pub now_unix_ms: u64,
    /// The VO's root certificate (X.509, DER): holders of slots show theirs to whoever starts a command
    /// there.
    pub root: Blob,
}

impl std::fmt::Debug for SlotCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody else's.
        write!(f, "SlotCredential({} bytes)", self.credential.0.len())
    }
}

/// `PUT /v1/self/mailbox`: the program takes messages itself, at this port of the node's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailboxRequest {
    pub port: u16,
}

/// `GET /v1/self/members/SLOT`: where the mailbox of a slot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReply {
    pub slot: u16,
    /// Under which its holder runs.
    pub epoch: String,
    /// Address and port of its mailbox.
    pub mailbox: String,
}

/// Data of a `message` event of `GET /v1/self/messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    /// The slot that sent it.
    pub slot: u16,
    /// Under which its holder ran then.
    pub epoch: String,
    /// By what it was addressed, if not by this slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<AddressView>,
    pub body: Blob,
}

/// By what a message was addressed: a rank, a place or a key of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressView {
    pub collection: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Vec<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Under which the rank or the place is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbering: Option<String>,
}
