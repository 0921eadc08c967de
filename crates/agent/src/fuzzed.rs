//! Doors for the fuzzer to what reads the bytes of other agents. Nobody else has use for them.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use xtreem_base::Digest;

use crate::deploy;
use crate::store::{BLOB_MAX_BYTES, piece_count, verify_piece};

/// Bytes before the piece: its content's digest and length, and its number.
const PIECE_HEAD: usize = 32 + 8 + 4;

/// Requests and answers of the service that hands out pieces.
pub fn services(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first_chunk::<8>() else { return };
    let len = u64::from_be_bytes(*len) % (BLOB_MAX_BYTES + 1);
    drop(ready(deploy::protocol::read_request(&mut &rest[..])));
    drop(ready(deploy::protocol::read_offer(&mut &rest[..], len)));
    drop(ready(deploy::protocol::read_piece(&mut &rest[..])));
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

/// Nothing is waited for where all bytes are there.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a slice has all its bytes"),
    }
}
