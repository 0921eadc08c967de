//! Streams that other agents open here: pieces of files, logs, ports, mailboxes and collections of slots,
//! commands beside them, and events.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use xtreem_net::{Guests, Service, ServiceStream};

use crate::agent::Agent;
use crate::{beside, collections, deploy, logs, mail, ports};

/// Streams served at one time; one more is refused, and its opener tries another node (our guess: 64 pieces
/// of 256 KiB under way are 16 MiB).
const STREAMS_MAX: usize = 64;
/// Streams that wait to be looked at.
pub(crate) const WAITING_MAX: usize = 64;
/// Of the streams that are served, those of one node: a fetch uses a few, and nobody alone takes all.
const STREAMS_PER_PEER_MAX: usize = 16;

/// Serves until the node stops.
pub(crate) async fn run(agent: Arc<Agent>, mut streams: mpsc::Receiver<ServiceStream>) {
    let room = Arc::new(Semaphore::new(STREAMS_MAX));
    let guests = Guests::new(STREAMS_PER_PEER_MAX);
    while let Some(stream) = streams.recv().await {
        if stream.service == Service::BESIDE {
            // They last as long as somebody's command, and have limits of their own.
            tokio::spawn(beside(agent.clone(), stream));
            continue;
        }
        if stream.service == Service::EVENTS {
            // One of each peer, as long as it has something to say.
            agent.pubsub.hear(stream);
            continue;
        }
        // Dropping the stream ends it without an answer.
        let Ok(permit) = room.clone().try_acquire_owned() else { continue };
        let Some(seat) = guests.seat(stream.peer.contact().id) else { continue };
        let agent = agent.clone();
        tokio::spawn(async move {
            let ServiceStream { service, peer, send, receive } = stream;
            let served = match service {
                Service::PIECES => deploy::serve(agent.store.clone(), receive, send).await,
                Service::LOGS => logs::serve(&agent, receive, send).await,
                Service::PORTS => ports::serve(&agent, receive, send).await,
                Service::MAILBOXES => mail::serve(&agent, receive, send).await,
                Service::COLLECTIONS => collections::serve(&agent, receive, send).await,
                _ => Err(std::io::Error::other("unknown service")),
            };
            if let Err(error) = served {
                tracing::debug!(peer = ?peer.contact().id, ?service, %error, "stream ended early");
            }
            drop((permit, seat));
        });
    }
}

async fn beside(agent: Arc<Agent>, stream: ServiceStream) {
    let ServiceStream { peer, send, receive, .. } = stream;
    let by = peer.contact().id;
    if let Err(error) = beside::serve(&agent, tokio::io::join(receive, send), by).await {
        tracing::debug!(?by, %error, "a command beside a slot ended early");
    }
}
