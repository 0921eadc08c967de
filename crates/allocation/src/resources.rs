//! What a slot needs and what a node offers.

use core::fmt;

use minicbor::{Decode, Encode};

/// An amount of each resource that is held, allocated or offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Resources {
    /// Thousandths of a processor core.
    #[n(0)]
    pub cores_milli: u32,
    #[n(1)]
    pub memory_bytes: u64,
    #[n(2)]
    pub disk_bytes: u64,
}

impl Resources {
    /// What a slot needs when that is not said: 1 core, 256 MiB (docs/design/allocation.md, "Slots").
    pub const SLOT_DEFAULT: Resources =
        Resources { cores_milli: 1_000, memory_bytes: 256 << 20, disk_bytes: 0 };

    /// True when every resource of `part` fits into `self`.
    pub fn covers(&self, part: &Resources) -> bool {
        self.cores_milli >= part.cores_milli
            && self.memory_bytes >= part.memory_bytes
            && self.disk_bytes >= part.disk_bytes
    }

    /// The sum, each resource saturating: a sum that is too large can only refuse a hold.
    pub fn plus(&self, other: &Resources) -> Resources {
        Resources {
            cores_milli: self.cores_milli.saturating_add(other.cores_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
        }
    }

    /// What is left of `self` without `other`, each resource at least zero.
    pub fn minus(&self, other: &Resources) -> Resources {
        Resources {
            cores_milli: self.cores_milli.saturating_sub(other.cores_milli),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            disk_bytes: self.disk_bytes.saturating_sub(other.disk_bytes),
        }
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:03} cores, {} MiB memory, {} MiB disk",
            self.cores_milli / 1_000,
            self.cores_milli % 1_000,
            self.memory_bytes >> 20,
            self.disk_bytes >> 20
        )
    }
}
