//! Who runs what: holds, allocations, application records, slots and their replacement.
//!
//! No manager, no full list, no consensus: each holder of a slot watches the holders near it, and of two
//! holders of one slot the one with the higher [`Epoch`] stays. `docs/protocols/allocation.md` has the whole
//! protocol. Deliberately absent: processes, files, addresses and searches; those are wishes and notices for
//! the node around.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod allocation;
mod app;
mod books;
mod chain;
mod config;
mod context;
mod epoch;
mod failure;
mod fault;
mod finals;
mod guardian;
mod host;
mod journal;
mod knowledge;
mod ledger;
mod look;
mod message;
mod mine;
mod notice;
mod older;
pub mod placement;
pub mod policy;
mod proof;
mod record;
mod recruit;
mod resources;
mod restored;
mod role;
mod slot;
mod statement;
mod stopped;
mod submission;
mod trouble;
mod window;
mod wish;

pub use allocation::{AWAY_MAX, Allocation, AppHere, Held, Me, SubmitRefusal};
pub use chain::Chain;
pub use config::Config;
pub use epoch::Epoch;
pub use failure::{FAILURES_MAX, Failure, FailureKind, Trouble};
pub use fault::{Fault, Faults};
pub use finals::FINAL_RECORDS_MAX;
pub use host::{Connection, Host};
pub use ledger::{Ask, HoldRefusal, Ledger};
pub use message::{Confirm, GuardianSet, Holds, Message, Refused, SetVersion, Versions};
pub use notice::{Description, NotStarted, Notice, Progress, Silence, StopReason};
pub use proof::{
    Alive, Appointment, Body, Claim, Evidence, FINALS_MAX, Final, LINKS_MAX, LINKS_SENT_MAX, Link, Notary,
    ROOTS_MAX, SETS_MAX, STEP_MAX, Signed,
};
pub use record::{
    Application, NAME_MAX_BYTES, PAYLOAD_MAX_BYTES, PROOF_MAX_BYTES, Record, RecordVersion, Restart,
    SLOTS_MAX, Spec, Wanted,
};
pub use resources::Resources;
pub use restored::{Offer, Standing};
pub use role::{Found, Kept, Older, Role};
pub use slot::{Exit, Known, SlotReport, SlotRun, SlotState};
pub use statement::Statement;
pub use wish::{Ticket, Wish};
