//! Identities as PEM files that only their owner may read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pem::Pem;
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use xtreem_wire::{CredentialError, VoRoot};

use super::{Identity, SigningKey, VoKey, from_pkcs8, pkcs8, unix_now};
use crate::tls::ed25519_key_of;

const KEY: &str = "PRIVATE KEY";
const CERTIFICATE: &str = "CERTIFICATE";
const CREDENTIAL: &str = "XTREEM CREDENTIAL";

/// Far above any identity: whatever is longer is another file.
const FILE_MAX_BYTES: u64 = 64 * 1_024;

/// A file is not the identity it should be. Each message names the file, what is wrong and what to do.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0}: others may read this private key (mode {mode:o}); run: chmod 600 {0}", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{}: {what}; issue it anew with `xtreem vo issue`, or name another file", path.display())]
    Content { path: PathBuf, what: &'static str },
    #[error(
        "{}: the credential expired on {}; the VO's owner renews it with `xtreem vo renew FILE`",
        path.display(),
        date_at(*not_after, unix_now())
    )]
    Expired { path: PathBuf, not_after: u64 },
    #[error(
        "{}: the credential is valid from {} only; is this machine's clock right?",
        path.display(),
        date(*not_before)
    )]
    NotYetValid { path: PathBuf, not_before: u64 },
}

/// The day of `unix` seconds, in UTC.
pub fn date(unix: u64) -> String {
    // Years beyond 9999 cannot be shown; no credential that we issue lasts so long.
    let shown = Duration::from_secs(unix.min(253_402_300_799));
    (rcgen::date_time_ymd(1970, 1, 1) + shown).date().to_string()
}

/// The same with hour and minute when `now` is less than two days away: there the day alone says too little.
pub fn date_at(unix: u64, now: u64) -> String {
    if unix.abs_diff(now) >= 2 * 86_400 {
        return date(unix);
    }
    let minutes = unix % 86_400 / 60;
    format!("{} {:02}:{:02} UTC", date(unix), minutes / 60, minutes % 60)
}

impl VoKey {
    /// Writes the root key to a new file that only its owner may read. An existing file is left alone.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        write(path, &[Pem::new(KEY, pkcs8(&self.key)), Pem::new(CERTIFICATE, self.ca.to_vec())])
    }

    pub fn load(path: &Path) -> Result<VoKey, LoadError> {
        let wrong = |what| LoadError::Content { path: path.to_owned(), what };
        let blocks = read(path)?;
        let [key, ca] = &blocks[..] else {
            return Err(wrong("not a VO's root key (a private key and one certificate)"));
        };
        if (key.tag(), ca.tag()) != (KEY, CERTIFICATE) {
            return Err(wrong("not a VO's root key (a private key and one certificate)"));
        }
        let key = from_pkcs8(key.contents()).ok_or_else(|| wrong("the private key is no Ed25519 key"))?;
        let ca = CertificateDer::from(ca.contents().to_vec());
        if ed25519_key_of(&ca) != Some(key.verifying_key().to_bytes()) {
            return Err(wrong("the certificate is of another key"));
        }
        Ok(VoKey { key, ca })
    }
}

impl Identity {
    /// Writes key, certificates and credential in the place of a file that has the same key, behind a link
    /// too. That is left as it is when this fails.
    pub fn replace(&self, path: &Path) -> io::Result<()> {
        let path = &path.canonicalize()?;
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        self.save(&fresh)?;
        let owner = path.metadata()?;
        // Root may renew what is another user's, who is to read it afterwards.
        let given = std::os::unix::fs::chown(&fresh, Some(owner.uid()), Some(owner.gid()));
        given.and_then(|()| std::fs::rename(&fresh, path)).inspect_err(|_| {
            let _ = std::fs::remove_file(&fresh);
        })
    }

    /// Writes key, certificates and credential to a new file that only its owner may read. An existing file
    /// is left alone.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut blocks = vec![Pem::new(KEY, pkcs8(&self.key))];
        blocks.extend(self.leaf.iter().map(|leaf| Pem::new(CERTIFICATE, leaf.to_vec())));
        blocks.push(Pem::new(CERTIFICATE, self.ca.to_vec()));
        blocks.push(Pem::new(CREDENTIAL, self.credential.to_vec()));
        write(path, &blocks)
    }

    /// Reads an identity and checks that its parts belong together and are valid now.
    pub fn load(path: &Path) -> Result<Identity, LoadError> {
        let identity = Identity::load_timeless(path)?;
        identity.check_time().map_err(|flaw| flaw.of_file(path))?;
        Ok(identity)
    }

    /// Reads an identity and checks that its parts belong together, whether or not they are valid now: to
    /// renew it.
    pub fn load_timeless(path: &Path) -> Result<Identity, LoadError> {
        let wrong = |what| LoadError::Content { path: path.to_owned(), what };
        let blocks = read(path)?;
        let all = |tag| blocks.iter().filter(move |block| block.tag() == tag).map(Pem::contents);
        let key = all(KEY).next().ok_or_else(|| wrong("no private key in it"))?;
        let key = from_pkcs8(key).ok_or_else(|| wrong("the private key is no Ed25519 key"))?;
        let credential =
            all(CREDENTIAL).next().ok_or_else(|| wrong("no credential in it (is it a VO's root key?)"))?;
        let mut certificates: Vec<_> =
            all(CERTIFICATE).map(|der| CertificateDer::from(der.to_vec())).collect();
        let ca = certificates.pop().ok_or_else(|| wrong("no certificate of the VO in it"))?;
        Identity::assemble(key, credential, certificates.pop(), ca).map_err(|flaw| flaw.of_file(path))
    }

    pub(super) fn check_time(&self) -> Result<(), Flaw> {
        self.member.check_time(unix_now()).map_err(Flaw::of_credential)
    }

    /// Checks that the parts of an identity belong together.
    pub(super) fn assemble(
        key: SigningKey,
        credential: &[u8],
        leaf: Option<CertificateDer<'static>>,
        ca: CertificateDer<'static>,
    ) -> Result<Identity, Flaw> {
        let root = ed25519_key_of(&ca)
            .and_then(|key| VoRoot::from_bytes(&key))
            .ok_or(Flaw::Content("the VO's certificate has no Ed25519 key"))?;
        let member = root.verify_timeless(credential).map_err(Flaw::of_credential)?;
        let public = key.verifying_key();
        if *member.key() != public {
            return Err(Flaw::Content("the credential is of another key"));
        }
        if leaf.as_ref().is_some_and(|leaf| ed25519_key_of(leaf) != Some(public.to_bytes())) {
            return Err(Flaw::Content("the certificate is of another key"));
        }
        Ok(Identity { key, credential: credential.into(), member: Arc::new(member), leaf, ca, root })
    }
}

/// Why parts are no identity, wherever they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Flaw {
    #[error("{0}")]
    Content(&'static str),
    #[error("the credential expired on {}", date_at(*not_after, unix_now()))]
    Expired { not_after: u64 },
    #[error("the credential is valid from {} only; is this machine's clock right?", date(*not_before))]
    NotYetValid { not_before: u64 },
}

impl Flaw {
    pub(super) fn of_credential(error: CredentialError) -> Flaw {
        match error {
            CredentialError::Expired { not_after } => Flaw::Expired { not_after },
            CredentialError::NotYetValid { not_before } => Flaw::NotYetValid { not_before },
            CredentialError::WrongVo { .. } => Flaw::Content("the credential is of another VO"),
            CredentialError::BadSignature => Flaw::Content("the credential is not signed by the VO's root"),
            CredentialError::TooLong { .. } | CredentialError::Malformed => {
                Flaw::Content("the credential is damaged")
            }
        }
    }

    fn of_file(self, path: &Path) -> LoadError {
        let path = path.to_owned();
        match self {
            Flaw::Content(what) => LoadError::Content { path, what },
            Flaw::Expired { not_after } => LoadError::Expired { path, not_after },
            Flaw::NotYetValid { not_before } => LoadError::NotYetValid { path, not_before },
        }
    }
}

fn write(path: &Path, blocks: &[Pem]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(pem::encode_many(blocks).as_bytes())?;
    file.sync_all()
}

fn read(path: &Path) -> Result<Vec<Pem>, LoadError> {
    let io = |source| LoadError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    let mut text = Vec::new();
    file.take(FILE_MAX_BYTES).read_to_end(&mut text).map_err(io)?;
    let blocks = pem::parse_many(text)
        .map_err(|_| LoadError::Content { path: path.to_owned(), what: "not a PEM file" })?;
    if blocks.is_empty() {
        return Err(LoadError::Content { path: path.to_owned(), what: "no key or credential in it" });
    }
    if mode & 0o077 != 0 {
        return Err(LoadError::Exposed { path: path.to_owned(), mode });
    }
    Ok(blocks)
}
