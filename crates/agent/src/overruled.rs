//! What this node wrote on the ring, and what another side of a split has written over: its owner is told.

use std::time::{Duration, Instant};

use xtreem_overlay::store::{Version, Winner};

/// Lines of the log in one [`SPAN`]: others say so, and may say it of thousands of keys. Our guess.
const LINES_MAX: u32 = 20;
const SPAN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Overruled {
    begun: Option<Instant>,
    lines: u32,
}

impl Overruled {
    pub(crate) fn tell(&mut self, version: Version, winner: &Winner) {
        if !self.may_say(Instant::now()) {
            return;
        }
        let (key, theirs, writer) =
            (String::from_utf8_lossy(winner.key.as_bytes()), winner.stamp.version, winner.writer);
        tracing::warn!(
            "ring: what this node wrote at {:?} as version {version} has lost against {theirs} of {writer}",
            key.trim_start_matches(char::is_control)
        );
        if self.lines == LINES_MAX {
            tracing::warn!("ring: more has lost; the next lines of this come in {} s", SPAN.as_secs());
        }
    }

    fn may_say(&mut self, now: Instant) -> bool {
        if self.begun.is_none_or(|begun| now.duration_since(begun) >= SPAN) {
            (self.begun, self.lines) = (Some(now), 0);
        }
        self.lines = self.lines.saturating_add(1);
        self.lines <= LINES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_losses_fills_no_log() {
        let (mut overruled, start) = (Overruled::default(), Instant::now());
        let said = (0..1_000).filter(|_| overruled.may_say(start)).count();
        assert_eq!(said, LINES_MAX as usize);
        assert!(!overruled.may_say(start + SPAN / 2) && overruled.may_say(start + SPAN));
    }
}
