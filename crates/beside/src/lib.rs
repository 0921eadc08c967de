//! A command beside a slot, as it is spoken of: what its caller signs for it, what caller and holder say to
//! each other, and how that is sealed from the agents on the way.
//!
//! The caller is a user at a command line, or a program in another slot of the same application. It trusts no
//! agent on the way, nor whoever says that it holds the slot. `docs/protocols/wire.md`, "A command beside a
//! slot". Absent on purpose: processes, terminals, who holds what, and where keys are kept.
#![forbid(unsafe_code)]

mod caller;
mod frame;
mod seal;
mod warrant;

pub use caller::{End, Lost, NotBegun, Piece, Wanted, begin, converse};
pub use frame::{
    DATA_MAX_BYTES, FrameError, FromCaller, FromHolder, Gone, INPUT_ROOM_BYTES, NotStarted, Window, read,
    write,
};
pub use seal::{NODE_NAME, Seal, SealedByCaller, SealedByHolder, open};
pub use warrant::{
    Authority, COMMAND_MAX_BYTES, NONCE_BYTES, Offer, Refusal, Signer, WORDS_MAX, Warrant, sign_as_slot,
    sign_as_user,
};
