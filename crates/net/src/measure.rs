//! Asks the host what the node says of itself, just before a question about that is answered.

use std::collections::BTreeMap;

use xtreem_base::{Duration, Instant};
use xtreem_discovery::FixedPorts;
use xtreem_node::Node;

/// Measures the machine and tells the node. It runs in the node's task: a fraction of a millisecond is fine,
/// waiting for a disk or a network is not.
pub type Measure = Box<dyn FnMut(&mut Node, Instant) + Send>;

/// Whether this machine has the port free, for TCP and UDP. It runs in the node's task, at most as often as a
/// visit has ports.
pub type IsPortFree = Box<dyn Fn(u16) -> bool + Send>;

/// Questions that come within so long are answered by one measurement (our guess: a twentieth of a core at
/// most goes into measuring, whatever is asked).
const SHARED_FOR: Duration = Duration::from_millis(20);

/// What was found of a port is told for so long. Looking takes the port for a moment, in which no program can
/// listen there: nobody who asks without end shall keep them from it (our guess).
const PORT_SHARED_FOR: Duration = Duration::from_millis(200);
/// Ports of which that is remembered; beyond it all are looked at again.
const PORTS_MAX: usize = 4_096;

/// What the host measures by, and when it last did.
#[derive(Default)]
pub(crate) struct Measuring {
    measure: Option<Measure>,
    is_port_free: Option<IsPortFree>,
    last: Option<Instant>,
    /// When each port was looked at last, and whether it was free.
    ports: BTreeMap<u16, (Instant, bool)>,
}

impl Measuring {
    pub(crate) fn set(&mut self, measure: Measure, is_port_free: IsPortFree) {
        let (measure, is_port_free) = (Some(measure), Some(is_port_free));
        *self = Measuring { measure, is_port_free, ..Measuring::default() };
    }

    /// Before a visit that asks for a hold with these ports is answered.
    pub(crate) fn look_at(&mut self, node: &mut Node, now: Instant, ports: &FixedPorts) {
        let Some(is_free) = self.is_port_free.as_ref().filter(|_| !ports.is_empty()) else { return };
        self.ports.retain(|_, (at, _)| now.since(*at) < PORT_SHARED_FOR);
        if self.ports.len() >= PORTS_MAX {
            self.ports.clear();
        }
        let mut taken = Vec::new();
        for port in ports.numbers() {
            let (_, is_free) = *self.ports.entry(*port).or_insert_with(|| (now, is_free(*port)));
            if !is_free {
                taken.push(*port);
            }
        }
        node.set_ports_in_use(taken);
    }

    /// Before a question is answered.
    pub(crate) fn refresh(&mut self, node: &mut Node, now: Instant) {
        let Some(measure) = &mut self.measure else { return };
        if self.last.is_none_or(|last| now.since(last) >= SHARED_FOR) {
            self.last = Some(now);
            measure(node, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use xtreem_base::{Handle, NodeId};
    use xtreem_node::{Config, Me};

    use super::*;

    #[test]
    fn questions_at_one_time_share_a_measurement_and_later_ones_get_their_own() {
        let me = Me { handle: Handle::from_u32(0), id: NodeId::from_bytes([1; 16]), incarnation: 1 };
        let mut node = Node::new(Arc::new(Config::default()), me, 1, Instant::ZERO);
        let mut measuring = Measuring::default();
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        measuring.refresh(&mut node, at(0));
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let count_it = move |_: &mut Node, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        measuring.set(Box::new(count_it), Box::new(|_| true));
        for (millis, times) in [(1, 1), (5, 1), (20, 1), (21, 2), (40, 2), (1_000, 3)] {
            measuring.refresh(&mut node, at(millis));
            assert_eq!(count.load(Ordering::Relaxed), times, "at {millis} ms");
        }
    }

    #[test]
    fn a_port_is_taken_for_a_moment_to_be_looked_at_and_not_at_each_question() {
        let me = Me { handle: Handle::from_u32(0), id: NodeId::from_bytes([1; 16]), incarnation: 1 };
        let mut node = Node::new(Arc::new(Config::default()), me, 1, Instant::ZERO);
        let looks = Arc::new(AtomicU32::new(0));
        let counted = looks.clone();
        let is_free = move |_| counted.fetch_add(1, Ordering::Relaxed) == 0;
        let mut measuring = Measuring::default();
        measuring.set(Box::new(|_, _| {}), Box::new(is_free));
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        let one = FixedPorts::new([8_080]).expect("a port");
        for (millis, times) in [(0, 1), (1, 1), (199, 1), (200, 2), (399, 2)] {
            measuring.look_at(&mut node, at(millis), &one);
            assert_eq!(looks.load(Ordering::Relaxed), times, "at {millis} ms");
        }
        for first in (1..60_000).step_by(16) {
            let many = FixedPorts::new(first..first + 16).expect("ports");
            measuring.look_at(&mut node, at(400), &many);
            assert!(measuring.ports.len() <= PORTS_MAX + 16);
        }
    }
}
