//! One node on real sockets.
#![forbid(unsafe_code)]

mod identity;
mod tls;

pub use identity::{Identity, LoadError, MakeError, VoKey};
pub use tls::TlsError;
