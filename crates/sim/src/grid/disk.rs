//! A host's disk: what its node told it to keep. It outlives the agent, but for the writes that were under
//! way.

use std::collections::{BTreeMap, VecDeque};

use xtreem_allocation::{Found, Kept};
use xtreem_base::{AppId, Duration, Handle, Instant, Rng};
use xtreem_node::Saved;

use super::host::{HostNo, host_of};

/// From the order to the synced write: a solid-state disk, and a rotating one that is busy (our guess).
const SYNC_MILLIS: (u64, u64) = (1, 40);

/// One thing to be written.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Role { number: u64, app: AppId, what: Option<Box<Kept>> },
    Reference(Vec<Handle>),
}

/// What is written, and what is being written.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Of each application, and when it was written.
    kept: BTreeMap<AppId, (Kept, Instant)>,
    reference: Vec<Handle>,
    under_way: VecDeque<Write>,
    /// When its host was last known to run.
    last_up: Instant,
}

impl Disk {
    pub fn sync_time(rng: &mut Rng) -> Duration {
        Duration::from_millis(rng.between(SYNC_MILLIS.0, SYNC_MILLIS.1))
    }

    pub fn order(&mut self, write: Write) {
        self.under_way.push_back(write);
    }

    /// The oldest order is carried out; says its number.
    pub fn sync(&mut self, now: Instant) -> Option<u64> {
        match self.under_way.pop_front()? {
            Write::Role { number, app, what } => {
                match what {
                    Some(kept) => self.kept.insert(app, (*kept, now)),
                    None => self.kept.remove(&app),
                };
                Some(number)
            }
            Write::Reference(peers) => {
                self.reference = peers;
                None
            }
        }
    }

    /// The agent or its machine is gone: of what was under way only the first so many arrive.
    pub fn lose_power(&mut self, now: Instant, rng: &mut Rng) {
        let written = rng.below(self.under_way.len() as u32 + 1);
        (0..written).for_each(|_| {
            self.sync(now);
        });
        self.under_way.clear();
        self.last_up = now;
    }

    pub fn has(&self, app: AppId) -> bool {
        self.kept.contains_key(&app)
    }

    /// The record that ended the application is here.
    pub fn has_stopped(&self, app: AppId) -> bool {
        matches!(self.kept.get(&app), Some((Kept::Stopped { .. }, _)))
    }

    /// What the next agent finds: itself under its new handle, all others under those that they had.
    pub fn read(&self, now: Instant, number: HostNo, me: Handle) -> Saved {
        let mut own = |peer: Handle| if host_of(peer) == number { me } else { peer };
        let found = self.kept.values().cloned().map(|(mut kept, written)| {
            kept.map_handles(&mut own);
            Found { kept, age: now.since(written) }
        });
        Saved { found: found.collect(), reference: self.reference.clone(), away: now.since(self.last_up) }
    }
}
