//! What a collection is: its kind and the numbers that belong to it, checked once.

use xtreem_base::Duration;

use crate::mesh::Shape;
use crate::store::DEGREE_MAX;

/// Longest lease of a task.
pub const TASK_LEASE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Shortest lease of a task: a worker says three times in each that it is at it, and a word takes a while.
pub const TASK_LEASE_MIN: Duration = Duration::from_secs(3);
/// Longest time that a task may be limited to.
pub const TASK_TIME_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Shortest time that a task may be limited to: to hand it out and to tell what came of it takes a while.
pub const TASK_TIME_MIN: Duration = Duration::from_secs(1);
/// Attempts at a task at most.
pub const FAILURES_MAX: u16 = 1_000;

/// Why a collection cannot be of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    #[error("{0} copies beside the owner's: {DEGREE_MAX} are possible")]
    Copies(u8),
    #[error("a lease of {0} of a task: {TASK_LEASE_MIN} to {TASK_LEASE_MAX} are possible")]
    Lease(Duration),
    #[error("{0} for a task: {TASK_TIME_MIN} to {TASK_TIME_MAX} are possible")]
    Time(Duration),
    #[error("{0} attempts at a task: 1 to {FAILURES_MAX} are possible")]
    Failures(u16),
}

/// Copies of an item beside its owner's: at most [`DEGREE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies(u8);

impl Copies {
    /// # Errors
    /// More than [`DEGREE_MAX`].
    pub fn new(copies: u8) -> Result<Copies, KindError> {
        if copies > DEGREE_MAX { Err(KindError::Copies(copies)) } else { Ok(Copies(copies)) }
    }

    /// The number itself.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// On what terms a farm hands out its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    lease: Duration,
    failures_max: u16,
    time_max: Option<Duration>,
}

impl Terms {
    /// `lease`: a worker that says for so long nothing of its task has lost it. `failures_max`: attempts that
    /// fail before a task is given up. `time_max`: whoever has a task in hand for so long has failed at it.
    ///
    /// # Errors
    /// A number that is too small or too large.
    pub fn new(lease: Duration, failures_max: u16, time_max: Option<Duration>) -> Result<Terms, KindError> {
        if !(TASK_LEASE_MIN..=TASK_LEASE_MAX).contains(&lease) {
            return Err(KindError::Lease(lease));
        }
        if !(1..=FAILURES_MAX).contains(&failures_max) {
            return Err(KindError::Failures(failures_max));
        }
        if let Some(time) = time_max.filter(|time| !(TASK_TIME_MIN..=TASK_TIME_MAX).contains(time)) {
            return Err(KindError::Time(time));
        }
        Ok(Terms { lease, failures_max, time_max })
    }

    /// A worker that says for so long nothing of its task has lost it.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Attempts that fail before a task is given up.
    pub fn failures_max(&self) -> u16 {
        self.failures_max
    }

    /// Whoever has a task in hand for so long has failed at it. None: it may take any time.
    pub fn time_max(&self) -> Option<Duration> {
        self.time_max
    }
}

/// What is near in a collection of [`Kind::Nearest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Who has most items in common.
    Items,
    /// Whose number differs least.
    Number,
}

/// What the members of a collection are to each other. All of them say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Keys in their order, spread over the members by load.
    Ring {
        /// Of an item, where its writer does not say it.
        copies: Copies,
    },
    /// Keys by their hash, members at random places.
    Chord {
        /// Of an item, where its writer does not say it.
        copies: Copies,
    },
    /// Each member a number from 0 on.
    Ranks,
    /// Ranks laid out in rows and columns.
    Mesh(Shape),
    /// The member of the lowest rank hands out tasks, the others do them.
    Farm {
        /// Of a task's item.
        copies: Copies,
        /// On which tasks are handed out.
        terms: Terms,
    },
    /// Those that are most like each member.
    Nearest(Metric),
}

impl Kind {
    /// Copies of what lies on the collection's ring. None: it has no ring for items.
    pub fn copies(&self) -> Option<u8> {
        match self {
            Kind::Ring { copies } | Kind::Chord { copies } | Kind::Farm { copies, .. } => Some(copies.get()),
            Kind::Ranks | Kind::Mesh(_) | Kind::Nearest(_) => None,
        }
    }

    /// Whether each member has a rank.
    pub fn has_ranks(&self) -> bool {
        matches!(self, Kind::Ranks | Kind::Mesh(_) | Kind::Farm { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_collection_can_keep_are_refused() {
        assert!(Copies::new(7).is_ok());
        assert_eq!(Copies::new(8), Err(KindError::Copies(8)));
        let terms = |secs, failures| Terms::new(Duration::from_secs(secs), failures, None);
        let timed = |time| Terms::new(Duration::from_secs(30), 4, Some(time));
        assert!(timed(TASK_TIME_MIN).is_ok() && timed(TASK_TIME_MAX).is_ok());
        assert_eq!(timed(Duration::ZERO), Err(KindError::Time(Duration::ZERO)));
        assert!(terms(3, 1).is_ok() && terms(86_400, 1_000).is_ok());
        assert_eq!(terms(2, 4), Err(KindError::Lease(Duration::from_secs(2))));
        assert_eq!(terms(86_401, 4), Err(KindError::Lease(Duration::from_secs(86_401))));
        assert_eq!(terms(30, 0), Err(KindError::Failures(0)));
        assert_eq!(terms(30, 1_001), Err(KindError::Failures(1_001)));
    }
}
