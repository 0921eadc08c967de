//! The numbers of a collection of an application. Lent to every call.
//!
//! Programs wait for their collection when they start, and there are few members: rounds are shorter here
//! than those of the grid.

use xtreem_base::Duration;

use super::ALL_MAX;
use super::kind::Kind;
use crate::{farm, overlay, ranks, ring, store, tman};

/// So many of the nearest are watched: a change among them is told. Our guess.
const NEAREST_WATCHED: u8 = 8;

/// Parameters of one collection; every member uses the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Of the partial view.
    pub view: xtreem_membership::Config,
    /// Of the ring and of what lies on it.
    pub overlay: overlay::Config,
    /// Of ranks where everyone knows everyone.
    pub all: ranks::all::Config,
    /// Of ranks that are counted along the ring.
    pub sums: ranks::sums::Config,
    /// Of a farm. [`Config::of`] has the lease and the attempts of its kind.
    pub farm: farm::Config,
    /// Of the nearest.
    pub nearest: tman::Config,
    /// A question to another member is repeated after that, then twice that, up to four times that. Our
    /// guess: longer than a round trip around the world.
    pub ask_timeout: Duration,
    /// A question without an answer has failed then. Our guess: longer than it takes the next farmer to take
    /// over when nothing is in work.
    pub ask_deadline: Duration,
    /// A farm whose members are not all there after so long has its farmer from among those that are. Our
    /// guess: programs of one application start within this time, or much later.
    pub patience: Duration,
    /// Where more members are expected, ranks are counted along a ring. At most [`ALL_MAX`]: more counts as
    /// that.
    pub count_above: u32,
    /// Neighbours of a mesh are looked for so often where ranks are counted along the ring. Our guess.
    pub refresh: Duration,
}

impl Config {
    /// As [`Config::default`], with what the kind says itself.
    pub fn of(kind: &Kind) -> Config {
        let mut config = Config::default();
        if let Kind::Farm { terms, .. } = kind {
            config.farm.lease = terms.lease();
            config.farm.failures_max = terms.failures_max();
            config.farm.time_max = terms.time_max();
        }
        config
    }
}

impl Default for Config {
    /// All periods are our guess: a ring of a few members is there within ten seconds, ranks within three.
    /// What is asked several times is asked within its round, or nobody would ever count as silent.
    fn default() -> Self {
        let round = Duration::from_millis(700);
        let order = tman::Config {
            period: round,
            answer_timeout: Duration::from_millis(340),
            tries: 2,
            ..tman::Config::default()
        };
        Config {
            view: xtreem_membership::Config {
                period: Duration::from_secs(1),
                reply_timeout: Duration::from_millis(500),
                ..xtreem_membership::Config::default()
            },
            overlay: overlay::Config {
                order: order.clone(),
                ring: ring::Config {
                    period: round,
                    // A late answer counts for nothing here: longer than a round trip around the world.
                    answer_timeout: Duration::from_millis(400),
                    hold_down: Duration::from_millis(1_400),
                    lookup_timeout: Duration::from_secs(10),
                    // Three and a half rounds: machines that run programs are busy.
                    lease: Duration::from_millis(2_500),
                    drift_period: Duration::from_secs(30),
                    join_timeout: Duration::from_secs(8),
                    ..ring::Config::default()
                },
                store: store::Config { period: round, ..store::Config::default() },
                ..overlay::Config::default()
            },
            all: ranks::all::Config {
                period: Duration::from_millis(500),
                reply_timeout: Duration::from_millis(140),
                ..ranks::all::Config::default()
            },
            sums: ranks::sums::Config {
                period: round,
                doubt: Duration::from_secs(4),
                ..ranks::sums::Config::default()
            },
            farm: farm::Config {
                reply_timeout: Duration::from_millis(500),
                rest: Duration::from_millis(500),
                rest_max: Duration::from_secs(5),
                reload: Duration::from_secs(15),
                merge: Duration::from_secs(45),
                ..farm::Config::default()
            },
            nearest: tman::Config { nearest: NEAREST_WATCHED, ..order },
            ask_timeout: Duration::from_millis(500),
            ask_deadline: Duration::from_secs(15),
            patience: Duration::from_secs(10),
            count_above: ALL_MAX,
            refresh: Duration::from_secs(2),
        }
    }
}
