//! Finding nodes: what a node says of itself, the language in which a user says what is wanted, and the search.
//!
//! Sans-IO: the composing node lends its attributes, links and resources as a [`Host`] and takes messages and
//! events through an [`Output`]. Absent on purpose: who runs what (the host answers that), addresses, clocks.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod attributes;
mod bounded;
mod number;
mod requirement;
pub mod standard;

pub use attributes::{AttributeError, Attributes, Value};
pub use number::Number;
pub use requirement::{ParseError, Requirement};

/// The maxima that hold for what arrives from other nodes and from users.
pub mod limits {
    pub use crate::attributes::{
        ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, LIST_LEN_MAX, NAME_LEN_MAX, TEXT_LEN_MAX,
    };
    pub use crate::requirement::{CLAUSES_MAX, DEPTH_MAX, REQUIREMENT_LEN_MAX};
}
