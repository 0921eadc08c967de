//! The numbers of the protocol.

use xtreem_base::Duration;

use super::message::PEERS_MAX;
use super::view::VIEW_MAX;

/// Exchanges that a node begins in a round at most, whatever is configured.
pub const EXCHANGES_MAX: u8 = 2;

/// Parameters of one structure; every member uses the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Peers that a node keeps, of all sides together. At most [`VIEW_MAX`]: more counts as that.
    pub view_size: u8,
    /// How many of these are not the nearest: they lie spread over all distances, so that whoever is far from its
    /// place finds it in a few steps.
    pub far: u8,
    /// Descriptors in a message; at most [`PEERS_MAX`].
    pub message_peers: u8,
    /// One round: that of the ring's maintenance.
    pub period: Duration,
    /// Exchanges begun in a round, evenly spread; at most [`EXCHANGES_MAX`].
    pub exchanges: u8,
    /// A question without an answer is repeated after that: longer than a round trip around the world.
    pub answer_timeout: Duration,
    /// A peer that has not answered so many times is silent. Of three times a loss of 1 % each way takes one
    /// exchange in 125,000.
    pub tries: u8,
    /// How many of the nearest, on each side, are watched for [`Event::Nearest`](super::Event::Nearest).
    pub nearest: u8,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            view_size: 40,
            far: 8,
            message_peers: 20,
            period: Duration::from_secs(2),
            exchanges: 2,
            answer_timeout: Duration::from_millis(400),
            tries: 3,
            nearest: 1,
        }
    }
}

impl Config {
    pub(super) fn view_limit(&self) -> usize {
        usize::from(self.view_size).clamp(2, VIEW_MAX)
    }

    /// Of the nearest, on each of so many sides.
    pub(super) fn share(&self, sides: usize) -> usize {
        let far = usize::from(self.far).min(self.view_limit() / 2);
        ((self.view_limit() - far) / sides).max(1)
    }

    pub(super) fn message_limit(&self) -> usize {
        usize::from(self.message_peers).clamp(1, PEERS_MAX)
    }

    pub(super) fn exchange_limit(&self) -> u8 {
        self.exchanges.clamp(1, EXCHANGES_MAX)
    }

    /// From one exchange to the next.
    pub(super) fn pace(&self) -> Duration {
        Duration::from_micros(self.period.as_micros() / u64::from(self.exchange_limit()))
    }
}
