//! Operations on what lies on the ring, from their beginning to their end.

use std::sync::Arc;

use xtreem_net::{Named, Net, Stopped};
use xtreem_node::Event;
use xtreem_overlay::overlay;
use xtreem_overlay::store::{self, Failed, Operation, Success};

use crate::waiting::{TooMany, Topic, Waiting};

/// Why one has not come to a good end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfinished {
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error(transparent)]
    TooManyWait(#[from] TooMany),
    #[error(transparent)]
    TooMany(#[from] store::TooMany),
    #[error(transparent)]
    Failed(#[from] Failed),
}

pub(crate) async fn operate(
    net: &Net,
    waiting: &Arc<Waiting>,
    operation: Operation,
) -> Result<Success, Unfinished> {
    let waiting = waiting.clone();
    let started = net
        .call(move |node, now, out| {
            waiting.subscribe_to(|| node.operate(now, operation, out).map(Topic::Item))
        })
        .await?;
    let mut events = started??;
    loop {
        let event = events.event().await;
        if let Named { what: Event::Ring(overlay::Event::Store(store::Event::Done { result, .. })), .. } =
            event
        {
            return Ok(result?);
        }
    }
}
