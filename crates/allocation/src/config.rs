//! Times of the protocol. Reasons: docs/design/allocation.md. Tests of other values have no reason to exist.

use xtreem_base::Duration;

use crate::placement::Placements;

/// All limits are durations on each node's own monotonic clock.
#[derive(Clone, Debug)]
pub struct Config {
    /// Life of a hold that nobody renews (docs/design/allocation.md, "Allocation").
    pub hold: Duration,
    /// A submission renews its holds this often: three tries within one life.
    pub renew_period: Duration,
    /// Pause before a submission that found too few nodes tries again: drawn between half of this and this,
    /// which doubles with every attempt ...
    pub back_off: Duration,
    /// ... up to this. Both our guess: a search takes up to 10 s, programs run for minutes.
    pub back_off_max: Duration,
    /// An allocation lapses whose program has neither started nor come nearer to its start for so long
    /// (docs/design/allocation.md, "Allocation").
    pub start_limit: Duration,
    /// A claim is announced this often (docs/design/allocation.md, "Claims").
    pub claim_period: Duration,
    /// Others take over after this time without a claim ...
    pub claim_silence: Duration,
    /// ... and this much later for every live watcher before them.
    pub claim_place: Duration,
    /// A confirm or an announcement without a reply is sent again after this. Our guess: a QUIC handshake and
    /// a round trip between continents.
    pub reply_timeout: Duration,
    /// How long a new holder waits for neighbours that stay silent before it starts its program. Our guess.
    pub announce_limit: Duration,
    /// How long a recruiter waits for the guardians' newest record. Our guess.
    pub record_check: Duration,
    /// How long it waits for what other holders tell, where that decides who can be put beside them. Our
    /// guess: asked four times, one in 20,000 stays unknown at 4 % loss each way.
    pub facts_limit: Duration,
    /// How long a recruiter that found nobody waits before it searches again. Our guess.
    pub search_pause: Duration,
    /// How long the holder of a slot may stay unknown before the slot counts as lost. Our guess: several
    /// rounds of asking.
    pub locate_limit: Duration,
    /// Old holders are probed this often ...
    pub older_period: Duration,
    /// ... for this long, and then ...
    pub older_eager: Duration,
    /// ... this often ...
    pub older_period_late: Duration,
    /// ... for this long. Stopped records are kept as long.
    pub keep: Duration,
    /// Time a node waits after a pause for word of newer epochs before it recruits. Our guess.
    pub resume_quiet: Duration,
    /// A provisional guardian that no holder ever spoke to forgets the application after this.
    pub guardian_lapse: Duration,
    /// A node that has left an application still answers for it this long. Our guess: longer than most splits
    /// of a few minutes, short enough to bound memory.
    pub former_keep: Duration,
    /// A role that came back from the disk wakes no earlier: who replaced this node has asked for it by then.
    /// Longer than [`Config::older_period_late`].
    pub restored_quiet: Duration,
    /// ... and waits no longer for partners that stay silent. Our guess: machines of a site boot within it.
    pub restored_limit: Duration,
    /// A program that failed this often ...
    pub failures_max: usize,
    /// ... within this time is failed for good (docs/design/allocation.md, "Failures of a program").
    pub failures_window: Duration,
    /// Pause before a program that ended is started again; doubled each time ...
    pub restart_pause: Duration,
    /// ... up to this. Both our guess: nobody waits long for a program that fails once, and one whose
    /// database is away for hours costs next to nothing.
    pub restart_pause_max: Duration,
    /// How long a node takes no slot of an application that it could not start, and none at all when the
    /// whole node is in trouble. Our guess: what a disk needs to be cleaned by hand, or a crowd of processes
    /// to end.
    pub avoid: Duration,
    /// The placements that this node knows, a site's own among them.
    pub placements: Placements,
}

impl Default for Config {
    fn default() -> Self {
        let secs = Duration::from_secs;
        let millis = Duration::from_millis;
        Config {
            hold: secs(10),
            renew_period: secs(3),
            back_off: secs(1),
            back_off_max: secs(15),
            start_limit: secs(60),
            claim_period: secs(1),
            claim_silence: secs(3),
            claim_place: secs(2),
            reply_timeout: millis(700),
            announce_limit: millis(1_200),
            record_check: millis(600),
            facts_limit: millis(1_200),
            search_pause: secs(2),
            locate_limit: secs(4),
            older_period: secs(1),
            older_eager: secs(120),
            older_period_late: secs(5),
            keep: secs(24 * 3_600),
            resume_quiet: millis(1_500),
            guardian_lapse: secs(60),
            former_keep: secs(600),
            restored_quiet: secs(6),
            restored_limit: secs(20),
            failures_max: 5,
            failures_window: secs(60),
            restart_pause: millis(500),
            restart_pause_max: secs(60),
            avoid: secs(60),
            placements: Placements::default(),
        }
    }
}
