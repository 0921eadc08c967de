//! One node on real sockets: signed datagrams and mutually authenticated QUIC on one UDP port.
//!
//! [`Net::start`] is the door. The datagram plane (`plane`) and the table of peers (`peers`) hold no sockets;
//! `connections` holds no protocol; `driver` is the one task in which they meet the node. Absent on purpose:
//! what the messages mean, processes, files.
#![forbid(unsafe_code)]

mod announcement;
pub mod beside;
mod claims;
mod connections;
mod counters;
mod dates;
mod driver;
#[doc(hidden)]
pub mod fuzzed;
mod guests;
mod hello;
mod identity;
mod join;
mod measure;
mod named;
mod namesake;
mod net;
mod overwrite;
mod peers;
mod plane;
mod policy;
mod records;
mod restore;
mod roaming;
mod socket;
mod statements;
mod stranger;
mod tls;

pub use announcement::{
    ANNOUNCEMENT_MAX_BYTES, Announcement, AnnouncementFault, sign_announcement, verify_announcement,
};
pub use claims::sign_claim;
pub use connections::{OpenError, Service, ServiceStream};
pub use counters::{Count, Counters};
pub use dates::OutOfDate;
pub use driver::Outbox;
pub use guests::{Guests, Seat};
pub use hello::MeetError;
pub use identity::{
    INVITATION_JOIN_MAX, INVITATION_MAX_BYTES, Identity, Invitation, InvitationError, LoadError, MakeError,
    Renewal, RenewalError, VoKey, date, date_at,
};
pub use join::{parse_address, resolve};
pub use measure::{IsPortFree, Measure};
pub use named::{Contacts, Named, NamesPeers};
pub use namesake::Doubts;
pub use net::{Net, NetConfig, StartError, Stopped};
pub use overwrite::{OverwriteFault, SignedOverwrite, sign_overwrite, verify_overwrite};
pub use plane::{NotVouched, Peer};
pub use policy::{PolicyFault, verify as verify_policy};
pub use quinn::{RecvStream, SendStream};
pub use records::{RecordFault, sign_record, verify_record, verify_spec, verify_told_record};
pub use restore::{SavedBytes, encode_kept};
pub use socket::Cable;
pub use tls::{TlsError, for_clients};
pub use xtreem_trust::{ClaimFault, verify_claim};
pub use xtreem_wire::{Contact, Roles, VoRoot};
