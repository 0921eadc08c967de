//! Messages for programs of any language: `POST /v1/self/send`, `GET /v1/self/messages`; and what programs
//! with a mailbox of their own ask: `GET /v1/self/credential`, `PUT /v1/self/mailbox`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{self, KeepAlive, Sse};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tokio::time::sleep;
use xtreem_client::api::{AddressView, Blob, MailboxRequest, MessageView, RankHolder, SlotCredential};
use xtreem_messages::{
    By, MESSAGE_MAX_BYTES, NotNumbering, Numbering, PATIENCE, RenewError, SEND_MAX, SendError, pause_after,
};

use super::error::ApiError;
use super::slot_socket::Slot;
use super::{body, collections};
use crate::environment::epoch_text;
use crate::mail::{self, NoMailbox};

/// A comment is sent after so much silence, so that both sides notice a dead connection (our guess).
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn credential(State(slot): State<Arc<Slot>>) -> Result<Json<SlotCredential>, ApiError> {
    let key = slot.mail.key();
    let issued = mail::issue(&slot.agent, slot.run, key.public()).await?;
    // Writing to a vector cannot fail.
    let grounds = minicbor::to_vec(&issued.grounds).unwrap_or_default();
    Ok(Json(SlotCredential {
        key: Blob(key.seed().to_vec()),
        credential: Blob(issued.credential),
        grounds: Blob(grounds),
        now_unix_ms: issued.now_unix_ms,
        root: Blob(slot.agent.net.identity().ca().to_vec()),
    }))
}

pub(super) async fn mailbox(State(slot): State<Arc<Slot>>, body: Body) -> Result<Json<()>, ApiError> {
    let MailboxRequest { port } = body::json(body).await?;
    if port == 0 {
        return Err(ApiError::bad_request("a mailbox has a port from 1 on"));
    }
    slot.mail.is_at(port).await?;
    Ok(Json(()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Address {
    slot: Option<String>,
    /// Whose member of a rank, at a place, or who owns a key, is meant.
    collection: Option<String>,
    rank: Option<String>,
    at: Option<String>,
    key: Option<String>,
}

impl Address {
    /// The slot that is meant now, and what it is told of why.
    async fn resolve(&self, slot: &Slot) -> Result<(u16, Option<xtreem_messages::Address>), ApiError> {
        let Address { slot: to, collection, rank, at, key } = self;
        let (to, rank) = (body::number("slot", to.as_deref())?, body::number("rank", rank.as_deref())?);
        let joined = match collection {
            Some(name) => Some(collections::of(slot, name).await?),
            None => None,
        };
        let (to, by) = match (to, &joined, rank, at, key) {
            (Some(to), None, None, None, None) => return Ok((to, None)),
            (None, Some(joined), Some(rank), None, None) => {
                let holder = collections::holder(joined, rank).await?;
                (holder.slot, By::Rank { rank, numbering: numbering(&holder)? })
            }
            (None, Some(joined), None, Some(at), None) => {
                let (at, holder) = collections::holder_at(joined, at).await?;
                (holder.slot, By::Place { at, numbering: numbering(&holder)? })
            }
            (None, Some(joined), None, None, Some(key)) => {
                let owner = collections::owner_of(joined, key).await?;
                (owner.slot, By::Key { key: key.clone() })
            }
            _ => {
                let error = "to whom? slot=3, or collection=NAME with one of rank=5, at=1,2 and key=TEXT";
                return Err(ApiError::bad_request(error));
            }
        };
        let name = joined.map(|joined| joined.name.clone());
        Ok((to, name.map(|collection| xtreem_messages::Address { collection, by })))
    }
}

/// It was written here.
fn numbering(holder: &RankHolder) -> Result<Numbering, ApiError> {
    holder.numbering.parse().map_err(|error: NotNumbering| collections::not_now(&error.to_string()))
}

/// A rank, place or key is looked up again when whoever was found says that another one is meant.
pub(super) async fn send(
    State(slot): State<Arc<Slot>>,
    to: Result<Query<Address>, QueryRejection>,
    body: Body,
) -> Result<Json<()>, ApiError> {
    let end = Instant::now() + SEND_MAX;
    let to = body::query(to)?;
    let message = Bytes::from(body::bytes(body, MESSAGE_MAX_BYTES, "the message").await?);
    let (begun, mut tries) = (Instant::now(), 0);
    loop {
        let (number, address) = to.resolve(&slot).await?;
        let _way = slot.waits.way(number)?;
        let kept = slot.mail.kept().await?;
        let sent = match address {
            None => kept.mailbox.send_by(number, message.clone(), end).await,
            Some(address) => kept.mailbox.send_as_by(number, address, message.clone(), end).await,
        };
        tries += 1;
        match (sent, pause_after(tries)) {
            (Err(SendError::Misaddressed { .. }), Some(pause)) if begun.elapsed() < PATIENCE => {
                sleep(pause).await;
            }
            (sent, _) => return Ok(Json(sent?)),
        }
    }
}

fn view(address: xtreem_messages::Address) -> AddressView {
    let of = AddressView { collection: address.collection, ..AddressView::default() };
    match address.by {
        By::Rank { rank, numbering } => {
            AddressView { rank: Some(rank), numbering: Some(numbering.to_string()), ..of }
        }
        By::Place { at, numbering } => {
            AddressView { at: Some(at), numbering: Some(numbering.to_string()), ..of }
        }
        By::Key { key } => AddressView { key: Some(key), ..of },
    }
}

/// What other members send from now on, and what they sent since the mailbox was opened. What nobody reads
/// stays, within its limit, and then with its senders.
pub(super) async fn messages(
    State(slot): State<Arc<Slot>>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, ApiError> {
    let busy = || ApiError::definite(StatusCode::CONFLICT, "the messages of this slot are read already");
    let reader = slot.mail.kept().await?.read().ok_or_else(busy)?;
    let events = stream::unfold(reader, |reader| async {
        let message = reader.0.mailbox.recv().await;
        let (slot, epoch) = (message.from.slot, epoch_text(&message.from.epoch));
        let to = message.to.map(|address| view(*address));
        let view = MessageView { slot, epoch, to, body: Blob(message.body.to_vec()) };
        // Plain values: nothing in them has no JSON.
        let data = serde_json::to_string(&view).unwrap_or_default();
        Some((Ok(sse::Event::default().event("message").data(data)), reader))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

impl From<RenewError> for ApiError {
    fn from(error: RenewError) -> Self {
        let status = match error {
            RenewError::Over => StatusCode::GONE,
            RenewError::NotNow { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        ApiError::definite(status, error)
    }
}

impl From<NoMailbox> for ApiError {
    fn from(error: NoMailbox) -> Self {
        let status = match error {
            NoMailbox::ItsOwn | NoMailbox::TheAgents => StatusCode::CONFLICT,
            NoMailbox::TooMany | NoMailbox::TooManyCores | NoMailbox::TooManyWait(_) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            NoMailbox::Over => StatusCode::GONE,
            NoMailbox::Open(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        ApiError::definite(status, error)
    }
}

impl From<SendError> for ApiError {
    fn from(error: SendError) -> Self {
        let status = match error {
            SendError::Find(error) => return error.into(),
            SendError::NotAcknowledged { .. } => {
                return ApiError::indefinite(StatusCode::GATEWAY_TIMEOUT, error);
            }
            SendError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            SendError::BadAddress(_) => StatusCode::BAD_REQUEST,
            SendError::TooManyPeers => StatusCode::TOO_MANY_REQUESTS,
            SendError::Replaced { .. } => StatusCode::GONE,
            SendError::Misaddressed { .. }
            | SendError::NotReached { .. }
            | SendError::NoRoom { .. }
            | SendError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        };
        ApiError::definite(status, error)
    }
}
