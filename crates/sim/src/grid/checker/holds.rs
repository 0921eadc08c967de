//! No hold is left over.
//!
//! Source: `docs/protocols/allocation.md`: a hold lives 10 s unless its submission renews it, and a
//! submission that waits or is over renews none. Recruiters renew none at all.

use std::collections::{BTreeMap, BTreeSet};

use xtreem_base::{AppId, Duration, Instant};

use super::{Checker, Findings};
use crate::grid::host::HostNo;
use crate::grid::seen::{Fault, Seen};

pub(crate) const NAME: &str = "holds_end";

/// A hold's life, and twice the time between two samples for what was under way.
const LEFT_MAX: Duration = Duration::from_secs(12);

/// A liar may ask for what it does not need, and renew it for so long.
const LIFE_MAX: Duration = Duration::from_secs(60);

/// One submission: its host, and since when it holds nothing.
struct Submission {
    host: HostNo,
    ended: Option<Instant>,
}

/// When an open hold was seen first and last.
struct Open {
    first: Instant,
    last: Instant,
    is_reported: bool,
}

#[derive(Default)]
pub(super) struct Holds {
    submissions: BTreeMap<AppId, Submission>,
    open: BTreeMap<(HostNo, u64), Open>,
    liars: BTreeSet<HostNo>,
    /// When each host that stood still last went on.
    resumed: BTreeMap<HostNo, Instant>,
    swept: Instant,
}

impl Checker for Holds {
    fn observe(&mut self, at: Instant, seen: &Seen, findings: &mut Findings) {
        match seen {
            Seen::Submission { host, app, is_active } => {
                let ended = (!is_active).then_some(at);
                self.submissions.insert(*app, Submission { host: *host, ended });
            }
            Seen::Fault(Fault::Killed { host } | Fault::Restarted { host } | Fault::PowerLost { host }) => {
                let there = self.submissions.values_mut().filter(|submission| submission.host == *host);
                there.for_each(|submission| submission.ended = submission.ended.or(Some(at)));
            }
            Seen::Liars { hosts } => self.liars.extend(hosts),
            Seen::Hold { host, hold, requester, app } => {
                let is_of_a_liar = self.liars.contains(requester) || self.liars.contains(host);
                self.see(at, (*host, *hold), *app, is_of_a_liar, findings);
            }
            Seen::Fault(Fault::Resumed { host }) => {
                self.resumed.insert(*host, at);
            }
            _ => {}
        }
    }
}

impl Holds {
    fn see(
        &mut self,
        at: Instant,
        hold: (HostNo, u64),
        app: AppId,
        is_of_a_liar: bool,
        findings: &mut Findings,
    ) {
        if at.since(self.swept) > LEFT_MAX {
            self.swept = at;
            self.open.retain(|_, open| at.since(open.last) <= LEFT_MAX);
        }
        let open = self.open.entry(hold).or_insert(Open { first: at, last: at, is_reported: false });
        open.last = at;
        let needed = match self.submissions.get(&app) {
            Some(Submission { ended: None, .. }) => at,
            Some(Submission { ended: Some(ended), .. }) => *ended,
            None => Instant::ZERO,
        };
        // What was sent to a paused host is heard at its return: its life begins then.
        let resumed = self.resumed.get(&hold.0).copied().unwrap_or(Instant::ZERO);
        let left_max = if is_of_a_liar { LEFT_MAX + LIFE_MAX } else { LEFT_MAX };
        if at.since(needed.max(open.first).max(resumed)) > left_max && !open.is_reported {
            open.is_reported = true;
            findings.add(NAME, at, format!("host {}: a hold for {app:?} that nobody needs stays", hold.0));
        }
    }
}
