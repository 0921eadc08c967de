//! The fullest nodes that still have room, so that others stay whole for who needs much of one (best fit).

use alloc::vec::Vec;

use xtreem_base::Rng;
use xtreem_discovery::Free;

use super::{Candidate, Choice, Placement, Wishes, surplus};

#[derive(Clone, Copy, Debug)]
pub struct Pack;

/// How much is free, in comparable parts: 1 core, 2 GiB of memory and 32 GiB of disk weigh the same, which is
/// about how machines are built. Disk comes in to tell two of the same cores and memory apart. Our guess.
fn weight(free: &Free) -> u64 {
    let cores = u64::from(free.cores_milli) << 10;
    // A thousandth of a core weighs as much as a thousandth of 2 GiB, 2 MiB, here in 1/1,024.
    let memory = free.memory_bytes >> 11;
    let disk = free.disk_bytes >> 15;
    cores.saturating_add(memory).saturating_add(disk)
}

impl Placement for Pack {
    fn wishes(&self, wanted: u16) -> Wishes {
        Wishes { surplus: surplus(wanted), ..Wishes::default() }
    }

    fn choose(&self, choice: &Choice<'_>, _: &mut Rng) -> Vec<usize> {
        choice.best_by_key(|candidate: &Candidate| weight(&candidate.facts.free))
    }
}
