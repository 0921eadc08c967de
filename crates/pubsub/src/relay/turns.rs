//! In which order events of one server and topic come to clients here, whatever ways they came by.
//!
//! A server numbers what it publishes to a topic. What comes before its turn waits for what is missing, for a
//! while. Nothing is kept away by this: what comes after its turn is over is delivered all the same.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Duration, Instant, NodeId};

use super::Arrival;
use super::frame::{Origin, Turn};
use crate::Pattern;

/// What is missing is waited for so long: by then a server that cannot be reached is given up, and what was
/// on its way by it.
pub const TURN_WAIT: Duration = super::link::UNREACHABLE_MAX;
/// Lines that are remembered; of more the one that was used longest ago goes. Our guess: four times the
/// servers that something comes from.
const LINES_MAX: usize = 4_096;
/// Bytes that wait for their turns in all lines; beyond it what waits in a line is delivered at once. As much
/// as waits for one server.
const HELD_MAX_BYTES: usize = super::link::WAITING_MAX_BYTES;

/// One topic that one server publishes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LineId {
    origin: NodeId,
    incarnation: u32,
    line: u64,
}

#[derive(Debug)]
struct Line {
    topic: Arc<Pattern<'static>>,
    /// The number that is delivered next.
    next: u64,
    held: BTreeMap<u64, Arrival>,
    used: u64,
}

#[derive(Debug, Default)]
pub(super) struct Turns {
    lines: BTreeMap<LineId, Line>,
    held_bytes: usize,
    clock: u64,
}

/// What is to be delivered now, in this order, and until when something that waits is waited for.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub arrivals: Vec<Arrival>,
    pub wait: Option<(LineId, Instant)>,
}

fn weight(arrival: &Arrival) -> usize {
    arrival.plain.len() + arrival.full.len()
}

impl Turns {
    /// A batch that is new here has come.
    pub(super) fn take(&mut self, now: Instant, origin: Origin, turn: Turn, arrival: Arrival) -> Due {
        let id = LineId { origin: origin.id, incarnation: origin.incarnation, line: turn.line };
        self.clock += 1;
        self.make_room(id);
        let used = self.clock;
        // Who is new to the line gets all from where the last one came to it.
        let next = turn.since.min(turn.number);
        let line = self.lines.entry(id).or_insert_with(|| Line {
            topic: arrival.topic.clone(),
            next,
            held: BTreeMap::new(),
            used,
        });
        line.used = used;
        if turn.number < line.next {
            return Due { arrivals: [arrival].into(), wait: None };
        }
        let is_first = line.held.is_empty();
        self.held_bytes += weight(&arrival);
        if let Some(other) = line.held.insert(turn.number, arrival) {
            // Somebody lies; both come.
            self.held_bytes -= weight(&other);
            return Due { arrivals: [other].into(), wait: None };
        }
        let arrivals = self.release(id, self.held_bytes > HELD_MAX_BYTES);
        let is_waiting = self.lines.get(&id).is_some_and(|line| !line.held.is_empty());
        // Anew after each one that came: what is missing now may not have been missing before.
        let is_new = is_waiting && (is_first || !arrivals.is_empty());
        Due { arrivals, wait: is_new.then_some((id, now + TURN_WAIT)) }
    }

    /// Takes out what is next; with `all`, whatever is missing.
    fn release(&mut self, id: LineId, all: bool) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        let Some(line) = self.lines.get_mut(&id) else { return arrivals };
        while let Some(first) = line.held.first_entry().filter(|it| all || *it.key() == line.next) {
            let (number, arrival) = first.remove_entry();
            line.next = number.saturating_add(1);
            self.held_bytes -= weight(&arrival);
            arrivals.push(arrival);
        }
        arrivals
    }

    /// What is missing in this line is not waited for any more.
    pub(super) fn give_up(&mut self, id: LineId) -> Vec<Arrival> {
        self.release(id, true)
    }

    /// Events of this topic were lost: what is missing there does not come.
    pub(super) fn lost(&mut self, topic: &Pattern<'_>) -> Vec<Arrival> {
        let is_meant = |(_, line): &(&LineId, &Line)| !line.held.is_empty() && line.topic.overlaps(topic);
        let ids: Vec<LineId> = self.lines.iter().filter(is_meant).map(|(id, _)| *id).collect();
        ids.into_iter().flat_map(|id| self.release(id, true)).collect()
    }

    fn make_room(&mut self, id: LineId) {
        if self.lines.len() < LINES_MAX || self.lines.contains_key(&id) {
            return;
        }
        let idle = self.lines.iter().filter(|(_, line)| line.held.is_empty());
        let oldest = idle.min_by_key(|(_, line)| line.used).map(|(id, _)| *id);
        if let Some(oldest) = oldest.or_else(|| self.lines.keys().next().copied()) {
            let line = self.lines.remove(&oldest);
            self.held_bytes -= line.iter().flat_map(|line| line.held.values()).map(weight).sum::<usize>();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString as _};

    use bytes::Bytes;

    use super::*;

    const NOW: Instant = Instant::from_millis(1_000);

    fn arrival(text: &str) -> Arrival {
        let topic = Arc::new(Pattern::new("a").expect("a topic"));
        let plain = Bytes::from(text.to_string());
        Arrival { topic, plain, full: Bytes::new(), count: 1 }
    }

    fn texts(arrivals: &[Arrival]) -> String {
        let all: Vec<_> = arrivals.iter().map(|it| String::from_utf8_lossy(&it.plain).into_owned()).collect();
        all.join(" ")
    }

    fn take(turns: &mut Turns, number: u64, since: u64) -> (String, bool) {
        let origin = Origin { id: NodeId::from_bytes([1; 16]), incarnation: 1, batch: number };
        let due = turns.take(NOW, origin, Turn { line: 1, number, since }, arrival(&number.to_string()));
        (texts(&due.arrivals), due.wait.is_some())
    }

    fn says(text: &str, waits: bool) -> (String, bool) {
        (text.to_string(), waits)
    }

    #[test]
    fn what_comes_before_its_turn_waits_and_what_comes_after_it_does_not() {
        let mut turns = Turns::default();
        assert_eq!(take(&mut turns, 0, 0), says("0", false));
        assert_eq!(take(&mut turns, 2, 0), says("", true));
        assert_eq!(take(&mut turns, 3, 0), says("", false));
        assert_eq!(take(&mut turns, 1, 0), says("1 2 3", false));
        assert_eq!(take(&mut turns, 5, 0), says("", true));
        let id = *turns.lines.keys().next().expect("a line");
        assert_eq!(texts(&turns.give_up(id)), "5");
        assert_eq!(take(&mut turns, 4, 0), says("4", false), "late, and it comes");
        assert_eq!((take(&mut turns, 6, 0), turns.held_bytes), (says("6", false), 0));
    }

    #[test]
    fn who_is_new_waits_for_what_it_has_a_claim_to_and_for_no_more() {
        let mut turns = Turns::default();
        assert_eq!(take(&mut turns, 8, 7), says("", true));
        assert_eq!(take(&mut turns, 7, 7), says("7 8", false));
        let mut turns = Turns::default();
        assert_eq!(take(&mut turns, 8, 8), says("8", false));
    }

    #[test]
    fn what_is_told_to_be_lost_is_not_waited_for() {
        let mut turns = Turns::default();
        take(&mut turns, 0, 0);
        take(&mut turns, 2, 0);
        assert_eq!(texts(&turns.lost(&Pattern::new("b").expect("a topic"))), "");
        assert_eq!(texts(&turns.lost(&Pattern::All)), "2");
    }

    #[test]
    fn memory_is_bounded() {
        let mut turns = Turns::default();
        take(&mut turns, 0, 0);
        let long = "x".repeat(HELD_MAX_BYTES / 2);
        let origin = Origin { id: NodeId::from_bytes([1; 16]), incarnation: 1, batch: 1 };
        let mut take = |number| {
            let turn = Turn { line: 1, number, since: 0 };
            turns.take(NOW, origin, turn, arrival(&long)).arrivals.len()
        };
        assert_eq!((take(2), take(3), take(4)), (0, 0, 3));
        for line in 0..2 * LINES_MAX as u64 {
            let turn = Turn { line, number: 0, since: 0 };
            turns.take(NOW, origin, turn, arrival("1"));
        }
        assert_eq!((turns.lines.len(), turns.held_bytes), (LINES_MAX, 0));
    }
}
