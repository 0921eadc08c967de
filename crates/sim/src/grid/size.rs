//! What messages would take on the network, sampled: encoding all of them would take longer than handling
//! them.

use std::convert::Infallible;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use xtreem_base::{Handle, HandleTable};
use xtreem_node::Message;

/// One message of so many is encoded; with a million of them the error is far below 1 %.
const SAMPLED: u64 = 64;
/// Bytes of a hint (id, address, incarnation, age), without the two that say how long it is.
const HINT_BYTES: usize = 40;

/// Bytes sent by all nodes together, without envelopes, signatures and padding.
#[derive(Default)]
pub(super) struct Sizes {
    seen: u64,
    sampled_bytes: u64,
}

impl Sizes {
    pub fn see(&mut self, message: &Message) {
        if self.seen.is_multiple_of(SAMPLED) {
            self.sampled_bytes += encoded_bytes(message);
        }
        self.seen += 1;
    }

    /// An estimate of all bytes so far.
    pub fn total(&self) -> u64 {
        self.sampled_bytes * SAMPLED
    }
}

fn encoded_bytes(message: &Message) -> u64 {
    let mut counter = Counter(0);
    // Neither the counter nor the table ever refuses.
    let written = minicbor::encode_with(message, &mut counter, &mut Hints);
    debug_assert!(written.is_ok(), "{message:?}");
    counter.0
}

struct Counter(u64);

impl Write for Counter {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

/// Writes a hint of the usual length for each handle, and reads none.
struct Hints;

impl HandleTable for Hints {
    fn encode_handle<W: Write>(
        &mut self,
        _: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&[0; HINT_BYTES])?.ok()
    }

    fn decode_handle(&mut self, _: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        Err(decode::Error::message("sizes are only taken of what is sent"))
    }
}

#[cfg(test)]
mod tests {
    use xtreem_membership::{Message as Shuffling, Peer, Peers};

    use super::*;

    #[test]
    fn a_message_takes_its_hints_and_little_else() {
        let peers: Peers = (0..7).map(|i| Peer { handle: Handle::from_u32(i), age: 3 }).collect();
        let message = Message::Grid(Shuffling::Shuffle { seq: 1, peers });
        let bytes = encoded_bytes(&message);
        assert!((7 * 42..7 * 42 + 40).contains(&bytes), "{bytes}");
        let mut sizes = Sizes::default();
        (0..640).for_each(|_| sizes.see(&message));
        assert_eq!(sizes.total(), 640 * bytes);
    }
}
