//! `xtreem exec`: a command beside a slot, as if it were run here.
//!
//! The user's key, or within a slot that slot's, signs the command for one run of one slot and one node, and
//! all that is typed and written is sealed up to that node (`xtreem_beside`): the agents between are only the
//! way there. `talk` is what goes on while the command runs, `terminal` is this side's terminal.

pub(super) mod talk;
mod terminal;

use std::ffi::OsString;

use clap::Args;
use xtreem_base::AppId;
use xtreem_client::api::SlotSelf;
use xtreem_client::exec::{Caller, ExecError, NotStarted, Refusal, Sealed, Wanted, Window};
use xtreem_client::{ClientError, OperatorClient, SlotClient};
use xtreem_net::Identity;
use xtreem_net::beside::{COMMAND_MAX_BYTES, WORDS_MAX, sign_warrant};

use self::talk::AskedToEnd;
use self::terminal::Terminal;
use crate::exit::{Exit, Failure};
use crate::places::AgentSocket;
use crate::runtime::block_on;
use crate::user::Credential;
use crate::which::{self, SlotName};

/// Examples and how it ends.
const HELP: &str = "\
Examples:
  xtreem exec web/0 -- ls -l
  xtreem exec -t web/0 -- sh
  tar c data | xtreem exec 1f2e3d4c/3 -- tar x
  xtreem exec 3 -- hostname                      # by a program in a slot, to slot 3 of its application

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
    /// Application (name, id, or 4 characters or more of the beginning of an id) and slot; by a program in a
    /// slot the slot alone is enough
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
    let command = words(&arguments.command)?;
    match by_slot(arguments) {
        Some(client) => block_on(async {
            let me = client.whoami().await?;
            let slot = own_slot(&me, &arguments.slot)?;
            let app = id(&me.application.id)?;
            call(Caller::Slot(&client), app, slot, command, arguments.terminal).await
        }),
        None => {
            let SlotName { app, slot: Some(slot) } = &arguments.slot else {
                return Err(Failure::usage("a command runs beside one slot: name it, as in web/0"));
            };
            let user = arguments.user.load()?;
            let client = arguments.agent.client()?;
            block_on(async {
                let app = id(&which::find(&client, app).await?)?;
                let sign = |warrant: &_| sign_warrant(&user, warrant);
                let caller = Caller::User { client: &client, root: user.ca(), sign: &sign };
                call(caller, app, *slot, command, arguments.terminal).await
            })
        }
    }
}

/// The agent's door for the slot in which this runs, unless a user's credential or an operator's socket was
/// named.
fn by_slot(arguments: &Arguments) -> Option<SlotClient> {
    let is_user = arguments.agent.is_named() || arguments.user.is_named();
    if is_user { None } else { SlotClient::from_env().ok() }
}

/// The slot that a program means: of its own application.
fn own_slot(me: &SlotSelf, name: &SlotName) -> Result<u16, Failure> {
    let own = &me.application;
    let SlotName { app, slot } = name;
    let Some(slot) = slot else {
        return app.parse().map_err(|_| {
            Failure::usage(format!("`{app}` names no slot: write its number, as in `3` or `{}/3`", own.name))
        });
    };
    if *app == own.name || which::begins(app, &own.id) {
        return Ok(*slot);
    }
    let message = format!(
        "a program starts commands beside slots of its own application only, which is {} ({})",
        own.name, own.id
    );
    Err(Failure::new(Exit::ExecRefused, message).with_hint(
        "a user may start others: name a credential with --credential, and an agent with --socket",
    ))
}

fn id(text: &str) -> Result<AppId, Failure> {
    text.parse().map_err(|_| Failure::new(Exit::Failed, "the agent's answer has a wrong id"))
}

async fn call(
    caller: Caller<'_>,
    app: AppId,
    slot: u16,
    command: Vec<String>,
    has_terminal: bool,
) -> Result<Exit, Failure> {
    let terminal = has_terminal.then(Terminal::kind);
    let window: Option<Window> = if has_terminal { Terminal::window() } else { None };
    let wanted = Wanted { app, slot, command, terminal, window };
    let mut asked = AskedToEnd::listen()?;
    let sealed = tokio::select! {
        sealed = caller.begin(&wanted) => sealed?,
        signal = asked.signal() => return Ok(Exit::Command(signal)),
    };
    // From here on what is typed is the command's.
    let raw = if has_terminal { Terminal::raw() } else { None };
    let ended = talk::talk(sealed, has_terminal, asked).await;
    drop(raw);
    ended
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
) -> Result<Sealed, Failure> {
    let sign = |warrant: &_| sign_warrant(user, warrant);
    Ok(Caller::User { client, root: user.ca(), sign: &sign }.begin(wanted).await?)
}

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Failure {
        let exit = match error {
            ExecError::Agent(error) => return of_client(error),
            ExecError::Malformed(_) => Exit::Failed,
            ExecError::NoContact(_) | ExecError::Lost(_) => Exit::ExecLost,
            ExecError::Refused { refusal: Refusal::NotHere | Refusal::NotYet, .. } => Exit::ExecNotFound,
            ExecError::Refused { .. } => Exit::ExecRefused,
            ExecError::NotStarted { why, .. } => match why {
                NotStarted::NotFound => Exit::ExecNoCommand,
                NotStarted::NotExecutable => Exit::ExecNotExecutable,
                NotStarted::Trouble => Exit::ExecFailed,
            },
            ExecError::Gone(_) => Exit::ExecMoved,
        };
        let failure = Failure::new(exit, &error);
        match error.hint() {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_client::api::{AppBrief, WantedView};
    use xtreem_client::exec::Gone;

    #[test]
    fn every_word_of_a_holder_has_its_exit_code() {
        let refused = |refusal| ExecError::Refused { slot: 3, refusal };
        let of = |why| ExecError::NotStarted { why, reason: "no".into() };
        let table = [
            (refused(Refusal::WrongSigner), Exit::ExecRefused),
            (refused(Refusal::Expired), Exit::ExecRefused),
            (refused(Refusal::OtherHolder), Exit::ExecRefused),
            (refused(Refusal::SlotsMayNot), Exit::ExecRefused),
            (refused(Refusal::NotHere), Exit::ExecNotFound),
            (refused(Refusal::NotYet), Exit::ExecNotFound),
            (of(NotStarted::NotFound), Exit::ExecNoCommand),
            (of(NotStarted::NotExecutable), Exit::ExecNotExecutable),
            (of(NotStarted::Trouble), Exit::ExecFailed),
            (ExecError::Gone(Gone::Ended), Exit::ExecMoved),
            (ExecError::NoContact("silence".into()), Exit::ExecLost),
        ];
        for (error, exit) in table {
            let words = error.to_string();
            assert_eq!(Failure::from(error).exit, exit, "{words}");
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
    fn a_program_names_slots_of_its_own_application() {
        let me = SlotSelf {
            application: AppBrief {
                id: "1f2e".repeat(8),
                name: "web".into(),
                slots: 4,
                generation: 1,
                wanted: WantedView::Running,
            },
            slot: 0,
            epoch: String::new(),
            node: String::new(),
            address: String::new(),
            ports: Default::default(),
        };
        let whole = format!("{}/3", me.application.id);
        let table = [
            ("3", Ok(3)),
            ("web/3", Ok(3)),
            ("1f2e/3", Ok(3)),
            (&whole, Ok(3)),
            ("web", Err(Exit::Usage)),
            ("1f2/3", Err(Exit::ExecRefused)),
            ("other/3", Err(Exit::ExecRefused)),
        ];
        for (text, expected) in table {
            let name = text.parse().expect("a name");
            assert_eq!(own_slot(&me, &name).map_err(|failure| failure.exit), expected, "{text}");
        }
    }
}
