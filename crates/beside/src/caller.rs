//! The caller's side: from a way to the holder to a command that runs, and from there to its end.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use xtreem_allocation::Exit;
use xtreem_base::AppId;

use crate::frame::{FrameError, FromCaller, FromHolder, Gone, INPUT_ROOM_BYTES, Window, read, write};
use crate::seal::{SealedByCaller, open};
use crate::warrant::{Authority, Warrant};

/// Longest time for the holder to be spoken to, to offer, and to start the command: as long as helpers may
/// take for that.
const BEGINNING_MAX: Duration = Duration::from_secs(30);
/// The holder speaks every three seconds: after so long a silence the contact is lost.
const HOLDER_SILENCE_MAX: Duration = Duration::from_secs(15);
/// Between two words that this side is there; it counts as gone after a minute.
const ALIVE_PERIOD: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub app: AppId,
    pub slot: u16,
    pub command: Vec<String>,
    /// Its kind, if it shall have one.
    pub terminal: Option<String>,
    pub window: Option<Window>,
}

/// Why no command runs.
#[derive(Debug)]
pub enum NotBegun {
    /// In words.
    Lost(String),
    /// The holder said this in place of starting it.
    Said(FromHolder),
}

/// What a command wrote.
#[derive(Debug)]
pub enum Piece {
    Output(Vec<u8>),
    Errors(Vec<u8>),
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exited(Exit),
    /// The slot did, and the command with it.
    Gone(Gone),
}

/// Why a conversation is over before the command's end was heard.
#[derive(Debug, Error)]
pub enum Lost {
    #[error("it is silent for {} s", HOLDER_SILENCE_MAX.as_secs())]
    Silent,
    #[error("it broke off")]
    BrokeOff,
    #[error("it says something out of turn")]
    OutOfTurn,
    #[error(transparent)]
    Frame(FrameError),
    #[error(transparent)]
    Io(io::Error),
    /// By this side.
    #[error("nobody takes what the command writes")]
    Untaken,
}

/// Shows the node at the other end of `stream` whose word it is, and returns once the command runs there.
/// `root` is the VO's root certificate (X.509, DER).
pub async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    root: &[u8],
    sign: impl FnOnce(&Warrant) -> Authority,
    wanted: &Wanted,
) -> Result<SealedByCaller<S>, NotBegun> {
    let begun = timeout(BEGINNING_MAX, agree(stream, root, sign, wanted)).await;
    let begun = begun.map_err(|_| NotBegun::Lost("the holder does not go on".to_owned()))?;
    begun.map_err(|error| NotBegun::Lost(error.to_string()))?.map_err(NotBegun::Said)
}

async fn agree<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    root: &[u8],
    sign: impl FnOnce(&Warrant) -> Authority,
    wanted: &Wanted,
) -> Result<Result<SealedByCaller<S>, FromHolder>, FrameError> {
    let (mut sealed, holder) = open(root, stream).await.map_err(|error| match error.kind() {
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
    let authority = sign(&warrant);
    let warrant = Box::new(warrant);
    write(&mut sealed, &FromCaller::Warrant { warrant, authority, window: *window }).await?;
    match read(&mut sealed).await? {
        FromHolder::Started => Ok(Ok(sealed)),
        other => Ok(Err(other)),
    }
}

/// The conversation from a command's start to its end: what is `typed` goes to the command, `pieces` come
/// from it, and its terminal gets each of the `windows`.
pub async fn converse(
    sealed: impl AsyncRead + AsyncWrite + Unpin,
    typed: mpsc::Receiver<Vec<u8>>,
    pieces: mpsc::Sender<Piece>,
    windows: mpsc::Receiver<Window>,
) -> Result<End, Lost> {
    let (from, to) = split(sealed);
    let (more_room, room) = watch::channel(INPUT_ROOM_BYTES as u64);
    let mut hearing = pin!(hear(from, pieces, more_room));
    tokio::select! {
        ended = &mut hearing => ended,
        spoken = speak(to, typed, room, windows) => {
            let why = match spoken { Err(error) => error, Ok(never) => match never {} };
            // A holder whose command has ended reads no more; what it said last may lie here yet.
            hearing.await.map_err(|_| Lost::Io(why))
        }
    }
}

/// Hears the holder to its last word.
async fn hear(
    mut from: impl AsyncRead + Unpin,
    pieces: mpsc::Sender<Piece>,
    more_room: watch::Sender<u64>,
) -> Result<End, Lost> {
    loop {
        let frame = timeout(HOLDER_SILENCE_MAX, read(&mut from)).await.map_err(|_| Lost::Silent)?;
        let frame = frame.map_err(|error| match error {
            FrameError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => Lost::BrokeOff,
            error => Lost::Frame(error),
        })?;
        let piece = match frame {
            FromHolder::Output(bytes) => Piece::Output(bytes),
            FromHolder::Errors(bytes) => Piece::Errors(bytes),
            FromHolder::Room(len) => {
                more_room.send_modify(|room| *room = room.saturating_add(len.into()));
                continue;
            }
            FromHolder::Alive => continue,
            FromHolder::Ended(exit) => return Ok(End::Exited(exit)),
            FromHolder::Gone(gone) => return Ok(End::Gone(gone)),
            FromHolder::Offer { .. }
            | FromHolder::Refused(_)
            | FromHolder::NotStarted { .. }
            | FromHolder::Started => return Err(Lost::OutOfTurn),
        };
        // Who takes them has an error to tell.
        if pieces.send(piece).await.is_err() {
            return Err(Lost::Untaken);
        }
    }
}

/// Sends what is typed as far as there is room for it, and now and then a word. Ends with an error only.
async fn speak(
    mut to: impl AsyncWrite + Unpin,
    mut typed: mpsc::Receiver<Vec<u8>>,
    mut room: watch::Receiver<u64>,
    mut windows: mpsc::Receiver<Window>,
) -> io::Result<Infallible> {
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
                Err(_) => pending().await,
            },
            Some(window) = windows.recv() => FromCaller::Window(window),
            () = sleep_until(alive_at) => FromCaller::Alive,
        };
        write(&mut to, &frame).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn input_is_sent_only_as_far_as_there_is_room() {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let (type_in, typed) = mpsc::channel(2);
        let (more_room, room) = watch::channel(5);
        let (_, no_windows) = mpsc::channel(1);
        let speaking = tokio::spawn(speak(near, typed, room, no_windows));
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
