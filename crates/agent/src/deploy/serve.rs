//! The side that has pieces.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::protocol::{self, Request};
use crate::bulk;
use crate::store::Store;

/// A stream on which nothing is asked for so long is closed (our guess: an asker keeps several streams open).
const IDLE_MAX: Duration = Duration::from_secs(30);
/// An asker that takes longer for one answer is given up; it has left by then itself.
const WRITE_MAX: Duration = Duration::from_secs(60);

/// Answers requests until the asker ends the stream, sends garbage or stalls.
pub(crate) async fn serve(
    store: Store,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    loop {
        let request = timeout(IDLE_MAX, protocol::read_request(&mut from)).await??;
        let Some(request) = request else { return Ok(()) };
        let store = store.clone();
        // The disk may be slow; other streams go on.
        let body = bulk::PIECES_OUT.run(move || answer(&store, request)).await.unwrap_or_default();
        timeout(WRITE_MAX, protocol::write_answer(&mut to, &body)).await??;
    }
}

fn answer(store: &Store, request: Request) -> Vec<u8> {
    match request {
        Request::Offer(digest) => store.offer(digest).map(|offer| protocol::offer_body(&offer)),
        Request::Piece(digest, index) => match store.piece(digest, index) {
            Ok(piece) => Some(piece),
            Err(error) => {
                tracing::debug!(%error, "piece not served");
                None
            }
        },
    }
    .unwrap_or_default()
}
