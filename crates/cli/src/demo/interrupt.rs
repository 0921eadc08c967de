//! Ctrl-C and SIGTERM, from the moment on that there is something to clean up.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::grid::failed;
use crate::exit::Failure;

pub struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// From here on the signals end nothing by themselves.
    pub fn take() -> Result<Interrupt, Failure> {
        let take = |kind| signal(kind).map_err(|e| failed(&e));
        Ok(Interrupt { interrupt: take(SignalKind::interrupt())?, terminate: take(SignalKind::terminate())? })
    }

    /// Returns when one of them comes.
    pub async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
