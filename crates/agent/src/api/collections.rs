//! `/v1/self/collections/...`: structured collections of which a slot is a member: which there are, ranks and
//! places, owners of keys, profiles.

pub(super) mod items;
pub(super) mod load;
pub(super) mod tasks;
pub(super) mod tell;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::sync::oneshot;
use xtreem_client::api::{
    CollectionList, CollectionReply, CollectionSpec, KeyOwner, Profile, RankHolder, StandingView,
};
use xtreem_overlay::collection::{self, Answer, AskError, BeginError, FinishError, Known, Member, Refusal};
use xtreem_overlay::tman::{Items, Number};

use super::body;
use super::error::ApiError;
use super::slot_socket::Slot;
use crate::collections::{Driver, Ended, JoinError, Joined, Outcome, Question};

pub(crate) use view::reply;

pub(super) async fn list(State(slot): State<Arc<Slot>>) -> Result<Json<CollectionList>, ApiError> {
    let mut collections = Vec::new();
    for joined in slot.collections.all().await {
        // One that was left meanwhile is none.
        if let Ok(reply) = reply(&joined).await {
            collections.push(reply);
        }
    }
    Ok(Json(CollectionList { collections }))
}

pub(super) async fn show(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
) -> Result<Json<CollectionReply>, ApiError> {
    Ok(Json(reply(&*of(&slot, &name).await?).await?))
}

pub(super) async fn join(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<CollectionReply>, ApiError> {
    let spec: CollectionSpec = body::json(body).await?;
    // Of a shape it is known how many there will be.
    let members = match &spec {
        CollectionSpec::Mesh { shape, .. } => {
            shape.iter().try_fold(1u32, |places, side| places.checked_mul(*side))
        }
        _ => None,
    };
    Ok(Json(reply(&*slot.collections.join(&name, spec, members).await?).await?))
}

pub(super) async fn leave(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
) -> Result<Json<()>, ApiError> {
    if slot.collections.leave(&name).await { Ok(Json(())) } else { Err(unknown(&slot, &name).await) }
}

pub(super) async fn renumber(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
) -> Result<Json<StandingView>, ApiError> {
    let joined = of(&slot, &name).await?;
    let standing = joined.call(|driver| {
        driver.with(|core, call, out| core.number_anew(call, out))?;
        Ok::<_, BeginError>(driver.core().standing(driver.config()))
    });
    let standing = standing.await??.ok_or_else(|| not_now("this member does not know where it stands"))?;
    Ok(Json(view::standing(&standing)))
}

pub(super) async fn rank(
    State(slot): State<Arc<Slot>>,
    Path((name, rank)): Path<(String, String)>,
) -> Result<Json<RankHolder>, ApiError> {
    let joined = of(&slot, &name).await?;
    let rank =
        rank.parse().map_err(|_| ApiError::bad_request(format!("{rank:?} is no rank: 0 is the first")))?;
    holder(&joined, rank).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    at: String,
}

pub(super) async fn place(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    at: Result<Query<At>, QueryRejection>,
) -> Result<Json<RankHolder>, ApiError> {
    let joined = of(&slot, &name).await?;
    holder_at(&joined, &body::query(at)?.at).await.map(|(_, holder)| Json(holder))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfKey {
    key: String,
}

pub(super) async fn owner(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    key: Result<Query<OfKey>, QueryRejection>,
) -> Result<Json<KeyOwner>, ApiError> {
    let joined = of(&slot, &name).await?;
    owner_of(&joined, &body::query(key)?.key).await.map(Json)
}

pub(super) async fn set_profile(
    State(slot): State<Arc<Slot>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<()>, ApiError> {
    let joined = of(&slot, &name).await?;
    let profile = match body::json(body).await? {
        Profile::Items(items) => {
            collection::Profile::Items(Items::new(&items).map_err(ApiError::bad_request)?)
        }
        Profile::Number(number) => collection::Profile::Number(Number(number)),
    };
    joined.call(|driver| driver.with(|core, call, out| core.set_profile(call, profile, out))).await??;
    Ok(Json(()))
}

/// The collection of that name.
pub(super) async fn of(slot: &Slot, name: &str) -> Result<Arc<Joined>, ApiError> {
    match slot.collections.get(name).await {
        Some(joined) => Ok(joined),
        None => Err(unknown(slot, name).await),
    }
}

async fn unknown(slot: &Slot, name: &str) -> ApiError {
    let known: Vec<String> = slot.collections.all().await.iter().map(|it| it.name.clone()).collect();
    let known = match known.len() {
        0 => "it is a member of none".to_owned(),
        _ => format!("it is one of {}", known.join(", ")),
    };
    let name: String = name.chars().take(80).collect();
    let error = format!("this slot is no member of a collection {name:?}: {known}");
    ApiError::definite(StatusCode::NOT_FOUND, error)
        .with_hint("declare it in app.toml, or join it by PUT /v1/self/collections/NAME")
}

/// Who has a rank.
pub(super) async fn holder(joined: &Joined, rank: u32) -> Result<RankHolder, ApiError> {
    let view = move |driver: &Driver, holder: &collection::Holder| {
        let slot = driver.slot_of(holder.handle)?;
        let numbering = view::numbering(&holder.numbering);
        Some(RankHolder { rank, slot, numbering, settled: holder.is_settled })
    };
    let known = joined.call(move |driver| match driver.core().holder(driver.config(), rank) {
        Known::Holder(holder) => Some(view(driver, &holder)),
        Known::Nobody | Known::NotNow => None,
    });
    if let Some(Some(found)) = known.await? {
        return Ok(found);
    }
    match look(joined, move |driver| {
        driver.ask(|core, call, out| core.hold(call, rank, out).map(Question::Other))
    })
    .await?
    {
        (Answer::Holder(holder), Some(slot)) => {
            let numbering = view::numbering(&holder.numbering);
            Ok(RankHolder { rank, slot, numbering, settled: holder.is_settled })
        }
        _ => Err(not_now("who has the rank is not known any more")),
    }
}

/// Who stands at a place of a mesh, which is told by its coordinates.
pub(super) async fn holder_at(joined: &Joined, at: &str) -> Result<(Vec<u32>, RankHolder), ApiError> {
    let wrong = || ApiError::bad_request(format!("at={at}: want a place by its coordinates, as at=1,2"));
    let place: Result<Vec<u32>, _> = at.split(',').map(|part| part.trim().parse()).collect();
    let place = place.map_err(|_| wrong())?;
    let CollectionSpec::Mesh { shape, .. } = &joined.spec else {
        return Err(BeginError::Kind("places").into());
    };
    let asked = place.clone();
    let rank = joined.call(move |driver| driver.core().rank_at(&asked)).await?;
    let rank = rank.ok_or_else(|| {
        let error =
            format!("the mesh has no place {at}: its shape is {shape:?}, and the first place all zeros");
        ApiError::definite(StatusCode::NOT_FOUND, error)
    })?;
    Ok((place, holder(joined, rank).await?))
}

/// Who owns a key.
pub(super) async fn owner_of(joined: &Joined, key: &str) -> Result<KeyOwner, ApiError> {
    let key = items::key(&joined.spec, key)?;
    let answer =
        joined.call(|driver| driver.ask(|core, call, out| core.lookup(call, key, out).map(Question::Owner)));
    let owner = match wait(answer.await??).await? {
        Outcome::Owner(owner) => owner,
        other => return Err(unexpected(&other)),
    };
    let found = owner.and_then(|owner| {
        let slot = Member::slot_of(&owner.range.to.id)?;
        Some(KeyOwner { slot, epoch: owner.epoch, hops: owner.hops })
    });
    found.ok_or_else(|| {
        not_now("nobody answered as the owner of this key; the ring may be mending itself: try again")
    })
}

/// Asks other members for something that may be done although nobody says so in time.
pub(super) async fn question(
    joined: &Joined,
    ask: impl FnOnce(&mut Driver) -> Result<oneshot::Receiver<Outcome>, BeginError> + Send + 'static,
) -> Result<(Answer, Option<u16>), ApiError> {
    answered(wait(joined.call(ask).await??).await?)
}

/// Asks other members something that changes nothing: what is not answered did not happen.
pub(super) async fn look(
    joined: &Joined,
    ask: impl FnOnce(&mut Driver) -> Result<oneshot::Receiver<Outcome>, BeginError> + Send + 'static,
) -> Result<(Answer, Option<u16>), ApiError> {
    match wait(joined.call(ask).await??).await? {
        Outcome::Other(Err(AskError::Unanswered), _) => {
            Err(not_now("no member that knows it answered in time: ask again"))
        }
        outcome => answered(outcome),
    }
}

fn answered(outcome: Outcome) -> Result<(Answer, Option<u16>), ApiError> {
    match outcome {
        Outcome::Other(Ok(answer), slot) => Ok((answer, slot)),
        Outcome::Other(Err(error), _) => Err(error.into()),
        other => Err(unexpected(&other)),
    }
}

/// Every question is answered within the core's own time, or its collection ends.
pub(super) async fn wait(answer: oneshot::Receiver<Outcome>) -> Result<Outcome, ApiError> {
    answer.await.map_err(|_| {
        ApiError::indefinite(StatusCode::GONE, Ended).with_hint("ask again after it was joined again")
    })
}

/// A core that answers another question than it was asked.
pub(super) fn unexpected(outcome: &Outcome) -> ApiError {
    tracing::error!(?outcome, "a collection answered something else than it was asked");
    ApiError::indefinite(StatusCode::INTERNAL_SERVER_ERROR, "an answer to another question")
}

pub(super) fn not_now(error: &str) -> ApiError {
    ApiError::definite(StatusCode::SERVICE_UNAVAILABLE, error)
}

impl From<Ended> for ApiError {
    fn from(error: Ended) -> Self {
        ApiError::definite(StatusCode::GONE, error)
    }
}

impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        let status = match error {
            JoinError::Bad { .. } => StatusCode::BAD_REQUEST,
            JoinError::Other { .. } => StatusCode::CONFLICT,
            JoinError::TooMany => StatusCode::TOO_MANY_REQUESTS,
            JoinError::NoMailbox(error) => return error.into(),
        };
        ApiError::definite(status, error)
    }
}

impl From<BeginError> for ApiError {
    fn from(error: BeginError) -> Self {
        let status = match error {
            BeginError::Kind(_) => StatusCode::CONFLICT,
            BeginError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            BeginError::NotOnTheRing => StatusCode::SERVICE_UNAVAILABLE,
            BeginError::Over => StatusCode::GONE,
            BeginError::Namespace | BeginError::NoKeys => StatusCode::BAD_REQUEST,
            BeginError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
        };
        ApiError::definite(status, error)
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Unanswered => ApiError::indefinite(StatusCode::GATEWAY_TIMEOUT, error),
            AskError::Refused(refusal) => {
                let status = match refusal {
                    Refusal::Full => StatusCode::INSUFFICIENT_STORAGE,
                    Refusal::NoSuchTask | Refusal::NoSuchRank => StatusCode::NOT_FOUND,
                    Refusal::NotSettled => StatusCode::CONFLICT,
                    Refusal::NotSure => StatusCode::SERVICE_UNAVAILABLE,
                };
                ApiError::definite(status, error)
            }
        }
    }
}

impl From<FinishError> for ApiError {
    fn from(error: FinishError) -> Self {
        let status = match error {
            FinishError::NotAtHand => StatusCode::CONFLICT,
            FinishError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
        };
        ApiError::definite(status, error)
    }
}
