//! `GET /v1/self/members/{slot}`: where the mailbox of a member is. Nobody knows all slots: those that this
//! node does not know are asked for from member to member.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use xtreem_allocation::{Epoch, Known, SlotState};
use xtreem_base::AppId;
use xtreem_client::api::MemberReply;
use xtreem_messages::FindError;
use xtreem_net::{Contact, Named};

use super::error::ApiError;
use super::picture;
use super::slot_socket::Slot;
use crate::agent::Agent;
use crate::environment::epoch_text;
use crate::mail::{self, Purpose};

pub(super) async fn member(
    State(slot): State<Arc<Slot>>,
    Path(of): Path<String>,
) -> Result<Json<MemberReply>, ApiError> {
    let of = of.parse().map_err(|_| ApiError::bad_request(format!("{of:?} is no number of a slot")))?;
    let (epoch, address) = find(&slot.agent, slot.run.app, of, Purpose::Messages).await?;
    Ok(Json(MemberReply { slot: of, epoch: epoch_text(&epoch), mailbox: address.to_string() }))
}

/// Epoch and address of a slot's mailbox.
pub(crate) async fn find(
    agent: &Arc<Agent>,
    app: AppId,
    slot: u16,
    purpose: Purpose,
) -> Result<(Epoch, SocketAddr), FindError> {
    let not_now = |why: String| FindError::NotNow { why };
    let own = agent.net.call_named(move |node, now, _| node.app(now, app)).await;
    let Named { what: own, contacts } = own.map_err(|error| not_now(error.to_string()))?;
    let own = own.ok_or_else(|| not_now("this slot's application has ended on this node".to_owned()))?;
    let slots = own.record.slots;
    if slot >= slots {
        return Err(FindError::Nobody { slot, slots });
    }
    let at = |known: &Known| known.holder.and_then(|holder| contacts.of(holder));
    let here = own.slots.iter().find(|known| known.slot == slot).map(|known| (*known, at(known)));
    let (known, holder) = match here {
        Some((known, holder)) if holder.is_some() || known.state.is_final() => (known, holder),
        _ => {
            let picture = picture::walk(agent, app, Vec::new()).await;
            let picture = picture.map_err(|error| not_now(error.body.error))?;
            let found = picture.and_then(|picture| {
                let known = *picture.slots.get(&slot)?;
                Some((known, picture.holder(&known)))
            });
            found.ok_or_else(|| not_now(format!("no member that was asked knows who holds slot {slot}")))?
        }
    };
    ask(agent, app, known, holder, purpose).await
}

async fn ask(
    agent: &Arc<Agent>,
    app: AppId,
    known: Known,
    holder: Option<Contact>,
    purpose: Purpose,
) -> Result<(Epoch, SocketAddr), FindError> {
    let slot = known.slot;
    if known.state.is_final() {
        return Err(FindError::Ended { slot });
    }
    let why = match holder {
        None => format!("nobody holds slot {slot} just now"),
        Some(holder) => match mail::ask(agent, app, slot, purpose, holder).await {
            Ok(Some((epoch, address))) if epoch >= known.epoch || known.state == SlotState::Planned => {
                return Ok((epoch, address));
            }
            Ok(Some(_)) => format!("the node of slot {slot} tells of an older run of it"),
            Ok(None) if purpose == Purpose::Cores => format!("slot {slot} is a member of no collection yet"),
            Ok(None) => format!("the program of slot {slot} has opened no mailbox yet"),
            Err(error) => format!("the node of slot {slot} does not answer: {error}"),
        },
    };
    Err(FindError::NotNow { why })
}

impl From<FindError> for ApiError {
    fn from(error: FindError) -> Self {
        let status = match error {
            FindError::Nobody { .. } => StatusCode::NOT_FOUND,
            FindError::Ended { .. } => StatusCode::GONE,
            FindError::NotNow { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        ApiError::definite(status, error)
    }
}
