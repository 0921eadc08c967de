//! The way to a rank: each step leads to a member that stands nearer before it.

use xtreem_base::Handle;

use super::{Next, Sums};

/// Where a rank is, as far as one member can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// This member has it, by what is counted now.
    Here,
    /// This one is nearer.
    Ahead(Handle),
    /// It is not known where it is, or nobody has it.
    Unknown,
}

impl Sums {
    /// Whom to ask for a rank: the farthest that does not stand behind it. From behind it the way leads to
    /// the last member, which knows the first one.
    pub fn toward(&self, rank: u32) -> Toward {
        let Some((own, members)) = self.counted() else { return Toward::Unknown };
        if rank == own {
            return Toward::Here;
        }
        if rank >= members {
            return Toward::Unknown;
        }
        if let Next::First(first) = self.next {
            return if rank < own { Toward::Ahead(first) } else { Toward::Unknown };
        }
        let most = if rank > own { rank - own } else { u32::MAX };
        let levels = (0..self.rows.len() as u8).rev();
        let mut rows = levels.filter_map(|level| self.rows.row(level));
        let row = rows.find(|(_, sum)| sum.members <= most);
        row.map_or(Toward::Unknown, |(peer, _)| Toward::Ahead(peer))
    }
}
