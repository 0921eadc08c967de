//! Nodes of other VOs: the handshake fails, and both sides say whose node it was and what to do. Nodes of
//! this VO whose certificates are out of date are told from them.
//!
//! A dialling node names its VO in the server name that it asks for, and a node's certificate names it as its
//! organisation. Neither is proven; both only stand in words for people.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};
use xtreem_base::NodeId;
use xtreem_wire::{CredentialError, node_id_of};

use crate::tls::{SERVER_NAME, ed25519_key_of};

/// What to do about it, in the words of both sides.
pub(crate) const WHAT_TO_DO: &str = "all machines of a grid need credentials of one VO: on the machine that has the \
    root key of the VO that is to stay (an agent without `identity` has one in STATE_DIR/development) run \
    `xtreem vo invite --dir DIRECTORY_OF_root.pem`, and paste the line that it prints on the other machine";

/// A node that showed a certificate which our VO's root did not sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stranger {
    /// The name that its VO gives itself.
    name: String,
    /// The id of its VO.
    vo: Option<String>,
}

impl Stranger {
    /// As its certificate says.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Stranger> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let text = |name: &X509Name<'_>| {
            name.iter_common_name().next().and_then(|name| name.as_str().ok()).map(printable)
        };
        let organisation = parsed.subject().iter_organization().next().and_then(|name| name.as_str().ok());
        let vo = organisation.filter(|vo| vo.parse::<NodeId>().is_ok()).map(str::to_owned);
        Some(Stranger { name: text(parsed.issuer()).unwrap_or_default(), vo })
    }

    /// As people are told.
    pub(crate) fn words(&self) -> String {
        match &self.vo {
            Some(vo) => format!("{:?} ({vo})", self.name),
            None => format!("{:?}", self.name),
        }
    }
}

/// What may stand in a log: a name of another VO is anybody's text.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect()
}

/// The server name under which a node of `vo` dials.
pub(crate) fn server_name(vo: NodeId) -> String {
    format!("{vo}.{SERVER_NAME}")
}

/// The VO that a dialling node says it belongs to.
pub(crate) fn vo_in(server_name: &str) -> Option<NodeId> {
    server_name.strip_suffix(SERVER_NAME)?.strip_suffix('.')?.parse().ok()
}

/// Why the certificate of a dialled node was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Stranger(Stranger),
    /// It says that it is of this VO, which is not proven, and its dates are not of this machine's present.
    OutOfDate(NodeId, CredentialError),
}

impl Refused {
    /// Of a certificate of this VO, or of one that says so.
    fn out_of_date(certificate: &CertificateDer<'_>, error: &Error) -> Option<Refused> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let id = node_id_of(&ed25519_key_of(certificate)?)?;
        let unix = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        let validity = parsed.validity();
        let why = match error {
            Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => CredentialError::Expired { not_after: unix(validity.not_after) },
            Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            ) => CredentialError::NotYetValid { not_before: unix(validity.not_before) },
            _ => return None,
        };
        Some(Refused::OutOfDate(id, why))
    }
}

/// Checks certificates of dialled nodes as webpki does, and keeps why one was refused. One a dial.
#[derive(Debug)]
pub(crate) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    /// Of this node's own VO.
    vo: NodeId,
    refused: Arc<OnceLock<Refused>>,
}

impl Verifier {
    pub(crate) fn new(inner: Arc<WebPkiServerVerifier>, vo: NodeId) -> (Verifier, Arc<OnceLock<Refused>>) {
        let refused = Arc::new(OnceLock::new());
        (Verifier { inner, vo, refused: refused.clone() }, refused)
    }

    fn note(&self, certificate: &CertificateDer<'_>, error: &Error) {
        let is_unknown = matches!(
            error,
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
        );
        let own = self.vo.to_string();
        let Some(stranger) = Stranger::of(certificate) else { return };
        let refused = if stranger.vo.as_ref() == Some(&own) {
            Refused::out_of_date(certificate, error)
        } else {
            is_unknown.then_some(Refused::Stranger(stranger))
        };
        if let Some(refused) = refused {
            // There is one certificate a dial.
            let _ = self.refused.set(refused);
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name that was asked for tells the VO; the one in every certificate is the same.
        let name = ServerName::try_from(SERVER_NAME).map_err(|_| Error::General("no server name".into()))?;
        self.inner
            .verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)
            .inspect_err(|error| self.note(end_entity, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VoKey;

    #[test]
    fn a_certificate_tells_its_vo_and_a_server_name_the_diallers() {
        let vo = VoKey::create("physics.example").expect("a VO");
        let node = vo.issue_node("n1", 1).expect("a node");
        let stranger = Stranger::of(node.leaf().expect("a certificate")).expect("it can be read");
        let id = vo.root().id();
        assert_eq!(stranger.words(), format!("\"physics.example\" ({id})"));
        assert_eq!(vo_in(&server_name(id)), Some(id));
        for other in ["node.xtreem", "x.node.xtreem", "00.node.xtreem", ".node.xtreem", "example.org"] {
            assert_eq!(vo_in(other), None, "{other}");
        }
    }
}
