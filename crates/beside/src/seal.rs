//! TLS between the caller and the holder, through the agents that pass its bytes on: they neither read
//! nor change what is typed and written.
//!
//! The holder shows the certificate of its node, so that the caller knows for which node it signs. The caller
//! shows none, because neither users nor slots have one of the VO: the warrant says who it is.

use std::io;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use xtreem_base::NodeId;
use xtreem_wire::node_id_of;

/// Every node's certificate carries this name, as who a node is follows from its key, not from a name.
pub const NODE_NAME: &str = "node.xtreem";

/// A public key of Ed25519 in a certificate, before its 32 bytes (RFC 8410 section 4).
const SPKI_HEAD: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// Not that of connections between nodes: a handshake of one kind is none of the other.
const ALPN: &[u8] = b"xtreem/1 beside";

/// The two ends.
pub type SealedByHolder<S> = server::TlsStream<S>;
pub type SealedByCaller<S> = client::TlsStream<S>;

/// A node's end, for as many callers as come.
#[derive(Clone)]
pub struct Seal(TlsAcceptor);

impl Seal {
    /// Of a node's certificate and its private key.
    pub fn new(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Seal, rustls::Error> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
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

/// Seals a stream to a node of the VO that has this root certificate (X.509, DER), and tells which node it
/// is.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    root: &[u8],
    stream: S,
) -> io::Result<(SealedByCaller<S>, NodeId)> {
    let mut roots = RootCertStore::empty();
    roots.add(root.to_vec().into()).map_err(io::Error::other)?;
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(NODE_NAME).map_err(io::Error::other)?;
    let sealed = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let certificate = sealed.get_ref().1.peer_certificates().and_then(|shown| shown.first());
    let node = certificate.and_then(key_in).and_then(|key| node_id_of(&key));
    let node = node.ok_or_else(|| io::Error::other("the holder's certificate has no key of a node"))?;
    Ok((sealed, node))
}

/// The Ed25519 key of a certificate, if it has one.
fn key_in(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let spki = parsed.subject_public_key_info();
    spki.strip_prefix(&SPKI_HEAD[..])?.try_into().ok()
}
