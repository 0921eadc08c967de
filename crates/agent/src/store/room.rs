//! Room in the store, promised before bytes are written and given back unless they stay.

use std::sync::Arc;

use super::{Shared, Store};

/// No room: more than the store's bound would be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    pub wanted_bytes: u64,
    pub free_bytes: u64,
}

impl Store {
    /// Adds to `room`. Fetches that nobody goes on with give way first.
    pub(super) fn grow(&self, room: &mut Room, more_bytes: u64) -> Result<(), NoRoom> {
        loop {
            match room.grow(more_bytes) {
                Err(_) if self.idle.give_up_oldest() => {}
                grown => return grown,
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Room {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Room {
    pub fn empty(shared: &Arc<Shared>) -> Room {
        Room { shared: Arc::clone(shared), bytes: 0 }
    }

    pub fn grow(&mut self, more_bytes: u64) -> Result<(), NoRoom> {
        let mut index = self.shared.index();
        let free_bytes = self.shared.total_max_bytes.saturating_sub(index.used_bytes);
        if more_bytes > free_bytes {
            return Err(NoRoom { wanted_bytes: self.bytes.saturating_add(more_bytes), free_bytes });
        }
        index.used_bytes += more_bytes;
        self.bytes += more_bytes;
        Ok(())
    }

    /// The bytes stay used: a blob accounts for them from here on.
    pub fn keep(&mut self) {
        self.bytes = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.index().used_bytes -= self.bytes;
    }
}
