//! The way to one slot: where its mailbox is, and a connection to its holder. Where a slot was is remembered
//! until it does not answer there.

use std::time::Instant;

use tokio::time::sleep;

use crate::directory::{FindError, Found};
use crate::error::SendError;
use crate::hello::{self, Met, NotMet};
use crate::limits::{MEET_MAX, PAUSE};
use crate::mailbox::Shared;
use crate::tls::SERVER_NAME;

/// Tries until the patience with a message of `since` is at its end.
pub(crate) async fn reach(
    shared: &Shared,
    slot: u16,
    known: &mut Option<Found>,
    since: Instant,
) -> Result<Met, SendError> {
    let end = since + shared.patience;
    let mut pause = PAUSE.0;
    loop {
        let why = match try_once(shared, slot, known).await? {
            Ok(met) => return Ok(met),
            Err(NotMet { is_older: true, why }) => return Err(SendError::Replaced { why }),
            Err(NotMet { why, .. }) => why,
        };
        if Instant::now() + pause > end {
            return Err(SendError::NotReached { slot, why });
        }
        sleep(pause).await;
        pause = PAUSE.1.min(2 * pause);
    }
}

async fn try_once(
    shared: &Shared,
    slot: u16,
    known: &mut Option<Found>,
) -> Result<Result<Met, NotMet>, SendError> {
    let is_older = |found: &Found| shared.standing.highest(slot).is_some_and(|epoch| epoch > found.epoch);
    let found = match known.take().filter(|found| !is_older(found)) {
        Some(found) => found,
        None => match shared.standing.directory().find(slot).await {
            Ok(found) => found,
            Err(FindError::NotNow { why }) => return Ok(Err(NotMet::of(why))),
            Err(error) => return Err(error.into()),
        },
    };
    shared.standing.raise(slot, found.epoch);
    let met = dial(shared, slot, found).await;
    if met.is_ok() {
        *known = Some(found);
    }
    Ok(met)
}

async fn dial(shared: &Shared, slot: u16, found: Found) -> Result<Met, NotMet> {
    let connecting = shared.endpoint.connect(found.address, SERVER_NAME).map_err(NotMet::of)?;
    let connection = tokio::time::timeout(MEET_MAX, connecting)
        .await
        .map_err(|_| NotMet::of(format!("nobody answers at {}", found.address)))?
        .map_err(NotMet::of)?;
    hello::greet(&shared.standing, connection, slot).await
}
