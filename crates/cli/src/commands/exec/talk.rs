//! While the command runs: standard input goes to the holder, output comes from it, and each says that it is
//! there.
//!
//! Standard input and output are read and written by threads of their own, which may be kept waiting by
//! whoever is at the other end of them; what is between them and this has room for a few pieces.

use std::io::{self, Read as _, Write as _};
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use xtreem_allocation::Exit as Ended;
use xtreem_net::beside::{DATA_MAX_BYTES, FrameError, FromCaller, FromHolder, INPUT_ROOM_BYTES, read, write};

use super::terminal::Terminal;
use crate::exit::{Exit, Failure};

/// Pieces between a thread and the conversation.
pub const PIECES_MAX: usize = 2;
/// The holder speaks every three seconds: after so long a silence the contact is lost.
const HOLDER_SILENCE_MAX: Duration = Duration::from_secs(15);
/// Between two words that this side is there; it counts as gone after a minute.
const ALIVE_PERIOD: Duration = Duration::from_secs(5);

/// Where output goes.
pub enum Piece {
    Output(Vec<u8>),
    Errors(Vec<u8>),
}

/// Returns how the command ended.
pub async fn talk(
    sealed: impl AsyncRead + AsyncWrite + Unpin,
    has_terminal: bool,
    mut asked: AskedToEnd,
) -> Result<Exit, Failure> {
    let (pieces, printing) = mpsc::channel(PIECES_MAX);
    let printed = print(printing)?;
    let ended = tokio::select! {
        ended = converse(sealed, typed()?, pieces, has_terminal) => ended,
        // Nobody waits for output that is not taken.
        signal = asked.signal() => return Ok(Exit::Command(signal)),
    };
    // All of the output is out before the exit is told.
    match (ended, printed.await.unwrap_or(Ok(()))) {
        (_, Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::OutputClosed, "nobody reads the output"))
        }
        (Ok(_), Err(error)) => Err(Failure::new(Exit::ExecFailed, format!("standard output: {error}"))),
        (ended, _) => ended,
    }
}

/// The conversation by itself, to its end: what is `typed` goes to the command, and `pieces` come from it.
pub async fn converse(
    sealed: impl AsyncRead + AsyncWrite + Unpin,
    typed: mpsc::Receiver<Vec<u8>>,
    pieces: mpsc::Sender<Piece>,
    has_terminal: bool,
) -> Result<Exit, Failure> {
    let (from, to) = split(sealed);
    let (more_room, room) = watch::channel(INPUT_ROOM_BYTES as u64);
    let mut hearing = pin!(hear(from, pieces, more_room));
    tokio::select! {
        ended = &mut hearing => ended,
        spoken = speak(to, typed, room, has_terminal) => {
            let why = spoken.map_or_else(|error| error.to_string(), |never| match never {});
            // A holder whose command has ended reads no more; what it said last may lie here yet.
            hearing.await.map_err(|_| lost(&why))
        }
    }
}

fn lost(why: &str) -> Failure {
    Failure::new(Exit::ExecLost, format!("the contact to the holder of the slot is lost: {why}"))
        .with_hint("the command has ended, or ends within a minute; `xtreem show` tells where the slot runs")
}

/// Hears the holder to its last word.
async fn hear(
    mut from: impl AsyncRead + Unpin,
    pieces: mpsc::Sender<Piece>,
    more_room: watch::Sender<u64>,
) -> Result<Exit, Failure> {
    loop {
        let silence = |_| lost(&format!("it is silent for {} s", HOLDER_SILENCE_MAX.as_secs()));
        let frame = timeout(HOLDER_SILENCE_MAX, read(&mut from)).await.map_err(silence)?;
        let frame = frame.map_err(|error| match error {
            FrameError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => lost("it broke off"),
            error => lost(&error.to_string()),
        })?;
        let piece = match frame {
            FromHolder::Output(bytes) => Piece::Output(bytes),
            FromHolder::Errors(bytes) => Piece::Errors(bytes),
            FromHolder::Room(len) => {
                more_room.send_modify(|room| *room += u64::from(len));
                continue;
            }
            FromHolder::Alive => continue,
            FromHolder::Ended(exit) => return Ok(Exit::Command(code(exit))),
            FromHolder::Gone(gone) => {
                return Err(Failure::new(Exit::ExecMoved, format!("the command was ended: {gone}"))
                    .with_hint("`xtreem show` tells how the slot goes on"));
            }
            FromHolder::Offer { .. }
            | FromHolder::Refused(_)
            | FromHolder::NotStarted { .. }
            | FromHolder::Started => return Err(lost("it says something out of turn")),
        };
        // Who prints has an error to tell.
        if pieces.send(piece).await.is_err() {
            return Ok(Exit::OutputClosed);
        }
    }
}

/// As shells tell it.
fn code(exit: Ended) -> u8 {
    // The kernel has no other codes than those that fit, and 64 signals.
    match exit {
        Ended::Code(code) => code as u8,
        Ended::Signal(signal) => 128u8.saturating_add(signal as u8),
    }
}

/// Sends what is typed as far as there is room for it, and now and then a word. Ends with an error only.
async fn speak(
    mut to: impl AsyncWrite + Unpin,
    mut typed: mpsc::Receiver<Vec<u8>>,
    mut room: watch::Receiver<u64>,
    has_terminal: bool,
) -> io::Result<std::convert::Infallible> {
    let mut resized = signal(SignalKind::window_change())?;
    let (mut sent, mut rest, mut is_open) = (0, Vec::new(), true);
    loop {
        let alive_at = Instant::now() + ALIVE_PERIOD;
        let allowed = *room.borrow_and_update() - sent;
        if !rest.is_empty() && allowed > 0 {
            let len = rest.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
            let later = rest.split_off(len);
            write(&mut to, &FromCaller::Input(std::mem::replace(&mut rest, later))).await?;
            sent += len as u64;
            continue;
        }
        let frame = tokio::select! {
            bytes = typed.recv(), if is_open && rest.is_empty() => match bytes {
                Some(bytes) => {
                    rest = bytes;
                    continue;
                }
                None => {
                    is_open = false;
                    FromCaller::InputEnds
                }
            },
            // Its other end goes when the holder is heard no more, and then nobody waits for this.
            changed = room.changed() => match changed {
                Ok(()) => continue,
                Err(_) => std::future::pending().await,
            },
            Some(()) = resized.recv(), if has_terminal => match Terminal::window() {
                Some(window) => FromCaller::Window(window),
                None => continue,
            },
            () = sleep_until(alive_at) => FromCaller::Alive,
        };
        write(&mut to, &frame).await?;
    }
}

/// Reads standard input to its end.
pub fn typed() -> Result<mpsc::Receiver<Vec<u8>>, Failure> {
    let (pieces, typed) = mpsc::channel(PIECES_MAX);
    spawn("input", move || {
        let mut buffer = vec![0; DATA_MAX_BYTES];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(len) if pieces.blocking_send(buffer[..len].to_vec()).is_err() => return,
                Ok(_) => {}
            }
        }
    })?;
    Ok(typed)
}

/// Writes what comes to standard output and error, until nothing comes any more.
pub fn print(
    mut printing: mpsc::Receiver<Piece>,
) -> Result<tokio::sync::oneshot::Receiver<io::Result<()>>, Failure> {
    let (done, printed) = tokio::sync::oneshot::channel();
    spawn("output", move || {
        let mut print = || -> io::Result<()> {
            let (mut output, mut errors) = (io::stdout(), io::stderr());
            while let Some(piece) = printing.blocking_recv() {
                match piece {
                    Piece::Output(bytes) => output.write_all(&bytes).and_then(|()| output.flush())?,
                    // Who does not want to hear of errors is not told of them.
                    Piece::Errors(bytes) => drop(errors.write_all(&bytes)),
                }
            }
            Ok(())
        };
        // Nobody waits for it when the command was told to end.
        let _ = done.send(print());
    })?;
    Ok(printed)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| Failure::new(Exit::ExecFailed, format!("no thread: {error}")))
}

/// The signals by which this command is told to end. The one beside the slot ends with it.
pub struct AskedToEnd {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl AskedToEnd {
    /// From now on they end nothing by themselves: to be called before a command is begun.
    pub fn listen() -> Result<AskedToEnd, Failure> {
        let failed = |error| Failure::new(Exit::ExecFailed, format!("signals: {error}"));
        let listen = |kind| signal(kind).map_err(failed);
        Ok(AskedToEnd {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The exit code for the one that comes.
    pub async fn signal(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            _ = self.hangup.recv() => 129,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_is_the_commands_as_a_shell_tells_it() {
        let table = [
            (Ended::Code(0), 0),
            (Ended::Code(7), 7),
            (Ended::Code(255), 255),
            (Ended::Signal(9), 137),
            (Ended::Signal(15), 143),
            // What no kernel says.
            (Ended::Code(256 + 3), 3),
            (Ended::Signal(200), 255),
        ];
        for (exit, expected) in table {
            assert_eq!(code(exit), expected, "{exit:?}");
        }
    }

    #[tokio::test]
    async fn input_is_sent_only_as_far_as_there_is_room() {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let (type_in, typed) = mpsc::channel(PIECES_MAX);
        let (more_room, room) = watch::channel(5);
        let speaking = tokio::spawn(speak(near, typed, room, false));
        type_in.send(b"hello world".to_vec()).await.expect("it listens");
        drop(type_in);
        let mut heard = async || read::<FromCaller>(&mut far).await.expect("a frame");
        assert_eq!(heard().await, FromCaller::Input(b"hello".to_vec()));
        more_room.send_modify(|room| *room += 100);
        assert_eq!(heard().await, FromCaller::Input(b" world".to_vec()));
        assert_eq!(heard().await, FromCaller::InputEnds);
        speaking.abort();
    }
}
