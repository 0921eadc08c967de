//! What caller and holder say to each other, one frame after the other: four bytes of length, and so
//! many of CBOR.
//!
//! Output is not sent faster than it is taken, because nobody reads ahead of what it can pass on. Input is
//! sent only as far as the holder has said that it has room: so a command that reads nothing keeps no frame
//! behind its input from being read.

use std::io;

use minicbor::{Decode, Encode};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use xtreem_allocation::{Epoch, Exit};
use xtreem_base::AppId;
use xtreem_trust::SLOT_CREDENTIAL_MAX_BYTES;

use crate::warrant::{Authority, COMMAND_MAX_BYTES, NONCE_BYTES, Refusal, WORDS_MAX, Warrant};

/// Most bytes of input or output in one frame.
pub const DATA_MAX_BYTES: usize = 32 << 10;
/// So much input may be on its way; the holder says when it has room for more. Our guess: 20 MB/s over a
/// round trip of 12 ms.
pub const INPUT_ROOM_BYTES: usize = 256 << 10;
/// Longest frame: a warrant, with the heads of its words, what its signer shows, and all else in it.
const FRAME_MAX_BYTES: usize = COMMAND_MAX_BYTES + 4 * WORDS_MAX + SLOT_CREDENTIAL_MAX_BYTES + 1_024;

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Window {
    #[n(0)]
    pub rows: u16,
    #[n(1)]
    pub columns: u16,
}

/// From the caller to the holder.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromCaller {
    /// The first: beside which slot.
    #[n(0)]
    Ask {
        #[n(0)]
        app: AppId,
        #[n(1)]
        slot: u16,
    },
    /// The second, once.
    #[n(1)]
    Warrant {
        #[n(0)]
        warrant: Box<Warrant>,
        #[n(1)]
        authority: Authority,
        #[n(2)]
        window: Option<Window>,
    },
    #[n(2)]
    Input(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    #[n(3)]
    InputEnds,
    #[n(4)]
    Window(#[n(0)] Window),
    /// It is still there.
    #[n(5)]
    Alive,
}

/// Why a command that ran was ended, whatever it would have exited with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Encode, Decode)]
#[cbor(index_only)]
pub enum Gone {
    #[n(0)]
    #[error("the slot's program has ended")]
    Ended,
    #[n(1)]
    #[error("the slot was stopped, or went to another node")]
    Moved,
}

/// Why a command that was allowed did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum NotStarted {
    /// There is no such program.
    #[n(0)]
    NotFound,
    /// There is, and it cannot be executed.
    #[n(1)]
    NotExecutable,
    /// By the node's fault.
    #[n(2)]
    Trouble,
}

/// From the holder to the caller.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromHolder {
    /// What the warrant has to name, beside the holder, whom the seal proves.
    #[n(0)]
    Offer {
        #[n(0)]
        epoch: Epoch,
        #[cbor(n(1), with = "minicbor::bytes")]
        nonce: [u8; NONCE_BYTES],
    },
    /// The last: nothing was started.
    #[n(1)]
    Refused(#[n(0)] Refusal),
    /// The last: nothing was started.
    #[n(2)]
    NotStarted {
        #[n(0)]
        why: NotStarted,
        /// In words, for people.
        #[n(1)]
        reason: String,
    },
    #[n(3)]
    Started,
    #[n(4)]
    Output(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    #[n(5)]
    Errors(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// So many bytes of input were taken.
    #[n(6)]
    Room(#[n(0)] u32),
    #[n(7)]
    Alive,
    /// The last: the command ended by itself, and all that it wrote was sent before.
    #[n(8)]
    Ended(#[n(0)] Exit),
    /// The last.
    #[n(9)]
    Gone(#[n(0)] Gone),
}

/// A frame did not come.
#[derive(Debug, Error)]
pub enum FrameError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a frame of {len} bytes, at most {FRAME_MAX_BYTES} are allowed")]
    TooLong { len: usize },
    #[error("a frame that is none: {0}")]
    Malformed(#[from] minicbor::decode::Error),
}

/// The next frame. The end of the stream is an error: who leaves says so before.
pub async fn read<T: for<'b> Decode<'b, ()>>(from: &mut (impl AsyncRead + Unpin)) -> Result<T, FrameError> {
    let len = from.read_u32().await? as usize;
    if len > FRAME_MAX_BYTES {
        return Err(FrameError::TooLong { len });
    }
    // Room is taken as the bytes come, not as they are announced.
    let mut bytes = Vec::new();
    from.take(len as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < len {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let mut decoder = minicbor::Decoder::new(&bytes);
    let frame = decoder.decode()?;
    if decoder.position() != len {
        return Err(minicbor::decode::Error::message("bytes follow it").into());
    }
    Ok(frame)
}

/// Sends one frame.
pub async fn write<T: Encode<()>>(to: &mut (impl AsyncWrite + Unpin), frame: &T) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    // Writing to a Vec cannot fail.
    minicbor::encode(frame, &mut bytes).expect("a Vec takes all bytes");
    let len = bytes.len() - 4;
    assert!(len <= FRAME_MAX_BYTES, "what makes frames keeps to their limits");
    bytes[..4].copy_from_slice(&(len as u32).to_be_bytes());
    to.write_all(&bytes).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xtreem_base::NodeId;

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    fn warrant(words: usize, len: usize) -> FromCaller {
        let epoch = Epoch { counter: u32::MAX, recruiter: NodeId::from_bytes([255; 16]), ..Epoch::NONE };
        let warrant = Box::new(Warrant {
            app: AppId::from_bytes([255; 16]),
            slot: u16::MAX,
            epoch,
            holder: NodeId::from_bytes([255; 16]),
            nonce: [255; NONCE_BYTES],
            command: vec!["x".repeat(len); words],
            terminal: Some("x".repeat(64)),
        });
        let credential = vec![255; SLOT_CREDENTIAL_MAX_BYTES].into();
        let authority = Authority::Slot { credential, signature: [255; 64] };
        FromCaller::Warrant { warrant, authority, window: Some(Window { rows: u16::MAX, columns: u16::MAX }) }
    }

    #[test]
    fn the_longest_command_fits_a_frame() {
        run(async {
            for (words, len) in [(1, COMMAND_MAX_BYTES), (WORDS_MAX, COMMAND_MAX_BYTES / WORDS_MAX)] {
                let (said, mut wire) = (warrant(words, len), Vec::new());
                write(&mut wire, &said).await.expect("a Vec takes all bytes");
                assert_eq!(read::<FromCaller>(&mut &wire[..]).await.ok(), Some(said));
            }
        });
    }

    #[test]
    fn a_command_of_too_many_words_is_not_even_read() {
        let bytes = minicbor::to_vec(warrant(WORDS_MAX + 1, 1)).expect("a Vec takes all bytes");
        assert!(minicbor::decode::<FromCaller>(&bytes).is_err());
    }

    #[test]
    fn what_is_no_frame_is_refused_before_it_takes_room() {
        run(async {
            let too_long = (FRAME_MAX_BYTES as u32 + 1).to_be_bytes();
            let verdict = read::<FromCaller>(&mut &too_long[..]).await;
            assert!(matches!(verdict, Err(FrameError::TooLong { .. })), "{verdict:?}");
            let alive = minicbor::to_vec(FromCaller::Alive).expect("a Vec takes all bytes");
            let more = [&(alive.len() as u32 + 1).to_be_bytes()[..], &alive, &[0]].concat();
            let verdict = read::<FromCaller>(&mut &more[..]).await;
            assert!(matches!(verdict, Err(FrameError::Malformed(_))), "{verdict:?}");
            for cut in 0..more.len() - 1 {
                let verdict = read::<FromCaller>(&mut &more[..cut]).await;
                assert!(matches!(verdict, Err(FrameError::Io(_))), "{cut}: {verdict:?}");
            }
        });
    }

    fn holder_says() -> impl Strategy<Value = FromHolder> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..99);
        prop_oneof![
            (any::<u32>(), any::<[u8; NONCE_BYTES]>()).prop_map(|(counter, nonce)| FromHolder::Offer {
                epoch: Epoch { counter, ..Epoch::NONE },
                nonce
            }),
            Just(FromHolder::Refused(Refusal::OtherNonce)),
            ".*".prop_map(|reason| FromHolder::NotStarted { why: NotStarted::Trouble, reason }),
            Just(FromHolder::Started),
            bytes().prop_map(FromHolder::Output),
            bytes().prop_map(FromHolder::Errors),
            any::<u32>().prop_map(FromHolder::Room),
            Just(FromHolder::Alive),
            any::<i32>().prop_map(|code| FromHolder::Ended(Exit::Code(code))),
            Just(FromHolder::Gone(Gone::Moved)),
        ]
    }

    fn all_said() -> impl Strategy<Value = Vec<FromHolder>> {
        proptest::collection::vec(holder_says(), 0..9)
    }

    proptest! {
        #[test]
        fn what_holders_say_is_read_as_it_was_said(all in all_said()) {
            let heard = run(async {
                let (mut wire, mut heard) = (Vec::new(), Vec::new());
                for frame in &all {
                    write(&mut wire, frame).await.expect("a Vec takes all bytes");
                }
                let mut rest = &wire[..];
                while let Ok(frame) = read::<FromHolder>(&mut rest).await {
                    heard.push(frame);
                }
                heard
            });
            prop_assert_eq!(heard, all);
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes: Vec<u8>) {
            run(async {
                let _ = read::<FromCaller>(&mut &bytes[..]).await;
                let _ = read::<FromHolder>(&mut &bytes[..]).await;
            });
        }
    }
}
