//! Doors for the fuzzer to what reads the bytes of other members. Nobody else has use for them.

use crate::address::{Address, Misaddressed};
use crate::frame::{HEAD_BYTES, Head};
use crate::limits::{ADDRESS_MAX_BYTES, MESSAGE_MAX_BYTES};

/// A message with its head, perhaps with an address, and the reason of a refusal.
pub fn message(bytes: &[u8]) {
    if let Some(why) = Misaddressed::read(bytes) {
        drop(why.to_string());
        assert_eq!(Misaddressed::read(&why.write()), Some(why));
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return };
    let Ok(head) = Head::read(*head) else { return };
    let Some(frame) = rest.get(..head.len) else { return };
    let Ok((address, body)) = head.split(frame) else { return };
    assert!(body.len() <= MESSAGE_MAX_BYTES);
    if let Some(address) = address {
        drop(address.to_string());
        let written = address.write().expect("what was read once");
        assert!(written.len() <= ADDRESS_MAX_BYTES);
        assert_eq!(Address::read(&written), Ok(*address));
    }
}
