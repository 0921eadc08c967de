//! How the command ends: the one table of exit codes, and failures with what to do about them.

use std::fmt;
use std::process::ExitCode;

use xtreem_client::ClientError;
use xtreem_client::api::ErrorKind;
use xtreem_client::pubsub::PubSubError;

/// The exit codes of every subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done as asked.
    Success,
    /// It was tried, and failed or was not satisfied: too few nodes, a failed slot, a broken invariant.
    Failed,
    /// Wrong usage or bad input; nothing was done.
    Usage,
    /// No agent answers.
    Unreachable,
    /// The agent or the grid said no; nothing was done.
    Refused,
    /// The answer was lost: it may have happened.
    Indefinite,
    /// Ended by Ctrl-C.
    Interrupted,
    /// Whoever read the output went away.
    OutputClosed,
    /// Of `xtreem exec`: the holder, or the agent, said no.
    ExecRefused,
    /// No such application or slot, or nobody holds it now.
    ExecNotFound,
    /// The slot ended or moved, and the command with it.
    ExecMoved,
    /// The holder is not heard any more.
    ExecLost,
    /// Anything else before the command ran.
    ExecFailed,
    /// The command cannot be executed there.
    ExecNotExecutable,
    /// There is no such command there.
    ExecNoCommand,
    /// Of `xtreem exec`: the command's own.
    Command(u8),
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Refused => 4,
            Exit::Indefinite => 5,
            Exit::ExecRefused => 121,
            Exit::ExecNotFound => 122,
            Exit::ExecMoved => 123,
            Exit::ExecLost => 124,
            Exit::ExecFailed => 125,
            Exit::ExecNotExecutable => 126,
            Exit::ExecNoCommand => 127,
            Exit::Interrupted => 130,
            Exit::OutputClosed => 141,
            Exit::Command(code) => code,
        }
    }
}

/// The table for `--help`.
pub const TABLE: &str = "\
Exit codes:
  0    done as asked
  1    tried, but failed or not satisfied (too few nodes, a failed slot, a broken invariant)
  2    wrong usage or bad input; nothing was done
  3    no agent answers
  4    refused by the agent or the grid; nothing was done
  5    the answer was lost: it may have happened
  130  ended by Ctrl-C
  141  whoever read the output went away
  `xtreem exec` has codes of its own, which its help tells";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// What was wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    pub hint: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl fmt::Display) -> Failure {
        Failure { exit, message: message.to_string(), hint: None }
    }

    /// Bad input: nothing was done.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    pub fn with_hint(self, hint: impl fmt::Display) -> Failure {
        Failure { hint: Some(hint.to_string()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl From<PubSubError> for Failure {
    fn from(error: PubSubError) -> Failure {
        let failure = |exit, hint| Failure::new(exit, &error).with_hint(hint);
        match &error {
            PubSubError::Unreachable { .. } => failure(
                Exit::Unreachable,
                "start an agent with `xtreem agent`, or name its socket with --socket or XTREEM_CONTROL",
            ),
            PubSubError::Topic(_) => Failure::usage(&error),
            PubSubError::Refused { code, .. } if code == "forbidden" => {
                failure(Exit::Refused, "topics below `grid/` are the agents' own")
            }
            PubSubError::Refused { .. } => Failure::new(Exit::Refused, &error),
            PubSubError::Unanswered { .. } => {
                failure(Exit::Failed, "see with `xtreem topics` who subscribes there; --timeout waits longer")
            }
            PubSubError::Broken(_)
            | PubSubError::Ended
            | PubSubError::Malformed(_)
            | PubSubError::TooMany => {
                failure(Exit::Indefinite, "what was not acknowledged may have been published")
            }
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let hint = error.hint().map(str::to_owned);
        let failure = |exit, hint: &str| Failure::new(exit, &error).with_hint(hint);
        match &error {
            ClientError::Unreachable { .. } => failure(
                Exit::Unreachable,
                "start an agent with `xtreem agent`, or name its socket with --socket or XTREEM_CONTROL",
            ),
            ClientError::File { .. } => Failure::usage(&error),
            // The agent refuses what was asked (4xx) or fails at it (5xx); both are in its own words.
            ClientError::Refused { status, .. } => {
                let exit = match (error.kind(), status) {
                    (ErrorKind::Indefinite, _) => Exit::Indefinite,
                    (ErrorKind::Definite, 400) => Exit::Usage,
                    (ErrorKind::Definite, 401..500) => Exit::Refused,
                    (ErrorKind::Definite, _) => Exit::Failed,
                };
                Failure { exit, message: error.to_string(), hint }
            }
            _ if error.kind() == ErrorKind::Indefinite => {
                failure(Exit::Indefinite, "it may have happened: look before you repeat it")
            }
            _ => failure(Exit::Failed, "try again; `xtreem node` shows whether the agent is well"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_client::api::ErrorBody;

    fn refusal(status: u16, kind: ErrorKind) -> ClientError {
        let body = ErrorBody { error: "no".to_owned(), kind, hint: Some("ask alice".to_owned()) };
        ClientError::Refused { status, body }
    }

    #[test]
    fn every_trouble_with_the_agent_has_its_exit_code() {
        let broken = |is_read| ClientError::Broken { reason: String::new(), is_read };
        let table = [
            (refusal(400, ErrorKind::Definite), Exit::Usage),
            (refusal(404, ErrorKind::Definite), Exit::Refused),
            (refusal(500, ErrorKind::Definite), Exit::Failed),
            (refusal(500, ErrorKind::Indefinite), Exit::Indefinite),
            (broken(true), Exit::Failed),
            (broken(false), Exit::Indefinite),
        ];
        for (error, exit) in table {
            assert_eq!(Failure::from(error).exit, exit);
        }
    }

    #[test]
    fn the_agents_hint_is_shown() {
        let shown = Failure::from(refusal(403, ErrorKind::Definite)).to_string();
        assert_eq!(shown, "error: no\nhint: ask alice");
    }

    #[test]
    fn the_help_has_every_code() {
        for exit in [
            Exit::Success,
            Exit::Failed,
            Exit::Usage,
            Exit::Unreachable,
            Exit::Refused,
            Exit::Indefinite,
            Exit::Interrupted,
            Exit::OutputClosed,
        ] {
            assert!(TABLE.contains(&format!("\n  {}", exit.code())), "{exit:?}");
        }
    }
}
