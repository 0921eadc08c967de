//! Why a program was not started, as the node is told: by the node's fault, and of which kind, or by its own.

use std::fmt::Display;
use std::io;

use nix::errno::Errno;
use xtreem_allocation::{Exit, NotStarted, Trouble};

use crate::deploy::Missing;
use crate::exec::{PlanError, StartError};

/// The exits that stand for a program that never ran: as shells say "not found" and "cannot be executed".
const NOT_FOUND: Exit = Exit::Code(127);
const NOT_EXECUTABLE: Exit = Exit::Code(126);

/// A run that ended before its program ran.
#[derive(Debug)]
pub(super) struct Failure {
    pub why: NotStarted,
    pub reason: String,
}

impl Failure {
    pub fn of_node(trouble: Trouble, reason: impl Display) -> Self {
        Failure { why: NotStarted::Trouble(trouble), reason: reason.to_string() }
    }

    /// Something between the order and the program went wrong; `otherwise` where the error tells no more.
    pub fn of_io(error: &io::Error, otherwise: Trouble) -> Self {
        Failure::of_node(trouble(error).unwrap_or(otherwise), error)
    }
}

impl From<Missing> for Failure {
    fn from(missing: Missing) -> Self {
        let trouble = match missing {
            Missing::Lost { .. } => Trouble::Files,
            Missing::NotStored { .. } => Trouble::Disk,
        };
        Failure::of_node(trouble, missing)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let why = match &error {
            StartError::Plan(error) => of_plan(error),
            StartError::Disk(error) => NotStarted::Trouble(trouble(error).unwrap_or(Trouble::Disk)),
            StartError::NotIsolated { .. } => NotStarted::Trouble(Trouble::Isolation),
            StartError::ProgramEnded => NotStarted::Trouble(Trouble::Other),
            StartError::Helper { errno, .. } => {
                NotStarted::Trouble(errno.and_then(of_errno).unwrap_or(Trouble::Processes))
            }
            StartError::Refused { errno, .. } => match errno.map(Errno::from_raw) {
                // Its interpreter is missing: the file itself was there a moment before.
                Some(Errno::ENOENT | Errno::ELOOP) => NotStarted::Trouble(Trouble::Command),
                Some(Errno::ENOEXEC | Errno::EACCES | Errno::E2BIG) | None => {
                    NotStarted::Broken(NOT_EXECUTABLE)
                }
                Some(_) => NotStarted::Trouble(errno.and_then(of_errno).unwrap_or(Trouble::Other)),
            },
        };
        Failure { why, reason: error.to_string() }
    }
}

fn of_plan(error: &PlanError) -> NotStarted {
    match error {
        PlanError::NotFound { .. } => NotStarted::Trouble(Trouble::Command),
        // An absolute path is one on the node; any other is a file of the program's own.
        PlanError::Missing { file, is_own: false } if file.is_absolute() => {
            NotStarted::Trouble(Trouble::Command)
        }
        PlanError::Missing { .. } => NotStarted::Broken(NOT_FOUND),
        PlanError::NoDirectory { .. } => NotStarted::Trouble(Trouble::Disk),
        PlanError::BadHidden { .. } | PlanError::LogInSlot { .. } | PlanError::NotUtf8 => {
            NotStarted::Trouble(Trouble::Other)
        }
        PlanError::NoCommand
        | PlanError::BadText { .. }
        | PlanError::NotExecutable { .. }
        | PlanError::TooLarge { .. } => NotStarted::Broken(NOT_EXECUTABLE),
    }
}

/// What an error of the operating system says of this node, where it says something.
pub(super) fn trouble(error: &io::Error) -> Option<Trouble> {
    of_errno(error.raw_os_error()?)
}

fn of_errno(errno: i32) -> Option<Trouble> {
    match Errno::from_raw(errno) {
        Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EIO | Errno::EFBIG => Some(Trouble::Disk),
        Errno::EMFILE | Errno::ENFILE => Some(Trouble::Descriptors),
        Errno::EAGAIN | Errno::ENOMEM => Some(Trouble::Processes),
        Errno::EADDRINUSE => Some(Trouble::Port),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_tell_whose_fault_it_is() {
        let broken = |code| NotStarted::Broken(Exit::Code(code));
        let node = NotStarted::Trouble;
        let refused = |errno: Option<Errno>| StartError::Refused {
            reason: String::new(),
            errno: errno.map(|errno| errno as i32),
        };
        let missing = |file: &str, is_own| StartError::Plan(PlanError::Missing { file: file.into(), is_own });
        let io = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
        let not_found = PlanError::NotFound { name: "nope".into(), path: "/bin".into(), hint: String::new() };
        let table = [
            (StartError::Plan(not_found), node(Trouble::Command)),
            (missing("/slot/serve", true), broken(127)),
            (missing("/opt/bin/serve", false), node(Trouble::Command)),
            (StartError::Plan(PlanError::NotExecutable { file: "/slot/serve".into() }), broken(126)),
            (StartError::Disk(io(Errno::ENOSPC)), node(Trouble::Disk)),
            (StartError::Disk(io(Errno::EMFILE)), node(Trouble::Descriptors)),
            (StartError::Disk(io(Errno::EACCES)), node(Trouble::Disk)),
            (refused(Some(Errno::ENOENT)), node(Trouble::Command)),
            (refused(Some(Errno::ENOEXEC)), broken(126)),
            (refused(Some(Errno::EAGAIN)), node(Trouble::Processes)),
            (refused(None), broken(126)),
        ];
        for (error, why) in table {
            let text = format!("{error:?}");
            assert_eq!(Failure::from(error).why, why, "{text}");
        }
        let lost =
            Missing::NotStored { digest: xtreem_base::Digest::from_bytes([0; 32]), reason: String::new() };
        assert_eq!(Failure::from(lost).why, node(Trouble::Disk));
        assert_eq!(Failure::of_io(&io(Errno::EADDRINUSE), Trouble::Other).why, node(Trouble::Port));
    }
}
