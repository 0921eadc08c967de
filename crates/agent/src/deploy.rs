//! Files between nodes: the pieces service.
//!
//! A node asks another what it has of a content and then for pieces of it, over one stream of QUIC. Every
//! piece is verified against the content's hash before it is kept, so it does not matter who sent it; and
//! every node serves what it has so far, so that the first source's upload stays near one copy.

mod fetch;
pub(crate) mod protocol;
mod serve;

pub(crate) use fetch::{Missing, Peers, Reader, Writer, fetch_all};
pub(crate) use serve::serve;

#[cfg(test)]
mod tests;
