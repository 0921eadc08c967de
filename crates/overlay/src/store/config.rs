//! The numbers of the store. Lent to every call, so that they cost a node no memory.

use xtreem_base::Duration;

/// Parameters of one store; every member uses the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A *round*: copies are compared and one kind of stray copies is looked after in each, ±5 %. That of the
    /// ring.
    pub period: Duration,
    /// What is not answered by then is sent again. Twice the longest round trip in our simulations.
    pub answer_timeout: Duration,
    /// Questions to one owner before it is looked for anew.
    pub tries: u8,
    /// Wait when nobody could answer, before the owner is asked again.
    pub retry_pause: Duration,
    /// An operation that has no answer by then has failed.
    pub deadline: Duration,
    /// So long after its owner last confirmed it a copy is kept before this node asks whether it is needed.
    /// Our guess: much longer than it takes to take a range over.
    pub keep: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            period: Duration::from_secs(2),
            answer_timeout: Duration::from_millis(700),
            tries: 3,
            retry_pause: Duration::from_millis(300),
            deadline: Duration::from_secs(20),
            keep: Duration::from_secs(30),
        }
    }
}
