//! Requests and answers on a pieces stream. Lengths are known before anything is read for them.
//!
//! Request: one byte what, 32 bytes digest, four bytes piece number (zero for an offer). Answer: four bytes
//! length, then as many bytes; a length of zero means "I have nothing of that".

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use xtreem_base::Digest;

use crate::store::{BLOB_MAX_BYTES, ENCODED_MAX_BYTES, Offer, Pieces, piece_count};

const ASK_OFFER: u8 = 1;
const ASK_PIECE: u8 = 2;
const REQUEST_BYTES: usize = 1 + 32 + 4;
/// An offer's length field.
const LEN_BYTES: usize = 8;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Offer(Digest),
    Piece(Digest, u32),
}

/// Reads the next request; nothing when the asker is done.
pub(crate) async fn read_request(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Request>> {
    let mut bytes = [0; REQUEST_BYTES];
    if from.read(&mut bytes[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut bytes[1..]).await?;
    let mut digest = [0; 32];
    digest.copy_from_slice(&bytes[1..33]);
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[33..]);
    let digest = Digest::from_bytes(digest);
    match bytes[0] {
        ASK_OFFER => Ok(Some(Request::Offer(digest))),
        ASK_PIECE => Ok(Some(Request::Piece(digest, u32::from_be_bytes(number)))),
        _ => Err(garbage("unknown request")),
    }
}

pub(super) async fn write_request(to: &mut (impl AsyncWrite + Unpin), request: Request) -> io::Result<()> {
    let (what, digest, number) = match request {
        Request::Offer(digest) => (ASK_OFFER, digest, 0),
        Request::Piece(digest, index) => (ASK_PIECE, digest, index),
    };
    let mut bytes = Vec::with_capacity(REQUEST_BYTES);
    bytes.push(what);
    bytes.extend_from_slice(digest.as_bytes());
    bytes.extend_from_slice(&number.to_be_bytes());
    to.write_all(&bytes).await
}

pub(super) async fn write_answer(to: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> io::Result<()> {
    let len = u32::try_from(body.len()).map_err(|_| garbage("answer too long"))?;
    to.write_all(&len.to_be_bytes()).await?;
    to.write_all(body).await
}

async fn read_answer(from: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; read_len(from, max).await?];
    from.read_exact(&mut body).await?;
    Ok(body)
}

async fn read_len(from: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<usize> {
    let mut len = [0; 4];
    from.read_exact(&mut len).await?;
    let len = u32::from_be_bytes(len) as usize;
    if len > max { Err(garbage("answer longer than it can be")) } else { Ok(len) }
}

pub(super) fn offer_body(offer: &Offer) -> Vec<u8> {
    let mut body = offer.len.to_be_bytes().to_vec();
    body.extend_from_slice(offer.pieces.as_bytes());
    body
}

/// The pieces that the other side has of a content of `len` bytes; nothing when it has none, or speaks of
/// another length.
pub(crate) async fn read_offer(from: &mut (impl AsyncRead + Unpin), len: u64) -> io::Result<Option<Pieces>> {
    let max = LEN_BYTES + piece_count(BLOB_MAX_BYTES).div_ceil(8) as usize;
    let body = read_answer(from, max).await?;
    if body.is_empty() {
        return Ok(None);
    }
    let Some((told, bits)) = body.split_first_chunk::<LEN_BYTES>() else {
        return Err(garbage("offer too short"));
    };
    if u64::from_be_bytes(*told) != len {
        return Ok(None);
    }
    Pieces::from_bytes(piece_count(len), bits).map(Some).ok_or_else(|| garbage("offer of another shape"))
}

/// The encoded piece, not yet verified; empty when the other side does not have it. It may take its time as
/// long as the other side is never silent for longer than `silence_max`; `hear` is called when bytes came.
pub(crate) async fn read_piece(
    from: &mut (impl AsyncRead + Unpin),
    silence_max: Duration,
    hear: &(dyn Fn() + Sync),
) -> io::Result<Vec<u8>> {
    let mut body = vec![0; timeout(silence_max, read_len(from, ENCODED_MAX_BYTES)).await??];
    let mut have = 0;
    while have < body.len() {
        match timeout(silence_max, from.read(&mut body[have..])).await?? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => have += more,
        }
        hear();
    }
    Ok(body)
}

fn garbage(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
