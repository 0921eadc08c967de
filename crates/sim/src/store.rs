//! The store on the ring, under faults: what was acknowledged stays, and one version has one value.
//!
//! Tests only: a world of a few dozen nodes, each with the partial view, the ring and the store of the
//! product, on links that lose messages, with machines that pause and die.

mod node;
mod tests;
mod world;
