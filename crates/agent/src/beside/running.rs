//! A command and its caller, until one of them is gone or the slot is.
//!
//! Four things go on at once, all in the task of the conversation: what the caller says is heard, its input
//! is fed to the command, output is read, and what there is to say is said. None of them waits for another
//! but through bounded room: output waits until the caller has taken what was said before, and input comes
//! only as far as room was granted, so that whether the caller lives is always heard.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, SimplexStream, WriteHalf,
    simplex, split,
};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use xtreem_allocation::SlotRun;
use xtreem_net::beside::{
    DATA_MAX_BYTES, FrameError, FromCaller, FromHolder, Gone, INPUT_ROOM_BYTES, NotStarted, Warrant, Window,
    read, write,
};

use super::streams::{Input, Near};
use super::{ALIVE_PERIOD, CALLER_SILENCE_MAX, GRACE_GONE};
use crate::exec::{self, Beside, Door, StartError, Terminal};
use crate::program::SELF_COMMAND;
use crate::slots::Grace;

/// Frames that wait to be said; beyond it output waits in its pipe.
const FRAMES_MAX: usize = 2;
/// After the command's end: longest silence of its output. It ends at once unless, without namespaces, a
/// process escaped that still holds it.
const OUTPUT_END_MAX: Duration = Duration::from_secs(1);
/// A command that was killed has perhaps ended with its slot: so long it is waited for that word, which comes
/// once the log of the slot's program is complete.
const SLOT_END_MAX: Duration = Duration::from_secs(2);
/// SIGKILL.
const KILLED: exec::Exit = exec::Exit::Signal(9);

/// A command that is to run.
pub(super) struct Job {
    pub run: SlotRun,
    pub door: Arc<Door>,
    /// Says when the slot is to stop, and ends with it.
    pub stop: watch::Receiver<Option<Grace>>,
    pub warrant: Warrant,
    pub window: Option<Window>,
    /// Name of the user, or which slot it is.
    pub caller: String,
}

/// Runs the command and tells the caller how it ended. When this returns, nothing of it is left.
pub(super) async fn run(sealed: &mut (impl AsyncRead + AsyncWrite + Unpin), job: Job) -> io::Result<()> {
    let Job { run, door, mut stop, warrant, window, .. } = job;
    let started = start(&door, &warrant, window).await;
    let (mut beside, near) = match started {
        Ok(started) => started,
        Err(error) => {
            let last = not_started(&mut stop, error).await;
            write(sealed, &last).await?;
            return sealed.shutdown().await;
        }
    };
    let (from, to) = split(sealed);
    let ended = converse(from, to, &mut beside, near, &mut stop).await;
    // The caller is gone, or all is said: the command has ended already, or ends now.
    let exit = beside.stop(GRACE_GONE).await;
    tracing::info!(app = ?run.app, slot = run.slot, ?exit, ?ended, "a command beside a slot has ended");
    ended
}

async fn start(door: &Door, warrant: &Warrant, window: Option<Window>) -> Result<(Beside, Near), StartError> {
    let has_terminal = warrant.terminal.is_some();
    let streams = if has_terminal { Near::terminal(door.user(), window) } else { Near::pipes() };
    let (near, far) = streams.map_err(StartError::Disk)?;
    let mut command = warrant.command.clone();
    if command.first().is_some_and(|first| first == SELF_COMMAND) {
        command[0] = crate::SELF_EXE.to_owned();
    }
    let env = warrant.terminal.iter().map(|name| ("TERM".to_owned(), name.clone())).collect::<Vec<_>>();
    let beside = door.start(&command, &env, far, has_terminal, Path::new(crate::SELF_EXE)).await?;
    Ok((beside, near))
}

async fn not_started(stop: &mut watch::Receiver<Option<Grace>>, error: StartError) -> FromHolder {
    let errno = match &error {
        StartError::Refused { errno, .. } => errno.map(Errno::from_raw),
        _ => None,
    };
    let why = match errno {
        Some(Errno::ENOENT) => NotStarted::NotFound,
        Some(Errno::EACCES | Errno::ENOEXEC | Errno::E2BIG) => NotStarted::NotExecutable,
        _ => NotStarted::Trouble,
    };
    // Perhaps there is nothing left beside which it could be started.
    if why == NotStarted::Trouble
        && let Ok((gone, _)) = timeout(SLOT_END_MAX, slot_ends(stop)).await
    {
        return FromHolder::Gone(gone);
    }
    FromHolder::NotStarted { why, reason: error.to_string() }
}

/// Returns when the slot is to stop, or has ended.
async fn slot_ends(stop: &mut watch::Receiver<Option<Grace>>) -> (Gone, Grace) {
    match stop.wait_for(Option::is_some).await {
        Ok(grace) => (Gone::Moved, grace.unwrap_or_default()),
        Err(_) => (Gone::Ended, Grace::ZERO),
    }
}

/// An error when the caller is gone.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    from: ReadHalf<S>,
    to: WriteHalf<S>,
    beside: &mut Beside,
    near: Near,
    stop: &mut watch::Receiver<Option<Grace>>,
) -> io::Result<()> {
    let Near { input, output, errors, terminal } = near;
    let (frames, to_say) = mpsc::channel(FRAMES_MAX);
    let (typed, typed_in) = simplex(INPUT_ROOM_BYTES);
    let waiting = AtomicUsize::new(0);
    let (exited_in, exited) = watch::channel(false);
    let said = async {
        // Before anything of the command can be.
        let _ = frames.send(FromHolder::Started).await;
        let ending = async {
            let last = ending(beside, stop).await;
            exited_in.send_replace(true);
            last
        };
        let errors = async {
            if let Some(errors) = errors {
                pass_on(errors, FromHolder::Errors, &frames, exited.clone()).await;
            }
        };
        let output = pass_on(output, FromHolder::Output, &frames, exited.clone());
        let (last, (), ()) = tokio::join!(ending, output, errors);
        // When nobody says it any more, the conversation is over in any case.
        let _ = frames.send(last).await;
    };
    tokio::select! {
        heard = hear(from, typed_in, &waiting, terminal.as_ref()) => heard,
        (said, ()) = async { tokio::join!(speak(to, to_say), said) } => said,
        never = feed(typed, input, &waiting, &frames) => match never {},
    }
}

/// Waits for the end of the command, or of its slot, which is its end, too.
async fn ending(beside: &mut Beside, stop: &mut watch::Receiver<Option<Grace>>) -> FromHolder {
    let exit = tokio::select! {
        // First: a stop ends both.
        biased;
        (gone, grace) = slot_ends(stop) => {
            beside.stop(grace).await;
            return FromHolder::Gone(gone);
        }
        exit = beside.wait() => exit.unwrap_or(KILLED),
    };
    if exit == KILLED
        && let Ok((gone, _)) = timeout(SLOT_END_MAX, slot_ends(stop)).await
    {
        return FromHolder::Gone(gone);
    }
    FromHolder::Ended(match exit {
        exec::Exit::Code(code) => xtreem_allocation::Exit::Code(code),
        exec::Exit::Signal(signal) => xtreem_allocation::Exit::Signal(signal),
    })
}

/// Passes output on, until its end.
async fn pass_on(
    mut from: Receiver,
    frame: impl Fn(Vec<u8>) -> FromHolder,
    frames: &mpsc::Sender<FromHolder>,
    mut exited: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; DATA_MAX_BYTES];
    loop {
        let held_open = async {
            // The sender lives as long as this.
            let _ = exited.wait_for(|exited| *exited).await;
            sleep(OUTPUT_END_MAX).await;
        };
        let len = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or_default(),
            () = held_open => 0,
        };
        if len == 0 || frames.send(frame(buffer[..len].to_vec())).await.is_err() {
            return;
        }
    }
}

/// Says what there is to say, and now and then that the holder is there, until the last word.
async fn speak(mut to: impl AsyncWrite + Unpin, mut to_say: mpsc::Receiver<FromHolder>) -> io::Result<()> {
    loop {
        let frame = timeout(ALIVE_PERIOD, to_say.recv()).await.unwrap_or(Some(FromHolder::Alive));
        let Some(frame) = frame else { return Ok(()) };
        write(&mut to, &frame).await?;
        if matches!(frame, FromHolder::Ended(_) | FromHolder::Gone(_)) {
            return to.shutdown().await;
        }
    }
}

/// Hears the caller until it is gone, says nothing, or says what makes no sense: always an error.
async fn hear(
    mut from: impl AsyncRead + Unpin,
    typed: WriteHalf<SimplexStream>,
    waiting: &AtomicUsize,
    terminal: Option<&Terminal>,
) -> io::Result<()> {
    let fault = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    let mut typed = Some(typed);
    loop {
        let frame = timeout(CALLER_SILENCE_MAX, read(&mut from)).await?.map_err(|error| match error {
            FrameError::Io(error) => error,
            fault => io::Error::new(io::ErrorKind::InvalidData, fault),
        })?;
        match frame {
            FromCaller::Input(bytes) => {
                let Some(typed) = &mut typed else { return fault("input after its end") };
                let before = waiting.fetch_add(bytes.len(), Ordering::AcqRel);
                if before + bytes.len() > INPUT_ROOM_BYTES {
                    return fault("more input than there is room for");
                }
                // There is room: it takes no time.
                typed.write_all(&bytes).await?;
            }
            FromCaller::InputEnds => {
                if let Some(mut typed) = typed.take() {
                    typed.shutdown().await?;
                }
            }
            FromCaller::Window(Window { rows, columns }) => {
                if let Some(terminal) = terminal {
                    // A terminal that was hung up has no window.
                    let _ = terminal.set_window(rows, columns);
                }
            }
            FromCaller::Alive => {}
            FromCaller::Ask { .. } | FromCaller::Warrant { .. } => return fault("a frame out of turn"),
        }
    }
}

/// Feeds the command what came, and says what room that made. Never returns: the command may read no more and
/// still run.
async fn feed(
    mut typed: ReadHalf<SimplexStream>,
    input: Input,
    waiting: &AtomicUsize,
    frames: &mpsc::Sender<FromHolder>,
) -> Infallible {
    let mut input = Some(input);
    let mut buffer = vec![0; DATA_MAX_BYTES];
    loop {
        let len = typed.read(&mut buffer).await.unwrap_or_default();
        if len == 0 {
            if let Some(input) = input {
                input.end().await;
            }
            return pending().await;
        }
        if let Some(open) = &mut input
            && open.write_all(&buffer[..len]).await.is_err()
        {
            // Nobody reads it any more: what still comes is nothing to anybody.
            input = None;
        }
        waiting.fetch_sub(len, Ordering::AcqRel);
        // At most 32 KiB.
        if frames.send(FromHolder::Room(len as u32)).await.is_err() {
            return pending().await;
        }
    }
}
