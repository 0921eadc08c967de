//! Messages and streams that wait for the program, within limits: what does not fit stays with its sender.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::limits::{MESSAGE_COST_BYTES, MESSAGE_MAX_BYTES, STREAMS_WAITING_MAX, UNREAD_PER_PEER_MAX_BYTES};
use crate::mailbox::Message;
use crate::stream::InStream;

/// A message with the room that it takes.
struct Unread {
    message: Message,
    _room: Room,
}

/// Given back when dropped.
pub(crate) struct Room {
    _of_peer: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

pub(crate) struct Inbox {
    per_peer: usize,
    room: Arc<Semaphore>,
    messages_in: mpsc::Sender<Unread>,
    messages: Mutex<mpsc::Receiver<Unread>>,
    streams_in: mpsc::Sender<InStream>,
    streams: Mutex<mpsc::Receiver<InStream>>,
}

impl Inbox {
    pub fn new(unread_max_bytes: usize) -> Inbox {
        let unread_max_bytes = unread_max_bytes.max(4 * MESSAGE_MAX_BYTES);
        // As many as there can be room for.
        let (messages_in, messages) = mpsc::channel(unread_max_bytes / MESSAGE_COST_BYTES);
        let (streams_in, streams) = mpsc::channel(STREAMS_WAITING_MAX);
        Inbox {
            per_peer: UNREAD_PER_PEER_MAX_BYTES.min(unread_max_bytes / 2),
            room: Arc::new(Semaphore::new(unread_max_bytes)),
            messages_in,
            messages: Mutex::new(messages),
            streams_in,
            streams: Mutex::new(streams),
        }
    }

    /// The share of one peer.
    pub fn share(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.per_peer))
    }

    /// Waits for room for a message of so many bytes of the peer that has this share.
    pub async fn room(&self, share: &Arc<Semaphore>, len: usize) -> Option<Room> {
        let cost = cost(len);
        let of_peer = share.clone().acquire_many_owned(cost).await.ok()?;
        let of_all = self.room.clone().acquire_many_owned(cost).await.ok()?;
        Some(Room { _of_peer: of_peer, _of_all: of_all })
    }

    /// There is a place for everything that has room.
    pub async fn put(&self, message: Message, room: Room) {
        // The other end is in here.
        let _ = self.messages_in.send(Unread { message, _room: room }).await;
    }

    pub async fn put_stream(&self, stream: InStream) {
        let _ = self.streams_in.send(stream).await;
    }

    /// The next message.
    pub async fn take(&self) -> Message {
        match self.messages.lock().await.recv().await {
            Some(unread) => unread.message,
            // The other end is in here.
            None => std::future::pending().await,
        }
    }

    /// The next message, when there is one.
    pub fn try_take(&self) -> Option<Message> {
        self.messages.try_lock().ok()?.try_recv().ok().map(|unread| unread.message)
    }

    /// The next stream.
    pub async fn take_stream(&self) -> InStream {
        match self.streams.lock().await.recv().await {
            Some(stream) => stream,
            None => std::future::pending().await,
        }
    }
}

/// What a message takes of the limits.
pub(crate) fn cost(len: usize) -> u32 {
    // Messages are far shorter than four gigabytes.
    (len + MESSAGE_COST_BYTES) as u32
}

/// A message as it is kept: a copy, so that a short one does not keep the whole buffer that it came in.
pub(crate) fn kept(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
