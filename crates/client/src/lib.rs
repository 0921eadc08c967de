//! The local API of an agent: its types, and clients for operators and for the programs of an application.
//!
//! The API is HTTP/1.1 with JSON bodies over Unix sockets, so that any language can speak it; this crate is
//! the Rust side. [`OperatorClient`] speaks to an agent's operator socket (the `xtreem` command stands on
//! it), [`SlotClient`] to the socket that an agent gives to one slot of an application; [`collection`] has
//! its structures, `exec` commands beside slots, `pubsub` events. Absent on purpose: what the agent does with
//! a request, and how records are signed.
#![forbid(unsafe_code)]

pub mod api;
pub mod collection;
mod error;
#[cfg(feature = "exec")]
pub mod exec;
mod http;
#[cfg(feature = "messages")]
mod mailbox;
mod operator;
#[cfg(feature = "pubsub")]
pub mod pubsub;
mod slot;
mod stream;

/// The programs on the page for newcomers compile.
#[cfg(all(doctest, feature = "messages"))]
#[doc = include_str!("../../../docs/use/structures.md")]
struct Page;

pub use error::ClientError;
#[cfg(feature = "messages")]
pub use mailbox::{Mailbox, MailboxError, Receipt, SendError, To};
pub use operator::OperatorClient;
pub use slot::{NotInSlot, SlotClient};
pub use stream::{Chunks, Events, JsonLines};
/// What the mailbox of a program is made of.
#[cfg(feature = "messages")]
pub use xtreem_messages as messages;
