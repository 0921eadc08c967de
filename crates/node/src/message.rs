//! Everything one node says to another: the messages of each core, and which plane carries them.

use minicbor::{Decode, Encode};
use xtreem_allocation::policy::SignedPolicy;
use xtreem_allocation::{Application, Record};
use xtreem_base::{AppId, Handle, HandleTable};
use xtreem_discovery::trie;
use xtreem_membership::{aggregation, coordinates, reference};

use crate::policy::PolicyMessage;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// One signed datagram; may be lost, repeated and reordered.
    Datagram,
    /// A mutual-TLS stream, for what may not fit a datagram.
    Stream,
}

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
}

/// The indirect probe of SWIM, without state at the helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Relay {
    /// Watcher to helper: is `about` there?
    #[n(0)]
    Ask {
        #[n(0)]
        about: Handle,
    },
    /// Helper to the silent node, for `origin`.
    #[n(1)]
    Ping {
        #[n(0)]
        origin: Handle,
    },
    /// Its answer to the helper.
    #[n(2)]
    Pong {
        #[n(0)]
        origin: Handle,
    },
    /// Helper to watcher: `about` answered me.
    #[n(3)]
    Alive {
        #[n(0)]
        about: Handle,
    },
}

impl Message {
    pub fn plane(&self) -> Plane {
        match self {
            Message::Grid(_) | Message::App(..) | Message::Reference(_) | Message::Relay(_) => {
                Plane::Datagram
            }
            Message::Coordinates(_) => Plane::Datagram,
            Message::Aggregation(message) if message.is_small() => Plane::Datagram,
            Message::Aggregation(_) => Plane::Stream,
            Message::Policy(PolicyMessage::Document(_)) => Plane::Stream,
            Message::Policy(_) => Plane::Datagram,
            Message::Discovery(_) | Message::Trie(..) => Plane::Stream,
            Message::Allocation(message) if message.is_small() => Plane::Datagram,
            Message::Allocation(_) => Plane::Stream,
        }
    }

    /// True for a request whose answer may be larger: the driver pads it, so that nobody is answered more than
    /// he sent.
    pub fn is_padded(&self) -> bool {
        use xtreem_allocation::Message as Allocation;
        match self {
            Message::Grid(message) | Message::App(_, message) => {
                matches!(message, xtreem_membership::Message::Shuffle { .. })
            }
            Message::Allocation(message) => matches!(
                message,
                Allocation::Probe { .. } | Allocation::GuardianProbe { .. } | Allocation::Announce { .. }
            ),
            Message::Coordinates(message) => matches!(message, coordinates::Message::Ask { .. }),
            _ => false,
        }
    }

    /// True for what is answered by the node's attributes: the driver has them measured first, so that the answer is true
    /// at its moment.
    pub fn asks_about_machine(&self) -> bool {
        use xtreem_discovery::Message as Discovery;
        matches!(self, Message::Discovery(Discovery::Visit { .. } | Discovery::Delegate(_)))
    }

    /// The policy inside, if there is one: the driver verifies its signature and digest before the node sees it.
    pub fn policy(&self) -> Option<&SignedPolicy> {
        match self {
            Message::Policy(PolicyMessage::Document(signed)) => Some(signed),
            _ => None,
        }
    }

    /// Shows every application record inside: the driver verifies their signatures before the node sees them.
    pub fn for_each_record(&self, f: &mut impl FnMut(&Record)) {
        if let Message::Allocation(message) = self {
            message.for_each_record(f);
        }
    }

    /// Shows every application inside: the driver checks that the specification has the record's digest.
    pub fn for_each_application(&self, f: &mut impl FnMut(&Application)) {
        if let Message::Allocation(message) = self {
            message.for_each_application(f);
        }
    }
}
