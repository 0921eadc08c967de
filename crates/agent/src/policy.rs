//! The VO's policy on this machine: from the configuration, from the grid, and kept over restarts.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use xtreem_allocation::policy::{PolicyVersion, SignedPolicy};
use xtreem_membership::rumour::Newer;
use xtreem_net::{PolicyFault, VoRoot, verify_policy};
use xtreem_node::Node;

use crate::agent::Agent;

/// The policy that was last in force, in the state directory.
const KEPT: &str = "policy";
/// Far above any signed policy: whatever is longer is another file.
const FILE_MAX_BYTES: u64 = 32 << 10;

/// The configured policy cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the policy {} cannot be read: {error}", .file.display())]
    Io { file: PathBuf, error: io::Error },
    #[error("{} is no signed policy; make one with `xtreem vo policy set --out`", .file.display())]
    Malformed { file: PathBuf },
    #[error("{}: {fault}", .file.display())]
    Fault { file: PathBuf, fault: PolicyFault },
}

/// Reads a signed policy of this VO.
fn load(root: &VoRoot, path: &Path) -> Result<SignedPolicy, LoadError> {
    let file = || path.to_owned();
    let io = |error| LoadError::Io { file: file(), error };
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(FILE_MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    let signed: SignedPolicy = minicbor::decode(&bytes).map_err(|_| LoadError::Malformed { file: file() })?;
    verify_policy(root, &signed).map_err(|fault| LoadError::Fault { file: file(), fault })?;
    Ok(signed)
}

/// The policies that this agent has at its start; the node takes the newest.
pub(crate) fn at_start(
    root: &VoRoot,
    configured: Option<&Path>,
    state_dir: &Path,
) -> Result<Vec<SignedPolicy>, LoadError> {
    let mut all = Vec::new();
    if let Some(file) = configured {
        all.push(load(root, file)?);
    }
    match load(root, &state_dir.join(KEPT)) {
        Ok(kept) => all.push(kept),
        Err(LoadError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
        // It comes anew from the grid; the operator shall know.
        Err(error) => tracing::warn!(%error, "the policy that was kept is not used"),
    }
    Ok(all)
}

/// A newer policy is in force: keeps it. Or the one in force has a rival of its version.
pub(crate) fn changed(agent: &Arc<Agent>, newer: Newer<SignedPolicy>) {
    let (signed, version) = (newer.document, newer.version.version);
    tracing::info!(version, digest = ?signed.digest, "a policy of the VO is in force");
    if newer.before.version == version {
        tracing::warn!("{}", two_signed(newer.version, newer.before));
    }
    match signed.open() {
        Ok((policy, _)) => agent.pubsub.set_policy(policy),
        // It was read when it was taken.
        Err(error) => tracing::error!(%error, "a policy that cannot be read is not kept for topics"),
    }
    let agent = agent.clone();
    // A disk may take its time to sync.
    tokio::task::spawn_blocking(move || {
        let _one_at_a_time = KEEPING.lock();
        if let Err(error) = agent.state.reserve().writing(|| keep(agent.state.dir(), &signed)) {
            tracing::warn!(%error, "the policy could not be kept: after a restart it comes from the grid again");
        }
    });
}

/// What to say of two policies of one version, if this node has seen two.
pub(crate) fn rivalry(node: &Node) -> Option<String> {
    let ((_, _, version), rival) = (node.policy()?, node.rival_policy()?);
    Some(two_signed(version, rival))
}

fn two_signed(winner: PolicyVersion, loser: PolicyVersion) -> String {
    format!(
        "two policies of version {} were signed: {} is in force everywhere, as the higher digest, and {} is not; \
         sign the one that is meant with version = {}",
        winner.version,
        winner.digest,
        loser.digest,
        winner.version.saturating_add(1)
    )
}
/// Two policies may come within one sync. Which of them is kept does not matter: after a restart the newest
/// comes from the grid.
static KEEPING: Mutex<()> = Mutex::new(());

/// New file, synced, renamed over the old one.
fn keep(dir: &Path, signed: &SignedPolicy) -> io::Result<()> {
    let new = dir.join("policy.new");
    let bytes = minicbor::to_vec(signed).map_err(io::Error::other)?;
    let mut file = File::create(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&new, dir.join(KEPT))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_allocation::policy::Policy;
    use xtreem_net::VoKey;

    #[test]
    fn what_was_kept_is_found_again_and_damage_is_survived() {
        let dir = tempfile::tempdir().unwrap();
        let vo = VoKey::create("test").unwrap();
        let signed = vo.sign_policy(&Policy { version: 3, rules: vec![] }).unwrap();
        assert!(at_start(&vo.root(), None, dir.path()).unwrap().is_empty());
        keep(dir.path(), &signed).unwrap();
        assert_eq!(at_start(&vo.root(), None, dir.path()).unwrap(), [signed]);
        fs::write(dir.path().join(KEPT), b"x").unwrap();
        assert!(at_start(&vo.root(), None, dir.path()).unwrap().is_empty());
    }

    #[test]
    fn a_configured_policy_of_another_vo_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let (vo, other) = (VoKey::create("test").unwrap(), VoKey::create("other").unwrap());
        let file = dir.path().join("vo.policy");
        let at = || at_start(&vo.root(), Some(&file), dir.path());
        assert!(matches!(at(), Err(LoadError::Io { .. })));
        fs::write(&file, b"version = 1").unwrap();
        assert!(matches!(at(), Err(LoadError::Malformed { .. })));
        let foreign = other.sign_policy(&Policy { version: 3, rules: vec![] }).unwrap();
        fs::write(&file, minicbor::to_vec(&foreign).unwrap()).unwrap();
        assert!(matches!(at(), Err(LoadError::Fault { .. })));
    }
}
