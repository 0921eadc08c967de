//! `GET /v1/apps`: the applications that a search over the grid meets.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use futures_util::StreamExt as _;
use serde::Deserialize;
use xtreem_base::{AppId, Handle};
use xtreem_client::api::{AppList, AppSummary, Holder, MemberRole, WantedView};
use xtreem_discovery::limits::APP_NAME_LEN_MAX;
use xtreem_discovery::{self as discovery, AppFilter, Role, SearchSpec};
use xtreem_net::Contacts;

use super::error::ApiError;
use super::picture::{self, Picture};
use super::search::{self, Found};
use super::{body, view};
use crate::agent::Agent;

/// Members that one listing takes; beyond it the search ends.
const MEMBERS_MAX: u32 = 2_000;
/// Applications in one answer, those that run first; the others are counted.
const APPS_MAX: usize = 4_096;
/// A node knows how many slots have ended of an application that has no more than it watches. Of larger
/// ones, and of those of which former members alone tell, so many are looked at as a whole; of the others the
/// answer is what one node knows.
const LOOKS_MAX: usize = 64;
const WATCHED_WHOLE: u16 = 9;
/// Applications looked at at one time.
const LOOKS_AT_ONCE: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    name: Option<String>,
    /// Those that are stopped or over, too.
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(
    State(agent): State<Arc<Agent>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<AppList>, ApiError> {
    let Which { name, all } = body::query(which)?;
    let filter = match name {
        None if all => AppFilter::All,
        None => AppFilter::Active,
        Some(name) if name.is_empty() || name.len() > APP_NAME_LEN_MAX => {
            return Err(ApiError::bad_request("a name has 1 to 64 bytes"));
        }
        Some(name) => AppFilter::Name { name },
    };
    let spec = SearchSpec::new(discovery::Query::Applications(filter), MEMBERS_MAX);
    let Found { applications, contacts, report, left_out } = search::run(&agent, spec).await?;
    let mut met: BTreeMap<AppId, Met> = BTreeMap::new();
    for (peer, list) in applications {
        for summary in list {
            met.entry(summary.id).or_default().add(peer, summary);
        }
    }
    let mut met: Vec<(AppId, Met)> = met.into_iter().filter(|(_, met)| all || !met.is_over()).collect();
    met.sort_by_key(|(_, met)| (met.is_over(), met.ended_s.unwrap_or(u32::MAX)));
    let left_out = left_out.max(met.len().saturating_sub(APPS_MAX) as u32);
    met.truncate(APPS_MAX);
    let mut looks = 0;
    let looks = met.into_iter().map(|(app, met)| {
        let is_large = met.newest.as_ref().is_some_and(|app| app.slots > WATCHED_WHOLE);
        let is_in_doubt = !met.is_over() && (is_large || met.is_hearsay());
        looks += usize::from(is_in_doubt);
        summarise(&agent, app, met, &contacts, is_in_doubt && looks <= LOOKS_MAX)
    });
    let looked: Vec<_> = futures_util::stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await;
    let apps = looked.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
    let runs = |app: &AppSummary| app.wanted == WantedView::Running && app.done < app.slots;
    let apps = apps.filter(|app| all || runs(app)).collect();
    Ok(Json(AppList { apps, left_out, report: view::report(&report) }))
}

/// What several nodes say of one application.
#[derive(Default)]
struct Met {
    /// As the newest record that was met has it.
    newest: Option<discovery::AppSummary>,
    members: Vec<(Handle, Vec<u16>, Role)>,
    /// The most slots that a node knows to have ended.
    ended: u16,
    /// The longest time for which a node has known it to be over: others heard of its end later.
    ended_s: Option<u32>,
}

impl Met {
    fn add(&mut self, peer: Handle, summary: discovery::AppSummary) {
        self.members.push((peer, summary.here.clone(), summary.role));
        self.ended = self.ended.max(summary.ended);
        self.ended_s = self.ended_s.max(summary.ended_s);
        let age = |summary: &discovery::AppSummary| (summary.stopped, summary.generation);
        if self.newest.as_ref().is_none_or(|newest| age(&summary) > age(newest)) {
            self.newest = Some(summary);
        }
    }

    /// Whoever takes part in it was not met, and who has left it is not told what becomes of it.
    fn is_hearsay(&self) -> bool {
        self.members.iter().all(|(.., role)| *role == Role::Former)
    }

    fn is_over(&self) -> bool {
        self.newest.as_ref().is_some_and(|app| app.stopped || self.ended >= app.slots)
    }
}

async fn summarise(
    agent: &Arc<Agent>,
    app: AppId,
    met: Met,
    contacts: &Contacts,
    is_looked_at: bool,
) -> Result<Option<AppSummary>, ApiError> {
    let ended_s = met.ended_s.filter(|_| met.is_over()).map(u64::from);
    let Some(newest) = met.newest else { return Ok(None) };
    let peers = met.members.iter().map(|(peer, ..)| *peer).collect();
    let picture = if is_looked_at { picture::walk(agent, app, peers).await? } else { None };
    let mut holders = Vec::new();
    for (peer, slots, role) in met.members {
        let role = match role {
            Role::Holder => MemberRole::Holder,
            Role::Guardian => MemberRole::Guardian,
            Role::Former => continue,
        };
        if let Some(contact) = contacts.of(peer) {
            let (node, address) = (contact.id.to_string(), contact.addr.to_string());
            holders.push(Holder { node, address, slots, role });
        }
    }
    let is_over = |picture: &Picture| picture.slots.values().filter(|known| known.state.is_final()).count();
    let seen =
        picture.as_ref().map(|picture| &picture.record).filter(|seen| seen.generation > newest.generation);
    let generation = seen.map_or(newest.generation, |seen| seen.generation);
    let stopped = seen.map_or(newest.stopped, |seen| seen.is_stopped());
    let wanted =
        if stopped { xtreem_allocation::Wanted::Stopped } else { xtreem_allocation::Wanted::Running };
    Ok(Some(AppSummary {
        id: app.to_string(),
        name: newest.name,
        owner: newest.owner.to_string(),
        generation,
        wanted: view::wanted(wanted),
        slots: newest.slots,
        done: picture.as_ref().map_or(0, is_over).max(met.ended.into()) as u16,
        ended_s,
        holders,
    }))
}
