//! Ranks: each member of a collection a number of its own, from 0 to one less than there are.
//!
//! Two ways lead there: [`all`], in which everyone learns everyone, for few members, and [`sums`], which
//! counts along the ring and keeps as much as a logarithm of all. Both answer with a [`Standing`]. What a
//! replacement has of the one before it is its place in the order, so it gets the same rank.
//! `docs/protocols/ranks.md`. *Absent: what is done with ranks (`mesh`, `farm`), and who is a member.*

pub mod all;
#[cfg(test)]
mod play;
pub mod sums;

use minicbor::{Decode, Encode};

/// One numbering. Whoever names the same epoch means the same ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Epoch {
    /// Goes up with each request to number anew.
    #[n(0)]
    pub number: u32,
    /// Tells apart numberings of one number: the two sides of a partition, or before and after somebody came.
    #[n(1)]
    pub digest: u64,
}

/// Where a member stands in the numbering that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// None for one that the numbering leaves out.
    pub rank: Option<u32>,
    pub members: u32,
    pub epoch: Epoch,
    /// All that have a rank are known to be there, and nothing is known that would change one. False on each
    /// side of a partition.
    pub is_settled: bool,
}

/// A message by rank is not for this member, or nobody can tell. Whoever sent it asks anew who has the rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misaddressed {
    #[error("sent under another numbering")]
    OtherEpoch,
    #[error("this member has another rank")]
    OtherRank,
    #[error("no member has this rank")]
    NoSuchRank,
}

impl Standing {
    /// Whether a message that was sent to a rank of an epoch is for this member.
    pub fn accepts(&self, epoch: Epoch, rank: u32) -> Result<(), Misaddressed> {
        if epoch != self.epoch {
            Err(Misaddressed::OtherEpoch)
        } else if rank >= self.members {
            Err(Misaddressed::NoSuchRank)
        } else if self.rank != Some(rank) {
            Err(Misaddressed::OtherRank)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_for_another_epoch_or_rank_is_refused() {
        let epoch = Epoch { number: 1, digest: 7 };
        let standing = Standing { rank: Some(3), members: 5, epoch, is_settled: true };
        assert_eq!(standing.accepts(epoch, 3), Ok(()));
        assert_eq!(standing.accepts(Epoch { digest: 8, ..epoch }, 3), Err(Misaddressed::OtherEpoch));
        assert_eq!(standing.accepts(epoch, 4), Err(Misaddressed::OtherRank));
        assert_eq!(standing.accepts(epoch, 5), Err(Misaddressed::NoSuchRank));
    }
}
