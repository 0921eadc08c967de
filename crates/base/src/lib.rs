//! What every protocol core stands on: its one shape ([`Core`]), integer time, identities, seeded randomness,
//! ordered deadlines.
//!
//! Nothing here knows a clock, a socket or the operating system; the driver lends all of them as values.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod coordinate;
mod core;
mod deadlines;
mod handle;
mod id;
mod rng;
mod time;
mod travel;

pub use self::core::{Call, Core, Driven, Events, Sampler, Sink, Wake};
pub use coordinate::{AXES, Coordinate};
pub use deadlines::Deadlines;
pub use handle::{Handle, HandleTable};
pub use id::{AppId, Digest, NodeId, ParseIdError};
pub use rng::{Rng, mix};
pub use time::{Duration, Instant};
pub use travel::{Plane, Travel};
