//! Why this node takes no slots just now, whatever keeps it from that: the same words for who asks the agent
//! and for the mark that everybody's searches show.

use xtreem_base::Instant;
use xtreem_discovery::limits::TEXT_LEN_MAX;
use xtreem_node::Node;

use crate::agent::Agent;
use crate::namesake;

/// Attribute that marks a node which takes no slots; its value says why.
pub(crate) const ATTRIBUTE: &str = "slots.none";

/// Why every hold is refused, in words; nothing when none is for a reason of the whole node. In the order in
/// which the node refuses.
pub(crate) fn why(agent: &Agent, node: &Node, now: Instant) -> Option<String> {
    namesake::why_no_slots(agent)
        .or_else(|| agent.standing.may_take_slots().err().map(|why| why.to_string()))
        .or_else(|| {
            of_machine(node.is_disk_full(), node.contradicts(), node.is_disk_stalled(now)).map(str::to_owned)
        })
        .or_else(|| {
            node.trouble(now).map(|trouble| format!("{trouble}, when a slot was to start a moment ago"))
        })
}

fn of_machine(is_disk_full: bool, contradicts: bool, is_disk_stalled: bool) -> Option<&'static str> {
    match (is_disk_full, contradicts, is_disk_stalled) {
        (true, _, _) => Some("the disk is full"),
        (false, true, _) => Some("the machine has less than is declared of it"),
        (false, false, true) => Some("the disk does not write what the node has to remember"),
        (false, false, false) => None,
    }
}

/// As much of the words as an attribute has room for.
pub(crate) fn mark(why: &str) -> &str {
    &why[..why.floor_char_boundary(TEXT_LEN_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_any_length_fits_into_an_attribute() {
        assert_eq!(mark("short"), "short");
        let long = "ü".repeat(TEXT_LEN_MAX);
        assert_eq!(mark(&long).len(), TEXT_LEN_MAX);
        let odd = format!("x{long}");
        let mut attributes = xtreem_discovery::Attributes::new();
        assert_eq!(attributes.set(ATTRIBUTE, mark(&odd)), Ok(()), "{}", mark(&odd).len());
    }

    #[test]
    fn a_machine_that_shrank_or_a_disk_that_is_full_or_does_not_write_takes_no_slots() {
        assert_eq!(of_machine(false, false, false), None);
        assert!(of_machine(false, false, true).is_some_and(|why| why.contains("does not write")));
        for is_disk_stalled in [false, true] {
            assert!(of_machine(false, true, is_disk_stalled).is_some_and(|why| why.contains("declared")));
            assert!(of_machine(true, true, is_disk_stalled).is_some_and(|why| why.contains("full")));
        }
    }
}
