//! The datagram plane of one node: seals what goes out, opens and judges what comes in. No sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tracing::warn;
use xtreem_base::{Digest, Instant, NodeId};
use xtreem_wire::{
    Arrival, ClockReport, Contact, CredentialError, EnvelopeError, Fresh, Freshness, Header, Kind, Member,
    NodeRecord, NotFresh, Padding, RecordError, Roles, TooLong, Unverified,
};

use crate::Identity;
use crate::counters::Count;

use sightings::Sightings;

mod sightings;

/// Credentials and records whose signatures were checked; beyond it an arbitrary one is forgotten, which
/// costs two verifications when its node is heard again.
const VOUCHED_MAX: usize = 4_096;

/// A node that proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub member: Member,
    pub record: NodeRecord,
    /// The record as it was signed.
    pub(crate) signed_record: Box<[u8]>,
}

impl Peer {
    pub fn contact(&self) -> Contact {
        Contact { id: self.member.id(), addr: self.record.addr, incarnation: self.record.incarnation }
    }
}

/// Why a node's credential and record are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotVouched {
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error("{0:?} has no role of a node")]
    NotANode(NodeId),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl NotVouched {
    pub(crate) fn count(self) -> Count {
        match self {
            NotVouched::Credential(error) => match error {
                CredentialError::TooLong { .. } | CredentialError::Malformed => Count::Malformed,
                CredentialError::WrongVo { .. } | CredentialError::BadSignature => Count::Stranger,
                CredentialError::NotYetValid { .. } | CredentialError::Expired { .. } => Count::Expired,
            },
            NotVouched::NotANode(_) => Count::NotANode,
            NotVouched::Record(RecordError::BadSignature) => Count::Forged,
            NotVouched::Record(_) => Count::Malformed,
        }
    }
}

/// Checks what a node says of itself; `now_unix` in seconds.
pub(crate) fn vouch(
    identity: &Identity,
    credential: &[u8],
    record: &[u8],
    now_unix: u64,
) -> Result<Peer, NotVouched> {
    let member = identity.root().verify(credential, now_unix)?;
    if !member.roles().has(Roles::NODE) {
        return Err(NotVouched::NotANode(member.id()));
    }
    let signed_record = record.into();
    let record = NodeRecord::verify(member.key(), record)?;
    Ok(Peer { member, record, signed_record })
}

/// What the plane needs to know of the present.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub at: Instant,
    /// Wall clock, unix milliseconds.
    pub wall_ms: u64,
}

/// A datagram to act on.
#[derive(Debug)]
pub(crate) struct Opened {
    pub peer: Arc<Peer>,
    pub kind: Kind,
    pub payload: Vec<u8>,
    pub clock: Option<ClockReport>,
    /// What to tell its sender besides, never longer than the question.
    pub answer: Option<(Contact, Vec<u8>)>,
}

/// A datagram that is dropped.
#[derive(Debug)]
pub(crate) struct Refused {
    pub why: Count,
    /// What to tell its sender, never longer than the question.
    pub answer: Option<(Contact, Vec<u8>)>,
}

impl From<Count> for Refused {
    fn from(why: Count) -> Self {
        Refused { why, answer: None }
    }
}

/// All state of the plane.
pub(crate) struct DatagramPlane {
    identity: Identity,
    incarnation: u32,
    attributes: Digest,
    /// Own record, signed.
    record: Vec<u8>,
    sequence: u64,
    freshness: Freshness,
    /// Keyed by the BLAKE3 hash of credential and record.
    vouched: BTreeMap<[u8; 32], Arc<Peer>>,
    /// Nodes whose credential ended while they were believed, and when; forgotten when there are more than
    /// [`VOUCHED_MAX`], and then said again.
    told_over: BTreeSet<(NodeId, u64)>,
    sightings: Sightings,
}

impl DatagramPlane {
    pub(crate) fn new(identity: Identity, record: NodeRecord) -> DatagramPlane {
        let bytes = record.sign(identity.key());
        DatagramPlane {
            identity,
            incarnation: record.incarnation,
            attributes: record.attributes,
            record: bytes,
            sequence: 0,
            freshness: Freshness::default(),
            vouched: BTreeMap::new(),
            told_over: BTreeSet::new(),
            sightings: Sightings::default(),
        }
    }

    pub(crate) fn record(&self) -> &[u8] {
        &self.record
    }

    /// From now on this node says that it is at `addr`.
    pub(crate) fn move_to(&mut self, addr: SocketAddr) {
        let record = NodeRecord { addr, incarnation: self.incarnation, attributes: self.attributes };
        self.record = record.sign(self.identity.key());
    }

    pub(crate) fn freshness(&mut self) -> &mut Freshness {
        &mut self.freshness
    }

    /// A datagram to `to` around `payload`.
    pub(crate) fn seal(
        &mut self,
        now: Now,
        to: Contact,
        payload: &[u8],
        padding: Padding,
    ) -> Result<Vec<u8>, TooLong> {
        let echo = self.freshness.echo_for(now.at, to.id);
        let nonce = nonce();
        let bytes = self.seal_kind(now, Kind::Message, to, nonce, echo, payload, padding)?;
        self.freshness.expect_echo(now.at, to.id, nonce);
        Ok(bytes)
    }

    #[expect(clippy::too_many_arguments, reason = "the facts of a header, named by their types")]
    fn seal_kind(
        &mut self,
        now: Now,
        kind: Kind,
        to: Contact,
        nonce: u64,
        echo: u64,
        payload: &[u8],
        padding: Padding,
    ) -> Result<Vec<u8>, TooLong> {
        self.sequence += 1;
        let header = Header {
            kind,
            destination: to.id,
            destination_incarnation: to.incarnation,
            sequence: self.sequence,
            stamp_ms: self.freshness.stamp_for(to.id, now.wall_ms, echo),
            nonce,
            echo,
        };
        header.seal(self.identity.key(), self.identity.credential(), &self.record, payload, padding)
    }

    /// Judges received bytes; the cheap questions come first.
    pub(crate) fn open(&mut self, now: Now, bytes: &[u8]) -> Result<Opened, Refused> {
        let parsed = Unverified::parse(bytes).map_err(|error| match error {
            EnvelopeError::Length { .. } => Count::WrongLength,
            EnvelopeError::Version { .. } => Count::UnknownVersion,
            EnvelopeError::Malformed => Count::Malformed,
        })?;
        if parsed.destination() != self.identity.id() {
            return Err(Count::Misaddressed.into());
        }
        let peer = self.vouched(parsed.credential, parsed.record, now).map_err(NotVouched::count)?;
        let envelope = parsed.verify(peer.member.key()).map_err(|_| Count::Forged)?;
        let header = &envelope.header;
        if header.destination_incarnation > self.incarnation || peer.member.id() == self.identity.id() {
            return Err(Count::Misaddressed.into());
        }
        let is_for_an_old_one = header.destination_incarnation < self.incarnation;
        if is_for_an_old_one && header.kind == Kind::Message {
            let answer = self.answer(now, Kind::Reborn, &peer, header.nonce, &[], bytes.len());
            return Err(Refused { why: Count::Reborn, answer });
        }
        if is_for_an_old_one {
            return Err(Count::Unsolicited.into());
        }
        let arrival = Arrival {
            from: peer.member.id(),
            incarnation: peer.record.incarnation,
            header,
            wall_ms: now.wall_ms,
        };
        let clock = match self.freshness.accept(now.at, arrival) {
            Ok(Fresh::Request) => None,
            Ok(Fresh::Reply { clock }) => clock,
            Err(NotFresh::Replayed { .. }) => {
                let answer = self.tell_namesake(now, &peer, false, header.nonce, bytes.len());
                return Err(Refused { why: Count::Replayed, answer });
            }
            Err(NotFresh::OldIncarnation { .. }) => {
                let answer = self.tell_namesake(now, &peer, false, header.nonce, bytes.len());
                return Err(Refused { why: Count::OldIncarnation, answer });
            }
            Err(NotFresh::Unsolicited) => return Err(Count::Unsolicited.into()),
            Err(NotFresh::Stale { .. }) => {
                let answer = self.answer(now, Kind::Skewed, &peer, header.nonce, &[], bytes.len());
                return Err(Refused { why: Count::Stale, answer });
            }
        };
        let answer = self.tell_namesake(now, &peer, true, header.nonce, bytes.len());
        Ok(Opened { peer, kind: header.kind, payload: envelope.payload.to_vec(), clock, answer })
    }

    /// Tells the sender of another record under which its id was heard, if there is one to be told of.
    fn tell_namesake(
        &mut self,
        now: Now,
        peer: &Arc<Peer>,
        is_fresh: bool,
        echo: u64,
        question_len: usize,
    ) -> Option<(Contact, Vec<u8>)> {
        let other = self.sightings.heard(now.at, peer, is_fresh)?;
        let answer = self.answer(now, Kind::Namesake, peer, echo, &other.signed_record, question_len)?;
        self.sightings.told(now.at, peer.member.id());
        Some(answer)
    }

    /// What this node's own key signed, by which somebody tells it of another machine with its key.
    pub(crate) fn own_record(&self, payload: &[u8]) -> Option<NodeRecord> {
        NodeRecord::verify(self.identity.member().key(), payload).ok()
    }

    fn answer(
        &mut self,
        now: Now,
        kind: Kind,
        peer: &Peer,
        echo: u64,
        payload: &[u8],
        question_len: usize,
    ) -> Option<(Contact, Vec<u8>)> {
        let to = peer.contact();
        let bytes = self.seal_kind(now, kind, to, nonce(), echo, payload, Padding::Least).ok()?;
        (bytes.len() <= question_len).then_some((to, bytes))
    }

    fn vouched(&mut self, credential: &[u8], record: &[u8], now: Now) -> Result<Arc<Peer>, NotVouched> {
        let now_unix = now.wall_ms / 1_000;
        // The credential's length is part of the key, so that no two splits of the same bytes share one.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&credential.len().to_be_bytes()).update(credential).update(record);
        let key = *hasher.finalize().as_bytes();
        if let Some(peer) = self.vouched.get(&key) {
            let peer = peer.clone();
            if let Err(error) = peer.member.check_time(now_unix) {
                self.tell_over(&peer, error);
                return Err(error.into());
            }
            return Ok(peer);
        }
        let peer = Arc::new(vouch(&self.identity, credential, record, now_unix)?);
        if self.vouched.len() == VOUCHED_MAX {
            self.vouched.pop_first();
        }
        self.vouched.insert(key, peer.clone());
        Ok(peer)
    }

    /// Says once of a credential that was believed why it is so no more.
    fn tell_over(&mut self, peer: &Peer, error: CredentialError) {
        let CredentialError::Expired { not_after } = error else { return };
        if self.told_over.len() == VOUCHED_MAX {
            self.told_over.clear();
        }
        if self.told_over.insert((peer.member.id(), not_after)) {
            let Contact { id: node, addr, .. } = peer.contact();
            warn!(
                %node, name = peer.member.name(), %addr,
                "the credential of a node has expired: this one believes it no more"
            );
        }
    }
}

/// A number that nobody can guess; zero stands for none.
fn nonce() -> u64 {
    // Without randomness nothing here is safe; an agent that reaches this has used it to start.
    getrandom::u64().expect("the operating system gives random bytes").max(1)
}

#[cfg(test)]
mod tests;
