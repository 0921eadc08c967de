//! A door for the fuzzer to what reads the bytes of nodes that are not known yet. Nobody else has use for it.

use crate::hello::Hello;

/// The first exchange on a connection.
pub fn hello(bytes: &[u8]) {
    drop(minicbor::decode::<Hello>(bytes));
}
