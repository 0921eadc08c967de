//! The fault switch of emulated hosts on a kernel without namespaces: there nobody but the agent can cut its cable.
//!
//! The environment names a file; while that reads `{"cut":true}`, the agent drops what comes and goes. Only an emulated
//! host looks at it, so a real node cannot be cut off this way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};
use xtreem_net::Cable;

use crate::config::Config;

/// Names the switch's file; set by who emulates the host.
pub const FAULT_SWITCH_ENV: &str = "XTREEM_FAULT_SWITCH";

/// How often the switch is looked at: a cut comes at most so much late.
const PERIOD: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
struct Switch {
    cut: bool,
}

/// The node's cable, pulled by the switch if this host has one. Within a tokio runtime.
pub(crate) fn cable(config: &Config) -> Cable {
    let cable = Cable::default();
    if let Some(file) = std::env::var_os(FAULT_SWITCH_ENV).filter(|_| config.emulated) {
        tokio::spawn(watch(PathBuf::from(file), cable.clone()));
    }
    cable
}

async fn watch(file: PathBuf, cable: Cable) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_cut = false;
    loop {
        ticks.tick().await;
        let is_cut = is_cut(&file);
        if is_cut != was_cut {
            tracing::warn!(is_cut, "the fault switch was turned");
            cable.set_cut(is_cut);
            was_cut = is_cut;
        }
    }
}

/// A missing or unreadable file means no cut. It is a few bytes, replaced whole.
fn is_cut(file: &Path) -> bool {
    let Ok(bytes) = std::fs::read(file) else { return false };
    serde_json::from_slice(&bytes).is_ok_and(|switch: Switch| switch.cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_file_that_says_so_is_a_cut() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("faults");
        assert!(!is_cut(&file));
        for (content, expected) in
            [(r#"{"cut":true}"#, true), (r#"{"cut":false}"#, false), ("", false), (r#"{"cut":tr"#, false)]
        {
            std::fs::write(&file, content).unwrap();
            assert_eq!(is_cut(&file), expected, "{content}");
        }
    }
}
