//! `GET /v1/apps`: the applications that a search over the grid meets.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use futures_util::StreamExt as _;
use serde::Deserialize;
use xtreem_base::{AppId, Handle};
use xtreem_client::api::{AppList, AppSummary, Holder, MemberRole};
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
/// Applications in one answer; the others are left out.
const APPS_MAX: usize = 256;
/// Applications looked at at one time.
const LOOKS_AT_ONCE: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    name: Option<String>,
}

pub(super) async fn list(
    State(agent): State<Arc<Agent>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<AppList>, ApiError> {
    let filter = match body::query(which)?.name {
        None => AppFilter::All,
        Some(name) if name.is_empty() || name.len() > APP_NAME_LEN_MAX => {
            return Err(ApiError::bad_request("a name has 1 to 64 bytes"));
        }
        Some(name) => AppFilter::Name { name },
    };
    let Found { applications, contacts, report } =
        search::run(&agent, SearchSpec::new(discovery::Query::Applications(filter), MEMBERS_MAX)).await?;
    let mut met: BTreeMap<AppId, Met> = BTreeMap::new();
    for (peer, list) in applications {
        for summary in list {
            met.entry(summary.id).or_default().add(peer, summary);
        }
    }
    let looks = met.into_iter().take(APPS_MAX).map(|(app, met)| summarise(&agent, app, met, &contacts));
    let looked: Vec<_> = futures_util::stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await;
    let apps = looked.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    Ok(Json(AppList { apps, report: view::report(&report) }))
}

/// What several nodes say of one application.
#[derive(Default)]
struct Met {
    /// As the newest record that was met has it.
    newest: Option<discovery::AppSummary>,
    members: Vec<(Handle, Vec<u16>, Role)>,
}

impl Met {
    fn add(&mut self, peer: Handle, summary: discovery::AppSummary) {
        self.members.push((peer, summary.here.clone(), summary.role));
        let age = |summary: &discovery::AppSummary| (summary.stopped, summary.generation);
        if self.newest.as_ref().is_none_or(|newest| age(&summary) > age(newest)) {
            self.newest = Some(summary);
        }
    }
}

async fn summarise(
    agent: &Arc<Agent>,
    app: AppId,
    met: Met,
    contacts: &Contacts,
) -> Result<Option<AppSummary>, ApiError> {
    let Some(newest) = met.newest else { return Ok(None) };
    let peers = met.members.iter().map(|(peer, ..)| *peer).collect();
    let picture = picture::walk(agent, app, peers).await?;
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
    let wanted =
        if newest.stopped { xtreem_allocation::Wanted::Stopped } else { xtreem_allocation::Wanted::Running };
    Ok(Some(AppSummary {
        id: app.to_string(),
        name: newest.name,
        owner: newest.owner.to_string(),
        generation: newest.generation,
        wanted: view::wanted(wanted),
        slots: newest.slots,
        done: picture.as_ref().map_or(0, is_over) as u16,
        holders,
    }))
}
