//! What a node says of itself, and the languages in which a user says what is wanted.
//!
//! Nothing here knows of a search, a key or another node: texts and attributes go in, yes, no and numbers
//! come out.

pub(crate) mod attributes;
pub(crate) mod expression;
pub(crate) mod facts;
pub(crate) mod need;
pub(crate) mod number;
pub(crate) mod requirement;
pub mod standard;
