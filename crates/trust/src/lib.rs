//! Whom to believe about an application: what nodes sign of it, and the credentials that they give to their
//! slots.
//!
//! Signatures (`xtreem-wire`) and the rules of who is entitled (`xtreem_allocation::Chain`) meet here, for
//! agents and programs alike: a program that judges another member's credential needs no agent's code.
//! `docs/protocols/messaging.md` has the slot credential, `docs/protocols/allocation.md` the chain. Absent on
//! purpose: clocks, sockets, where keys are kept.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod claims;
mod slot;
mod trust;

pub use claims::{ClaimFault, domain, sign_claim, verify_claim};
pub use slot::{
    LEEWAY_SECONDS, SLOT_CREDENTIAL_MAX_BYTES, SlotClaims, SlotCredential, VALID_SECONDS, sign_slot,
};
pub use trust::{GROUNDS_MAX_BYTES, Grounds, SlotHolder, SlotRefusal, Trust};
