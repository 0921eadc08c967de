//! Everything one node says to another: the messages of each core, which say themselves how they travel.

use alloc::boxed::Box;

use minicbor::{Decode, Encode};
use xtreem_allocation::policy::{PolicyVersion, SignedPolicy};
use xtreem_allocation::{Alive, Body as _, Signed, Statement};
use xtreem_base::{AppId, Handle, HandleTable, Travel};
use xtreem_discovery::{self as discovery, FixedPorts, Query, trie};
use xtreem_membership::{aggregation, coordinates, reference, rumour};
use xtreem_overlay::overlay;

/// How the VO's policy is spread.
pub type PolicyMessage = rumour::Message<PolicyVersion, SignedPolicy>;

/// One message from node to node.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Message {
    /// Grid-wide collection.
    #[n(0)]
    Grid(#[n(0)] xtreem_membership::Message),
    /// An application's own collection.
    #[n(1)]
    App(#[n(0)] AppId, #[n(1)] xtreem_membership::Message),
    /// Am I cut off?
    #[n(2)]
    Reference(#[n(0)] reference::Message),
    #[n(3)]
    Discovery(#[n(0)] xtreem_discovery::Message),
    #[n(4)]
    Allocation(#[n(0)] xtreem_allocation::Message),
    #[n(5)]
    Relay(#[n(0)] Relay),
    /// The trie of one version of the schema.
    #[n(6)]
    Trie(#[n(0)] u32, #[n(1)] trie::Message),
    /// Size of the grid and distributions of attributes.
    #[n(7)]
    Aggregation(#[n(0)] aggregation::Message),
    /// Where nodes stand in the network.
    #[n(8)]
    Coordinates(#[n(0)] coordinates::Message),
    /// The VO's policy.
    #[n(9)]
    Policy(#[n(0)] PolicyMessage),
    /// The ring of all nodes.
    #[n(10)]
    Ring(#[n(0)] overlay::Message),
}

/// The indirect probe of SWIM, without state at the helper.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Relay {
    /// Watcher to helper: is `about` there?
    #[n(0)]
    Ask {
        #[n(0)]
        about: Handle,
        #[n(1)]
        nonce: u64,
    },
    /// Helper to the silent node, for `origin`.
    #[n(1)]
    Ping {
        #[n(0)]
        origin: Handle,
        #[n(1)]
        nonce: u64,
    },
    /// Its answer to the helper: for `origin`, so that no helper can say it in its place.
    #[n(2)]
    Pong {
        #[n(0)]
        origin: Handle,
        #[n(1)]
        answer: Box<Signed<Alive>>,
    },
    /// Helper to watcher: `about` answered you.
    #[n(3)]
    Alive {
        #[n(0)]
        about: Handle,
        #[n(1)]
        answer: Box<Signed<Alive>>,
    },
}

impl Message {
    /// The ports of the hold that this asks for, if it asks for one.
    pub fn ports(&self) -> Option<&FixedPorts> {
        match self {
            Message::Discovery(discovery::Message::Visit { query, .. }) => match query {
                Query::Nodes { hold, .. } => hold.as_ref().map(|ask| &ask.ports),
                Query::Applications(_) => None,
            },
            _ => None,
        }
    }

    pub fn travel(&self) -> Travel {
        match self {
            Message::Grid(message) | Message::App(_, message) => message.travel(),
            Message::Reference(message) => message.travel(),
            Message::Discovery(message) => message.travel(),
            Message::Allocation(message) => message.travel(),
            Message::Relay(_) => Travel::DATAGRAM,
            Message::Trie(_, message) => message.travel(),
            Message::Aggregation(message) => message.travel(),
            Message::Coordinates(message) => message.travel(),
            Message::Policy(message) => message.travel(),
            Message::Ring(message) => message.travel(),
        }
    }

    /// Shows everything inside that the driver verifies before the node sees it.
    pub fn for_each_statement(&self, f: &mut impl FnMut(Statement<'_>)) {
        match self {
            Message::Allocation(message) => message.for_each_statement(f),
            Message::Policy(rumour::Message::Document(signed)) => f(Statement::Policy(signed)),
            Message::Relay(Relay::Pong { answer, .. } | Relay::Alive { answer, .. }) => {
                f(Statement::Claim(answer.body.claim(), &answer.proof));
            }
            Message::Grid(_) | Message::App(..) | Message::Reference(_) | Message::Discovery(_) => {}
            Message::Relay(_) | Message::Trie(..) | Message::Aggregation(_) => {}
            Message::Ring(message) => {
                if let Some((id, content)) = message.broadcast() {
                    f(Statement::Announcement(id.origin, content.as_bytes()));
                }
                if let Some((key, what, word)) = message.overwrite() {
                    let (by, at_unix, proof) = (word.by, word.at_unix, word.proof.as_bytes());
                    f(Statement::Overwrite { by, at_unix, what: &what.statement(key), proof });
                }
            }
            Message::Coordinates(_) | Message::Policy(_) => {}
        }
    }
}
