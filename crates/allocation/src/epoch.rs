//! The order of all confirms of one slot.

use core::fmt;

use minicbor::{Decode, Encode};
use xtreem_base::NodeId;

/// Names one confirm of one slot; of two holders of a slot the one with the higher epoch stays.
///
/// Compared field by field in the order written. Every confirm uses a fresh one, also after a lost reply, so
/// that an epoch never names two holders.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Epoch {
    /// One more than the highest that the recruiter knew of the slot.
    #[n(0)]
    pub counter: u32,
    #[n(1)]
    pub recruiter: NodeId,
    #[n(2)]
    pub incarnation: u32,
    /// Counts the confirms of this incarnation of the recruiter.
    #[n(3)]
    pub attempt: u32,
}

impl Epoch {
    /// Below every epoch of a confirm: nothing is known of the slot.
    pub const NONE: Epoch =
        Epoch { counter: 0, recruiter: NodeId::from_bytes([0; 16]), incarnation: 0, attempt: 0 };

    /// True when one incarnation of one recruiter made both.
    pub fn has_same_recruiter(&self, other: &Epoch) -> bool {
        self.recruiter == other.recruiter && self.incarnation == other.incarnation
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:?}.{}.{}", self.counter, self.recruiter, self.incarnation, self.attempt)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
