//! A power cut loses nothing that was acknowledged, and brings nothing back that had ended.
//!
//! Source: `docs/protocols/allocation.md`, "On disk". Whoever is told that an application is accepted, or
//! that a record was taken, can count on it: it is on a disk by then. After a power cut no slot is started
//! that was told as done or failed, and none of an application whose stop had been taken, [`SPREAD`] before,
//! unless another fault was in the way of the news.

use std::collections::BTreeMap;

use xtreem_base::{AppId, Duration, Instant};

use super::{Checker, Findings};
use crate::grid::seen::{Fault, Seen};

pub(super) const NAME: &str = "power_cut_loses_nothing";

/// News of an end has reached everybody who has a part in the application: some rounds of probes.
const SPREAD: Duration = Duration::from_secs(15);

#[derive(Default)]
pub(super) struct Power {
    stopped: BTreeMap<AppId, Instant>,
    ended: BTreeMap<(AppId, u16), Instant>,
    /// The last moment at which something other than power was wrong.
    trouble: Option<Instant>,
    /// The first power cut, and the last trouble before it.
    cut: Option<(Instant, Option<Instant>)>,
}

impl Power {
    /// Whether what was known since then was known to all when the power went, and no trouble came between.
    fn was_settled(&self, since: Instant) -> bool {
        let Some((cut, before)) = self.cut else { return false };
        let is_quiet = |trouble: Option<Instant>| trouble.is_none_or(|trouble| trouble + SPREAD < since);
        since + SPREAD < cut && is_quiet(before) && is_quiet(self.trouble)
    }
}

impl Checker for Power {
    fn observe(&mut self, at: Instant, seen: &Seen, findings: &mut Findings) {
        match seen {
            Seen::Acknowledged { app, what, is_stored: false } => {
                findings.add(NAME, at, format!("{what} of {app:?} was acknowledged and is on no disk"));
            }
            Seen::StopTaken { app, .. } => {
                self.stopped.entry(*app).or_insert(at);
            }
            Seen::SlotChanged { app, slot, state, .. } if state.is_final() => {
                self.ended.entry((*app, *slot)).or_insert(at);
            }
            Seen::StartOrdered { host, run, .. } => {
                let (stopped, ended) = (self.stopped.get(&run.app), self.ended.get(&(run.app, run.slot)));
                if stopped.is_some_and(|since| self.was_settled(*since)) {
                    findings.add(NAME, at, format!("host {host} starts {run:?}, which was stopped"));
                }
                if ended.is_some_and(|since| self.was_settled(*since)) {
                    findings.add(NAME, at, format!("host {host} starts {run:?}, which had ended"));
                }
            }
            Seen::Fault(Fault::PowerCut) if self.cut.is_none() => self.cut = Some((at, self.trouble)),
            Seen::Fault(Fault::PowerCut | Fault::PowerLost { .. }) => {}
            Seen::Fault(_) => self.trouble = Some(at),
            _ => {}
        }
    }
}
