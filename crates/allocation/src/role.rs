//! What a node keeps on its disk of the applications that it takes part in, so that a power cut of all
//! machines costs time and nothing else.
//!
//! A role names peers by handles, as every core does; the host writes them as what they stand for (node id,
//! address, incarnation) and reads them back at the next start. `docs/protocols/allocation.md`, "On disk".

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::{Decode, Encode};
use xtreem_base::{AppId, Duration, Handle, HandleTable};

use crate::app::SUPPLIERS_MAX;
use crate::message::{KNOWN_MAX, bounded};
use crate::older::OLDER_MAX;
use crate::proof::Evidence;
use crate::record::SLOTS_MAX;
use crate::{Application, GuardianSet, Known, Record, SlotReport};

/// A node's part in one application.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Role {
    #[n(0)]
    pub application: Application,
    #[n(1)]
    pub guardians: GuardianSet,
    /// It guards the application, and a holder has spoken to it.
    #[n(2)]
    pub is_guardian: bool,
    /// Its own slots. Of their states only the final ones outlive the agent.
    #[cbor(n(3), decode_with = "decode_slots")]
    pub slots: Vec<SlotReport>,
    /// What it knows of slots that others hold.
    #[cbor(n(4), decode_with = "decode_known")]
    pub known: Vec<Known>,
    /// Every slot is done.
    #[n(5)]
    pub is_finished: bool,
    /// All that is proven of it.
    #[n(6)]
    pub evidence: Evidence,
    /// Nodes that may still run a slot under another epoch, as those on the other side of a split.
    #[cbor(n(7), default, decode_with = "decode_older")]
    pub older: Vec<Older>,
    /// Nodes that may have the files and hold and guard nothing, as the submitter.
    #[cbor(n(8), default, decode_with = "decode_suppliers")]
    pub suppliers: Vec<Handle>,
}

/// A node that may still run a slot, and is probed about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Older {
    #[n(0)]
    pub slot: u16,
    #[n(1)]
    pub peer: Handle,
}

/// What is kept of one application: one value in the host's database.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Kept {
    #[n(0)]
    Role(#[n(0)] Box<Role>),
    /// It was stopped for good; these have not yet said that they know.
    #[n(1)]
    Stopped {
        #[n(0)]
        record: Record,
        #[cbor(n(1), decode_with = "decode_untold")]
        untold: Vec<Handle>,
    },
}

/// What came back from the host's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub kept: Kept,
    /// How long ago it was written. Of an application that is over nothing is written after its end.
    pub age: Duration,
}

impl Kept {
    pub fn app(&self) -> AppId {
        match self {
            Kept::Role(role) => role.application.record.id,
            Kept::Stopped { record, .. } => record.id,
        }
    }

    /// Shows every peer that it names, for the host to say who that is.
    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        match self {
            Kept::Role(role) => {
                role.guardians.members.iter().for_each(|peer| f(*peer));
                role.known.iter().filter_map(|known| known.holder).for_each(&mut *f);
                role.older.iter().for_each(|older| f(older.peer));
                role.suppliers.iter().for_each(|peer| f(*peer));
            }
            Kept::Stopped { untold, .. } => untold.iter().for_each(|peer| f(*peer)),
        }
    }

    /// Leaves out the peers that `is_known` does not accept.
    pub fn retain_handles(&mut self, is_known: &dyn Fn(Handle) -> bool) {
        match self {
            Kept::Role(role) => {
                role.guardians.members.retain(|peer| is_known(*peer));
                let known = role.known.iter_mut();
                known.for_each(|known| known.holder = known.holder.filter(|peer| is_known(*peer)));
                role.older.retain(|older| is_known(older.peer));
                role.suppliers.retain(|peer| is_known(*peer));
            }
            Kept::Stopped { untold, .. } => untold.retain(|peer| is_known(*peer)),
        }
    }

    /// Lets `f` change every peer that it names: a host whose handles are not written out, as the
    /// simulator's, puts its own new one in the place of the one that it had.
    pub fn map_handles(&mut self, f: &mut dyn FnMut(Handle) -> Handle) {
        match self {
            Kept::Role(role) => {
                role.guardians.members.iter_mut().for_each(|peer| *peer = f(*peer));
                role.known.iter_mut().filter_map(|known| known.holder.as_mut()).for_each(|peer| {
                    *peer = f(*peer);
                });
                role.older.iter_mut().for_each(|older| older.peer = f(older.peer));
                role.suppliers.iter_mut().for_each(|peer| *peer = f(*peer));
            }
            Kept::Stopped { untold, .. } => untold.iter_mut().for_each(|peer| *peer = f(*peer)),
        }
    }
}

fn decode_slots<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<SlotReport>, decode::Error> {
    bounded(d, ctx, usize::from(SLOTS_MAX), "too many own slots of one application")
}

fn decode_known<C: HandleTable>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Known>, decode::Error> {
    bounded(d, ctx, KNOWN_MAX, "too many known slots of one application")
}

fn decode_older<C: HandleTable>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Older>, decode::Error> {
    bounded(d, ctx, OLDER_MAX, "too many old holders of one application")
}

fn decode_suppliers<C: HandleTable>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Handle>, decode::Error> {
    bounded(d, ctx, SUPPLIERS_MAX, "too many sources of files of one application")
}

fn decode_untold<C: HandleTable>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Handle>, decode::Error> {
    bounded(d, ctx, OLDER_MAX, "too many nodes to be told")
}
