//! What crosses the network: contacts, credentials, records, proofs, datagram envelopes, and when they are
//! fresh.
//!
//! Bytes become checked types here, once. No socket, no clock and no randomness: times, nonces and keys are
//! arguments. `docs/protocols/wire.md` has the protocol.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod clock;
mod contact;
mod credential;
mod envelope;
mod freshness;
pub mod limits;
mod record;
mod signed;

pub use clock::{Clock, ClockReport};
pub use contact::Contact;
pub use credential::{Claims, CredentialError, IssueError, Member, Roles, VoRoot, node_id_of};
pub use envelope::{Envelope, EnvelopeError, Forged, Header, Kind, Padding, TooLong, Unverified};
pub use freshness::{Arrival, Fresh, Freshness, NotFresh};
pub use record::{NodeRecord, RecordError};
pub use signed::{
    Domain, ProofError, claimed_signer, prove, sign, sign_policy, verify, verify_policy, verify_proof,
};
