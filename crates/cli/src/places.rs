//! Where the command finds its agent's socket and its user's files.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use xtreem_client::OperatorClient;

use crate::exit::{Exit, Failure};

/// Socket of an agent that the machine's operator runs.
const SYSTEM_SOCKET: &str = "/run/xtreem/control.sock";

/// Which agent to speak to.
#[derive(Args, Debug)]
pub struct AgentSocket {
    /// Operator socket of the agent [default: $XDG_RUNTIME_DIR/xtreem/control.sock, else
    /// /run/xtreem/control.sock]
    #[arg(long, value_name = "PATH", env = "XTREEM_CONTROL", value_parser = path_or_empty())]
    socket: Option<PathBuf>,
}

impl AgentSocket {
    /// Whether a socket was named.
    pub fn is_named(&self) -> bool {
        named(&self.socket).is_some()
    }

    /// For the socket that was named, or the first default one that exists.
    pub fn client(&self) -> Result<OperatorClient, Failure> {
        let path = socket(named(&self.socket), &|name| env::var_os(name), &|path| path.exists())?;
        Ok(OperatorClient::new(path))
    }
}

/// For options with a variable of the environment, which counts as not set when it is empty.
pub fn path_or_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// The path that an option or its variable names.
pub fn named(option: &Option<PathBuf>) -> Option<&Path> {
    option.as_deref().filter(|path| !path.as_os_str().is_empty())
}

type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn socket(
    named: Option<&Path>,
    variable: Variables<'_>,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let users = set(variable, "XDG_RUNTIME_DIR").map(|dir| dir.join("xtreem/control.sock"));
    let candidates: Vec<PathBuf> = users.into_iter().chain([PathBuf::from(SYSTEM_SOCKET)]).collect();
    candidates.iter().find(|path| exists(path)).cloned().ok_or_else(|| {
        let looked: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
        Failure::new(
            Exit::Unreachable,
            format!("no agent runs here: there is no {}", looked.join(" and no ")),
        )
        .with_hint("start an agent with `xtreem agent`, or name its socket with --socket or XTREEM_CONTROL")
    })
}

/// The user's directory for xtreem: credentials and, for owners of VOs, root keys.
pub fn config_dir() -> Result<PathBuf, Failure> {
    config_dir_of(&|name| env::var_os(name))
}

fn config_dir_of(variable: Variables<'_>) -> Result<PathBuf, Failure> {
    set(variable, "XDG_CONFIG_HOME")
        .or_else(|| set(variable, "HOME").map(|home| home.join(".config")))
        .map(|dir| dir.join("xtreem"))
        .ok_or_else(|| {
            Failure::usage("neither XDG_CONFIG_HOME nor HOME is set: name the files on the command line")
        })
}

/// The user's credential: the one named, or the one in the user's directory.
pub fn credential(named: Option<&Path>) -> Result<PathBuf, Failure> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => Ok(config_dir()?.join("user.pem")),
    }
}

/// A variable that is set and not empty.
fn set(variable: Variables<'_>, name: &str) -> Option<PathBuf> {
    variable(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(named: Option<&str>, variables: &[(&str, &str)], existing: &[&str]) -> Result<String, Failure> {
        let variable = |name: &str| {
            variables.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value))
        };
        let exists = |path: &Path| existing.iter().any(|there| Path::new(there) == path);
        socket(named.map(Path::new), &variable, &exists).map(|path| path.display().to_string())
    }

    #[test]
    fn a_named_socket_beats_the_defaults() {
        let user = "/run/user/7/xtreem/control.sock";
        let runtime = ("XDG_RUNTIME_DIR", "/run/user/7");
        let both = [user, SYSTEM_SOCKET];
        assert_eq!(find(Some("/a"), &[runtime], &both).as_deref(), Ok("/a"));
        assert_eq!(find(None, &[runtime], &both).as_deref(), Ok(user));
        assert_eq!(find(None, &[runtime], &[SYSTEM_SOCKET]).as_deref(), Ok(SYSTEM_SOCKET));
        assert_eq!(find(None, &[], &both).as_deref(), Ok(SYSTEM_SOCKET));
    }

    #[test]
    fn without_any_agent_the_places_looked_at_are_named() {
        let failure = find(None, &[("XDG_RUNTIME_DIR", "/r")], &[]).expect_err("nothing there");
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.message.contains("/r/xtreem/control.sock and no /run/xtreem"), "{failure}");
    }

    #[test]
    fn the_config_directory_follows_the_base_directory_specification() {
        let of = |variables: &'static [(&str, &str)]| {
            config_dir_of(&move |name: &str| {
                variables.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value))
            })
        };
        assert_eq!(of(&[("XDG_CONFIG_HOME", "/c"), ("HOME", "/h")]), Ok("/c/xtreem".into()));
        assert_eq!(of(&[("HOME", "/h")]), Ok("/h/.config/xtreem".into()));
        assert!(of(&[]).is_err());
    }
}
