//! What a node signs about an application, so that nobody has to believe a third node's word: links, final
//! states and appointments of guardians, and the evidence that travels with news.

use alloc::sync::Arc;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{AppId, NodeId};

use crate::message::{GUARDIANS, SetVersion};
use crate::record::{PROOF_MAX_BYTES, SLOTS_MAX, bounded_bytes};
use crate::{Epoch, SlotState};

/// An epoch's counter exceeds that of its predecessor by so much at most. Honest recruiters exceed it by one;
/// the rest is room for what a recruiter knew that its successors do not.
pub const STEP_MAX: u32 = 1_000;
/// Most links in one message, and most that a node keeps of one application.
pub const LINKS_MAX: usize = 128;
/// Most links that a node sends beside its news: those that lead to what it tells.
pub const LINKS_SENT_MAX: usize = 64;
/// Most appointments of guardians kept and sent. Our guess: a few replacements of each.
pub const SETS_MAX: usize = 8;
/// Most final states kept and sent.
pub const FINALS_MAX: usize = 128;
/// Most nodes that are believed without a link: the submitters of each generation of the record, and the
/// recruiters that a newcomer's confirm begins with.
pub const ROOTS_MAX: usize = 16;

/// An epoch, as its recruiter signs it. Links hang together: who recruits was recruited, or appointed, or is
/// the submitting node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Link {
    #[n(0)]
    pub app: AppId,
    #[cbor(n(1), decode_with = "decode_slot")]
    pub slot: u16,
    /// Its recruiter is who signs.
    #[n(2)]
    pub epoch: Epoch,
    #[n(3)]
    pub holder: NodeId,
    /// The counter that the recruiter knew before.
    #[n(4)]
    pub after: u32,
}

/// How a slot ended for good, as the holder of its last epoch signs it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Final {
    #[n(0)]
    pub app: AppId,
    #[cbor(n(1), decode_with = "decode_slot")]
    pub slot: u16,
    #[n(2)]
    pub epoch: Epoch,
    #[n(3)]
    pub state: SlotState,
    /// Who signs.
    #[n(4)]
    pub holder: NodeId,
}

/// Guardians, as the holder (or for the first ones the submitter) that appoints them signs it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Appointment {
    #[n(0)]
    pub app: AppId,
    /// The slot that the appointing node holds; 0 for the submitter.
    #[cbor(n(1), decode_with = "decode_slot")]
    pub slot: u16,
    #[n(2)]
    pub version: SetVersion,
    #[cbor(n(3), decode_with = "decode_members")]
    pub members: Vec<NodeId>,
    /// Who signs.
    #[n(4)]
    pub signer: NodeId,
}

/// A node answers somebody who asks for it through others: no third node can say this in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Alive {
    /// Who answers and signs.
    #[n(0)]
    pub node: NodeId,
    /// Who asked.
    #[n(1)]
    pub origin: NodeId,
    /// What it asked with.
    #[n(2)]
    pub nonce: u64,
}

/// One of them, for whoever signs or verifies it.
#[derive(Clone, Copy, Debug)]
pub enum Claim<'a> {
    Alive(&'a Alive),
    Link(&'a Link),
    Final(&'a Final),
    Guardians(&'a Appointment),
}

impl Claim<'_> {
    /// The node whose signature is needed.
    pub fn signer(&self) -> NodeId {
        match self {
            Claim::Alive(alive) => alive.node,
            Claim::Link(link) => link.epoch.recruiter,
            Claim::Final(ended) => ended.holder,
            Claim::Guardians(appointment) => appointment.signer,
        }
    }

    /// What is signed.
    pub fn bytes(&self) -> Vec<u8> {
        let bytes = match self {
            Claim::Alive(alive) => minicbor::to_vec(alive),
            Claim::Link(link) => minicbor::to_vec(link),
            Claim::Final(ended) => minicbor::to_vec(ended),
            Claim::Guardians(appointment) => minicbor::to_vec(appointment),
        };
        // Writing to a Vec cannot fail.
        bytes.expect("a Vec takes all bytes")
    }
}

/// What can be signed.
pub trait Body {
    fn claim(&self) -> Claim<'_>;
}

impl Body for Alive {
    fn claim(&self) -> Claim<'_> {
        Claim::Alive(self)
    }
}

impl Body for Link {
    fn claim(&self) -> Claim<'_> {
        Claim::Link(self)
    }
}

impl Body for Final {
    fn claim(&self) -> Claim<'_> {
        Claim::Final(self)
    }
}

impl Body for Appointment {
    fn claim(&self) -> Claim<'_> {
        Claim::Guardians(self)
    }
}

/// Who signs for this node, and who others are. Lent by the driver.
pub trait Notary {
    /// The node behind a handle.
    fn id_of(&self, peer: xtreem_base::Handle) -> Option<NodeId>;
    /// This node's signature, with its credential: always the same for the same claim.
    fn sign(&self, claim: Claim<'_>) -> Arc<[u8]>;
}

/// A claim with its proof. The driver has verified one that came in a message: its signer is a member of the
/// VO with the role of a node, and said just this. Whether it was entitled to is judged by `Chain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    pub body: T,
    pub proof: Arc<[u8]>,
}

impl<T: Body> Signed<T> {
    /// Signs `body`.
    pub fn new(notary: &impl Notary, body: T) -> Self {
        let proof = notary.sign(body.claim());
        Signed { body, proof }
    }

    /// Signs `body`, to be kept.
    pub fn by(notary: &impl Notary, body: T) -> Arc<Self> {
        Arc::new(Signed::new(notary, body))
    }
}

impl<C, T: Encode<C>> Encode<C> for Signed<T> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?;
        self.body.encode(e, ctx)?;
        e.bytes(&self.proof)?.ok()
    }
}

impl<'b, C, T: Decode<'b, C>> Decode<'b, C> for Signed<T> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        if d.array()? != Some(2) {
            return Err(decode::Error::message("a signed claim has two parts"));
        }
        let body = T::decode(d, ctx)?;
        Ok(Signed { body, proof: bounded_bytes(d, PROOF_MAX_BYTES, "a claim's proof is too long")? })
    }
}

impl Link {
    /// A step that the rules allow, whoever makes it.
    pub fn is_step(&self) -> bool {
        self.epoch.counter.checked_sub(self.after).is_some_and(|step| (1..=STEP_MAX).contains(&step))
    }
}

/// What shows that news is true: links and what they hang on, those that come first at the front. It is also
/// all that there is to store of what a node believes of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Only a newcomer takes these.
    pub roots: Vec<NodeId>,
    pub links: Vec<Arc<Signed<Link>>>,
    pub sets: Vec<Arc<Signed<Appointment>>>,
    pub finals: Vec<Arc<Signed<Final>>>,
}

impl Evidence {
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.sets.is_empty() && self.finals.is_empty()
    }

    /// Shows all that the driver has to verify.
    pub fn for_each_claim(&self, f: &mut impl FnMut(Claim<'_>, &[u8])) {
        self.links.iter().for_each(|link| f(link.body.claim(), &link.proof));
        self.sets.iter().for_each(|set| f(set.body.claim(), &set.proof));
        self.finals.iter().for_each(|ended| f(ended.body.claim(), &ended.proof));
    }
}

impl<C> Encode<C> for Evidence {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?;
        self.roots.encode(e, ctx)?;
        list(&self.links, e, ctx)?;
        list(&self.sets, e, ctx)?;
        list(&self.finals, e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Evidence {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        if d.array()? != Some(4) {
            return Err(decode::Error::message("evidence has four parts"));
        }
        Ok(Evidence {
            roots: bounded(d, ctx, ROOTS_MAX, "too many roots")?,
            links: shared(d, ctx, LINKS_MAX, "too many links")?,
            sets: shared(d, ctx, SETS_MAX, "too many appointments")?,
            finals: shared(d, ctx, FINALS_MAX, "too many final states")?,
        })
    }
}

fn list<C, W: Write, T: Encode<C>>(
    list: &[Arc<T>],
    e: &mut Encoder<W>,
    ctx: &mut C,
) -> Result<(), encode::Error<W::Error>> {
    e.array(list.len() as u64)?;
    list.iter().try_for_each(|one| one.encode(e, ctx))
}

fn bounded<'b, C, T: Decode<'b, C>>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
    max: usize,
    why: &'static str,
) -> Result<Vec<T>, decode::Error> {
    match d.array()? {
        Some(len) if len <= max as u64 => (0..len).map(|_| d.decode_with(ctx)).collect(),
        _ => Err(decode::Error::message(why)),
    }
}

fn shared<'b, C, T: Decode<'b, C>>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
    max: usize,
    why: &'static str,
) -> Result<Vec<Arc<T>>, decode::Error> {
    Ok(bounded(d, ctx, max, why)?.into_iter().map(Arc::new).collect())
}

fn decode_slot<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<u16, decode::Error> {
    match d.u16()? {
        slot if slot < SLOTS_MAX => Ok(slot),
        _ => Err(decode::Error::message("slot number out of range")),
    }
}

fn decode_members<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<NodeId>, decode::Error> {
    bounded(d, ctx, GUARDIANS, "too many guardians")
}
