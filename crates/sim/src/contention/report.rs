//! What a run of `sim contention` says of itself.

use serde::{Deserialize, Serialize};
use xtreem_base::{Duration, Instant};

use super::{Options, ROUND};
use crate::grid::Violation;
use crate::grid::checker::HOLDS_END;
use crate::grid::schedule::FAULTS_BEGIN;
use crate::grid::world::World;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Requests all of whose slots ran.
    pub granted: u32,
    /// Holds that stayed although nobody needed them, during the run or when everything was over.
    pub leaked_holds: u32,
    /// Rounds in which a request waited from beginning to end and none was granted. A round is the life of a
    /// hold, 10 s, from the first request on.
    pub rounds_without_progress: u32,
    /// From the first request to the last grant.
    pub time_to_last_ms: u64,
    /// Half of the grants took no longer than that, from their own request on.
    pub time_to_grant_ms_p50: u64,
    /// Rounds from the first request to the last grant.
    pub rounds: u32,
    pub nodes: u32,
    pub requests: u32,
    pub slots: u16,
    pub scarce: u32,
    pub faults: String,
    pub seed: u64,
    /// Requests that were turned away for good.
    pub refused: u32,
    /// Attempts of all requests.
    pub searches: u64,
    /// Holds that nobody renewed, released or confirmed: their release was lost.
    pub lapsed_holds: u64,
    /// Slots that nodes still hold when everything is over.
    pub slots_left: u32,
    pub messages: u64,
    pub events: u64,
    /// Over every event in its order: equal for equal seeds on every machine.
    pub digest: String,
    /// Invariants of the grid that were broken, leaked holds among them.
    pub violations: Vec<Violation>,
    /// The command that runs this again.
    pub replay: String,
}

impl Report {
    pub(super) fn of(options: &Options, world: &World) -> Report {
        let Options { nodes, requests, slots, scarce, faults, seed, .. } = *options;
        let first = world.apps().iter().map(|app| app.submitted).min().unwrap_or(FAULTS_BEGIN);
        let mut spans: Vec<Span> = Vec::new();
        for app in world.apps() {
            let granted = app.complete;
            let until = granted.or(app.refused).unwrap_or(world.now());
            spans.push(Span { from: app.submitted.since(first), until: until.since(first), granted });
        }
        let last = world.apps().iter().filter_map(|app| app.complete).max().unwrap_or(first);
        let mut waited: Vec<u64> = spans
            .iter()
            .filter(|span| span.granted.is_some())
            .map(|span| (span.until - span.from).as_millis())
            .collect();
        waited.sort_unstable();
        let (mut holds_left, mut slots_left) = (0, 0);
        for status in world.nodes().map(xtreem_node::Node::status) {
            holds_left += status.open_holds as u32;
            slots_left += status.slots as u32;
        }
        let is_leak = |violation: &&Violation| violation.checker == HOLDS_END;
        let (messages, events) = world.counts();
        Report {
            granted: waited.len() as u32,
            // Whatever is open in the end was there for longer than a hold lives, and is found by both.
            leaked_holds: (world.violations().iter().filter(is_leak).count() as u32).max(holds_left),
            rounds_without_progress: rounds_without_progress(&spans),
            time_to_last_ms: last.since(first).as_millis(),
            time_to_grant_ms_p50: waited.get(waited.len() / 2).copied().unwrap_or(0),
            rounds: last.since(first).as_micros().div_ceil(ROUND.as_micros()) as u32,
            nodes,
            requests,
            slots,
            scarce,
            faults: faults.to_string(),
            seed,
            refused: world.apps().iter().filter(|app| app.refused.is_some()).count() as u32,
            searches: world.apps().iter().map(|app| 1 + u64::from(app.turned_away)).sum(),
            lapsed_holds: world.nodes().map(|node| node.status().lapsed_holds).sum(),
            slots_left,
            messages,
            events,
            digest: world.digest(),
            violations: world.violations().to_vec(),
            replay: options.replay(),
        }
    }
}

/// How long a request waited, from the first request on.
struct Span {
    from: Duration,
    until: Duration,
    granted: Option<Instant>,
}

fn rounds_without_progress(spans: &[Span]) -> u32 {
    let end = spans.iter().map(|span| span.until).max().unwrap_or(Duration::ZERO);
    let rounds = end.as_micros() / ROUND.as_micros();
    let is_without = |round: &u64| {
        let (begin, end) = (ROUND * *round, ROUND * (round + 1));
        let waits = spans.iter().any(|span| span.from <= begin && span.until >= end);
        let is_granted = |span: &Span| span.granted.is_some() && (begin..end).contains(&span.until);
        waits && !spans.iter().any(is_granted)
    };
    (0..rounds).filter(is_without).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from_s: u64, until_s: u64, is_granted: bool) -> Span {
        let granted = is_granted.then_some(Instant::ZERO);
        Span { from: Duration::from_secs(from_s), until: Duration::from_secs(until_s), granted }
    }

    #[test]
    fn a_round_needs_a_grant_only_while_somebody_waits_all_through_it() {
        let table = [
            (vec![span(0, 5, true)], 0),
            (vec![span(0, 25, true)], 2),
            (vec![span(0, 5, true), span(0, 15, true), span(0, 25, true)], 0),
            (vec![span(0, 5, true), span(0, 30, false)], 2),
            (vec![span(0, 5, true), span(12, 19, true), span(25, 48, true)], 1),
            (vec![], 0),
        ];
        for (at, (spans, rounds)) in table.into_iter().enumerate() {
            assert_eq!(rounds_without_progress(&spans), rounds, "row {at}");
        }
    }
}
