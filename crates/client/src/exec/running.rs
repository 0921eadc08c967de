//! A command that runs beside a slot, with its three streams.

use std::convert::Infallible;
use std::future::pending;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use xtreem_allocation::Exit;
use xtreem_beside::{DATA_MAX_BYTES, End, Lost, Piece, converse};

use super::{ExecError, Sealed};

/// Bytes of one stream that wait here to be taken; beyond it they wait in the command's pipe.
const WAITING_MAX_BYTES: usize = 64 << 10;
/// Pieces between the conversation and a stream.
const PIECES_MAX: usize = 2;

/// A command. Its streams may be taken out; one that is dropped is an end of input, or output that nobody
/// wants. The command ends when this is dropped.
pub struct Running {
    /// What the command reads.
    pub stdin: Option<DuplexStream>,
    /// What it writes. Who keeps it and does not read it keeps the command waiting, as with a pipe.
    pub stdout: Option<DuplexStream>,
    pub stderr: Option<DuplexStream>,
    talking: Talking,
}

/// What a command wrote and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub exit: Exit,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// The conversation; it ends when this is dropped.
struct Talking(JoinHandle<Result<End, Lost>>);

impl Drop for Talking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    pub(super) fn new(sealed: Sealed) -> Running {
        let [input, output, errors] = [(); 3].map(|()| duplex(WAITING_MAX_BYTES));
        let talking = Talking(tokio::spawn(talk(sealed, input.1, output.1, errors.1)));
        Running { stdin: Some(input.0), stdout: Some(output.0), stderr: Some(errors.0), talking }
    }

    /// Waits for the end, without more input, and without the output that was not taken.
    pub async fn wait(self) -> Result<Exit, ExecError> {
        let Running { stdin, stdout, stderr, mut talking } = self;
        drop((stdin, stdout, stderr));
        talking.ended().await
    }

    /// All the output of a command that needs no more input, and how it ended.
    pub async fn output(self) -> Result<Output, ExecError> {
        let Running { stdin, stdout, stderr, mut talking } = self;
        drop(stdin);
        let (stdout, stderr) = tokio::join!(all(stdout), all(stderr));
        Ok(Output { exit: talking.ended().await?, stdout, stderr })
    }
}

impl Talking {
    async fn ended(&mut self) -> Result<Exit, ExecError> {
        // It is aborted by nobody else, and does not panic.
        match (&mut self.0).await.unwrap_or(Err(Lost::BrokeOff))? {
            End::Exited(exit) => Ok(exit),
            End::Gone(gone) => Err(ExecError::Gone(gone)),
        }
    }
}

async fn all(stream: Option<DuplexStream>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // Memory does not fail.
        let _ = stream.read_to_end(&mut bytes).await;
    }
    bytes
}

async fn talk(
    sealed: Sealed,
    mut input: DuplexStream,
    output: DuplexStream,
    errors: DuplexStream,
) -> Result<End, Lost> {
    let (type_in, typed) = mpsc::channel(PIECES_MAX);
    let (pieces, mut written) = mpsc::channel(PIECES_MAX);
    let (_, no_windows) = mpsc::channel(1);
    let feed = async move {
        let mut buffer = vec![0; DATA_MAX_BYTES];
        while let Ok(len @ 1..) = input.read(&mut buffer).await {
            if type_in.send(buffer[..len].to_vec()).await.is_err() {
                break;
            }
        }
        drop(type_in);
        pending::<Infallible>().await
    };
    let hand_out = async move {
        let (mut output, mut errors) = (output, errors);
        while let Some(piece) = written.recv().await {
            // Who has dropped a stream does not want it.
            let _ = match piece {
                Piece::Output(bytes) => output.write_all(&bytes).await,
                Piece::Errors(bytes) => errors.write_all(&bytes).await,
            };
        }
    };
    let talk = async { tokio::join!(converse(sealed, typed, pieces, no_windows), hand_out).0 };
    tokio::select! {
        ended = talk => ended,
        never = feed => match never {},
    }
}
