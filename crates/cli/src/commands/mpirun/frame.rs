//! What `xtreem mpirun` and its head in slot 0 say to each other, on the standard input and output of the
//! head, and what the head's launchers say to it.
//!
//! Frames are those of commands beside slots (`xtreem_net::beside`): of bounded length, and refused when they
//! are none.

use minicbor::{Decode, Encode};
use tokio::io::{AsyncRead, AsyncWriteExt as _, simplex};
use tokio::sync::mpsc;
use xtreem_net::beside::{DATA_MAX_BYTES, write};

/// To the head.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToHead {
    /// Standard input of `mpirun`. The next one is sent when the head has said [`FromHead::Took`].
    #[n(0)]
    Input(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    #[n(1)]
    InputEnds,
    /// A command that was to be started has ended, or was not started.
    #[n(2)]
    Ended {
        #[n(0)]
        id: u32,
        #[n(1)]
        code: u8,
    },
}

/// From the head.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromHead {
    /// Standard output of `mpirun`.
    #[n(0)]
    Output(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    #[n(1)]
    Took,
    /// Start a command beside another slot.
    #[n(2)]
    Start {
        #[n(0)]
        id: u32,
        #[n(1)]
        launch: Launch,
    },
}

/// What `mpirun` wants to be started, as its launcher tells the head.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Launch {
    #[n(0)]
    pub slot: u16,
    /// For a shell.
    #[n(1)]
    pub command: String,
}

/// The bytes of a frame.
pub async fn bytes<T: Encode<()>>(frame: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = write(&mut bytes, frame).await;
    bytes
}

/// Pieces of bytes as one stream, which ends with them.
pub fn stream(mut pieces: mpsc::Receiver<Vec<u8>>) -> impl AsyncRead + Send + Unpin + 'static {
    let (from, mut to) = simplex(DATA_MAX_BYTES);
    tokio::spawn(async move {
        while let Some(piece) = pieces.recv().await {
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        // Who does not read any more needs no end.
        let _ = to.shutdown().await;
    });
    from
}

#[cfg(test)]
mod tests {
    use xtreem_net::beside::read;

    use super::*;

    #[tokio::test]
    async fn frames_are_the_same_in_pieces_of_any_length() {
        let launch = Launch { slot: 3, command: "orted -mca x \"1\"".to_owned() };
        let said = [
            FromHead::Output(vec![0; DATA_MAX_BYTES]),
            FromHead::Start { id: 7, launch },
            FromHead::Took,
            FromHead::Output(b"pi".to_vec()),
        ];
        for len in [1, 5, 100_000] {
            let mut all = Vec::new();
            for frame in &said {
                all.extend(bytes(frame).await);
            }
            let (to, pieces) = mpsc::channel(1);
            let sending = tokio::spawn(async move {
                for piece in all.chunks(len) {
                    to.send(piece.to_vec()).await.expect("it is read");
                }
            });
            let mut from = stream(pieces);
            for frame in &said {
                assert_eq!(read::<FromHead>(&mut from).await.expect("a frame"), *frame);
            }
            sending.await.expect("sent");
            assert!(read::<FromHead>(&mut from).await.is_err(), "it ends");
        }
    }

    #[tokio::test]
    async fn no_bytes_make_a_reader_panic() {
        let launch = Launch { slot: 3, command: "orted".to_owned() };
        let from_head = bytes(&FromHead::Start { id: 7, launch: launch.clone() }).await;
        let to_head = bytes(&ToHead::Ended { id: 7, code: 1 }).await;
        for good in [from_head, to_head, bytes(&launch).await] {
            for at in 0..good.len() {
                for byte in [0, 1, 0x7f, 0x80, 0x9f, 0xff] {
                    let mut bad = good.clone();
                    bad[at] = byte;
                    let _ = read::<FromHead>(&mut &bad[..]).await;
                    let _ = read::<ToHead>(&mut &bad[..]).await;
                    let _ = read::<Launch>(&mut &bad[..]).await;
                }
                assert!(read::<FromHead>(&mut &good[..at]).await.is_err(), "{at} bytes of it");
            }
        }
    }
}
