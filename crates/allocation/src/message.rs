//! What the nodes of an application say to each other. `docs/protocols/allocation.md` has the table.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::{Decode, Encode};
use xtreem_base::{AppId, Handle, HandleTable, NodeId, Travel};
use xtreem_discovery::{Facts, FactsAsk};

use crate::placement::PLACEMENT_MAX_BYTES;
use crate::policy::RULE_NAME_MAX_BYTES;
use crate::proof::{Appointment, Body as _, Claim, Evidence, Notary, Signed};
use crate::record::SLOTS_MAX;
use crate::{
    Application, Epoch, FAILURES_MAX, Failure, Known, Offer, Record, RecordVersion, Silence, SlotReport,
    Standing, Statement,
};

/// Most slots named in one message: those around a slot, and the lowest ones for a guardian.
pub const KNOWN_MAX: usize = 64;
/// Most own slots a node reports in one probe; with more, those nearest to the slot asked about.
pub const REPORTS_MAX: usize = 4;
/// Most peers of the application named to a new holder.
pub const PEERS_MAX: usize = 16;
/// Guardians of one application (docs/design/allocation.md, "Guardians").
pub const GUARDIANS: usize = 3;

/// The guardians of an application. The higher (version, epoch of the appointing holder) wins.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct GuardianSet {
    #[n(0)]
    pub version: SetVersion,
    #[cbor(n(1), decode_with = "decode_guardians")]
    pub members: Vec<Handle>,
    /// Who says so, and that these nodes are meant.
    #[n(2)]
    pub claim: Option<Box<Signed<Appointment>>>,
}

/// Orders guardian sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct SetVersion {
    #[n(0)]
    pub number: u32,
    /// Epoch of the slot whose holder appointed them.
    #[n(1)]
    pub by: Epoch,
}

impl GuardianSet {
    /// The word of this node: `signer` holds `slot` under the epoch of the version, or is the submitter. A
    /// member that nobody is behind is left out.
    pub fn signed(
        notary: &impl Notary,
        (app, slot, signer): (AppId, u16, NodeId),
        version: SetVersion,
        mut members: Vec<Handle>,
    ) -> Self {
        members.retain(|member| notary.id_of(*member).is_some());
        let ids = members.iter().filter_map(|member| notary.id_of(*member)).collect();
        let body = Appointment { app, slot, version, members: ids, signer };
        GuardianSet { version, members, claim: Some(Box::new(Signed::new(notary, body))) }
    }

    /// The claim behind it, if it is of these very nodes and this version.
    pub(crate) fn stated(&self, notary: &impl Notary) -> Option<&Signed<Appointment>> {
        let claim = self.claim.as_deref()?;
        let is_meant = |(handle, id): (&Handle, &NodeId)| notary.id_of(*handle) == Some(*id);
        let are_same = claim.body.members.len() == self.members.len()
            && self.members.iter().zip(&claim.body.members).all(is_meant);
        (claim.body.version == self.version && are_same).then_some(claim)
    }

    pub const NONE: GuardianSet =
        GuardianSet { version: SetVersion { number: 0, by: Epoch::NONE }, members: Vec::new(), claim: None };
}

/// Turns a hold into an allocation.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Confirm {
    #[n(0)]
    pub application: Application,
    #[n(1)]
    pub slot: u16,
    #[n(2)]
    pub epoch: Epoch,
    #[n(3)]
    pub hold: u64,
    #[n(4)]
    pub guardians: GuardianSet,
    /// Known and planned holders of the slots around this one.
    #[cbor(n(5), decode_with = "decode_known")]
    pub neighbours: Vec<Known>,
    /// Nodes that may still run this slot under a lower epoch.
    #[cbor(n(6), decode_with = "decode_peers")]
    pub older: Vec<Handle>,
    /// Members of the application's own collection.
    #[cbor(n(7), decode_with = "decode_peers")]
    pub peers: Vec<Handle>,
    /// The link of this epoch, and what it and the neighbours hang on. A newcomer begins with it.
    #[n(8)]
    pub evidence: Evidence,
    /// What failed of this slot on other nodes.
    #[cbor(n(12), decode_with = "decode_failures")]
    pub failures: Vec<Failure>,
    /// Nodes on which the program of any slot failed: they come last.
    #[cbor(n(13), decode_with = "decode_peers")]
    pub failing: Vec<Handle>,
    /// Nodes that may have the files although they neither hold nor guard anything.
    #[cbor(n(14), decode_with = "decode_peers")]
    pub sources: Vec<Handle>,
}

impl Confirm {
    /// Of a slot under an epoch, on a hold. Nobody else, and no failure, is known of.
    pub(crate) fn of(
        application: Application,
        (slot, epoch, hold): (u16, Epoch, u64),
        guardians: GuardianSet,
        evidence: Evidence,
    ) -> Self {
        let (neighbours, older, peers) = (Vec::new(), Vec::new(), Vec::new());
        let (failures, failing, sources) = (Vec::new(), Vec::new(), Vec::new());
        Confirm {
            application,
            slot,
            epoch,
            hold,
            guardians,
            neighbours,
            older,
            peers,
            evidence,
            failures,
            failing,
            sources,
        }
    }
}

/// Why a confirm was refused. Nothing was allocated.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Refused {
    /// The hold lapsed, or never was.
    #[n(0)]
    NoHold,
    /// A higher epoch of the slot is known.
    #[n(1)]
    Higher(#[n(0)] Known, #[n(1)] Box<Evidence>),
    /// A newer record stopped the application or has no such slot.
    #[n(2)]
    Record(#[n(0)] Box<Record>),
    /// This rule of the VO's policy forbids it here.
    #[n(3)]
    Forbidden {
        #[cbor(n(0), decode_with = "decode_rule")]
        rule: String,
    },
}

/// Whether the asked node holds the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Holds {
    #[n(0)]
    No,
    /// A hold for the application is open, the confirm is still to come.
    #[n(1)]
    Planned,
    #[n(2)]
    Yes(#[n(0)] SlotReport),
}

/// The versions by which two nodes see who has something newer to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Versions {
    #[n(0)]
    pub record: RecordVersion,
    #[n(1)]
    pub guardians: SetVersion,
}

/// One message about one application.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Message {
    /// Requester to node: keep this hold, I need it (a spare one is one no longer).
    #[n(0)]
    Renew {
        #[n(0)]
        hold: u64,
    },
    /// Requester to node: this hold is not needed.
    #[n(1)]
    Release {
        #[n(0)]
        hold: u64,
    },
    /// Recruiter to the node that granted a hold.
    #[n(2)]
    Confirm(#[n(0)] Box<Confirm>),
    /// Its answer: `epoch` holds the slot here (the asked one, or a lower one of the same recruiter).
    #[n(3)]
    Confirmed {
        #[n(0)]
        app: AppId,
        #[n(1)]
        slot: u16,
        #[n(2)]
        epoch: Epoch,
    },
    /// Its other answer.
    #[n(4)]
    Refused {
        #[n(0)]
        app: AppId,
        #[n(1)]
        slot: u16,
        #[n(2)]
        epoch: Epoch,
        #[n(3)]
        why: Refused,
    },
    /// New holder to watchers, guardians and older holders, before it starts the program.
    #[n(5)]
    Announce {
        #[n(0)]
        app: AppId,
        #[n(1)]
        versions: Versions,
        #[n(2)]
        slot: u16,
        #[n(3)]
        epoch: Epoch,
    },
    /// Their answer; `higher` refuses.
    #[n(6)]
    Announced {
        #[n(0)]
        app: AppId,
        #[n(1)]
        slot: u16,
        #[n(2)]
        epoch: Epoch,
        #[n(3)]
        higher: Option<Known>,
    },
    /// Watcher to holder. Carries the highest epoch known, so that an older holder yields, and the watcher's
    /// own slots, so that a probe is a sign of life as well.
    #[n(7)]
    Probe {
        #[n(0)]
        app: AppId,
        #[n(1)]
        versions: Option<Versions>,
        #[n(2)]
        about: Known,
        #[cbor(n(3), decode_with = "decode_reports")]
        mine: Vec<SlotReport>,
    },
    /// Its answer; `newest` names the holder where somebody else has a higher epoch.
    #[n(8)]
    ProbeAck {
        #[n(0)]
        app: AppId,
        #[n(1)]
        versions: Option<Versions>,
        #[n(2)]
        slot: u16,
        #[n(3)]
        holds: Holds,
        #[n(4)]
        newest: Option<Known>,
    },
    /// Recruiter to the slot's watchers, every second: I am at it. Of two recruiters the one with the lower
    /// order goes on.
    #[n(9)]
    Claim {
        #[n(0)]
        app: AppId,
        #[n(1)]
        slot: u16,
        #[n(2)]
        order: u16,
    },
    /// What the sender knows of slots, with what proves it.
    #[n(10)]
    Tell {
        #[n(0)]
        app: AppId,
        #[n(1)]
        versions: Versions,
        #[cbor(n(2), decode_with = "decode_known")]
        slots: Vec<Known>,
        #[n(3)]
        evidence: Box<Evidence>,
    },
    /// You named this epoch of this slot, or how it ended under it: prove it. Answered by `Tell`.
    #[n(28)]
    AskProof {
        #[n(0)]
        app: AppId,
        #[n(1)]
        slot: u16,
        #[n(2)]
        epoch: Epoch,
    },
    /// What the sender's own slots are at, told at once when it changes.
    #[n(11)]
    Report {
        #[n(0)]
        app: AppId,
        #[n(1)]
        versions: Versions,
        #[cbor(n(2), decode_with = "decode_reports")]
        mine: Vec<SlotReport>,
    },
    /// Who holds this slot? Answered by `Tell` when known.
    #[n(12)]
    Locate {
        #[n(0)]
        app: AppId,
        #[n(1)]
        slot: u16,
    },
    /// Lowest holder (or submitter) to a node outside the application.
    #[n(13)]
    Appoint {
        #[n(0)]
        application: Box<Application>,
        #[n(1)]
        guardians: GuardianSet,
        #[cbor(n(2), decode_with = "decode_known")]
        slots: Vec<Known>,
        /// Nodes out of reach that may look after the other side of a split.
        #[cbor(n(3), decode_with = "decode_peers")]
        older: Vec<Handle>,
        #[n(4)]
        evidence: Box<Evidence>,
    },
    /// Its answer.
    #[n(14)]
    Appointed {
        #[n(0)]
        app: AppId,
    },
    /// The newest guardians that the sender knows.
    #[n(15)]
    Guardians {
        #[n(0)]
        app: AppId,
        #[n(1)]
        guardians: GuardianSet,
    },
    /// Lowest holder to guardian: a sign of life, please; here are mine.
    #[n(16)]
    GuardianProbe {
        #[n(0)]
        app: AppId,
        #[n(1)]
        versions: Versions,
        #[cbor(n(2), decode_with = "decode_reports")]
        mine: Vec<SlotReport>,
    },
    /// Its answer; nothing when it guards nothing.
    #[n(17)]
    GuardianAck {
        #[n(0)]
        app: AppId,
        #[n(1)]
        versions: Option<Versions>,
    },
    /// A record that is newer than what the receiver has, as far as the sender knows.
    #[n(18)]
    Record {
        #[n(0)]
        record: Box<Record>,
    },
    /// The receiver has this version, or a newer one, which it then sends as `Record`.
    #[n(19)]
    RecordTaken {
        #[n(0)]
        app: AppId,
        #[n(1)]
        version: RecordVersion,
    },
    /// Recruiter to guardians: is this still the newest record?
    #[n(20)]
    AskRecord {
        #[n(0)]
        app: AppId,
        #[n(1)]
        version: RecordVersion,
    },
    /// Somebody wants to show the application.
    #[n(21)]
    Describe {
        #[n(0)]
        app: AppId,
    },
    /// What the asked node knows.
    #[n(22)]
    Description {
        #[n(0)]
        record: Box<Record>,
        #[cbor(n(1), decode_with = "decode_known")]
        slots: Vec<Known>,
        #[cbor(n(2), decode_with = "decode_guardians")]
        guardians: Vec<Handle>,
        #[cbor(n(3), decode_with = "decode_placement")]
        placement: String,
        #[cbor(n(4), decode_with = "decode_silences")]
        silences: Vec<Silence>,
    },
    /// Requester to node: keep this hold, and give it to nobody else: I have all that I need.
    #[n(23)]
    Lock {
        #[n(0)]
        hold: u64,
    },
    /// Its answer.
    #[n(24)]
    Locked {
        #[n(0)]
        hold: u64,
    },
    /// Recruiter to holder: tell me these facts of you, so that the slot's new holder suits the others.
    #[n(26)]
    AskFacts {
        #[n(0)]
        app: AppId,
        #[n(1)]
        facts: FactsAsk,
    },
    /// Its answer.
    #[n(27)]
    Facts {
        #[n(0)]
        app: AppId,
        #[n(1)]
        facts: Box<Facts>,
    },
    /// A node whose agent restarted to its partners: how does the application stand? It may offer a slot that
    /// it held.
    #[n(40)]
    Return {
        #[n(0)]
        app: AppId,
        #[n(1)]
        versions: Versions,
        #[n(2)]
        offer: Option<Offer>,
    },
    /// Its answer.
    #[n(41)]
    Returned {
        #[n(0)]
        app: AppId,
        #[n(1)]
        versions: Option<Versions>,
        #[n(2)]
        standing: Standing,
    },
    /// Node to requester: this hold is no more. Said when somebody whose turn is earlier gets it, and when
    /// one is to be kept that has lapsed.
    #[n(25)]
    Lost {
        #[n(0)]
        hold: u64,
    },
}

impl Message {
    /// What fits a datagram whatever its content travels as one; the others travel on streams.
    pub fn travel(&self) -> Travel {
        match self {
            Message::Announce { .. }
            | Message::Probe { .. }
            | Message::GuardianProbe { .. }
            | Message::Return { .. } => Travel::DATAGRAM.padded(true),
            Message::Renew { .. }
            | Message::Release { .. }
            | Message::Lock { .. }
            | Message::Locked { .. }
            | Message::Lost { .. }
            | Message::Confirmed { .. }
            | Message::Announced { .. }
            | Message::ProbeAck { .. }
            | Message::Claim { .. }
            | Message::Report { .. }
            | Message::Locate { .. }
            | Message::AskProof { .. }
            | Message::Appointed { .. }
            | Message::Guardians { .. }
            | Message::GuardianAck { .. }
            | Message::RecordTaken { .. }
            | Message::AskRecord { .. }
            | Message::Describe { .. }
            | Message::AskFacts { .. }
            | Message::Returned { .. } => Travel::DATAGRAM,
            Message::Confirm(_)
            | Message::Refused { .. }
            | Message::Tell { .. }
            | Message::Appoint { .. }
            | Message::Record { .. }
            | Message::Description { .. }
            | Message::Facts { .. } => Travel::STREAM,
        }
    }

    /// What nodes have signed in it.
    fn for_each_claim(&self, f: &mut impl FnMut(Claim<'_>, &[u8])) {
        let (evidence, guardians) = match self {
            Message::Confirm(confirm) => (Some(&confirm.evidence), Some(&confirm.guardians)),
            Message::Appoint { evidence, guardians, .. } => (Some(&**evidence), Some(guardians)),
            Message::Tell { evidence, .. } => (Some(&**evidence), None),
            Message::Refused { why: Refused::Higher(_, evidence), .. } => (Some(&**evidence), None),
            Message::Guardians { guardians, .. } => (None, Some(guardians)),
            _ => return,
        };
        if let Some(evidence) = evidence {
            evidence.for_each_claim(f);
        }
        if let Some(claim) = guardians.and_then(|guardians| guardians.claim.as_ref()) {
            f(claim.body.claim(), &claim.proof);
        }
    }

    /// Shows all that the driver has to verify: every record, every application with its record, and every
    /// claim of a node.
    pub fn for_each_statement(&self, f: &mut impl FnMut(Statement<'_>)) {
        self.for_each_claim(&mut |claim, proof| f(Statement::Claim(claim, proof)));
        let application = match self {
            Message::Confirm(confirm) => &confirm.application,
            Message::Appoint { application, .. } => application,
            Message::Record { record }
            | Message::Description { record, .. }
            | Message::Refused { why: Refused::Record(record), .. } => return f(Statement::Record(record)),
            _ => return,
        };
        f(Statement::Record(&application.record));
        f(Statement::Application(application));
    }
}

pub(crate) fn bounded<'b, T: Decode<'b, C>, C>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
    max: usize,
    why: &'static str,
) -> Result<Vec<T>, decode::Error> {
    let too_many = || decode::Error::message(why);
    let len = d.array()?.ok_or_else(too_many)?;
    if len > max as u64 {
        return Err(too_many());
    }
    (0..len).map(|_| d.decode_with(ctx)).collect()
}

fn decode_rule<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<String, decode::Error> {
    let rule = d.str()?;
    if rule.len() > RULE_NAME_MAX_BYTES {
        return Err(decode::Error::message("the name of a rule is too long"));
    }
    Ok(rule.into())
}

fn decode_placement<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<String, decode::Error> {
    let text = d.str()?;
    if text.len() > PLACEMENT_MAX_BYTES {
        return Err(decode::Error::message("a placement is too long"));
    }
    Ok(text.into())
}

fn decode_known<C: HandleTable>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Known>, decode::Error> {
    let known: Vec<Known> = bounded(d, ctx, KNOWN_MAX, "too many slots in one message")?;
    if known.iter().any(|known| known.slot >= SLOTS_MAX) {
        return Err(decode::Error::message("slot number out of range"));
    }
    Ok(known)
}

fn decode_reports<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<SlotReport>, decode::Error> {
    bounded(d, ctx, REPORTS_MAX, "too many own slots in one message")
}

fn decode_silences<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Silence>, decode::Error> {
    bounded(d, ctx, KNOWN_MAX, "too many silent slots in one message")
}

fn decode_peers<C: HandleTable>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Handle>, decode::Error> {
    bounded(d, ctx, PEERS_MAX, "too many peers in one message")
}

fn decode_failures<C: HandleTable>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Failure>, decode::Error> {
    bounded(d, ctx, FAILURES_MAX, "too many failures in one message")
}

fn decode_guardians<C: HandleTable>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Handle>, decode::Error> {
    bounded(d, ctx, GUARDIANS, "too many guardians")
}
