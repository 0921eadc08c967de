//! Streams that other agents open here: pieces of files, and logs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc};
use xtreem_base::NodeId;
use xtreem_net::{Service, ServiceStream};

use crate::agent::Agent;
use crate::{deploy, logs};

/// Streams served at one time; one more is refused, and its opener tries another node (our guess: 64 pieces
/// of 256 KiB under way are 16 MiB).
const STREAMS_MAX: usize = 64;
/// Streams that wait to be looked at.
pub(crate) const WAITING_MAX: usize = 64;
/// Of the streams that are served, those of one node: a fetch uses a few, and nobody alone takes all.
const STREAMS_PER_PEER_MAX: usize = 16;

/// How many streams of each node are served.
#[derive(Default)]
struct Guests(Mutex<BTreeMap<NodeId, usize>>);

/// A stream that is served, until it is dropped.
struct Seat {
    guests: Arc<Guests>,
    peer: NodeId,
}

impl Guests {
    fn count(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        // Each change is one call: no task can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing when the node has as many as one may have.
    fn seat(self: &Arc<Self>, peer: NodeId) -> Option<Seat> {
        let mut count = self.count();
        let served = count.entry(peer).or_default();
        if *served >= STREAMS_PER_PEER_MAX {
            return None;
        }
        *served += 1;
        Some(Seat { guests: self.clone(), peer })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut count = self.guests.count();
        if let Some(served) = count.get_mut(&self.peer) {
            *served -= 1;
            if *served == 0 {
                count.remove(&self.peer);
            }
        }
    }
}

/// Serves until the node stops.
pub(crate) async fn run(agent: Arc<Agent>, mut streams: mpsc::Receiver<ServiceStream>) {
    let room = Arc::new(Semaphore::new(STREAMS_MAX));
    let guests = Arc::new(Guests::default());
    while let Some(stream) = streams.recv().await {
        // Dropping the stream resets it.
        let Ok(permit) = room.clone().try_acquire_owned() else { continue };
        let Some(seat) = guests.seat(stream.peer.contact().id) else { continue };
        let agent = agent.clone();
        tokio::spawn(async move {
            let ServiceStream { service, peer, send, receive } = stream;
            let served = match service {
                Service::PIECES => deploy::serve(agent.store.clone(), receive, send).await,
                Service::LOGS => logs::serve(&agent, receive, send).await,
                _ => Err(std::io::Error::other("unknown service")),
            };
            if let Err(error) = served {
                tracing::debug!(peer = ?peer.contact().id, ?service, %error, "stream ended early");
            }
            drop((permit, seat));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_alone_takes_all_streams() {
        let guests = Arc::new(Guests::default());
        let (one, other) = (NodeId::from_bytes([1; 16]), NodeId::from_bytes([2; 16]));
        let mut seats: Vec<Seat> = (0..STREAMS_PER_PEER_MAX).filter_map(|_| guests.seat(one)).collect();
        assert_eq!(seats.len(), STREAMS_PER_PEER_MAX);
        assert!(guests.seat(one).is_none() && guests.seat(other).is_some());
        seats.pop();
        assert!(guests.seat(one).is_some());
        seats.clear();
        assert!(guests.count().is_empty(), "who left is forgotten");
    }
}
