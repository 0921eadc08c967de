//! Who this node or user is: a private key, and what the VO's root signed about it.
//!
//! A VO is one Ed25519 root key. It signs twice for each member: a compact credential, which fits datagrams,
//! and, for nodes, an X.509 certificate, which QUIC's handshake checks. Users get no certificate: they speak
//! to their own agent and never dial nodes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ed25519_dalek::{SigningKey, VerifyingKey};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use xtreem_base::NodeId;
use xtreem_wire::{Claims, IssueError, Member, Roles, VoRoot};

use crate::tls::SERVER_NAME;

mod files;
mod invitation;
mod renewal;

pub use files::{LoadError, date, date_at};
pub use invitation::{INVITATION_JOIN_MAX, INVITATION_MAX_BYTES, Invitation, InvitationError};
pub use renewal::{Renewal, RenewalError};

/// Credentials begin a day before they are made, so that a member whose clock is late can use its own at
/// once.
const BACKDATE: Duration = Duration::from_secs(86_400);

/// Longest validity: ten years (our guess).
const DAYS_MAX: u32 = 3_650;

/// A root certificate outlives everything it signs.
const ROOT_DAYS: u32 = 3 * DAYS_MAX;

/// A VO or a member could not be made.
#[derive(Debug, Error)]
pub enum MakeError {
    #[error(transparent)]
    Claims(#[from] IssueError),
    #[error("validity of {days} days: 1 to {DAYS_MAX} are allowed")]
    Days { days: u32 },
    #[error("a user is issued with role submit or admin")]
    NoUserRole,
    #[error("it is of another VO, {vo}, whose root key alone can renew it")]
    OtherVo { vo: NodeId },
    #[error("the certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}

/// The private root key of a VO. Whoever has it is the VO.
pub struct VoKey {
    key: SigningKey,
    ca: CertificateDer<'static>,
}

impl VoKey {
    /// Makes a VO: a new root key and its self-signed certificate under `name`.
    pub fn create(name: &str) -> Result<VoKey, MakeError> {
        let key = random_key()?;
        let mut params = params(name, unix_now(), ROOT_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = params.self_signed(&key_pair(&key)?)?;
        Ok(VoKey { ca: ca.der().clone(), key })
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The public half.
    pub fn root(&self) -> VoRoot {
        VoRoot::of(&self.key)
    }

    /// A new key and credential for a node of the grid.
    pub fn issue_node(&self, name: &str, days: u32) -> Result<Identity, MakeError> {
        self.issue(name, Roles::NODE, unix_now(), days)
    }

    /// A new key and credential for a user; `roles` are submit, admin or both.
    pub fn issue_user(&self, name: &str, roles: Roles, days: u32) -> Result<Identity, MakeError> {
        if !roles.may_submit() || roles.has(Roles::NODE) {
            return Err(MakeError::NoUserRole);
        }
        self.issue(name, roles, unix_now(), days)
    }

    /// Issues as if it were `now_unix` (seconds): tests make with it what expires soon, or long ago.
    #[doc(hidden)]
    pub fn issue(&self, name: &str, roles: Roles, now_unix: u64, days: u32) -> Result<Identity, MakeError> {
        let key = random_key()?;
        let certified = self.certify(&key.verifying_key(), name, roles, now_unix, days)?;
        Ok(Identity::new(key, certified, self.ca.clone(), self.root()))
    }

    /// A new credential for the key, name and roles of one that may have expired: whoever had it stays who it
    /// was.
    pub fn renew(&self, old: &Identity, days: u32) -> Result<Identity, MakeError> {
        self.renew_at(old, unix_now(), days)
    }

    /// As if it were `now_unix` (seconds), for tests.
    #[doc(hidden)]
    pub fn renew_at(&self, old: &Identity, now_unix: u64, days: u32) -> Result<Identity, MakeError> {
        if old.root != self.root() {
            return Err(MakeError::OtherVo { vo: old.root.id() });
        }
        let member = &old.member;
        let certified = self.certify(member.key(), member.name(), member.roles(), now_unix, days)?;
        Ok(Identity::new(old.key.clone(), certified, self.ca.clone(), self.root()))
    }

    fn certify(
        &self,
        key: &VerifyingKey,
        name: &str,
        roles: Roles,
        now_unix: u64,
        days: u32,
    ) -> Result<Certified, MakeError> {
        if !(1..=DAYS_MAX).contains(&days) {
            return Err(MakeError::Days { days });
        }
        let claims = Claims {
            key: key.to_bytes(),
            vo: self.root().id(),
            name: name.to_owned(),
            roles,
            not_before: now_unix.saturating_sub(BACKDATE.as_secs()),
            not_after: now_unix.saturating_add(u64::from(days) * 86_400),
        };
        let credential = claims.sign(&self.key)?;
        let leaf = roles.has(Roles::NODE).then(|| self.leaf(name, key, now_unix, days)).transpose()?;
        Ok(Certified { credential, leaf: leaf.map(|leaf| leaf.der().clone()) })
    }

    fn leaf(
        &self,
        name: &str,
        key: &VerifyingKey,
        now_unix: u64,
        days: u32,
    ) -> Result<Certificate, rcgen::Error> {
        let mut leaf = params(name, now_unix, days);
        // A node of another VO, which cannot check this, says whose node it met.
        leaf.distinguished_name.push(DnType::OrganizationName, self.root().id().to_string());
        leaf.subject_alt_names = CertificateParams::new([SERVER_NAME.to_owned()])?.subject_alt_names;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        leaf.signed_by(&Public(key), &Issuer::from_ca_cert_der(&self.ca, key_pair(&self.key)?)?)
    }
}

/// What the root says of a key.
#[derive(Clone, Debug)]
struct Certified {
    credential: Vec<u8>,
    /// Of nodes.
    leaf: Option<CertificateDer<'static>>,
}

/// A member's public key: all that a certificate is made for.
struct Public<'a>(&'a VerifyingKey);

impl PublicKeyData for Public<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

/// A member of a VO that can prove it.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
    credential: Arc<[u8]>,
    member: Arc<Member>,
    /// Nodes only.
    leaf: Option<CertificateDer<'static>>,
    ca: CertificateDer<'static>,
    root: VoRoot,
}

impl Identity {
    /// Of a key and what `root` has just said of it.
    fn new(key: SigningKey, certified: Certified, ca: CertificateDer<'static>, root: VoRoot) -> Identity {
        let Certified { credential, leaf } = certified;
        // The root has just signed it.
        let member = Arc::new(root.verify_timeless(&credential).expect("own credential"));
        Identity { key, credential: credential.into(), member, leaf, ca, root }
    }

    /// First 16 bytes of the BLAKE3 hash of the public key.
    pub fn id(&self) -> NodeId {
        self.member.id()
    }

    pub fn name(&self) -> &str {
        self.member.name()
    }

    pub fn roles(&self) -> Roles {
        self.member.roles()
    }

    pub fn member(&self) -> &Member {
        &self.member
    }

    pub fn root(&self) -> &VoRoot {
        &self.root
    }

    /// The compact credential, encoded.
    pub fn credential(&self) -> &[u8] {
        &self.credential
    }

    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) fn pkcs8(&self) -> PrivatePkcs8KeyDer<'static> {
        pkcs8(&self.key).into()
    }

    pub(crate) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.leaf.as_ref()
    }

    /// The root certificate of the VO.
    pub fn ca(&self) -> &CertificateDer<'static> {
        &self.ca
    }
}

/// Unix seconds; zero when the machine's clock stands before 1970, which no credential survives.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn random_key() -> Result<SigningKey, MakeError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| MakeError::NoRandomness)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// What all certificates of a VO have in common.
fn params(name: &str, now_unix: u64, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now_unix.saturating_sub(BACKDATE.as_secs()));
    params.not_after = epoch + Duration::from_secs(now_unix) + Duration::from_secs(u64::from(days) * 86_400);
    params
}

fn key_pair(key: &SigningKey) -> Result<KeyPair, rcgen::Error> {
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8(key).into(), &PKCS_ED25519)
}

/// PKCS #8 version 1 of an Ed25519 key: 16 fixed bytes and the seed (RFC 8410 section 7).
const PKCS8_HEAD: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

fn pkcs8(key: &SigningKey) -> Vec<u8> {
    [&PKCS8_HEAD[..], key.as_bytes()].concat()
}

fn from_pkcs8(der: &[u8]) -> Option<SigningKey> {
    let seed = der.strip_prefix(&PKCS8_HEAD)?;
    Some(SigningKey::from_bytes(seed.try_into().ok()?))
}

#[cfg(test)]
mod tests;
