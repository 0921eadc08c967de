//! The user on whose word applications run and stop.

use std::path::{Path, PathBuf};

use clap::Args;
use xtreem_net::{Identity, LoadError};

use crate::exit::Failure;
use crate::places;

/// Which credential to sign with.
#[derive(Args, Debug)]
pub struct Credential {
    /// Credential of the user [default: ~/.config/xtreem/user.pem]
    #[arg(long, value_name = "FILE", env = "XTREEM_CREDENTIAL", value_parser = places::path_or_empty())]
    credential: Option<PathBuf>,
}

impl Credential {
    /// Whether one was named.
    pub fn is_named(&self) -> bool {
        places::named(&self.credential).is_some()
    }

    /// Reads it; the user must be allowed to submit.
    pub fn load(&self) -> Result<Identity, Failure> {
        let path = places::credential(places::named(&self.credential))?;
        let user = Identity::load(&path).map_err(|e| {
            // Another one would be another user, who cannot stop what this one runs.
            let is_over = matches!(e, LoadError::Expired { .. });
            let hint = if is_over {
                "what runs goes on; to stop it, the same credential with new dates is needed, and no new one"
            } else {
                "name a user's credential with --credential; the owner of the VO makes one with `xtreem vo issue --user`"
            };
            Failure::usage(e).with_hint(hint)
        })?;
        if !user.roles().may_submit() {
            return Err(Failure::usage(format!(
                "{}: this credential is of a node, not of a user who may submit",
                path.display()
            ))
            .with_hint("ask the owner of the VO for one: `xtreem vo issue --user NAME --role submit`"));
        }
        Ok(user)
    }

    /// The user's id where a credential is there: only for showing what is whose.
    pub fn id_if_any(&self) -> Option<String> {
        let path = places::credential(places::named(&self.credential)).ok()?;
        id_of(&path)
    }
}

fn id_of(path: &Path) -> Option<String> {
    Identity::load_timeless(path).ok().map(|user| user.id().to_string())
}
