//! The async runtime of the commands that speak to an agent: one thread is enough for one conversation.

use std::future::Future;

use crate::exit::{Exit, Failure};

/// Runs `work` to its end.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("no async runtime: {e}")))?
        .block_on(work)
}
