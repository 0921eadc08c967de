//! Streams: for what is too long for a message. Neither side keeps more of it than QUIC's window.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};

use crate::error::{SendError, StreamError};
use crate::mailbox::Member;

/// Longest part of a stream that is read at once.
const PART_MAX_BYTES: usize = 64 << 10;

/// The acknowledgement: all of it was read.
const TAKEN: u8 = 1;

/// Bytes to one member, in order. Dropped before [`OutStream::finish`] it breaks off.
#[derive(Debug)]
pub struct OutStream {
    pub(crate) slot: u16,
    pub(crate) send: SendStream,
    pub(crate) receive: RecvStream,
    /// Keeps the connection from being closed for want of messages.
    pub(crate) _open: Arc<()>,
    pub(crate) is_finished: bool,
}

impl OutStream {
    /// Waits until the other side has room for it.
    pub async fn write(&mut self, part: impl Into<Bytes>) -> Result<(), SendError> {
        let slot = self.slot;
        let not_taken =
            |error: quinn::WriteError| SendError::NotAcknowledged { slot, why: error.to_string() };
        self.send.write_chunk(part.into()).await.map_err(not_taken)
    }

    /// Ends it, and waits until the other program has read all of it.
    pub async fn finish(mut self) -> Result<(), SendError> {
        let slot = self.slot;
        let not_taken = |why: String| SendError::NotAcknowledged { slot, why };
        self.send.finish().map_err(|error| not_taken(error.to_string()))?;
        self.is_finished = true;
        let mut taken = [0];
        self.receive.read_exact(&mut taken).await.map_err(|error| not_taken(error.to_string()))?;
        if taken == [TAKEN] { Ok(()) } else { Err(not_taken("the other program gave it up".to_owned())) }
    }
}

impl Drop for OutStream {
    fn drop(&mut self) {
        if !self.is_finished {
            // Whoever reads it is told that the end is missing.
            let _ = self.send.reset(0u32.into());
        }
    }
}

/// Bytes from one member, in order. Dropped before its end it is refused.
#[derive(Debug)]
pub struct InStream {
    pub from: Member,
    pub(crate) receive: RecvStream,
    pub(crate) send: SendStream,
    pub(crate) is_over: bool,
}

impl InStream {
    /// The next part; nothing at the end, and then the sender is told that all was read.
    pub async fn read(&mut self) -> Result<Option<Bytes>, StreamError> {
        if self.is_over {
            return Ok(None);
        }
        let slot = self.from.slot;
        let broken = |why: String| StreamError { slot, why };
        match self.receive.read_chunk(PART_MAX_BYTES, true).await.map_err(|e| broken(e.to_string()))? {
            Some(chunk) => Ok(Some(chunk.bytes)),
            None => {
                self.is_over = true;
                // A sender that is gone need not be told.
                let _ = self.send.write_all(&[TAKEN]).await;
                let _ = self.send.finish();
                Ok(None)
            }
        }
    }
}
