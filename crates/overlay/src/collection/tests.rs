//! Members of one collection on a network of their own: messages are written and read as on the wire, get
//! lost and late; members die and are replaced.

extern crate std;

mod farms;
mod hostile;
mod parts;
mod ranks;
mod rings;
mod tables;
mod world;

use std::format;
use std::string::String;
use std::vec::Vec;

use xtreem_base::{Duration, Handle};

use super::*;
use world::World;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn copies(copies: u8) -> Copies {
    Copies::new(copies).expect("possible")
}
