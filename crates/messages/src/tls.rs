//! TLS between members: self-signed certificates. A handshake proves that the peer has the key of its
//! certificate, and nothing else; whose key that is, is shown by the slot credential right after.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, TransportConfig, VarInt};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::error::OpenError;
use crate::limits::{KEEP_ALIVE, SILENCE_MAX, STREAMS_MAX, WINDOW_BYTES};

/// The protocol on these connections.
const ALPN: &[u8] = b"xtreem-slot/1";

/// A name is needed to dial; who is met follows from its credential.
pub(crate) const SERVER_NAME: &str = "slot.xtreem";

/// PKCS #8 version 1 of an Ed25519 key: 16 fixed bytes and the seed (RFC 8410 section 7).
const PKCS8_HEAD: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// A public key of that kind in a certificate, before its 32 bytes (RFC 8410 section 4).
const SPKI_HEAD: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// The private key of a slot: it speaks for the slot as long as its node says so.
#[derive(Clone)]
pub struct SlotKey(SigningKey);

impl SlotKey {
    /// From 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> SlotKey {
        SlotKey(SigningKey::from_bytes(&seed))
    }

    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The half that the slot's credential names.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// What both sides of an endpoint need.
    pub(crate) fn tls(&self) -> Result<(quinn::ClientConfig, quinn::ServerConfig), OpenError> {
        let pkcs8 = PrivatePkcs8KeyDer::from([&PKCS8_HEAD[..], self.0.as_bytes()].concat());
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519)?;
        let certificate = CertificateParams::new([SERVER_NAME.to_owned()])?.self_signed(&pair)?;
        let chain = vec![certificate.der().clone()];
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let any = Arc::new(AnyKey(provider.clone()));
        let mut client = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(any.clone())
            .with_client_auth_cert(chain.clone(), pkcs8.clone_key().into())?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(any)
            .with_single_cert(chain, pkcs8.into())?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let initial = |_| OpenError::Agent("TLS has no initial cipher suite");
        let mut client =
            quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).map_err(initial)?));
        client.transport_config(transport());
        let server = Arc::new(QuicServerConfig::try_from(server).map_err(initial)?);
        let mut server = quinn::ServerConfig::with_crypto(server);
        server.transport_config(transport()).migration(false);
        Ok((client, server))
    }
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    // Hello and messages are streams, too.
    let streams = VarInt::from_u32(STREAMS_MAX as u32 + 2);
    transport
        .max_concurrent_bidi_streams(streams)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        // Some seconds fit the milliseconds of a VarInt.
        .max_idle_timeout(Some(SILENCE_MAX.try_into().expect("a short time")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(VarInt::from_u32(WINDOW_BYTES))
        .receive_window(VarInt::from_u32(WINDOW_BYTES))
        .send_window(u64::from(WINDOW_BYTES))
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}

/// The Ed25519 key that the peer has proven to have.
pub(crate) fn key_of(connection: &Connection) -> Option<[u8; 32]> {
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    key_in(shown.first()?)
}

fn key_in(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    parsed.subject_public_key_info().strip_prefix(&SPKI_HEAD)?.try_into().ok()
}

/// Takes every certificate with an Ed25519 key whose owner signed this handshake.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl AnyKey {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        key_in(certificate).map(drop).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
}

fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken here".into()))
}

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
