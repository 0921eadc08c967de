//! Commands beside slots, from their caller's side: by a user, or by a program beside another slot of its own
//! application ([`SlotClient::exec`]).
//!
//! What the two ends say is in `xtreem_beside`, and is sealed from here to the node that holds the slot.

mod running;

use hyper_util::rt::TokioIo;
use xtreem_beside::{Authority, NotBegun, SealedByCaller, Warrant, begin, sign_as_slot};

pub use running::{Output, Running};
pub use xtreem_allocation::Exit;
pub use xtreem_beside::{
    COMMAND_MAX_BYTES, End, FromHolder, Gone, Lost, NotStarted, Piece, Refusal, WORDS_MAX, Wanted, Window,
    converse,
};

use crate::api::EXEC_PROTOCOL;
use crate::{ClientError, OperatorClient, SlotClient};

/// The conversation with a holder.
pub type Sealed = SealedByCaller<TokioIo<hyper::upgrade::Upgraded>>;

/// On whose word a command is to run.
#[derive(Clone, Copy)]
pub enum Caller<'a> {
    User {
        client: &'a OperatorClient,
        /// The VO's root certificate.
        root: &'a [u8],
        sign: &'a (dyn Fn(&Warrant) -> Authority + Sync),
    },
    Slot(&'a SlotClient),
}

/// No command ran to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Nothing was started, as with all up to [`ExecError::NotStarted`].
    #[error(transparent)]
    Agent(#[from] ClientError),
    #[error("the agent's answer is not understood: {0}")]
    Malformed(&'static str),
    #[error("no contact to the holder of the slot: {0}")]
    NoContact(String),
    #[error("the holder of slot {slot} refuses: {refusal}")]
    Refused { slot: u16, refusal: Refusal },
    #[error("{reason}")]
    NotStarted { why: NotStarted, reason: String },
    /// The slot has ended or moved, and the command with it.
    #[error("the command was ended: {0}")]
    Gone(Gone),
    /// The command has ended, or ends within a minute.
    #[error("the contact to the holder of the slot is lost: {0}")]
    Lost(#[from] Lost),
}

impl ExecError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            ExecError::Agent(error) => return error.hint(),
            ExecError::NoContact(_) => "`xtreem show` tells where the slot runs; repeat it",
            ExecError::Refused { refusal, .. } => hint(*refusal),
            ExecError::Gone(_) => "`xtreem show` tells how the slot goes on",
            ExecError::Lost(_) => {
                "the command has ended, or ends within a minute; `xtreem show` tells where the slot runs"
            }
            ExecError::Malformed(_) | ExecError::NotStarted { .. } => return None,
        })
    }
}

fn hint(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotHere | Refusal::NotYet => {
            "it is on its way to another node, or starts: again in some seconds"
        }
        Refusal::TooMany => "wait until one of them has ended",
        Refusal::WrongSigner => "it is another user's: ask its owner, or use a credential with role admin",
        Refusal::Expired => "the VO's owner renews it: `xtreem vo renew FILE`",
        Refusal::SlotsMayNot => {
            "its owner writes `exec = \"slots\"` into app.toml, before the first table, stops it and runs it anew"
        }
        Refusal::OlderEpoch => "this slot was replaced: what runs here is about to be ended",
        Refusal::OtherApplication => "a slot may start commands beside slots of its own application only",
        Refusal::OtherVo | Refusal::NotASlot => {
            "`xtreem show` tells who holds the slots of the application; again in some seconds"
        }
        _ => "`xtreem vo show` says of which VO a credential is, and until when",
    }
}

impl Caller<'_> {
    /// Finds the holder, shows it whose word it is, and returns once the command runs.
    pub async fn begin(self, wanted: &Wanted) -> Result<Sealed, ExecError> {
        let Wanted { app, slot, .. } = wanted;
        let mut is_anew = false;
        loop {
            let begun = match self {
                Caller::User { client, root, sign } => {
                    let stream = client.way_to(&app.to_string(), *slot, is_anew).await?;
                    begin(stream, root, sign, wanted).await
                }
                Caller::Slot(client) => {
                    // A fresh one each time: it is good for two minutes.
                    let own = client.credential().await?;
                    let seed = own.key.0.try_into().map_err(|_| ExecError::Malformed("no key"))?;
                    let path = format!("/v1/self/exec?slot={slot}&anew={is_anew}");
                    let stream = client.http.upgrade(&path, EXEC_PROTOCOL).await.map(TokioIo::new)?;
                    let sign = |warrant: &Warrant| sign_as_slot(seed, &own.credential.0, warrant);
                    begin(stream, &own.root.0, sign, wanted).await
                }
            };
            match begun {
                Ok(sealed) => return Ok(sealed),
                // The slot has moved since the agent knew where it was.
                Err(NotBegun::Said(FromHolder::Refused(Refusal::NotHere))) if !is_anew => is_anew = true,
                Err(NotBegun::Lost(why)) => return Err(ExecError::NoContact(why)),
                Err(NotBegun::Said(last)) => return Err(not_started(last, *slot)),
            }
        }
    }
}

fn not_started(last: FromHolder, slot: u16) -> ExecError {
    match last {
        FromHolder::Refused(refusal) => ExecError::Refused { slot, refusal },
        FromHolder::NotStarted { why, reason } => {
            // It comes from another machine, and may go to a terminal.
            ExecError::NotStarted { why, reason: reason.replace(char::is_control, "?") }
        }
        FromHolder::Gone(gone) => ExecError::Gone(gone),
        _ => ExecError::NoContact("it says something out of turn".to_owned()),
    }
}

impl SlotClient {
    /// Starts a command beside a slot of this application, where `app.toml` has `exec = "slots"`, and returns
    /// once it runs. It ends with what is returned, with that slot, and with this one. Must be called in a
    /// tokio runtime.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let slot = xtreem_client::SlotClient::from_env()?;
    /// let output = slot.exec(3, ["hostname"]).await?.output().await?;
    /// println!("slot 3 runs on {}", String::from_utf8_lossy(&output.stdout));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn exec<W: Into<String>>(
        &self,
        slot: u16,
        command: impl IntoIterator<Item = W>,
    ) -> Result<Running, ExecError> {
        let me = self.whoami().await?;
        let app = me.application.id.parse().map_err(|_| ExecError::Malformed("a wrong id"))?;
        let command = command.into_iter().map(Into::into).collect();
        let wanted = Wanted { app, slot, command, terminal: None, window: None };
        Caller::Slot(self).begin(&wanted).await.map(Running::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_holder_tells_does_not_reach_a_terminal_as_it_is() {
        let last = FromHolder::NotStarted { why: NotStarted::Trouble, reason: "a\x1b[2Jb".into() };
        assert_eq!(not_started(last, 3).to_string(), "a?[2Jb");
    }

    #[test]
    fn who_may_not_is_told_which_line_would_allow_it() {
        let refused = not_started(FromHolder::Refused(Refusal::SlotsMayNot), 3);
        assert!(refused.hint().is_some_and(|hint| hint.contains("`exec = \"slots\"` into app.toml")));
    }
}
