//! A renewal in two words of text: the credential goes to the VO's owner, and what the root says of its key
//! anew comes back. The private key stays where it is, and nothing in either word is secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::{Decode, Encode};
use rustls::pki_types::CertificateDer;
use thiserror::Error;

use super::files::{Flaw, date};
use super::{Certified, Identity, MakeError, VoKey, unix_now};

/// What a credential begins with that is to be renewed: a form, and its version.
const CREDENTIAL: &str = "xtreem-credential-1.";
/// What the answer begins with.
const RENEWAL: &str = "xtreem-renewal-1.";
/// Longest text of either; those that are made have 300 and 1,000 bytes.
const TEXT_MAX_BYTES: usize = 4_096;

/// A text is no renewal that can be used.
#[derive(Debug, Error)]
pub enum RenewalError {
    #[error(
        "this is no credential, or not the whole of one: paste the line of `xtreem vo show --public` as it is"
    )]
    NoCredential,
    #[error("this is no renewal, or not the whole of one: paste the line of `xtreem vo renew` as it is")]
    NoRenewal,
    #[error("the renewal: {0}; make a new one with `xtreem vo renew`, for this file")]
    Flaw(String),
    #[error("{0}; paste the whole line that `xtreem vo show --public FILE` prints where the credential is")]
    Asked(String),
    #[error(
        "the credential there is good until {} already, and the renewal only until {}: an older line?",
        date(*has),
        date(*brings)
    )]
    Older { has: u64, brings: u64 },
    #[error(
        "the credential is good until {} already, and would be until {} only: give more days",
        date(*has),
        date(*brings)
    )]
    Shorter { has: u64, brings: u64 },
    #[error(transparent)]
    Make(#[from] MakeError),
}

/// What the root says of a key, to be taken up where the key is.
#[derive(Clone, Debug)]
pub struct Renewal(Certified);

#[derive(Encode, Decode)]
#[cbor(array)]
struct Form {
    #[cbor(n(0), with = "minicbor::bytes")]
    credential: Vec<u8>,
    /// Empty for users.
    #[cbor(n(1), with = "minicbor::bytes")]
    leaf: Vec<u8>,
}

impl Identity {
    /// What [`VoKey::renew_text`] wants to see of this identity.
    pub fn public_text(&self) -> String {
        format!("{CREDENTIAL}{}", URL_SAFE_NO_PAD.encode(&self.credential))
    }

    /// This identity with the dates of a renewal; fails when that is of another key, not valid now, or would
    /// end earlier.
    pub fn take_up(&self, renewal: Renewal) -> Result<Identity, RenewalError> {
        let Certified { credential, leaf } = renewal.0;
        let renewed = Identity::assemble(self.key.clone(), &credential, leaf, self.ca.clone())
            .and_then(|renewed| renewed.check_time().map(|()| renewed))
            .map_err(|flaw: Flaw| RenewalError::Flaw(flaw.to_string()))?;
        match (self.member().not_after(), renewed.member().not_after()) {
            (has, brings) if brings < has => Err(RenewalError::Older { has, brings }),
            _ => Ok(renewed),
        }
    }

    /// Refuses a renewal that shortens: the credential that ends later stays good, whoever has it.
    pub fn check_lengthens(&self, old: &Identity) -> Result<(), RenewalError> {
        lengthens(old.member().not_after(), self.member().not_after())
    }
}

impl VoKey {
    /// As [`VoKey::renew`], of what [`Identity::public_text`] shows.
    pub fn renew_text(&self, text: &str, days: u32) -> Result<Renewal, RenewalError> {
        let credential = decoded(text, CREDENTIAL).ok_or(RenewalError::NoCredential)?;
        let member = self
            .root()
            .verify_timeless(&credential)
            .map_err(|error| RenewalError::Asked(Flaw::of_credential(error).to_string()))?;
        let now = unix_now();
        let renewal = self.certify(member.key(), member.name(), member.roles(), now, days)?;
        lengthens(member.not_after(), now.saturating_add(u64::from(days) * 86_400))?;
        Ok(Renewal(renewal))
    }
}

impl Renewal {
    /// Whether this text means to be one.
    pub fn is_meant(text: &str) -> bool {
        text.trim_start().starts_with(RENEWAL)
    }

    /// Whether this text is a credential to be renewed, and no file's name.
    pub fn is_asked_for(text: &str) -> bool {
        text.trim_start().starts_with(CREDENTIAL)
    }

    /// One word without anything that a shell would read.
    pub fn to_text(&self) -> String {
        let leaf = self.0.leaf.as_ref().map_or_else(Vec::new, |leaf| leaf.to_vec());
        let form = Form { credential: self.0.credential.clone(), leaf };
        // Writing to a Vec cannot fail.
        let bytes = minicbor::to_vec(form).expect("a Vec takes all bytes");
        format!("{RENEWAL}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads one; whether it holds is seen when it is taken up.
    pub fn parse(text: &str) -> Result<Renewal, RenewalError> {
        let bytes = decoded(text, RENEWAL).ok_or(RenewalError::NoRenewal)?;
        let Form { credential, leaf } = minicbor::decode(&bytes).map_err(|_| RenewalError::NoRenewal)?;
        let leaf = (!leaf.is_empty()).then(|| CertificateDer::from(leaf));
        Ok(Renewal(Certified { credential, leaf }))
    }
}

/// From one last second to another.
fn lengthens(has: u64, brings: u64) -> Result<(), RenewalError> {
    if brings < has { Err(RenewalError::Shorter { has, brings }) } else { Ok(()) }
}

fn decoded(text: &str, prefix: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let encoded = text.strip_prefix(prefix).filter(|_| text.len() <= TEXT_MAX_BYTES)?;
    URL_SAFE_NO_PAD.decode(encoded).ok()
}

#[cfg(test)]
mod tests {
    use xtreem_wire::Roles;

    use super::*;

    #[test]
    fn a_key_gets_new_dates_without_leaving_its_machine() {
        let vo = VoKey::create("test").expect("a VO");
        for roles in [Roles::NODE, Roles::SUBMIT | Roles::ADMIN] {
            let old = vo.issue("old", roles, 1_700_000_000, 1).expect("an identity");
            let asked = old.public_text();
            let answer = vo.renew_text(&format!(" {asked}\n"), 30).expect("of this VO").to_text();
            for text in [&asked, &answer] {
                assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{text}");
                assert!(text.len() < 1_500, "{}", text.len());
            }
            assert!(Renewal::is_asked_for(&asked) && Renewal::is_meant(&answer));
            let new = old.take_up(Renewal::parse(&answer).expect("whole")).expect("of this key");
            assert_eq!((new.id(), new.name(), new.roles()), (old.id(), "old", roles));
            assert_eq!(new.leaf().is_some(), roles.has(Roles::NODE));
            assert!(new.member().check_time(unix_now()).is_ok());

            let other = vo.issue("other", roles, unix_now(), 1).expect("an identity");
            let error =
                other.take_up(Renewal::parse(&answer).expect("whole")).map(drop).expect_err("another");
            assert!(error.to_string().contains("another key"), "{error}");
        }
    }

    #[test]
    fn no_renewal_shortens_what_is_there() {
        let vo = VoKey::create("test").expect("a VO");
        let old = vo.issue_node("n1", 30).expect("a node");
        let error = vo.renew_text(&old.public_text(), 3).map(drop).expect_err("shorter").to_string();
        assert!(error.contains("would be until"), "{error}");
        let answer = |days| vo.renew_text(&old.public_text(), days).expect("longer");
        let (older, newer) = (answer(40), answer(50));
        let new = old.take_up(newer).expect("longer");
        let error = new.take_up(older).map(drop).expect_err("the first line").to_string();
        assert!(error.contains("an older line"), "{error}");
        assert!(matches!(old.check_lengthens(&new), Err(RenewalError::Shorter { .. })));
        assert!(new.check_lengthens(&old).is_ok());
    }

    #[test]
    fn what_was_cut_changed_or_is_of_another_vo_is_refused_and_nothing_panics() {
        let (vo, other) = (VoKey::create("test").expect("a VO"), VoKey::create("other").expect("a VO"));
        let node = vo.issue_node("n1", 1).expect("a node");
        let asked = node.public_text();
        let answer = vo.renew_text(&asked, 1).expect("of this VO").to_text();
        for cut in 0..asked.len() {
            assert!(vo.renew_text(&asked[..cut], 1).is_err(), "{cut}");
        }
        for cut in 0..answer.len() {
            let taken = Renewal::parse(&answer[..cut]).and_then(|renewal| node.take_up(renewal));
            assert!(taken.is_err(), "{cut}");
        }
        let error = other.renew_text(&asked, 1).map(drop).expect_err("another VO").to_string();
        assert!(error.contains("another VO"), "{error}");
        assert!(error.contains("vo show --public") && !error.contains("vo renew"), "{error}");
        let cut = vo.renew_text(&asked[..asked.len() - 4], 1).map(drop).expect_err("cut").to_string();
        assert!(cut.contains("vo show --public"), "{cut}");
        assert!(Renewal::is_asked_for(&format!(" {asked}")));
        assert!(matches!(vo.renew_text(&answer, 1), Err(RenewalError::NoCredential)));
        assert!(matches!(Renewal::parse(&asked), Err(RenewalError::NoRenewal)));
        let old = vo.issue("n2", Roles::NODE, 1_700_000_000, 1).expect("a node");
        let stale = Renewal(Certified { credential: old.credential().to_vec(), leaf: old.leaf().cloned() });
        let error = old.take_up(stale).map(drop).expect_err("it is over").to_string();
        assert!(error.contains("expired on"), "{error}");
    }
}
