//! While the command runs: standard input goes to the holder, output comes from it, and each says that it is
//! there.
//!
//! Standard input and output are read and written by threads of their own, which may be kept waiting by
//! whoever is at the other end of them; what is between them and this has room for a few pieces.

use std::io::{self, Read as _, Write as _};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use xtreem_allocation::Exit as Ended;
use xtreem_client::exec::{self, End, ExecError, Lost, Sealed, Window};
use xtreem_net::beside::DATA_MAX_BYTES;

pub use xtreem_client::exec::Piece;

use super::terminal::Terminal;
use crate::exit::{Exit, Failure};

/// Pieces between a thread and the conversation.
pub const PIECES_MAX: usize = 2;
/// Returns how the command ended.
pub async fn talk(sealed: Sealed, has_terminal: bool, mut asked: AskedToEnd) -> Result<Exit, Failure> {
    let (pieces, printing) = mpsc::channel(PIECES_MAX);
    let printed = print(printing)?;
    let windows = if has_terminal { windows()? } else { no_windows() };
    let ended = tokio::select! {
        ended = converse(sealed, typed()?, pieces, windows) => ended,
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
    sealed: Sealed,
    typed: mpsc::Receiver<Vec<u8>>,
    pieces: mpsc::Sender<Piece>,
    windows: mpsc::Receiver<Window>,
) -> Result<Exit, Failure> {
    match exec::converse(sealed, typed, pieces, windows).await {
        Ok(End::Exited(exit)) => Ok(Exit::Command(code(exit))),
        Ok(End::Gone(gone)) => Err(ExecError::Gone(gone).into()),
        // Who prints has an error to tell.
        Err(Lost::Untaken) => Ok(Exit::OutputClosed),
        Err(lost) => Err(ExecError::Lost(lost).into()),
    }
}

/// Of a command without a terminal.
pub fn no_windows() -> mpsc::Receiver<Window> {
    mpsc::channel(1).1
}

/// Every window that this side's terminal has from now on.
fn windows() -> Result<mpsc::Receiver<Window>, Failure> {
    let failed = |error| Failure::new(Exit::ExecFailed, format!("signals: {error}"));
    let mut resized = signal(SignalKind::window_change()).map_err(failed)?;
    let (tell, windows) = mpsc::channel(1);
    tokio::spawn(async move {
        while resized.recv().await.is_some() {
            if let Some(window) = Terminal::window()
                && tell.send(window).await.is_err()
            {
                return;
            }
        }
    });
    Ok(windows)
}

/// As shells tell it.
fn code(exit: Ended) -> u8 {
    // The kernel has no other codes than those that fit, and 64 signals.
    match exit {
        Ended::Code(code) => code as u8,
        Ended::Signal(signal) => 128u8.saturating_add(signal as u8),
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
}
