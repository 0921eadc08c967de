//! What a node tells its host. The host is the agent, or the simulator's model of one.

use alloc::vec::Vec;

use xtreem_allocation::Notice;
use xtreem_allocation::policy::SignedPolicy;
use xtreem_base::Handle;
use xtreem_discovery::SearchEvent;
use xtreem_membership::reference::Reach;
use xtreem_membership::rumour::Newer;
use xtreem_overlay::overlay;

/// One thing that happened, in the order it happened: what a core says, as it says it.
#[derive(Clone, Debug)]
pub enum Event {
    /// Programs, slots, submissions and records.
    Allocation(Notice),
    /// A search made here for a user of this node goes on or ends.
    Search(SearchEvent),
    /// A newer policy of the VO is in force here: keep it. Or the one in force has a rival of its version.
    Policy(Newer<SignedPolicy>),
    /// Fewer than half of the reference set answer: this node recruits nobody until they do. Without reach:
    /// they do again.
    CutOff { reach: Option<Reach> },
    /// The contacts by which this node sees whether it is cut off: keep them for its next start.
    Reference(Vec<Handle>),
    /// What happens on the ring of all nodes: lookups and operations end, the own range becomes another.
    Ring(overlay::Event),
}

impl Event {
    /// Shows every peer that the event names.
    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        match self {
            Event::Allocation(notice) => notice.for_each_handle(f),
            Event::Search(event) => event.for_each_handle(f),
            Event::Reference(peers) => peers.iter().copied().for_each(f),
            Event::Ring(event) => event.for_each_handle(f),
            Event::Policy(_) | Event::CutOff { .. } => {}
        }
    }
}

impl From<overlay::Event> for Event {
    fn from(event: overlay::Event) -> Self {
        Event::Ring(event)
    }
}

impl From<Newer<SignedPolicy>> for Event {
    fn from(newer: Newer<SignedPolicy>) -> Self {
        Event::Policy(newer)
    }
}
