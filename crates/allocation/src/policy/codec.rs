//! The document's bytes: CBOR, one form for one policy, so that its digest names it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use thiserror::Error;

use super::{
    DOCUMENT_MAX_BYTES, Limit, Policy, PolicyVersion, RESERVED_MAX_BYTES, RULE_NAME_MAX_BYTES, RULES_MAX,
    Rule, SignedPolicy, TOPICS_MAX_BYTES, USER_NAME_MAX_BYTES, USERS_MAX, Who,
};

/// A policy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    #[error("version 0 means that there is no policy; versions begin with 1")]
    NoVersion,
    #[error("{0} rules; at most {RULES_MAX} are possible")]
    TooManyRules(usize),
    #[error("rule {0:?}: a name has 1 to {RULE_NAME_MAX_BYTES} letters, digits, '-', '_' and '.'")]
    RuleName(String),
    #[error("two rules are named {0:?}")]
    SameName(String),
    #[error("rule {0:?}: more than {USERS_MAX} users or keys, or a name of a user that no credential has")]
    Users(String),
    #[error("rule {0:?}: a requirement has 1 to {RESERVED_MAX_BYTES} bytes")]
    Requirement(String),
    #[error("rule {0:?}: topics are 1 to {TOPICS_MAX_BYTES} bytes without control characters")]
    Topics(String),
    #[error("rule {0:?} has to say for whom; a rule for everybody says nothing")]
    Everybody(String),
    #[error("{0} bytes; a policy has at most {DOCUMENT_MAX_BYTES}")]
    TooLong(usize),
    #[error("the document is malformed")]
    Malformed,
}

impl Policy {
    /// Everything that a policy must be.
    pub fn check(&self) -> Result<(), PolicyError> {
        if self.version == 0 {
            return Err(PolicyError::NoVersion);
        }
        if self.rules.len() > RULES_MAX {
            return Err(PolicyError::TooManyRules(self.rules.len()));
        }
        for (place, rule) in self.rules.iter().enumerate() {
            rule.check()?;
            if self.rules[..place].iter().any(|other| other.name == rule.name) {
                return Err(PolicyError::SameName(rule.name.clone()));
            }
        }
        Ok(())
    }

    /// The document.
    pub fn to_document(&self) -> Result<Vec<u8>, PolicyError> {
        self.check()?;
        // Writing to a Vec cannot fail.
        let bytes = minicbor::to_vec(self).map_err(|_| PolicyError::Malformed)?;
        if bytes.len() > DOCUMENT_MAX_BYTES {
            return Err(PolicyError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads a document. What is not in the one form that [`Policy::to_document`] writes is refused.
    pub fn from_document(bytes: &[u8]) -> Result<Policy, PolicyError> {
        if bytes.len() > DOCUMENT_MAX_BYTES {
            return Err(PolicyError::TooLong(bytes.len()));
        }
        let policy: Policy = minicbor::decode(bytes).map_err(|_| PolicyError::Malformed)?;
        if policy.to_document()? == bytes { Ok(policy) } else { Err(PolicyError::Malformed) }
    }
}

impl SignedPolicy {
    /// The policy in it and its place in the order of policies.
    pub fn open(&self) -> Result<(Policy, PolicyVersion), PolicyError> {
        let policy = Policy::from_document(&self.document)?;
        let version = PolicyVersion { version: policy.version, digest: self.digest };
        Ok((policy, version))
    }
}

impl Rule {
    fn check(&self) -> Result<(), PolicyError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let Rule { name, limit, who } = self;
        if name.is_empty() || name.len() > RULE_NAME_MAX_BYTES || !name.chars().all(is_allowed) {
            return Err(PolicyError::RuleName(name.chars().take(RULE_NAME_MAX_BYTES).collect()));
        }
        let is_user = |user: &String| {
            !user.is_empty() && user.len() <= USER_NAME_MAX_BYTES && !user.chars().any(char::is_control)
        };
        if who.names.len() > USERS_MAX || who.keys.len() > USERS_MAX || !who.names.iter().all(is_user) {
            return Err(PolicyError::Users(name.clone()));
        }
        match limit {
            Limit::Reserved(nodes)
                if nodes.text().trim().is_empty() || nodes.text().len() > RESERVED_MAX_BYTES =>
            {
                Err(PolicyError::Requirement(name.clone()))
            }
            Limit::Publish(topics) | Limit::Subscribe(topics)
                if topics.is_empty()
                    || topics.len() > TOPICS_MAX_BYTES
                    || topics.chars().any(char::is_control) =>
            {
                Err(PolicyError::Topics(name.clone()))
            }
            Limit::Submit | Limit::Reserved(_) | Limit::Publish(_) | Limit::Subscribe(_) if who.is_all() => {
                Err(PolicyError::Everybody(name.clone()))
            }
            _ => Ok(()),
        }
    }
}

impl<C> Encode<C> for Policy {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?.u64(self.version)?.array(self.rules.len() as u64)?;
        for Rule { name, limit, who } in &self.rules {
            e.array(5)?.str(name)?;
            limit.encode(e, ctx)?;
            e.u8(who.roles)?;
            who.names.encode(e, ctx)?;
            who.keys.encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Policy {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 2)?;
        let version = d.u64()?;
        let rules = bounded(d, RULES_MAX, |d| {
            expect_array(d, 5)?;
            let name = d.str()?.into();
            let limit = Limit::decode(d, ctx)?;
            let roles = d.u8()?;
            let names = bounded(d, USERS_MAX, |d| Ok(d.str()?.into()))?;
            let keys = bounded(d, USERS_MAX, |d| d.decode())?;
            Ok(Rule { name, limit, who: Who { roles, names, keys } })
        })?;
        Ok(Policy { version, rules })
    }
}

fn expect_array(d: &mut Decoder<'_>, len: u64) -> Result<(), decode::Error> {
    if d.array()? == Some(len) { Ok(()) } else { Err(decode::Error::message("array of another length")) }
}

fn bounded<'b, T>(
    d: &mut Decoder<'b>,
    max: usize,
    mut one: impl FnMut(&mut Decoder<'b>) -> Result<T, decode::Error>,
) -> Result<Vec<T>, decode::Error> {
    match d.array()? {
        Some(len) if len <= max as u64 => (0..len).map(|_| one(d)).collect(),
        _ => Err(decode::Error::message("a list of a policy is too long")),
    }
}

pub(super) fn encode_bytes<C, W: Write>(
    bytes: &Arc<[u8]>,
    e: &mut Encoder<W>,
    _: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    e.bytes(bytes)?.ok()
}

pub(super) fn decode_document<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Arc<[u8]>, decode::Error> {
    let bytes = d.bytes()?;
    if bytes.len() > DOCUMENT_MAX_BYTES {
        return Err(decode::Error::message("a policy is too long"));
    }
    Ok(bytes.into())
}
