//! What a search says at its end: enough to tell a user why too few nodes were found.

use alloc::string::String;
use alloc::vec::Vec;

use crate::search::gather::Histogram;
use crate::search::set_search::SetReport;
use crate::visit::hold::HoldRefusal;

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As many as wanted were found.
    Enough,
    /// Every node was visited that could be reached and, by what others say of it, can match.
    Exhausted,
    /// The time was over.
    Deadline,
    /// As many nodes as allowed were visited.
    VisitLimit,
    Cancelled,
}

/// Nodes that met the requirement but refused a hold, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Refused {
    pub busy: u32,
    pub too_many: u32,
    pub same_app: u32,
    pub stopped: u32,
    pub mismatch: u32,
    pub cloned: u32,
    pub troubled: u32,
    pub not_isolated: u32,
    pub port_taken: u32,
    pub port_too_low: u32,
}

impl Refused {
    pub(crate) fn count(&mut self, refusal: HoldRefusal) {
        *match refusal {
            HoldRefusal::Busy => &mut self.busy,
            HoldRefusal::TooMany => &mut self.too_many,
            HoldRefusal::SameApp => &mut self.same_app,
            HoldRefusal::Stopped => &mut self.stopped,
            HoldRefusal::Mismatch => &mut self.mismatch,
            HoldRefusal::Cloned => &mut self.cloned,
            HoldRefusal::Troubled => &mut self.troubled,
            HoldRefusal::NotIsolated => &mut self.not_isolated,
            HoldRefusal::PortTaken => &mut self.port_taken,
            HoldRefusal::PortTooLow => &mut self.port_too_low,
        } += 1;
    }

    pub fn total(&self) -> u32 {
        self.busy
            + self.too_many
            + self.same_app
            + self.stopped
            + self.mismatch
            + self.cloned
            + self.not_isolated
            + self.troubled
            + self.port_taken
            + self.port_too_low
    }
}

/// Rules told apart in a report (our guess: a user runs into one or two).
pub const RULES_TOLD_MAX: usize = 16;

/// How a search went about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It went from random node to random node: nobody was met who knew the trie.
    Contacts,
    /// It followed the trie, node by node.
    Trie,
    /// It followed the trie, then went to everybody else, because the grid is small.
    TrieThenContacts,
    /// It was handed down the trie.
    Gather,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub plan: Plan,
    /// Visits of which each waited for the one before.
    pub round_trips: u16,
    /// How often a node was asked: some are asked for the way first, or for a hold at the end.
    pub visits: u32,
    /// Nodes asked, the requester itself included, each once. Those neither answered nor silent were still
    /// out at the end.
    pub visited: u32,
    pub answered: u32,
    pub silent: u32,
    /// Nodes that meet the requirement, or know such applications.
    pub matched: u32,
    /// Matching nodes that granted a hold; zero when none was asked for.
    pub granted: u32,
    pub refused: Refused,
    /// Matching nodes that a rule of the VO's policy kept from holding, by the rule's name; at most
    /// [`RULES_TOLD_MAX`] rules, further ones count as the last.
    pub forbidden: Vec<(String, u32)>,
    /// Nodes, about, that can match but were not heard because all links to them were dead.
    pub lost: u64,
    /// Nodes, about, that can match but were not asked because the search ended first.
    pub unopened: u64,
    /// Nodes of the grid, about; nothing when too little was seen to tell.
    pub grid_size_estimate: Option<u32>,
    /// The clauses of the requirement as written, each with the nodes that failed it. A node may fail
    /// several.
    pub excluded: Vec<(String, u32)>,
    /// The values of the attribute that was asked for, over the matching nodes.
    pub histogram: Option<Histogram>,
    /// It is there when a set was looked for.
    pub set: Option<SetReport>,
    pub ended: Ended,
}

/// How often a reported link led to a node already known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Recapture {
    /// Over all reported links: the nodes known when it was reported.
    pub(crate) known_sum: u64,
    /// Reported links to known nodes.
    pub(crate) recaught: u64,
}

/// Recaught links below which an estimate says nothing: its relative error is about `1 / sqrt(recaught)`.
const RECAUGHT_MIN: u64 = 10;

impl Recapture {
    /// The number of nodes, after Schnabel (The estimation of the total fish population of a lake, 1938):
    /// links are nearly uniform samples of the grid, so each is known with probability known / size.
    pub(crate) fn estimate(self) -> Option<u32> {
        if self.recaught < RECAUGHT_MIN {
            return None;
        }
        // Chapman's +1 against the bias of small counts.
        u32::try_from(self.known_sum / (self.recaught + 1)).ok()
    }
}

/// About how many nodes the grid has, from random contacts: `reached` itself when the search went everywhere.
pub(crate) fn grid_size(everywhere: bool, reached: u32, recapture: Recapture) -> Option<u32> {
    if everywhere { Some(reached) } else { recapture.estimate().map(|size| size.max(reached)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_size_follows_from_what_was_seen_again() {
        let seen = |known_sum, recaught| Recapture { known_sum, recaught };
        let table = [
            // Everything was visited: exact, whatever the links say.
            (true, 300, seen(0, 0), Some(300)),
            (true, 1, seen(9_000, 90), Some(1)),
            // Too little seen again to say anything.
            (false, 50, seen(4_500, 9), None),
            // 100 links while 90 nodes were known, 10 of them known: a tenth, so about 900 nodes.
            (false, 50, seen(9_000, 10), Some(818)),
            // The same share over ten times as many links: closer.
            (false, 50, seen(90_000, 100), Some(891)),
            // Never fewer than were reached.
            (false, 500, seen(9_000, 90), Some(500)),
            (false, 1, seen(u64::MAX, 10), None),
        ];
        for (everywhere, reached, recapture, size) in table {
            assert_eq!(grid_size(everywhere, reached, recapture), size, "{recapture:?}");
        }
    }
}
