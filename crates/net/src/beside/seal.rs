//! TLS between the command line and the holder, through the agents that pass its bytes on: they neither read
//! nor change what is typed and written.
//!
//! The holder shows the certificate of its node, so that the command line knows for which node it signs. The
//! user shows none, because users have none: the warrant says who it is.

use std::io;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use xtreem_base::NodeId;
use xtreem_wire::node_id_of;

use crate::Identity;
use crate::tls::{SERVER_NAME, TlsError, ed25519_key_of};

/// Not that of connections between nodes: a handshake of one kind is none of the other.
const ALPN: &[u8] = b"xtreem/1 beside";

/// The two ends.
pub type SealedByHolder<S> = server::TlsStream<S>;
pub type SealedByUser<S> = client::TlsStream<S>;

/// A node's end, for as many callers as come.
#[derive(Clone)]
pub struct Seal(TlsAcceptor);

impl Seal {
    /// Of the identity of a node.
    pub fn new(node: &Identity) -> Result<Seal, TlsError> {
        let leaf = node.leaf().ok_or_else(|| TlsError::NotANode { name: node.name().to_owned() })?;
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.clone()], node.pkcs8().into())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Seal(TlsAcceptor::from(Arc::new(config))))
    }

    /// Seals a stream that a caller opened.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<SealedByHolder<S>> {
        self.0.accept(stream).await
    }
}

/// Seals a stream to a node of the user's VO, and tells which node it is.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    user: &Identity,
    stream: S,
) -> io::Result<(SealedByUser<S>, NodeId)> {
    let mut roots = RootCertStore::empty();
    roots.add(user.ca().clone()).map_err(io::Error::other)?;
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
    let sealed = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let certificate = sealed.get_ref().1.peer_certificates().and_then(|shown| shown.first());
    let node = certificate.and_then(ed25519_key_of).and_then(|key| node_id_of(&key));
    let node = node.ok_or_else(|| io::Error::other("the holder's certificate has no key of a node"))?;
    Ok((sealed, node))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::{Roles, VoKey};

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn the_caller_knows_whom_it_speaks_to_and_strangers_are_nobody() {
        let (vo, other) = (VoKey::create("test").expect("a VO"), VoKey::create("test").expect("a VO"));
        let alice = vo.issue_user("alice", Roles::SUBMIT, 1).expect("a user");
        let node = vo.issue_node("n", 1).expect("a node");
        let stranger = other.issue_node("n", 1).expect("a node");
        run(async {
            for (holder, is_known) in [(&node, true), (&stranger, false)] {
                let (near, far) = duplex(1 << 16);
                let seal = Seal::new(holder).expect("a node's identity");
                let (opened, accepted) = tokio::join!(open(&alice, near), seal.accept(far));
                assert_eq!(opened.as_ref().ok().map(|(_, id)| *id), is_known.then(|| holder.id()));
                let (Ok((mut near, _)), Ok(mut far)) = (opened, accepted) else { continue };
                near.write_all(b"hello").await.expect("sealed");
                near.flush().await.expect("sent");
                let mut heard = [0; 5];
                far.read_exact(&mut heard).await.expect("heard");
                assert_eq!(&heard, b"hello");
            }
        });
        assert!(matches!(Seal::new(&alice), Err(TlsError::NotANode { .. })));
    }

    /// A node that was asked to pass a stream on, and answers itself, is found out by its key.
    #[test]
    fn who_answers_in_anothers_place_is_not_taken_for_it() {
        let vo = VoKey::create("test").expect("a VO");
        let alice = vo.issue_user("alice", Roles::SUBMIT, 1).expect("a user");
        let (holder, liar) = (vo.issue_node("h", 1).expect("a node"), vo.issue_node("l", 1).expect("a node"));
        run(async {
            let (near, far) = duplex(1 << 16);
            let seal = Seal::new(&liar).expect("a node's identity");
            let (opened, _accepted) = tokio::join!(open(&alice, near), seal.accept(far));
            let (_, id) = opened.expect("a member of the VO");
            assert!(id == liar.id() && id != holder.id());
        });
    }
}
