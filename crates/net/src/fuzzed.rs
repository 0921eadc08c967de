//! Doors for the fuzzer to what reads the bytes of nodes that are not known yet. Nobody else has use for
//! them.

use rustls::pki_types::CertificateDer;

use crate::hello::Hello;
use crate::stranger::{Stranger, vo_in};

/// The first exchange on a connection.
pub fn hello(bytes: &[u8]) {
    drop(minicbor::decode::<Hello>(bytes));
}

/// What is told of a node of another VO: from the name that it dials, and from its certificate.
pub fn stranger(bytes: &[u8]) {
    if let Ok(name) = std::str::from_utf8(bytes) {
        let _ = vo_in(name);
    }
    if let Some(stranger) = Stranger::of(&CertificateDer::from(bytes)) {
        assert!(stranger.words().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
    }
}
