//! Candidates for a placement to choose from, collected by a submission or by a recruiter.

use alloc::vec::Vec;

use xtreem_base::{Duration, Instant};

use crate::placement::Candidate;

/// Longest that candidates of a choice are collected. Shorter than the life of a hold, so that none has to be
/// renewed; our guess of what a user waits for a better place.
pub(crate) const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// How long it goes on when there are as many as needed. Our guess: the time-out of a visit.
pub(crate) const LOOK_ON: Duration = Duration::from_secs(1);
/// Candidates being collected for a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub candidates: Vec<Candidate>,
    pub most: usize,
    /// The choice is made with what is there then.
    pub until: Instant,
}
