//! One node on real sockets.
#![forbid(unsafe_code)]

mod connections;
mod counters;
mod hello;
mod identity;
mod peers;
mod plane;
mod socket;
mod tls;

pub use connections::{OpenError, Service, ServiceStream};
pub use counters::{Count, Counters};
pub use hello::MeetError;
pub use identity::{Identity, LoadError, MakeError, VoKey};
pub use plane::{NotVouched, Peer};
pub use tls::TlsError;
