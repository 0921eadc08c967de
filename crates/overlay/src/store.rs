//! What lies on the ring: items by key, their copies, and who answers for them.
//!
//! Source: replication on successors as in DHash and PAST (Dabek and others: Wide-area cooperative storage
//! with CFS, SOSP 2001), with leased ranges, so that at most one node answers for a key. The protocol is in
//! `docs/protocols/store.md`.

mod item;
mod list;
mod shelf;

pub use item::{
    DEGREE_MAX, Item, LEASE_MAX, RequestId, Sent, Stamp, VALUE_MAX, Value, ValueTooLong, Version, Writer,
    Written, weight,
};
pub use shelf::{
    BYTES_MAX, ITEMS_MAX, MEMBER_BYTES_MAX, MEMBER_ITEMS_MAX, Merged, PAGE_MAX, Page, Refused, Shelf, Sum,
};
