//! Messages between the members of one application: straight from program to program over QUIC, each side
//! shown to hold its slot (`docs/protocols/messaging.md`).
//!
//! [`Mailbox`] is the door. It asks a [`Directory`] where a slot's mailbox is and for its own credential: a
//! program's directory is its agent's local API (`xtreem-client`), an agent's own one is the agent itself.
//! Deliberately absent: what messages mean, who has which rank or key (they lead to slots), where private
//! keys are kept.
#![forbid(unsafe_code)]

mod address;
mod attend;
mod directory;
mod error;
mod frame;
pub mod fuzzed;
mod hello;
mod inbox;
mod incoming;
mod limits;
mod link;
mod mailbox;
mod reach;
mod standing;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

pub use address::{Address, BadAddress, By, Misaddressed, NotNumbering, Numbering, Stands};
pub use directory::{Answer, Directory, FindError, Found, Issued, RenewError};
pub use error::{OpenError, SendError, StreamError};
pub use limits::*;
pub use mailbox::{Mailbox, Member, Message, Options, Receipt, Socket, To};
pub use stream::{InStream, OutStream};
pub use tls::SlotKey;
