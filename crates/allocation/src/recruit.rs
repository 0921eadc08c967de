//! A new holder is looked for: whose recruiting it is, how far it is, what is known of the others.

use alloc::vec::Vec;

use xtreem_base::{Handle, Instant};
use xtreem_discovery::Facts;

use crate::look::Look;
use crate::{Epoch, Known, SlotState};

/// The recruiting of one slot.
#[derive(Clone, Debug)]
pub(crate) struct Recruit {
    pub phase: Phase,
    /// Of two recruiters the one with the lower order goes on.
    pub order: u16,
    pub claim_due: Instant,
    /// Nodes that failed to confirm, and in a first search the guardians.
    pub exclude: Vec<Handle>,
    pub searches: u32,
    /// What other holders told of themselves, for the placement or for what all of them must have together.
    pub kept: Vec<(Handle, Facts)>,
    /// No candidate was found: any node does that can be had.
    pub gives_way: bool,
    /// Which of the demands is made that a set has in turn.
    pub demand: usize,
    /// Somebody had the slot before, and the host was not told yet who has it now.
    pub is_untold: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The guardians are asked for the newest record, the lost holder for a last sign of life, and the other
    /// holders for what decides who can be put beside them; `waiting` have not answered.
    Checking {
        waiting: Vec<Handle>,
        /// When those holders are asked again.
        again: Instant,
        until: Instant,
    },
    /// With a placement that has something to choose from, candidates are collected.
    Searching(Option<Look>),
    /// A node is held; the connection is checked once more before the confirm.
    Held {
        peer: Handle,
        hold: u64,
    },
    Confirming {
        peer: Handle,
        hold: u64,
        epoch: Epoch,
        resend: Instant,
        sent: u8,
    },
    /// Nobody was found; searched again later.
    Pausing {
        until: Instant,
    },
}

impl Recruit {
    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.exclude.iter().for_each(|peer| f(*peer));
        match &self.phase {
            Phase::Checking { waiting, .. } => waiting.iter().for_each(|peer| f(*peer)),
            Phase::Held { peer, .. } | Phase::Confirming { peer, .. } => f(*peer),
            Phase::Searching(look) => {
                look.iter().flat_map(|look| &look.candidates).for_each(|candidate| f(candidate.peer));
            }
            Phase::Pausing { .. } => {}
        }
        self.kept.iter().for_each(|(peer, _)| f(*peer));
    }

    /// The node that is to hold the slot, as told to others.
    pub fn planned(&self, slot: u16, counter: u32) -> Option<Known> {
        let known = |peer, epoch| Known { slot, epoch, holder: Some(peer), state: SlotState::Planned };
        match self.phase {
            Phase::Confirming { peer, epoch, .. } => Some(known(peer, epoch)),
            Phase::Held { peer, .. } => Some(known(peer, Epoch { counter, ..Epoch::NONE })),
            _ => None,
        }
    }
}
