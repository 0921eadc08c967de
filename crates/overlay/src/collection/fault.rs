//! What a correct and timely member would not have sent.

use crate::ranks::{all, sums};
use crate::{farm, overlay, tman};

/// What a correct and timely member would not have sent. The state is as it was before, unless the fault says
/// otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The driver does not know who it is.
    #[error("a message from nobody that is known")]
    Stranger,
    /// It bears this member's own handle.
    #[error("a message from this member to itself")]
    FromMyself,
    /// Another one runs for its slot under a higher epoch.
    #[error("a message from a member that was replaced")]
    Replaced,
    /// Another one runs for this member's slot, or this member has left: it takes no messages.
    #[error("a message to a member that was replaced or has left")]
    Over,
    /// The collection has no such core: members that say different things of it do not meet.
    #[error("a message for a collection of another kind")]
    OtherKind,
    /// It says of a slot, or of itself, what only another one can say.
    #[error("a message that gives a member the name of another one")]
    AnotherId,
    /// It has not got a profile yet.
    #[error("a message for a member that has a profile")]
    NoProfile,
    /// A result or a new task that does not begin with the name of its task.
    #[error("a body without the name of its task")]
    Nameless,
    /// Answers nothing that is open: late, repeated or made up.
    #[error("an answer that nobody waits for")]
    Unasked,
    /// From somebody whom this member does not take for the farmer.
    #[error("news from somebody who is not the farmer")]
    NotMyFarmer,
    /// Of the partial view.
    #[error(transparent)]
    View(#[from] xtreem_membership::Fault),
    /// Of the ring, and of what lies on it.
    #[error(transparent)]
    Overlay(#[from] overlay::Fault),
    /// Of ranks where everyone knows everyone.
    #[error(transparent)]
    All(#[from] all::Fault),
    /// Of ranks that are counted along the ring.
    #[error(transparent)]
    Sums(#[from] sums::Fault),
    /// Of farmer and workers.
    #[error(transparent)]
    Farm(#[from] farm::Fault),
    /// Of the nearest.
    #[error(transparent)]
    Nearest(#[from] tman::Fault),
}
