//! What an application is: the signed record that says it runs or is stopped, and its specification.

use alloc::string::String;
use alloc::sync::Arc;

use minicbor::decode::{self, Decoder};
use minicbor::{Decode, Encode};
use xtreem_base::{AppId, Digest, NodeId};
use xtreem_discovery::{FixedPorts, Need};

use crate::Resources;
use crate::placement::PLACEMENT_MAX_BYTES;

/// Longest name of an application, in bytes.
pub const NAME_MAX_BYTES: usize = 64;
/// Most slots of one application (our guess: applications have hundreds of slots, few have thousands).
pub const SLOTS_MAX: u16 = 4_096;
/// Longest proof (compact credential and signature of the owner or an administrator).
pub const PROOF_MAX_BYTES: usize = 512;
/// Longest payload of a specification: command, environment, list of files.
pub const PAYLOAD_MAX_BYTES: usize = 64 << 10;

/// Whether an application shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Wanted {
    #[n(0)]
    Running,
    /// Final for its id.
    #[n(1)]
    Stopped,
}

/// The owner's word on an application. `scale` and `stop` are new records of a higher generation.
///
/// The driver verifies `proof` before it hands a record to a core; a core never sees a forged one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    #[n(0)]
    pub id: AppId,
    /// Key hash of the user that owns the application.
    #[n(1)]
    pub owner: NodeId,
    #[cbor(n(2), decode_with = "decode_name")]
    pub name: String,
    /// BLAKE3 hash of the encoded [`Spec`].
    #[n(3)]
    pub spec_digest: Digest,
    /// Slots are numbered `0..slots`.
    #[cbor(n(4), decode_with = "decode_slots")]
    pub slots: u16,
    #[n(5)]
    pub generation: u32,
    #[n(6)]
    pub wanted: Wanted,
    #[cbor(n(7), encode_with = "encode_bytes", decode_with = "decode_proof")]
    pub proof: Arc<[u8]>,
    /// The node through which this generation is submitted: it places the first holders.
    #[n(8)]
    pub submitter: NodeId,
}

/// Enough of a record to see which of two is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct RecordVersion {
    #[n(0)]
    pub wanted: Wanted,
    #[n(1)]
    pub generation: u32,
    #[n(2)]
    pub spec_digest: Digest,
    #[n(3)]
    pub slots: u16,
    /// Whose links are believed depends on it: two records that differ in nothing else are two.
    #[n(4)]
    pub submitter: NodeId,
}

impl Record {
    /// A stopped record beats every running one; then the higher generation wins; other ties go to the higher
    /// digest, the larger number of slots, and the higher submitter: an owner who signs two records of one
    /// generation gets the same one everywhere.
    pub fn version(&self) -> RecordVersion {
        RecordVersion {
            wanted: self.wanted,
            generation: self.generation,
            spec_digest: self.spec_digest,
            slots: self.slots,
            submitter: self.submitter,
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.wanted == Wanted::Stopped
    }
}

/// What to do when the program of a slot ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Restart {
    /// Any end is final: exit 0 is done, everything else failed.
    #[n(0)]
    Never,
    /// Exit 0 is done, everything else is started again.
    #[default]
    #[n(1)]
    OnFailure,
    /// Started again whatever it says.
    #[n(2)]
    Always,
}

/// What every slot of an application runs and needs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Spec {
    /// What it needs of its nodes; what travels, and what the digest is of, is the text.
    #[n(0)]
    pub requirement: Need,
    #[n(1)]
    pub resources: Resources,
    /// Two slots may share a node.
    #[n(2)]
    pub colocate: bool,
    #[n(3)]
    pub restart: Restart,
    /// Command, environment, files: the agent's own, opaque here.
    #[cbor(n(4), encode_with = "encode_bytes", decode_with = "decode_payload")]
    pub payload: Arc<[u8]>,
    /// Which of the matching nodes get the slots, as [`Placements`](crate::placement::Placements) reads it;
    /// empty for any.
    #[cbor(n(5), encode_with = "encode_text", decode_with = "decode_placement")]
    pub placement: Arc<str>,
    /// Ports that the payload asks for by number: the node of a slot has nobody else on them.
    #[n(6)]
    pub ports: FixedPorts,
}

/// A record together with the specification that it names.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Application {
    #[n(0)]
    pub record: Record,
    #[cbor(n(1), encode_with = "encode_spec", decode_with = "decode_spec")]
    pub spec: Arc<Spec>,
}

fn encode_bytes<C, W: minicbor::encode::Write>(
    bytes: &Arc<[u8]>,
    e: &mut minicbor::Encoder<W>,
    _: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    e.bytes(bytes)?.ok()
}

fn encode_text<C, W: minicbor::encode::Write>(
    text: &Arc<str>,
    e: &mut minicbor::Encoder<W>,
    _: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    e.str(text)?.ok()
}

fn encode_spec<C, W: minicbor::encode::Write>(
    spec: &Arc<Spec>,
    e: &mut minicbor::Encoder<W>,
    ctx: &mut C,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    e.encode_with(&**spec, ctx)?.ok()
}

fn decode_spec<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Arc<Spec>, decode::Error> {
    Ok(Arc::new(d.decode_with(ctx)?))
}

fn decode_name<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<String, decode::Error> {
    let name = d.str()?;
    if name.is_empty() || name.len() > NAME_MAX_BYTES {
        return Err(decode::Error::message("an application's name has 1 to 64 bytes"));
    }
    Ok(name.into())
}

fn decode_slots<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<u16, decode::Error> {
    match d.u16()? {
        slots @ 1..=SLOTS_MAX => Ok(slots),
        _ => Err(decode::Error::message("an application has 1 to 4096 slots")),
    }
}

fn decode_proof<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Arc<[u8]>, decode::Error> {
    bounded_bytes(d, PROOF_MAX_BYTES, "a record's proof is too long")
}

fn decode_payload<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Arc<[u8]>, decode::Error> {
    bounded_bytes(d, PAYLOAD_MAX_BYTES, "a specification's payload is too long")
}

fn decode_placement<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Arc<str>, decode::Error> {
    let text = d.str()?;
    if text.len() > PLACEMENT_MAX_BYTES {
        return Err(decode::Error::message("a placement is too long"));
    }
    Ok(text.into())
}

pub(crate) fn bounded_bytes(
    d: &mut Decoder<'_>,
    max: usize,
    why: &'static str,
) -> Result<Arc<[u8]>, decode::Error> {
    let bytes = d.bytes()?;
    if bytes.len() > max {
        return Err(decode::Error::message(why));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(wanted: Wanted, generation: u32, digest: u8, slots: u16, submitter: u8) -> RecordVersion {
        let record = Record {
            id: AppId::from_bytes([1; 16]),
            owner: NodeId::from_bytes([1; 16]),
            name: "app".into(),
            spec_digest: Digest::from_bytes([digest; 32]),
            slots,
            generation,
            wanted,
            proof: [].into(),
            submitter: NodeId::from_bytes([submitter; 16]),
        };
        record.version()
    }

    #[test]
    fn a_stopped_record_beats_every_running_one_then_generation_digest_slots_and_submitter() {
        use Wanted::{Running, Stopped};
        let table = [
            (version(Stopped, 1, 0, 1, 0), version(Running, 9, 9, 9, 9)),
            (version(Running, 2, 0, 1, 0), version(Running, 1, 9, 9, 9)),
            (version(Running, 1, 2, 1, 0), version(Running, 1, 1, 9, 9)),
            (version(Running, 1, 1, 2, 0), version(Running, 1, 1, 1, 9)),
            (version(Running, 1, 1, 1, 2), version(Running, 1, 1, 1, 1)),
        ];
        for (newer, older) in table {
            assert!(newer > older, "{newer:?} must beat {older:?}");
        }
    }
}
