//! The TCP door, where the configuration opens one: plain on loopback, else behind TLS.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use xtreem_pubsub::Pattern;
use xtreem_pubsub::broker::Access;

use super::access;
use super::clients::Newcomer;
use super::stream::Stream;
use crate::agent::Agent;

/// Connections whose TLS handshake is under way or which are sealed; plain ones have the broker's limit.
const SEALED_MAX: usize = 1_024;
/// Longest TLS handshake (our guess; a few round trips).
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// After a failed accept, for example for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What `[pubsub]` of the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpConfig {
    pub listen: SocketAddr,
    /// What whoever has not said who he is may publish to and subscribe to.
    pub guests: Vec<Pattern<'static>>,
}

/// The open door.
pub(crate) struct Door {
    listener: TcpListener,
    guests: Access,
}

/// Why it could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("publish/subscribe cannot listen at {listen}: {error}")]
pub struct DoorError {
    listen: SocketAddr,
    error: io::Error,
}

impl Door {
    pub(crate) async fn open(config: &TcpConfig) -> Result<Door, DoorError> {
        let listen = config.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| DoorError { listen, error })?;
        Ok(Door { listener, guests: access::guest(&config.guests) })
    }

    /// Lets clients in until the agent ends.
    pub(crate) async fn attend(self, agent: Arc<Agent>, tls: TlsAcceptor) {
        let room = Arc::new(Semaphore::new(SEALED_MAX));
        loop {
            let (stream, from) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection of publish/subscribe could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let is_here = stream.local_addr().is_ok_and(|here| here.ip().to_canonical().is_loopback());
            if is_here {
                let taken = stream.into_std().map(Stream::Tcp);
                let Ok(stream) = taken else { continue };
                // When the serving thread is behind, newcomers wait in the kernel.
                let newcomer = Newcomer { stream, access: self.guests.clone(), room: None };
                if agent.pubsub.newcomers.send(newcomer).await.is_err() {
                    return;
                }
                continue;
            }
            let Ok(permit) = room.clone().try_acquire_owned() else { continue };
            let (agent, tls, guests) = (agent.clone(), tls.clone(), self.guests.clone());
            tokio::spawn(async move {
                if let Err(error) = seal(&agent, &tls, stream, guests).await {
                    tracing::debug!(%from, %error, "a sealed connection of publish/subscribe ended");
                }
                drop(permit);
            });
        }
    }
}

/// Opens the seal here and hands what is inside to the serving thread, as a connection of this machine.
async fn seal(agent: &Agent, tls: &TlsAcceptor, stream: TcpStream, access: Access) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let sealed = tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await;
    let mut sealed = sealed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let (mut inside, far) = tokio::net::UnixStream::pair()?;
    let far = std::os::unix::net::UnixStream::from(OwnedFd::from(far.into_std()?));
    agent.pubsub.take(far, access, None);
    tokio::io::copy_bidirectional(&mut sealed, &mut inside).await.map(drop)
}
