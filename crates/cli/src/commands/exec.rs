//! `xtreem exec`: a command beside a slot, as if it were run here.
//!
//! The user's key signs the command for one run of one slot and one node, and all that is typed and written
//! is sealed up to that node (`xtreem_net::beside`): the agents between are only the way there. `talk` is
//! what goes on while the command runs, `terminal` is this side's terminal.

pub(super) mod talk;
mod terminal;

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use xtreem_base::AppId;
use xtreem_client::{ClientError, OperatorClient};
use xtreem_net::Identity;
use xtreem_net::beside::{
    self, COMMAND_MAX_BYTES, FrameError, FromCaller, FromHolder, NotStarted, Refusal, SealedByUser,
    WORDS_MAX, Warrant, Window, read, sign_warrant, write,
};

use self::talk::AskedToEnd;
use self::terminal::Terminal;
use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::user::Credential;
use crate::which::{self, SlotName};

/// Longest time for the holder to be spoken to, to offer, and to start the command: as long as helpers may
/// take for that.
const BEGINNING_MAX: Duration = Duration::from_secs(30);

/// Examples and how it ends.
const HELP: &str = "\
Examples:
  xtreem exec web/0 -- ls -l
  xtreem exec -t web/0 -- sh
  tar c data | xtreem exec 1f2e3d4c/3 -- tar x

The command runs in the slot's directory, with the environment, user and limits of its program, and sees its
processes. Whatever it leaves behind ends with it, and it ends with the slot and with this command.

Exit codes:
  the command's, 128 and the signal that ended it, or
  121  refused
  122  there is no such application or slot, or nobody holds it now
  123  the slot's program ended, or the slot went to another node; the command was ended
  124  the contact to the holder was lost
  125  wrong usage, no agent, or anything else; nothing was started
  126  the command cannot be executed there
  127  there is no such command there";

#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct Arguments {
    /// Application (name, id, or 4 characters or more of the beginning of an id) and slot
    #[arg(value_name = "APP/SLOT")]
    slot: SlotName,
    /// Give the command a terminal
    #[arg(long, short)]
    terminal: bool,
    #[command(flatten)]
    agent: AgentSocket,
    #[command(flatten)]
    user: Credential,
    /// The command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What is asked for.
pub(super) struct Wanted {
    pub app: AppId,
    pub slot: u16,
    pub command: Vec<String>,
    /// Its kind, if it shall have one.
    pub terminal: Option<String>,
    pub window: Option<Window>,
}

pub(super) type Sealed<S> = SealedByUser<S>;

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    exec(arguments).map_err(|failure| {
        // Codes of other commands would be taken for those of this one's command.
        let exit = match failure.exit {
            Exit::Refused => Exit::ExecNotFound,
            Exit::Usage | Exit::Failed | Exit::Unreachable | Exit::Indefinite => Exit::ExecFailed,
            own => own,
        };
        Failure { exit, ..failure }
    })
}

fn exec(arguments: &Arguments) -> Result<Exit, Failure> {
    let SlotName { app, slot: Some(slot) } = &arguments.slot else {
        return Err(Failure::usage("a command runs beside one slot: name it, as in web/0"));
    };
    let command = words(&arguments.command)?;
    let user = arguments.user.load()?;
    let client = arguments.agent.client()?;
    block_on(async {
        let id = which::find(&client, app).await?;
        let app = id.parse().map_err(|_| Failure::new(Exit::Failed, "the agent's answer has a wrong id"))?;
        let terminal = arguments.terminal.then(Terminal::kind);
        let window = if arguments.terminal { Terminal::window() } else { None };
        let wanted = Wanted { app, slot: *slot, command, terminal, window };
        let mut asked = AskedToEnd::listen()?;
        let sealed = tokio::select! {
            sealed = begin(&client, &user, &wanted) => sealed?,
            signal = asked.signal() => return Ok(Exit::Command(signal)),
        };
        // From here on what is typed is the command's.
        let raw = if arguments.terminal { Terminal::raw() } else { None };
        let ended = talk::talk(sealed, arguments.terminal, asked).await;
        drop(raw);
        ended
    })
}

/// The words of a command, none of them something that a warrant cannot say.
pub(super) fn words(command: &[OsString]) -> Result<Vec<String>, Failure> {
    let text = |word: &OsString| {
        word.to_str().map(str::to_owned).ok_or_else(|| {
            Failure::usage(format!("`{}` is not UTF-8, as words of a command have to be", word.display()))
        })
    };
    let words = command.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let len: usize = words.iter().map(|word| word.len() + 1).sum();
    if words.len() > WORDS_MAX || len > COMMAND_MAX_BYTES {
        let error = format!(
            "the command has {} words and {len} bytes; {WORDS_MAX} and {COMMAND_MAX_BYTES} are allowed",
            words.len()
        );
        return Err(Failure::usage(error).with_hint("send what is long by standard input"));
    }
    Ok(words)
}

/// Finds the holder, shows it the user's word, and returns once the command runs.
pub(super) async fn begin(
    client: &OperatorClient,
    user: &Identity,
    wanted: &Wanted,
) -> Result<Sealed<impl AsyncRead + AsyncWrite + Send + Unpin + 'static + use<>>, Failure> {
    let id = wanted.app.to_string();
    let mut is_anew = false;
    loop {
        let stream = client.exec(&id, wanted.slot, is_anew).await.map_err(of_client)?;
        let begun = timeout(BEGINNING_MAX, agree(stream, user, wanted));
        let late = |_| lost("the holder does not go on");
        match begun.await.map_err(late)?.map_err(|error| lost(&error.to_string()))? {
            Ok(sealed) => return Ok(sealed),
            // The slot has moved since the agent knew where it was.
            Err(FromHolder::Refused(Refusal::NotHere)) if !is_anew => is_anew = true,
            Err(last) => return Err(not_started(&last, wanted)),
        }
    }
}

/// What the holder said instead of starting the command, if it did.
async fn agree<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    user: &Identity,
    wanted: &Wanted,
) -> Result<Result<Sealed<S>, FromHolder>, FrameError> {
    let (mut sealed, holder) = beside::open(user, stream).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("it serves as many as it may, or has ended"),
        _ => error,
    })?;
    let Wanted { app, slot, command, terminal, window } = wanted;
    write(&mut sealed, &FromCaller::Ask { app: *app, slot: *slot }).await?;
    let (epoch, nonce) = match read(&mut sealed).await? {
        FromHolder::Offer { epoch, nonce } => (epoch, nonce),
        other => return Ok(Err(other)),
    };
    let (command, terminal) = (command.clone(), terminal.clone());
    let warrant = Warrant { app: *app, slot: *slot, epoch, holder, nonce, command, terminal };
    let authority = sign_warrant(user, &warrant);
    write(&mut sealed, &FromCaller::Warrant { warrant, authority, window: *window }).await?;
    match read(&mut sealed).await? {
        FromHolder::Started => Ok(Ok(sealed)),
        other => Ok(Err(other)),
    }
}

fn lost(why: &str) -> Failure {
    Failure::new(Exit::ExecLost, format!("no contact to the holder of the slot: {why}"))
        .with_hint("`xtreem show` tells where the slot runs; repeat it")
}

fn of_client(error: ClientError) -> Failure {
    let exit = match error.status() {
        Some(404) => Exit::ExecNotFound,
        Some(502 | 504) => Exit::ExecLost,
        Some(429) => Exit::ExecRefused,
        _ => return error.into(),
    };
    Failure { exit, ..error.into() }
}

fn not_started(last: &FromHolder, wanted: &Wanted) -> Failure {
    let slot = wanted.slot;
    match last {
        FromHolder::Refused(refusal) => {
            let message = format!("the holder of slot {slot} refuses: {refusal}");
            let (exit, hint) = match refusal {
                Refusal::NotHere | Refusal::NotYet => {
                    (Exit::ExecNotFound, "it is on its way to another node, or starts: again in some seconds")
                }
                Refusal::WrongSigner => (
                    Exit::ExecRefused,
                    "it is another user's: ask its owner, or use a credential with role admin",
                ),
                Refusal::Expired => (Exit::ExecRefused, "the VO's owner renews it: `xtreem vo renew FILE`"),
                Refusal::TooMany => (Exit::ExecRefused, "wait until one of them has ended"),
                _ => (Exit::ExecRefused, "`xtreem vo show` says of which VO a credential is, and until when"),
            };
            Failure::new(exit, message).with_hint(hint)
        }
        FromHolder::NotStarted { why, reason } => {
            let exit = match why {
                NotStarted::NotFound => Exit::ExecNoCommand,
                NotStarted::NotExecutable => Exit::ExecNotExecutable,
                NotStarted::Trouble => Exit::ExecFailed,
            };
            Failure::new(exit, reason.replace(char::is_control, "?"))
        }
        FromHolder::Gone(gone) => Failure::new(Exit::ExecMoved, gone),
        _ => lost("it says something out of turn"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        let app = AppId::from_bytes([1; 16]);
        Wanted { app, slot: 3, command: vec!["id".into()], terminal: None, window: None }
    }

    #[test]
    fn every_word_of_a_holder_has_its_exit_code() {
        let not_started = |last: &FromHolder| super::not_started(last, &wanted()).exit;
        let of = |why| FromHolder::NotStarted { why, reason: "no".into() };
        let table = [
            (FromHolder::Refused(Refusal::WrongSigner), Exit::ExecRefused),
            (FromHolder::Refused(Refusal::Expired), Exit::ExecRefused),
            (FromHolder::Refused(Refusal::OtherHolder), Exit::ExecRefused),
            (FromHolder::Refused(Refusal::NotHere), Exit::ExecNotFound),
            (FromHolder::Refused(Refusal::NotYet), Exit::ExecNotFound),
            (of(NotStarted::NotFound), Exit::ExecNoCommand),
            (of(NotStarted::NotExecutable), Exit::ExecNotExecutable),
            (of(NotStarted::Trouble), Exit::ExecFailed),
            (FromHolder::Gone(beside::Gone::Ended), Exit::ExecMoved),
            (FromHolder::Started, Exit::ExecLost),
        ];
        for (last, exit) in table {
            assert_eq!(not_started(&last), exit, "{last:?}");
        }
        for code in 121..=127 {
            assert!(HELP.contains(&format!("\n  {code}  ")), "{code}");
        }
    }

    #[test]
    fn what_a_warrant_cannot_say_is_told_before_anybody_is_asked() {
        use std::os::unix::ffi::OsStringExt as _;
        let words = |words: Vec<OsString>| super::words(&words).map_err(|failure| failure.exit);
        assert_eq!(words(vec!["ls".into(), "".into()]), Ok(vec!["ls".into(), String::new()]));
        let bad = [
            vec![OsString::from_vec(vec![0xff])],
            vec!["x".into(); WORDS_MAX + 1],
            vec!["x".repeat(COMMAND_MAX_BYTES).into()],
        ];
        for command in bad {
            assert_eq!(words(command), Err(Exit::Usage));
        }
    }

    #[test]
    fn what_a_holder_tells_does_not_reach_the_terminal_as_it_is() {
        let last = FromHolder::NotStarted { why: NotStarted::Trouble, reason: "a\x1b[2Jb".into() };
        assert_eq!(super::not_started(&last, &wanted()).message, "a?[2Jb");
    }
}
