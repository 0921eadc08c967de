//! Whose node this is: the configured credential, the one of an invitation that was accepted, or a
//! development VO made on the first day.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use xtreem_net::{Identity, Invitation, LoadError, MakeError, Roles, VoKey};

use crate::config::Config;
use crate::contacts;
use crate::lifecycle::{self, StateError};

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

/// Where an accepted invitation is kept, in the state directory.
const ACCEPTED: &str = "identity.pem";

/// Where a development VO is kept there, and its node's identity in it.
const DEVELOPMENT: &str = "development";
const NODE: &str = "node.pem";

/// An invitation was not accepted. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("{}", as_an_option(.0))]
    State(#[from] StateError),
    #[error(
        "{} is another node's identity: move it away, with `incarnation` and `policy` beside it, if this machine is \
         to be the invited node from now on",
        .file.display()
    )]
    Another { file: PathBuf },
    #[error("{} cannot be written: {error}", .file.display())]
    Save { file: PathBuf, error: io::Error },
}

/// Whoever accepts has no configuration: the directory is an argument.
fn as_an_option(error: &StateError) -> String {
    error.to_string().replace("`state_dir`", "`--state-dir`")
}

/// Makes the machine with this state directory the invited node: an agent that has no `identity` configured
/// is it from its next start. Returns the file with the identity.
pub fn accept(state_dir: &Path, invitation: &Invitation) -> Result<PathBuf, AcceptError> {
    let (dir, _lock) = lifecycle::lock(state_dir)?;
    let file = dir.join(ACCEPTED);
    let failed = |error| AcceptError::Save { file: file.clone(), error };
    if file.exists() {
        match Identity::load(&file) {
            Ok(there) if there.id() == invitation.identity.id() => {}
            _ => return Err(AcceptError::Another { file }),
        }
    } else {
        invitation.identity.save(&file).map_err(failed)?;
    }
    contacts::save(&dir, &invitation.join).map_err(failed)?;
    Ok(file)
}

/// Where an agent with this state directory finds its identity when none is configured.
pub fn identity_file(state_dir: &Path) -> PathBuf {
    let accepted = state_dir.join(ACCEPTED);
    if accepted.exists() { accepted } else { state_dir.join(DEVELOPMENT).join(NODE) }
}

/// The node's identity and the file that it is in.
pub(crate) fn load(config: &Config, state_dir: &Path) -> Result<(Identity, PathBuf), IdentityError> {
    let accepted = state_dir.join(ACCEPTED);
    match &config.identity {
        Some(file) => Ok((Identity::load(file)?, file.clone())),
        None if accepted.exists() => Ok((Identity::load(&accepted)?, accepted)),
        None => development(config, state_dir),
    }
}

/// A VO of this one node and one user; files of an earlier start are used again.
///
/// Other nodes join it with credentials that `xtreem vo invite` and `xtreem vo issue` sign with its root key.
fn development(config: &Config, state_dir: &Path) -> Result<(Identity, PathBuf), IdentityError> {
    let dir = state_dir.join(DEVELOPMENT);
    let node_file = dir.join(NODE);
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
        vo.issue_node(name, DEVELOPMENT_DAYS)?.save(&fresh.join(NODE)).map_err(saved)?;
        fs::rename(&fresh, &dir).map_err(saved)?;
    }
    tracing::warn!(
        dir = %dir.display(),
        "no identity is configured: this node uses a development VO of its own; \
         sign with user.pem there, and invite more nodes with `xtreem vo invite --dir` of it"
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

    #[test]
    fn an_accepted_invitation_is_the_nodes_identity_and_another_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let vo = VoKey::create("test").unwrap();
        let invite = |name| {
            let identity = vo.issue_node(name, 1).unwrap();
            Invitation { identity, join: vec!["node1.example:7227".to_owned()] }
        };
        let (invited, other) = (invite("n1"), invite("n2"));
        let config = Config::new(state.clone());
        for _ in 0..2 {
            accept(&state, &invited).unwrap();
            assert_eq!(load(&config, &state).unwrap().0.id(), invited.identity.id());
        }
        assert_eq!(contacts::load(&state), ["node1.example:7227"]);
        assert!(matches!(accept(&state, &other), Err(AcceptError::Another { .. })));
        let running = lifecycle::lock(&state).unwrap();
        let words = accept(&state, &invited).unwrap_err().to_string();
        assert!(words.contains("another agent uses the state directory"), "{words}");
        drop(running);
    }
}
