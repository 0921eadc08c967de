//! One slot of one application: where it is in its life, as told between nodes.

use core::fmt;

use minicbor::{Decode, Encode};
use xtreem_base::{AppId, Handle};

use crate::{Epoch, Trouble};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Exit {
    #[n(0)]
    Code(#[n(0)] i32),
    #[n(1)]
    Signal(#[n(0)] i32),
}

impl Exit {
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// The life of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum SlotState {
    /// A hold is there, the confirm is still to come.
    #[n(0)]
    Planned,
    /// Confirmed; the program is being fetched, started or started again.
    #[n(1)]
    Starting,
    #[n(2)]
    Running,
    /// No live node has the files of the program; tried again, here or elsewhere, while the application wants
    /// to run.
    #[n(5)]
    FilesLost,
    /// The program failed, and is started again, here or elsewhere.
    #[n(6)]
    Failing(#[n(0)] Exit),
    /// The program ended well, and is started again after a pause.
    #[n(8)]
    Pausing(#[n(0)] Exit),
    /// So many nodes could not start it for this reason, or the only one, that its user is to know; it is
    /// tried again all the same.
    #[n(7)]
    Troubled(#[n(0)] Trouble),
    /// The program finished its work: not replaced, its node freed.
    #[n(3)]
    Done(#[n(0)] Exit),
    /// The program failed too often: not replaced.
    #[n(4)]
    Failed(#[n(0)] Exit),
}

impl SlotState {
    /// Done or failed: never recruited again.
    pub fn is_final(self) -> bool {
        matches!(self, SlotState::Done(_) | SlotState::Failed(_))
    }
}

/// One run of one slot: what the host starts and stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotRun {
    pub app: AppId,
    pub slot: u16,
    pub epoch: Epoch,
}

/// What a node says of a slot that it holds itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlotReport {
    #[n(0)]
    pub slot: u16,
    #[n(1)]
    pub epoch: Epoch,
    #[n(2)]
    pub state: SlotState,
    /// How many consecutive slots, from this one upwards, are known to have ended, done or failed.
    #[n(3)]
    pub done_run: u16,
}

/// What a node knows of a slot that somebody else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "xtreem_base::HandleTable")]
pub struct Known {
    #[n(0)]
    pub slot: u16,
    #[n(1)]
    pub epoch: Epoch,
    #[n(2)]
    pub holder: Option<Handle>,
    #[n(3)]
    pub state: SlotState,
}
