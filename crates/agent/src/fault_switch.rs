//! The fault switch of emulated hosts on a kernel without namespaces: there nobody but the agent can cut its
//! cable.
//!
//! The environment names a file; while that reads `{"cut":true}`, the agent drops what comes and goes. An
//! agent that is not configured as an emulated host does not start with it, so a real node cannot be cut off
//! this way.

use std::ffi::OsString;
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

/// A node of a real grid was started as if somebody emulated it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{FAULT_SWITCH_ENV} is set, but only an emulated host may be cut off by a file: unset it, or say `emulated = true` \
     in the configuration"
)]
pub struct NotEmulated;

/// The switch's file, if this host has one.
pub(crate) fn file(config: &Config, variable: Option<OsString>) -> Result<Option<PathBuf>, NotEmulated> {
    match variable {
        Some(_) if !config.emulated => Err(NotEmulated),
        variable => Ok(variable.map(PathBuf::from)),
    }
}

/// The node's cable, pulled by the switch if this host has one. Within a tokio runtime.
pub(crate) fn cable(switch: Option<PathBuf>) -> Cable {
    let cable = Cable::default();
    if let Some(file) = switch {
        tokio::spawn(watch(file, cable.clone()));
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
    fn only_an_emulated_host_starts_with_a_switch() {
        let mut config = Config::new("state".into());
        assert!(matches!(file(&config, None), Ok(None)));
        assert!(file(&config, Some("f".into())).is_err());
        config.emulated = true;
        assert_eq!(file(&config, Some("f".into())).ok().flatten(), Some("f".into()));
        assert!(matches!(file(&config, None), Ok(None)));
    }

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
