//! Which node holds a slot: as this node knows it, as was seen a moment ago, or as members say who are asked
//! now.
//!
//! Whoever runs a command beside each slot of an application asks for one after the other; its members are
//! not asked for each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use xtreem_base::AppId;
use xtreem_net::{Contact, Named};

use super::error::ApiError;
use super::picture;
use crate::agent::Agent;

/// How long what was seen is taken for true. Who is sent to the wrong node is told so, and asks anew. Our
/// guess.
const SEEN: Duration = Duration::from_secs(10);
/// Applications that are remembered; beyond it the one that was seen first goes.
const APPS_MAX: usize = 32;

/// When each application was seen, and who held its slots.
type Seen = BTreeMap<AppId, (Instant, BTreeMap<u16, Contact>)>;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Holders(Mutex<Seen>);

impl Holders {
    fn of(&self, app: AppId, slot: u16, now: Instant) -> Option<Contact> {
        let seen = self.lock();
        let (at, holders) = seen.get(&app)?;
        (now.duration_since(*at) < SEEN).then(|| holders.get(&slot).copied()).flatten()
    }

    fn see(&self, app: AppId, holders: BTreeMap<u16, Contact>, now: Instant) {
        let mut seen = self.lock();
        seen.insert(app, (now, holders));
        if seen.len() > APPS_MAX
            && let Some(first) = seen.iter().min_by_key(|(_, (at, _))| *at).map(|(app, _)| *app)
        {
            seen.remove(&first);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // Each change is one call that leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The node that holds a slot, as far as is known. With `is_anew` members are asked in any case.
pub(super) async fn holder(
    agent: &Arc<Agent>,
    app: AppId,
    slot: u16,
    is_anew: bool,
) -> Result<Contact, ApiError> {
    if agent.slots.neighbour(app, slot).is_ok() {
        return Ok(agent.net.own_contact());
    }
    if !is_anew && let Some(contact) = agent.holders.of(app, slot, Instant::now()) {
        return Ok(contact);
    }
    if !is_anew && let Some(contact) = known_here(agent, app, slot).await? {
        return Ok(contact);
    }
    let picture = picture::look(agent, app).await?.ok_or_else(|| picture::nobody_knows(app))?;
    let not_found = |error: String| ApiError::definite(StatusCode::NOT_FOUND, error);
    if slot >= picture.record.slots {
        return Err(not_found(format!("the application has slots 0 to {}", picture.record.slots - 1)));
    }
    if picture.record.is_stopped() {
        return Err(not_found("the application is stopped".to_owned()));
    }
    let running = picture.slots.iter().filter(|(_, known)| !known.state.is_final());
    let holders: BTreeMap<u16, Contact> =
        running.filter_map(|(slot, known)| Some((*slot, picture.holder(known)?))).collect();
    let found = holders.get(&slot).copied();
    agent.holders.see(app, holders, Instant::now());
    found.ok_or_else(|| {
        let error = match picture.slots.get(&slot) {
            Some(known) if known.state.is_final() => format!("slot {slot} is over: its program has ended"),
            Some(known) if known.holder.is_some() => format!("the holder of slot {slot} is gone"),
            _ => format!("nobody is known to hold slot {slot}"),
        };
        not_found(error).with_hint("`xtreem show` tells how the slot goes on")
    })
}

/// As this node knows it, if it takes part in the application.
async fn known_here(agent: &Agent, app: AppId, slot: u16) -> Result<Option<Contact>, ApiError> {
    let Named { what: own, contacts } = agent.net.call_named(move |node, now, _| node.app(now, app)).await?;
    let known = own.and_then(|own| own.slots.into_iter().find(|known| known.slot == slot));
    Ok(known.filter(|known| !known.state.is_final()).and_then(|known| contacts.of(known.holder?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_base::NodeId;

    #[test]
    fn what_was_seen_is_true_for_a_while_and_of_few_applications() {
        let app = |number: u8| AppId::from_bytes([number; 16]);
        let contact = |number: u8| Contact {
            id: NodeId::from_bytes([number; 16]),
            addr: ([127, 0, 0, 1], 7_227).into(),
            incarnation: 1,
        };
        let (holders, start) = (Holders::default(), Instant::now());
        for number in 0..=APPS_MAX as u8 {
            let at = start + Duration::from_millis(number.into());
            holders.see(app(number), [(3, contact(number))].into(), at);
        }
        let now = start + SEEN;
        assert_eq!(holders.of(app(0), 3, start), None, "it was the first");
        assert_eq!(holders.of(app(1), 3, now), Some(contact(1)));
        assert_eq!(holders.of(app(1), 4, now), None);
        assert_eq!(holders.of(app(1), 3, now + Duration::from_millis(1)), None, "it was seen long ago");
    }
}
