//! Whose node this is: the configured credential, or a development VO made on the first day.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use xtreem_net::{Identity, LoadError, MakeError, Roles, VoKey};

use crate::config::Config;

/// Validity of what a development VO issues.
const DEVELOPMENT_DAYS: u32 = 365;

/// Why this node has no identity. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("a development VO could not be made: {0}")]
    Make(#[from] MakeError),
    #[error("a development VO could not be saved in {}: {error}", .dir.display())]
    Save { dir: PathBuf, error: io::Error },
}

/// The node's identity and the file that it is in.
pub(crate) fn load(config: &Config, state_dir: &Path) -> Result<(Identity, PathBuf), IdentityError> {
    match &config.identity {
        Some(file) => Ok((Identity::load(file)?, file.clone())),
        None => development(config, state_dir),
    }
}

/// A VO of this one node and one user; files of an earlier start are used again.
///
/// Other nodes join it with credentials that `xtreem vo issue` signs with its root key.
fn development(config: &Config, state_dir: &Path) -> Result<(Identity, PathBuf), IdentityError> {
    let dir = state_dir.join("development");
    let node_file = dir.join("node.pem");
    let name = config.name.as_deref().unwrap_or("development");
    if !node_file.exists() {
        // Made whole and then renamed, so that a crash leaves all files or none.
        let fresh = state_dir.join("development.new");
        let saved = |error| IdentityError::Save { dir: dir.clone(), error };
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(saved)?;
        }
        fs::DirBuilder::new().mode(0o700).create(&fresh).map_err(saved)?;
        let vo = VoKey::create("development")?;
        vo.save(&fresh.join("root.pem")).map_err(saved)?;
        vo.issue_user("developer", Roles::SUBMIT, DEVELOPMENT_DAYS)?
            .save(&fresh.join("user.pem"))
            .map_err(saved)?;
        vo.issue_node(name, DEVELOPMENT_DAYS)?.save(&fresh.join("node.pem")).map_err(saved)?;
        fs::rename(&fresh, &dir).map_err(saved)?;
    }
    tracing::warn!(
        dir = %dir.display(),
        "no identity is configured: this node uses a development VO of its own; \
         sign with user.pem there, issue credentials for more nodes with `xtreem vo issue --dir` of it"
    );
    Ok((Identity::load(&node_file)?, node_file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_development_vo_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path().to_owned());
        let (first, file) = load(&config, dir.path()).unwrap();
        let (second, _) = load(&config, dir.path()).unwrap();
        assert_eq!(first.id(), second.id());
        assert!(first.roles().has(Roles::NODE));
        let user = Identity::load(&file.with_file_name("user.pem")).unwrap();
        assert!(user.roles().may_submit());
        assert_eq!(user.root().id(), first.root().id());
    }
}
