//! Mutual TLS: both sides show a certificate of the VO's own root, or the handshake fails.

use std::sync::{Arc, OnceLock};

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::RootCertStore;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use xtreem_base::NodeId;

use crate::Identity;
use crate::connections::transport;
use crate::stranger::{self, Refused, Verifier};

/// What certificates of nodes are called.
pub(crate) const SERVER_NAME: &str = xtreem_beside::NODE_NAME;

/// The protocol on our connections.
const ALPN: &[u8] = b"xtreem/1";

/// TLS cannot be set up from this identity.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("{name} is a user, not a node: issue a credential with role node for this agent")]
    NotANode { name: String },
    #[error("certificate refused: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("the VO's certificate is no root: {0}")]
    Root(#[from] rustls::server::VerifierBuilderError),
    #[error(transparent)]
    Quic(#[from] NoInitialCipherSuite),
}

/// The two configurations of one endpoint.
pub(crate) struct Tls {
    pub client: Dialler,
    pub server: Arc<QuicServerConfig>,
}

/// Makes the configuration of each dial.
pub(crate) struct Dialler {
    config: rustls::ClientConfig,
    verifier: Arc<WebPkiServerVerifier>,
    vo: NodeId,
    /// To dial under: it tells the dialled node our VO.
    pub server_name: String,
}

impl Dialler {
    /// For one dial; the other is set when the dialled node is of another VO, or its dates are refused.
    pub(crate) fn dial(&self) -> Result<(quinn::ClientConfig, Arc<OnceLock<Refused>>), NoInitialCipherSuite> {
        let mut config = self.config.clone();
        let (verifier, refused) = Verifier::new(self.verifier.clone(), self.vo);
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config)?));
        client.transport_config(transport());
        Ok((client, refused))
    }
}

impl Tls {
    pub(crate) fn new(identity: &Identity) -> Result<Tls, TlsError> {
        let leaf = identity.leaf().ok_or_else(|| TlsError::NotANode { name: identity.name().to_owned() })?;
        let chain = vec![leaf.clone()];
        let mut roots = RootCertStore::empty();
        roots.add(identity.ca().clone())?;
        let roots = Arc::new(roots);
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());

        let server_verifier =
            WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        let mut client = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(server_verifier.clone())
            .with_client_auth_cert(chain.clone(), identity.pkcs8().into())?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session would skip the check of an expired certificate.
        client.resumption = Resumption::disabled();

        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, identity.pkcs8().into())?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        let vo = identity.root().id();
        let dialler =
            Dialler { config: client, verifier: server_verifier, vo, server_name: stranger::server_name(vo) };
        // What cannot work is found now and not at the first dial.
        dialler.dial()?;
        Ok(Tls { client: dialler, server: Arc::new(QuicServerConfig::try_from(server)?) })
    }
}

/// What a node's doors for clients over TCP show: its own certificate. Clients show none.
///
/// # Errors
/// The identity is no node's.
pub fn for_clients(identity: &Identity) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let leaf = identity.leaf().ok_or_else(|| TlsError::NotANode { name: identity.name().to_owned() })?;
    let server = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.clone()], identity.pkcs8().into())?;
    Ok(Arc::new(server))
}

/// The Ed25519 public key of a certificate; `None` when it is another kind of key or no certificate.
pub(crate) fn ed25519_key_of(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let key = parsed.public_key();
    let is_ed25519 = key.algorithm.algorithm == x509_parser::oid_registry::OID_SIG_ED25519;
    is_ed25519.then(|| key.subject_public_key.data.as_ref().try_into().ok()).flatten()
}
