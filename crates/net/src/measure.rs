//! Asks the host what the node says of itself, just before a question about that is answered.

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

/// What the host measures by, and when it last did.
#[derive(Default)]
pub(crate) struct Measuring {
    measure: Option<Measure>,
    is_port_free: Option<IsPortFree>,
    last: Option<Instant>,
}

impl Measuring {
    pub(crate) fn set(&mut self, measure: Measure, is_port_free: IsPortFree) {
        *self = Measuring { measure: Some(measure), is_port_free: Some(is_port_free), last: None };
    }

    /// Before a visit that asks for a hold with these ports is answered.
    pub(crate) fn look_at(&self, node: &mut Node, ports: &FixedPorts) {
        if let Some(is_free) = self.is_port_free.as_ref().filter(|_| !ports.is_empty()) {
            let taken = ports.numbers().iter().copied().filter(|port| !is_free(*port));
            node.set_ports_in_use(taken.collect());
        }
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
}
