//! An identity in one line of text, to be pasted on the machine that it is for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::{Decode, Encode};
use rustls::pki_types::CertificateDer;
use thiserror::Error;

use super::files::Flaw;
use super::{Identity, SigningKey};

/// What every invitation begins with: a form, and its version.
const PREFIX: &str = "xtreem-invite-1.";
/// Longest text of an invitation; those that are made have about 1,500 bytes.
pub const INVITATION_MAX_BYTES: usize = 8_192;
/// Most addresses in one.
pub const INVITATION_JOIN_MAX: usize = 8;
/// Longest address in one: a name of 255 bytes and a port.
const ADDRESS_MAX_BYTES: usize = 262;

/// A node's identity and where its grid is. It contains a private key: whoever reads it is that node.
#[derive(Clone)]
pub struct Invitation {
    pub identity: Identity,
    /// `HOST:PORT` of nodes to join by.
    pub join: Vec<String>,
}

/// A text is no invitation that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvitationError {
    #[error("this is no invitation, or not the whole of one: paste the line of `xtreem vo invite` as it is")]
    Malformed,
    #[error("the invitation: {0}; make a new one with `xtreem vo invite`")]
    Flaw(String),
    #[error("{count} addresses to join by: at most {INVITATION_JOIN_MAX} of {ADDRESS_MAX_BYTES} bytes")]
    Join { count: usize },
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Form {
    /// Seed of the Ed25519 key.
    #[cbor(n(0), with = "minicbor::bytes")]
    key: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    credential: Vec<u8>,
    #[cbor(n(2), with = "minicbor::bytes")]
    leaf: Vec<u8>,
    #[cbor(n(3), with = "minicbor::bytes")]
    ca: Vec<u8>,
    #[n(4)]
    join: Vec<String>,
}

impl Invitation {
    /// One word without anything that a shell would read.
    pub fn to_text(&self) -> Result<String, InvitationError> {
        self.check_join()?;
        let Identity { key, credential, leaf, ca, .. } = &self.identity;
        let form = Form {
            key: key.to_bytes().to_vec(),
            credential: credential.to_vec(),
            leaf: leaf.as_ref().ok_or(InvitationError::Malformed)?.to_vec(),
            ca: ca.to_vec(),
            join: self.join.clone(),
        };
        let bytes = minicbor::to_vec(form).map_err(|_| InvitationError::Malformed)?;
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Reads one and checks that its parts belong together and are valid now.
    pub fn parse(text: &str) -> Result<Invitation, InvitationError> {
        let text = text.trim();
        let encoded = text.strip_prefix(PREFIX).filter(|_| text.len() <= INVITATION_MAX_BYTES);
        let bytes = encoded.and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok());
        Invitation::parse_bytes(&bytes.ok_or(InvitationError::Malformed)?)
    }

    /// The same without its prefix and encoding.
    #[doc(hidden)]
    pub fn parse_bytes(bytes: &[u8]) -> Result<Invitation, InvitationError> {
        let Form { key, credential, leaf, ca, join } =
            minicbor::decode(bytes).map_err(|_| InvitationError::Malformed)?;
        let key: [u8; 32] = key.try_into().map_err(|_| InvitationError::Malformed)?;
        let leaf = Some(CertificateDer::from(leaf));
        let identity =
            Identity::assemble(SigningKey::from_bytes(&key), &credential, leaf, CertificateDer::from(ca));
        let identity = identity
            .and_then(|identity| identity.check_time().map(|()| identity))
            .map_err(|flaw: Flaw| InvitationError::Flaw(flaw.to_string()))?;
        let invitation = Invitation { identity, join };
        invitation.check_join()?;
        Ok(invitation)
    }

    fn check_join(&self) -> Result<(), InvitationError> {
        let is_good = self.join.len() <= INVITATION_JOIN_MAX
            && self.join.iter().all(|address| address.len() <= ADDRESS_MAX_BYTES);
        if is_good { Ok(()) } else { Err(InvitationError::Join { count: self.join.len() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VoKey;

    fn invitation() -> Invitation {
        let identity = VoKey::create("test").expect("a VO").issue_node("n1", 1).expect("a node");
        Invitation { identity, join: vec!["node1.example:7227".to_owned(), "[fd00::1]:7227".to_owned()] }
    }

    #[test]
    fn a_line_is_one_word_and_brings_the_whole_identity() {
        let made = invitation();
        let text = made.to_text().expect("a node's");
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{text}");
        assert!(text.len() < 2_000, "{}", text.len());
        let read = Invitation::parse(&format!(" {text}\n")).expect("as it was made");
        assert_eq!((read.identity.id(), read.join), (made.identity.id(), made.join));
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("node.pem");
        read.identity.save(&file).expect("saved");
        assert_eq!(Identity::load(&file).expect("it is whole").id(), made.identity.id());
    }

    #[test]
    fn what_was_cut_or_changed_is_refused_and_nothing_panics() {
        let text = invitation().to_text().expect("a node's");
        for cut in 0..text.len() {
            assert!(Invitation::parse(&text[..cut]).is_err(), "{cut}");
        }
        for other in ["", "xtreem-invite-1.", "xtreem-invite-2.AAAA", "hello"] {
            assert_eq!(Invitation::parse(other).map(|_| ()), Err(InvitationError::Malformed), "{other}");
        }
        let mut many = invitation();
        many.join = vec!["a:1".to_owned(); INVITATION_JOIN_MAX + 1];
        assert!(many.to_text().is_err());
        let vo = VoKey::create("test").expect("a VO");
        let expired = vo.issue("n1", xtreem_wire::Roles::NODE, 1_000_000, 1).expect("a node");
        let expired = Invitation { identity: expired, join: vec![] }.to_text().expect("a node's");
        let error = Invitation::parse(&expired).map(|_| ()).expect_err("it is over");
        assert!(error.to_string().contains("expired on 1970-01-13"), "{error}");
    }
}
