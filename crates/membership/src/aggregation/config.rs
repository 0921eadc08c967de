//! The numbers of the protocol. Lent to every call, so that they cost a node no memory.

use xtreem_base::Duration;

use super::epochs::{Age, ROUND};

/// Parameters of aggregation; every node of a grid uses the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Time from one exchange to the next, ±5 %: CYCLON's, whose fresh peers it uses up.
    pub period: Duration,
    /// A peer that has not answered by then is given up for this round. As in CYCLON.
    pub reply_timeout: Duration,
    /// Rounds of an epoch: 30 in the paper (§7). The size of 100,000 nodes needs 18 from a common start: the
    /// spread shrinks to 0.30 in each, from 100,000 to one ten-thousandth of the mean. From 4 to 255.
    pub rounds: u8,
    /// Peers tried in one round at most: 3 as in CYCLON.
    pub tries: u8,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            period: Duration::from_secs(10),
            reply_timeout: Duration::from_secs(1),
            rounds: 30,
            tries: 3,
        }
    }
}

impl Config {
    /// When an epoch is over.
    pub(super) fn age_max(&self) -> Age {
        Age::from(self.rounds.max(4)) * ROUND
    }

    /// From this age on an epoch's averages count, and its end may be heard from a single peer: a liar can
    /// cut an epoch by a quarter.
    pub(super) fn ripe_age(&self) -> Age {
        self.age_max() / 4 * 3
    }

    /// When bounds are proposed: averages have settled by then, and 12 of 30 rounds are left to spread them.
    pub(super) fn proposal_age(&self) -> Age {
        self.age_max() / 5 * 3
    }
}
