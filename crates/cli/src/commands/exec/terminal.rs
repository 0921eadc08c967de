//! This side's terminal: its kind and its window, and that it leaves every key to the command.

use std::io;
use std::os::fd::AsFd as _;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use xtreem_agent::exec::window_of;
use xtreem_net::beside::Window;

/// What a terminal is called that says nothing of itself.
const UNKNOWN_KIND: &str = "dumb";
/// Longest name that is passed on.
const KIND_MAX_BYTES: usize = 64;

/// The terminal of standard input, raw until this is dropped.
pub struct Terminal(Termios);

impl Terminal {
    /// As `TERM` has it.
    pub fn kind() -> String {
        let kind = std::env::var("TERM").unwrap_or_default();
        if kind.is_empty() || kind.len() > KIND_MAX_BYTES { UNKNOWN_KIND.to_owned() } else { kind }
    }

    pub fn window() -> Option<Window> {
        let (rows, columns) = window_of(&io::stdin()).or_else(|| window_of(&io::stdout()))?;
        Some(Window { rows, columns })
    }

    /// Nothing where standard input is no terminal: then nobody types.
    pub fn raw() -> Option<Terminal> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw).ok()?;
        Some(Terminal(before))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, &self.0);
    }
}
