//! Says in time that this node's credential runs out: without one no other node believes it. And says when it
//! is rather this machine's clock that is wrong.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use xtreem_net::{OutOfDate, date, date_at};
use xtreem_wire::{CredentialError, Member};

use crate::agent::Agent;

const DAY: u64 = 86_400;

/// From so many seconds before the end of a credential the operator is told, or from the last tenth of its
/// life if that is shorter (our guess: who issues for years is told a month before, who issues for a day some
/// hours).
const TOLD_BEFORE_MAX: u64 = 30 * DAY;

/// Longest time between two looks: a clock may be set at any time.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Between two lines of the log about the same (our guess: seldom enough to be read).
const TELL_EVERY: Duration = Duration::from_secs(DAY);

const RENEW: &str = "the VO's owner renews it with `xtreem vo renew`; then restart this agent";

/// How it stands with a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Good,
    Ending,
    Over,
    Early,
}

fn stage(member: &Member, now: u64) -> Stage {
    let life = member.not_after().saturating_sub(member.not_before());
    match member.check_time(now) {
        Err(CredentialError::NotYetValid { .. }) => Stage::Early,
        Err(_) => Stage::Over,
        Ok(()) if member.not_after() - now < TOLD_BEFORE_MAX.min(life / 10) => Stage::Ending,
        Ok(()) => Stage::Good,
    }
}

fn words(member: &Member, now: u64) -> Option<String> {
    let (from, until) = (date_at(member.not_before(), now), date_at(member.not_after(), now));
    let today = |beside| date_at(now, beside);
    match stage(member, now) {
        Stage::Good => None,
        Stage::Ending => Some(format!("this node's credential expires on {until}: {RENEW}")),
        Stage::Over => Some(format!(
            "this node's credential expired on {until} and it is {} by this machine's clock: no other node believes \
             this one. If the clock is right, {RENEW}",
            today(member.not_after())
        )),
        Stage::Early => Some(format!(
            "this node's credential is valid from {from} only and it is {} by this machine's clock, which is probably \
             wrong: set it",
            today(member.not_before())
        )),
    }
}

/// What others' dates say of this machine's clock, when nobody else is known.
fn clock(others: OutOfDate, contacts: usize, now: u64) -> Option<String> {
    let today = date(now);
    match others {
        _ if contacts > 0 => None,
        OutOfDate { early: 0, expired: 0 } => None,
        OutOfDate { early: 0, expired } => Some(format!(
            "by this machine's clock, which says {today}, all nodes that are heard ({expired}) have credentials that have \
             expired: this node's clock is probably wrong, so set it; if it is right, the VO's owner renews theirs with \
             `xtreem vo renew`"
        )),
        OutOfDate { early, expired } => Some(format!(
            "by this machine's clock, which says {today}, {early} of the {} nodes that are heard have credentials that are \
             not valid yet: this node's clock is probably wrong, so set it",
            early + expired
        )),
    }
}

/// What is wrong with the node's credential, or its clock, at this moment and what to do, in words.
pub(crate) fn troubles(agent: &Agent, contacts: usize) -> Vec<String> {
    let now = unix_now();
    let own = words(agent.net.identity().member(), now);
    own.into_iter().chain(clock(agent.net.out_of_date(), contacts, now)).collect()
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether dates part this node from the others: they do not believe its credential, or by its clock it does
/// not believe theirs. That it does not reach them is then no sign that they are gone.
pub(crate) fn is_out_of_date(agent: &Agent, contacts: usize) -> bool {
    let now = unix_now();
    !is_in_force(stage(agent.net.identity().member(), now))
        || clock(agent.net.out_of_date(), contacts, now).is_some()
}

fn is_in_force(stage: Stage) -> bool {
    matches!(stage, Stage::Good | Stage::Ending)
}

/// Until the next look: the end of the credential is not to pass unsaid.
fn next_look(member: &Member, now: u64) -> Duration {
    let ends_in = member.not_after().checked_sub(now).map(|left| Duration::from_secs(left + 1));
    ends_in.map_or(LOOK_EVERY, |ends_in| ends_in.min(LOOK_EVERY))
}

/// Tells the log: at once what is new, and once a day what lasts. Never returns.
pub(crate) async fn watch(agent: Arc<Agent>) {
    let (mut last, mut said) = (None, [None; 2]);
    loop {
        let now = unix_now();
        let member = agent.net.identity().member();
        let stage = stage(member, now);
        let is_new = last.replace(stage) != Some(stage);
        if is_due(&mut said[0], is_new, Instant::now())
            && let Some(trouble) = words(member, now)
        {
            if stage == Stage::Ending {
                tracing::warn!("{trouble}");
            } else {
                tracing::error!("{trouble}");
            }
        }
        let contacts = agent.node(|node, _, _| node.status().contacts).await.unwrap_or_default();
        if let Some(trouble) = clock(agent.net.out_of_date(), contacts, now)
            && is_due(&mut said[1], false, Instant::now())
        {
            tracing::error!("{trouble}");
        }
        tokio::time::sleep(next_look(member, unix_now())).await;
    }
}

fn is_due(said: &mut Option<Instant>, is_new: bool, now: Instant) -> bool {
    let is_due = is_new || said.is_none_or(|at| now.duration_since(at) >= TELL_EVERY);
    if is_due {
        *said = Some(now);
    }
    is_due
}

#[cfg(test)]
mod tests {
    use xtreem_net::{Roles, VoKey};

    use super::*;

    #[test]
    fn the_operator_is_told_a_month_or_a_tenth_of_its_life_before_a_credential_ends() {
        let vo = VoKey::create("test").unwrap();
        let issued = 1_800_000_000;
        let table: [(u32, i64, Stage, Option<&str>); 10] = [
            (3_650, 3_619, Stage::Good, None),
            (3_650, 3_621, Stage::Ending, Some("expires on 2037-01-12: the VO's owner renews it")),
            (365, 0, Stage::Good, None),
            (365, 334, Stage::Good, None),
            (365, 336, Stage::Ending, Some("expires on 2028-01-15")),
            (
                365,
                366,
                Stage::Over,
                Some(
                    "expired on 2028-01-15 08:00 UTC and it is 2028-01-16 08:00 UTC by this machine's clock",
                ),
            ),
            // Its life begins a day before it is issued.
            (9, 7, Stage::Good, None),
            (9, 9, Stage::Ending, Some("xtreem vo renew")),
            (9, 10, Stage::Over, Some("xtreem vo renew")),
            (
                9,
                -2,
                Stage::Early,
                Some("valid from 2027-01-14 08:00 UTC only and it is 2027-01-13 08:00 UTC"),
            ),
        ];
        for (days, after, expected, said) in table {
            let identity = vo.issue("n1", Roles::NODE, issued, days).unwrap();
            let now = issued.saturating_add_signed(after * DAY as i64);
            let case = format!("{days} days, after {after}");
            assert_eq!(stage(identity.member(), now), expected, "{case}");
            let words = words(identity.member(), now);
            assert_eq!(words.is_some(), said.is_some(), "{case}: {words:?}");
            assert!(
                said.is_none_or(|said| words.as_ref().is_some_and(|words| words.contains(said))),
                "{words:?}"
            );
        }
    }

    #[test]
    fn the_end_of_a_credential_is_looked_at_in_the_second_in_which_it_comes() {
        let vo = VoKey::create("test").unwrap();
        let identity = vo.issue("n1", Roles::NODE, 1_800_000_000, 9).unwrap();
        let member = identity.member();
        let end = member.not_after();
        for (now, seconds) in [(end - 100, 60), (end - 59, 60), (end - 7, 8), (end, 1), (end + 1, 60)] {
            assert_eq!(next_look(member, now), Duration::from_secs(seconds), "{now}");
        }
        assert!(is_in_force(stage(member, end)) && !is_in_force(stage(member, end + 1)));
        assert!(!is_in_force(stage(member, member.not_before() - 1)));
    }

    #[test]
    fn a_node_that_finds_everybody_out_of_date_doubts_its_clock() {
        let now = 1_800_000_000;
        let says = |early, expired, contacts| clock(OutOfDate { early, expired }, contacts, now);
        assert_eq!((says(0, 0, 0), says(3, 3, 1)), (None, None));
        for (early, expired, part) in [
            (0, 3, "which says 2027-01-15, all nodes that are heard (3) have credentials that have expired"),
            (2, 1, "2 of the 3 nodes that are heard have credentials that are not valid yet"),
        ] {
            let words = says(early, expired, 0).unwrap();
            assert!(words.contains(part) && words.contains("clock is probably wrong"), "{words}");
        }
    }

    #[test]
    fn the_log_is_told_what_is_new_at_once_and_what_lasts_once_a_day() {
        let (start, mut said) = (Instant::now(), None);
        assert!(is_due(&mut said, true, start));
        assert!(!is_due(&mut said, false, start + TELL_EVERY / 2));
        assert!(is_due(&mut said, true, start + TELL_EVERY / 2));
        assert!(!is_due(&mut said, false, start + TELL_EVERY));
        assert!(is_due(&mut said, false, start + TELL_EVERY * 3 / 2));
    }
}
