//! No epoch is confirmed twice.
//!
//! Source: docs/design/allocation.md, "Epochs": every confirm uses a fresh epoch, also after a lost reply.
//! Seen from outside: one epoch of one slot is started by one incarnation of one host, and whoever names its
//! holder names the same one.

use std::collections::BTreeMap;

use xtreem_allocation::{Epoch, SlotRun, SlotState};
use xtreem_base::{Handle, Instant};

use super::{Checker, Findings};
use crate::grid::host::{handle_of, host_of};
use crate::grid::seen::Seen;

pub(super) const NAME: &str = "epoch_confirmed_once";

#[derive(Default)]
pub(super) struct Epochs {
    holders: BTreeMap<SlotRun, Handle>,
}

impl Checker for Epochs {
    fn observe(&mut self, at: Instant, seen: &Seen, findings: &mut Findings) {
        let (run, holder, has_ended) = match seen {
            Seen::StartOrdered { host, incarnation, run } => (*run, handle_of(*host, *incarnation), false),
            Seen::SlotChanged { app, slot, epoch, holder: Some(holder), state, .. }
                if *state != SlotState::Planned && *epoch != Epoch::NONE =>
            {
                (SlotRun { app: *app, slot: *slot, epoch: *epoch }, *holder, state.is_final())
            }
            _ => return,
        };
        let first = *self.holders.entry(run).or_insert(holder);
        // What has ended stays with its host, whatever its agent's incarnation.
        let is_same = first == holder || (has_ended && host_of(first) == host_of(holder));
        if !is_same {
            let what = format!("{run:?} is held by {first:?} and by {holder:?}");
            findings.add_about(run.app, NAME, at, what);
        }
    }
}
