//! Doors for the fuzzer to what reads the bytes of nodes that are not known yet. Nobody else has use for
//! them.

use rustls::pki_types::CertificateDer;
use xtreem_wire::VoRoot;

use crate::announcement::verify_announcement;
use crate::beside::{FromCaller, FromHolder};
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

/// What is said between a command line and the holder of a slot. What is read is written and read again.
pub fn beside(bytes: &[u8]) {
    if let Ok(said) = minicbor::decode::<FromCaller>(bytes) {
        let written = minicbor::to_vec(&said).expect("what was read once");
        assert_eq!(minicbor::decode::<FromCaller>(&written).expect("own bytes"), said);
    }
    if let Ok(said) = minicbor::decode::<FromHolder>(bytes) {
        let written = minicbor::to_vec(&said).expect("what was read once");
        assert_eq!(minicbor::decode::<FromHolder>(&written).expect("own bytes"), said);
    }
}

/// What was told to all nodes, and was signed by nobody of this VO.
pub fn announcement(root: &VoRoot, bytes: &[u8]) {
    for now in [0, u64::MAX] {
        if let Err(fault) = verify_announcement(root, now, bytes) {
            drop(fault.to_string());
        } else {
            panic!("nobody signed this");
        }
    }
}
