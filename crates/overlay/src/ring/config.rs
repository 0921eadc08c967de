//! The numbers of the ring. Lent to every call, so that they cost a node no memory.

use xtreem_base::Duration;

/// Parameters of one ring; every member uses the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A *round*: both granters are asked and one row is refreshed in each, ±5 %. Our guess: a third of the
    /// lease, so that two questions may get lost.
    pub period: Duration,
    /// A question that is not answered by then is asked again. One and a half of the longest round trip in
    /// our simulations.
    pub answer_timeout: Duration,
    /// Questions in a row without an answer that make a peer count as silent. Where a twentieth of all
    /// messages gets lost, two make one in a hundred a false alarm, and each costs a lease: three.
    pub tries: u8,
    /// So long nothing that others tell of a silent peer is believed: it may speak for itself.
    pub hold_down: Duration,
    /// A lookup that has found no owner by then has failed.
    pub lookup_timeout: Duration,
    /// One step of a lookup: shorter than `answer_timeout`, as there are other ways.
    pub step_timeout: Duration,
    /// For so long an owner is granted its range at a time. Our guess: two and a half rounds.
    pub lease: Duration,
    /// Time from one look at the loads of others to the next.
    pub drift_period: Duration,
    /// Nobody moves while the fullest has less, in what its host counts (`Host::load`): to move costs a lease
    /// in which nobody answers. Our guess: a megabyte.
    pub drift_load_min: u64,
    /// Who joins and owns nothing by then joins anew.
    pub join_timeout: Duration,
    /// Wait before a lookup goes another way, when it met nobody who could answer.
    pub retry_pause: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            period: Duration::from_secs(2),
            answer_timeout: Duration::from_millis(500),
            tries: 3,
            hold_down: Duration::from_secs(4),
            lookup_timeout: Duration::from_secs(15),
            step_timeout: Duration::from_millis(400),
            lease: Duration::from_secs(5),
            drift_period: Duration::from_secs(60),
            drift_load_min: 1 << 20,
            join_timeout: Duration::from_secs(20),
            retry_pause: Duration::from_millis(300),
        }
    }
}

impl Config {
    /// What a granter adds to a promise: clocks may differ in speed by a twentieth.
    pub(super) fn drift(&self) -> Duration {
        Duration::from_micros(self.lease.as_micros() / 20)
    }

    /// Who has had no lease and no new neighbour for so long claims what lies behind its predecessor: every
    /// grant of those who lost theirs at the same time has ended, too.
    pub(super) fn founding_after(&self) -> Duration {
        self.lease * 2
    }

    /// So long before a gap may be taken over those who stand there are looked for: by then whoever lost its
    /// neighbours has found others. Our guess: two questions.
    pub(super) fn gap_search(&self) -> Duration {
        self.answer_timeout * 2
    }

    /// Who is given something needs time for two questions to claim it in. Our guess.
    pub(super) fn gift_min(&self) -> Duration {
        Duration::from_micros(self.lease.as_micros() / 2)
    }

    /// Who was not called for so long was paused: there is a call in every round.
    pub(super) fn pause_limit(&self) -> Duration {
        self.period + self.answer_timeout
    }

    /// Who spoke of a range before this one is the floor of a gap for so long: nodes without a lease pass it
    /// on, so it may speak once in two rounds.
    pub(super) fn below_limit(&self) -> Duration {
        self.predecessor_limit() + self.period
    }

    /// A predecessor that has said nothing for so long is not told to others: it asks once a round, and again
    /// when the answer is late.
    pub(super) fn predecessor_limit(&self) -> Duration {
        self.period + self.answer_timeout * u64::from(self.tries)
    }
}
