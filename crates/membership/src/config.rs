//! The numbers of the protocol. Lent to every call, so that they cost a node no memory.

use xtreem_base::Duration;

use crate::message::PEERS_MAX;
use crate::view::VIEW_MAX;

/// The longest walk that a node agrees to pass on; the paper's walks are as long as the mean path (§4.3).
pub(crate) const WALK_TTL_MAX: u8 = 16;

/// Parameters of one collection; every member uses the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Neighbours that a node knows; 20 from the paper (§4). At most [`VIEW_MAX`]: more counts as that.
    pub view_size: u8,
    /// Descriptors in an exchange, the sender's own included; 8 from the paper. At most [`PEERS_MAX`].
    pub shuffle_len: u8,
    /// Time from one shuffle to the next, ±5 %: 10 s keeps dead links below 2 % while sessions last 17
    /// minutes or more (measured: rule "period ≤ 1 % of the mean session time").
    pub period: Duration,
    /// A contact that has not answered by then is dropped. Six times the longest latency in our simulations.
    pub reply_timeout: Duration,
    /// Contacts tried in one round at most; our guess: it makes dead links go away about three times faster.
    pub retries: u8,
    /// Hops of a join walk; the mean path of 100,000 nodes is below 4, and one more costs little. At most 16.
    pub walk_ttl: u8,
    /// An unanswered join is repeated after that: longer than a walk of six hops and its answer.
    pub join_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            view_size: 20,
            shuffle_len: 8,
            period: Duration::from_secs(10),
            reply_timeout: Duration::from_secs(1),
            retries: 3,
            walk_ttl: 5,
            join_timeout: Duration::from_secs(2),
        }
    }
}

impl Config {
    pub(crate) fn view_limit(&self) -> usize {
        usize::from(self.view_size).clamp(1, VIEW_MAX)
    }

    pub(crate) fn shuffle_limit(&self) -> usize {
        usize::from(self.shuffle_len).clamp(1, PEERS_MAX)
    }

    pub(crate) fn walk_limit(&self) -> u8 {
        self.walk_ttl.min(WALK_TTL_MAX)
    }
}
