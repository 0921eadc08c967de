//! Doors for the fuzzer to what reads the bytes of other agents. Nobody else has use for them.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use xtreem_base::Digest;

use crate::collections;
use crate::deploy;
use crate::store::{BLOB_MAX_BYTES, piece_count, verify_piece};

/// Bytes before the piece: its content's digest and length, and its number.
const PIECE_HEAD: usize = 32 + 8 + 4;

/// Never reached: a slice has all its bytes.
const SILENCE: Duration = Duration::from_secs(60);
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    // Without IO there is nothing that the system could refuse.
    Builder::new_current_thread().enable_time().build().expect("a runtime of this thread")
});

/// Requests and answers of the service that hands out pieces.
pub fn services(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first_chunk::<8>() else { return };
    let len = u64::from_be_bytes(*len) % (BLOB_MAX_BYTES + 1);
    RUNTIME.block_on(async {
        drop(deploy::protocol::read_request(&mut &rest[..]).await);
        drop(deploy::protocol::read_offer(&mut &rest[..], len).await);
        drop(deploy::protocol::read_piece(&mut &rest[..], SILENCE, &|| {}).await);
    });
}

/// A piece of a content, with its proof.
pub fn piece(bytes: &[u8]) {
    let Some((head, encoded)) = bytes.split_first_chunk::<PIECE_HEAD>() else { return };
    let mut digest = [0; 32];
    digest.copy_from_slice(&head[..32]);
    let mut number = [0; 8];
    number.copy_from_slice(&head[32..40]);
    let len = u64::from_be_bytes(number) % (BLOB_MAX_BYTES + 1);
    let index = u32::from_be_bytes([head[40], head[41], head[42], head[43]]) % piece_count(len);
    drop(verify_piece(Digest::from_bytes(digest), len, index, encoded));
}

/// A frame that the collection of another slot wrote.
pub fn collection(bytes: &[u8]) {
    collections::read_frame(bytes);
}

/// A message between members of one application, with its address.
pub fn addressed(bytes: &[u8]) {
    xtreem_messages::fuzzed::message(bytes);
}
