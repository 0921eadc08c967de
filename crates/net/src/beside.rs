//! A command beside a slot, as it is spoken of: what a user signs for it, what command line and holder say to
//! each other, and how that is sealed from the agents on the way.
//!
//! The command line is the user, who trusts no agent for it: neither its own, which passes the bytes on, nor
//! whoever says that it holds the slot. `docs/protocols/wire.md`, "A command beside a slot". Absent on
//! purpose: processes, and who holds what.

mod frame;
mod seal;
mod warrant;

pub use frame::{
    DATA_MAX_BYTES, FrameError, FromCaller, FromHolder, Gone, INPUT_ROOM_BYTES, NotStarted, Window, read,
    write,
};
pub use seal::{Seal, SealedByHolder, SealedByUser, open};
pub use warrant::{
    Authority, COMMAND_MAX_BYTES, NONCE_BYTES, Offer, Refusal, WORDS_MAX, Warrant, sign_warrant,
};
