//! When hosts could not reach each other, and when they stood still: what excuses what.

use xtreem_base::{Duration, Instant};

use crate::grid::host::HostNo;
use crate::grid::seen::Fault;

/// A partition or pause counts as lasting so much longer than it does: both sides need probes and a few
/// round trips to find each other again (our guess).
pub(super) const TAIL: Duration = Duration::from_secs(10);

/// The last trouble of each host.
#[derive(Debug)]
pub(super) struct Partitions {
    cut: Vec<Span>,
    paused: Vec<Span>,
    /// Killed or restarted at some time.
    died: Vec<bool>,
    splits: Vec<Split>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Never,
    Now,
    Until(Instant),
}

#[derive(Debug)]
struct Split {
    parts: Vec<u8>,
    span: Span,
}

impl Span {
    /// Whether the trouble, with its tail, touches any instant from `start` on.
    fn reaches(self, start: Instant) -> bool {
        match self {
            Span::Never => false,
            Span::Now => true,
            Span::Until(end) => end + TAIL > start,
        }
    }
}

impl Partitions {
    pub fn new(hosts: u32) -> Self {
        let hosts = hosts as usize;
        Partitions {
            cut: vec![Span::Never; hosts],
            paused: vec![Span::Never; hosts],
            died: vec![false; hosts],
            splits: Vec::new(),
        }
    }

    pub fn observe(&mut self, at: Instant, fault: &Fault) {
        match fault {
            Fault::Killed { host } | Fault::Restarted { host } | Fault::PowerLost { host } => {
                self.died[*host as usize] = true
            }
            Fault::Paused { host } => self.paused[*host as usize] = Span::Now,
            Fault::Resumed { host } => self.paused[*host as usize] = Span::Until(at),
            Fault::Cut { host } => self.cut[*host as usize] = Span::Now,
            Fault::Healed { host } => self.cut[*host as usize] = Span::Until(at),
            Fault::Split { parts } => self.splits.push(Split { parts: parts.clone(), span: Span::Now }),
            Fault::PowerCut => {}
            Fault::Merged => {
                if let Some(split) = self.splits.last_mut() {
                    split.span = Span::Until(at);
                }
            }
        }
    }

    pub fn is_paused(&self, host: HostNo) -> bool {
        self.paused[host as usize] == Span::Now
    }

    /// Whether the host was cut, or the whole network split, at any time since `start`.
    pub fn touched_since(&self, host: HostNo, start: Instant) -> bool {
        self.cut[host as usize].reaches(start) || self.splits.iter().any(|split| split.span.reaches(start))
    }

    /// Whether news of something since `start` may not have reached the host: it was cut, split off or
    /// paused.
    pub fn was_away_since(&self, host: HostNo, start: Instant) -> bool {
        self.touched_since(host, start) || self.paused[host as usize].reaches(start)
    }

    /// Whether the host stood still or was cut off alone just now.
    pub fn was_out(&self, host: HostNo, now: Instant) -> bool {
        self.cut[host as usize].reaches(now) || self.paused[host as usize].reaches(now)
    }

    /// Whether a split kept the two apart just now.
    pub fn were_apart(&self, a: HostNo, b: HostNo, now: Instant) -> bool {
        let apart = |split: &Split| split.parts[a as usize] != split.parts[b as usize];
        self.splits.iter().any(|split| split.span.reaches(now) && apart(split))
    }

    /// Whether the host was ever killed, restarted, paused or cut, or is not there at all.
    pub fn ever_faulted(&self, host: HostNo) -> bool {
        let host = host as usize;
        host >= self.died.len()
            || self.died[host]
            || self.cut[host] != Span::Never
            || self.paused[host] != Span::Never
    }
}
