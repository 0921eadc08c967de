//! The streams of a command: the agent's ends, and those that the command gets.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::net::unix::pipe::{Receiver, Sender};
use xtreem_net::beside::Window;

use crate::exec::{ProgramUser, Terminal};

/// As Ctrl-D: what a terminal has for the end of its input.
const END_OF_INPUT: u8 = 4;

/// The agent's ends.
pub(super) struct Near {
    pub input: Input,
    pub output: Receiver,
    /// A terminal has one output for all.
    pub errors: Option<Receiver>,
    pub terminal: Option<Terminal>,
}

/// What the command reads.
pub(super) enum Input {
    Pipe(Sender),
    Terminal(Sender),
}

impl Near {
    /// Three pipes, and the command's ends of them.
    pub fn pipes() -> io::Result<(Near, [OwnedFd; 3])> {
        let pipe = || pipe2(OFlag::O_CLOEXEC);
        let ((in_far, input), (output, out_far), (errors, err_far)) = (pipe()?, pipe()?, pipe()?);
        let near = Near {
            input: Input::Pipe(Sender::from_owned_fd(input)?),
            output: Receiver::from_owned_fd(output)?,
            errors: Some(Receiver::from_owned_fd(errors)?),
            terminal: None,
        };
        Ok((near, [in_far, out_far, err_far]))
    }

    /// A terminal, of which the command, run as `user`, has three ends.
    pub fn terminal(user: Option<ProgramUser>, window: Option<Window>) -> io::Result<(Near, [OwnedFd; 3])> {
        let (terminal, far) = Terminal::open(user)?;
        if let Some(Window { rows, columns }) = window {
            terminal.set_window(rows, columns)?;
        }
        let near = Near {
            input: Input::Terminal(terminal.writer()?),
            output: terminal.reader()?,
            errors: None,
            terminal: Some(terminal),
        };
        Ok((near, [far.try_clone()?, far.try_clone()?, far]))
    }
}

impl Input {
    /// Passes bytes on; an error when nobody reads any more.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        use tokio::io::AsyncWriteExt as _;
        let (Input::Pipe(to) | Input::Terminal(to)) = self;
        to.write_all(bytes).await
    }

    /// The command reads an end.
    pub async fn end(mut self) {
        if matches!(self, Input::Terminal(_)) {
            // Who has hung up needs no end.
            let _ = self.write_all(&[END_OF_INPUT]).await;
        }
    }
}
