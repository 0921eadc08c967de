//! One run of `mpirun`: the head in slot 0, and what it wants to be started beside the slots.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use xtreem_base::AppId;
use xtreem_client::OperatorClient;
use xtreem_client::exec::Wanted;
use xtreem_net::Identity;
use xtreem_net::beside::{FrameError, read};

use super::frame::{FromHead, Launch, ToHead, bytes, stream};
use super::input::Input;
use super::{DAEMON_COMMAND, HEAD_COMMAND, LAUNCH_MAX_BYTES, LAUNCHES_MAX};
use crate::commands::exec::begin;
use crate::commands::exec::talk::{PIECES_MAX, Piece, converse, no_windows};
use crate::exit::{Exit, Failure};

/// Once a daemon's slot is lost, so long for `mpirun` to notice and to say so (our guess: it ends within a
/// second).
const NOTICE_MAX: Duration = Duration::from_secs(5);
/// After a failed `mpirun`, for its daemons to end: longer than a lost holder is waited for.
const DAEMONS_END_MAX: Duration = Duration::from_secs(25);

/// How a run ended.
pub enum Ended {
    /// With this code, on all nodes.
    Exited(u8),
    /// With these slots; `mpirun` with this code, if it lived to tell one.
    Lost(Vec<Loss>, Option<u8>),
}

/// A slot that was lost.
pub struct Loss {
    pub slot: u16,
    pub why: String,
}

/// By whom, and beside which application, commands are started.
#[derive(Clone)]
pub struct Starter {
    pub client: OperatorClient,
    pub user: Arc<Identity>,
    pub app: AppId,
    /// Where output goes.
    pub printer: mpsc::Sender<Piece>,
}

impl Starter {
    fn wanted(&self, slot: u16, command: Vec<String>) -> Wanted {
        Wanted { app: self.app, slot, command, terminal: None, window: None }
    }

    /// Runs a command beside a slot, without input, to its end. What it writes goes to `pieces`.
    pub async fn run(
        &self,
        slot: u16,
        command: Vec<String>,
        pieces: mpsc::Sender<Piece>,
    ) -> Result<Exit, Failure> {
        let sealed = begin(&self.client, &self.user, &self.wanted(slot, command)).await?;
        // Nobody types.
        let (_, typed) = mpsc::channel(1);
        converse(sealed, typed, pieces, no_windows()).await
    }

    /// A command of `mpirun`. What it writes are complaints.
    async fn launch(self, slot: u16, command: String) -> Result<Exit, Failure> {
        let command = vec!["xtreem".to_owned(), DAEMON_COMMAND.to_owned(), command];
        let (pieces, mut written) = mpsc::channel(PIECES_MAX);
        let complain = async {
            while let Some(Piece::Output(words) | Piece::Errors(words)) = written.recv().await {
                // Who does not print any more is about to end this.
                let _ = self.printer.send(Piece::Errors(words)).await;
            }
        };
        let (ended, ()) = tokio::join!(self.run(slot, command, pieces), complain);
        ended
    }
}

/// Whether a command beside a slot ended, or did not begin, because the slot is not there any more.
pub fn is_loss(failure: &Failure) -> bool {
    matches!(failure.exit, Exit::ExecMoved | Exit::ExecLost | Exit::ExecNotFound)
}

/// What ended.
enum Part {
    Head(Result<Exit, Failure>),
    Launch { id: u32, slot: u16, ended: Result<Exit, Failure> },
}

/// Runs `mpirun` with these words in an application of `slots` slots with `each` ranks.
pub async fn run(
    starter: &Starter,
    slots: u16,
    each: u32,
    words: &[String],
    input: &mut Input,
) -> Result<Ended, Failure> {
    let options = ["xtreem", HEAD_COMMAND, "--slots", &slots.to_string(), "--each", &each.to_string(), "--"];
    let command = options.into_iter().map(str::to_owned).chain(words.iter().cloned()).collect();
    let sealed = match begin(&starter.client, &starter.user, &starter.wanted(0, command)).await {
        Ok(sealed) => sealed,
        Err(failure) if is_loss(&failure) => {
            return Ok(Ended::Lost(vec![Loss { slot: 0, why: failure.message }], None));
        }
        Err(failure) => return Err(failure),
    };
    let (say, said) = mpsc::channel(PIECES_MAX);
    let (pieces, written) = mpsc::channel(PIECES_MAX);
    let (asking, mut asked) = mpsc::channel(PIECES_MAX);
    let mut parts = JoinSet::new();
    parts.spawn(async { Part::Head(converse(sealed, said, pieces, no_windows()).await) });
    let mut hearing = JoinSet::new();
    hearing.spawn(hear(written, starter.printer.clone(), asking));
    let (mut losses, mut launches, mut give_up) = (Vec::new(), 0, None);
    let (mut is_open, mut has_room) = (true, true);
    let head = loop {
        let at = give_up.unwrap_or_else(Instant::now);
        tokio::select! {
            Some(request) = asked.recv() => match request {
                Request::Took => has_room = true,
                Request::Wrong(error) => {
                    return Err(Failure::new(Exit::Failed, format!("the head in slot 0: {error}"))
                        .with_hint("its node has perhaps another version of xtreem"));
                }
                Request::Start { id, launch }
                    if launch.slot >= slots
                        || launch.command.len() > LAUNCH_MAX_BYTES
                        || launches == LAUNCHES_MAX =>
                {
                    let refused = ToHead::Ended { id, code: Exit::ExecRefused.code() };
                    let _ = say.send(bytes(&refused).await).await;
                }
                Request::Start { id, launch: Launch { slot, command } } => {
                    launches += 1;
                    let starter = starter.clone();
                    parts.spawn(async move {
                        let ended = starter.launch(slot, command).await;
                        Part::Launch { id, slot, ended }
                    });
                }
            },
            Some(part) = parts.join_next() => match part {
                Ok(Part::Head(ended)) => break Some(ended),
                Ok(Part::Launch { id, slot, ended }) => {
                    launches -= 1;
                    let code = ended.as_ref().map_or_else(|failure| failure.exit, |exit| *exit).code();
                    note(slot, ended, &mut losses);
                    if !losses.is_empty() {
                        give_up.get_or_insert(Instant::now() + NOTICE_MAX);
                    }
                    // A head that is gone is heard of next.
                    let _ = say.send(bytes(&ToHead::Ended { id, code }).await).await;
                }
                Err(error) => return Err(Failure::new(Exit::Failed, format!("a part of it failed: {error}"))),
            },
            piece = input.next(), if is_open && has_room => {
                (is_open, has_room) = (piece.is_some(), false);
                let frame = piece.map_or(ToHead::InputEnds, ToHead::Input);
                let _ = say.send(bytes(&frame).await).await;
            }
            () = sleep_until(at), if give_up.is_some() => break None,
        }
    };
    // What was written before the end is printed before anything is said of it.
    drop(asked);
    if head.is_some() {
        hearing.join_all().await;
    }
    let code = match head {
        Some(Ok(Exit::Command(0))) => return Ok(Ended::Exited(0)),
        Some(Ok(exit)) => Some(exit.code()),
        Some(Err(failure)) if is_loss(&failure) => {
            losses.push(Loss { slot: 0, why: failure.message });
            None
        }
        Some(Err(failure)) => return Err(failure),
        None => None,
    };
    // A slot that is lost is known to be some seconds later than `mpirun` has failed by it.
    let end = Instant::now() + DAEMONS_END_MAX;
    while losses.is_empty()
        && let Ok(Some(part)) = timeout_at(end, parts.join_next()).await
    {
        if let Ok(Part::Launch { slot, ended, .. }) = part {
            note(slot, ended, &mut losses);
        }
    }
    losses.sort_by_key(|loss| loss.slot);
    losses.dedup_by_key(|loss| loss.slot);
    // The daemons that are left end with their conversations.
    match code {
        Some(code) if losses.is_empty() => Ok(Ended::Exited(code)),
        _ => Ok(Ended::Lost(losses, code)),
    }
}

/// Takes a note of a slot that was lost, and says what else kept a command from running to its end.
fn note(slot: u16, ended: Result<Exit, Failure>, losses: &mut Vec<Loss>) {
    match ended {
        Ok(_) => {}
        Err(failure) if is_loss(&failure) => losses.push(Loss { slot, why: failure.message }),
        Err(failure) => eprintln!("xtreem mpirun: slot {slot}: {}", failure.message),
    }
}

/// What the head asks for.
enum Request {
    Took,
    Start {
        id: u32,
        launch: Launch,
    },
    /// It says something that is no frame.
    Wrong(FrameError),
}

/// Prints what `mpirun` writes, and passes on what the head asks for, to its end.
async fn hear(
    mut written: mpsc::Receiver<Piece>,
    printer: mpsc::Sender<Piece>,
    asking: mpsc::Sender<Request>,
) {
    let (output, frames) = mpsc::channel(PIECES_MAX);
    let mut frames = stream(frames);
    let split = async {
        while let Some(piece) = written.recv().await {
            match piece {
                Piece::Output(bytes) => drop(output.send(bytes).await),
                Piece::Errors(_) => drop(printer.send(piece).await),
            }
        }
        drop(output);
    };
    let take = async {
        loop {
            let request = match read(&mut frames).await {
                Ok(FromHead::Output(bytes)) => {
                    let _ = printer.send(Piece::Output(bytes)).await;
                    continue;
                }
                Ok(FromHead::Took) => Request::Took,
                Ok(FromHead::Start { id, launch }) => Request::Start { id, launch },
                Err(FrameError::Io(_)) => return,
                Err(error) => Request::Wrong(error),
            };
            let is_last = matches!(request, Request::Wrong(_));
            // Once the head has ended nobody is asked any more.
            let _ = asking.send(request).await;
            if is_last {
                return;
            }
        }
    };
    tokio::join!(split, take);
}
