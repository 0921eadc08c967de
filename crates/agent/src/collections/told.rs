//! Collections of an application, between agents: whoever has slots of it tells how these see them.
//!
//! Request: 16 bytes application. Answer: JSON, as the local API has it, until the end of the stream; nothing
//! for an application of which no slot is here.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use xtreem_base::{AppId, NodeId};
use xtreem_client::api::SlotCollections;
use xtreem_net::{Contact, Service};

use crate::agent::Agent;
use crate::api::collections::reply;
use crate::exchange;

const REQUEST_BYTES: usize = 16;
/// Longest answer: 64 slots with 16 collections each, of a KiB and some keys. Slots that have no room in it
/// are left out.
const ANSWER_MAX_BYTES: u64 = 4 << 20;
/// Longest time for one exchange.
const EXCHANGE_MAX: Duration = Duration::from_secs(3);
/// Nodes that are asked at most; slots of others are not told. Our guess: more rows nobody reads.
const NODES_MAX: usize = 64;
/// Nodes asked at one time.
const ASKED_AT_ONCE: usize = 16;

/// Answers one request.
pub(crate) async fn serve(
    agent: &Arc<Agent>,
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let app = AppId::from_bytes(exchange::question::<REQUEST_BYTES>(from, EXCHANGE_MAX).await?);
    let mut slots = here(agent, app).await;
    let mut answer = serde_json::to_vec(&slots)?;
    while answer.len() as u64 > ANSWER_MAX_BYTES {
        slots.pop();
        answer = serde_json::to_vec(&slots)?;
    }
    exchange::answer(to, &[&answer], EXCHANGE_MAX).await
}

/// How the slots of these nodes see the collections of an application, as far as the nodes answer.
pub(crate) async fn of(
    agent: &Arc<Agent>,
    app: AppId,
    nodes: impl Iterator<Item = Contact>,
) -> Vec<SlotCollections> {
    let nodes: BTreeMap<NodeId, Contact> = nodes.map(|node| (node.id, node)).collect();
    let asked = nodes.into_values().take(NODES_MAX).map(|node| ask(agent, app, node));
    let told: Vec<_> = futures_util::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect().await;
    // Of two runs of one slot, of which one is about to end, either may be told.
    let by_slot: BTreeMap<u16, SlotCollections> =
        told.into_iter().flatten().map(|slot| (slot.slot, slot)).collect();
    by_slot.into_values().collect()
}

async fn ask(agent: &Arc<Agent>, app: AppId, node: Contact) -> Vec<SlotCollections> {
    if node.id == agent.net.own_contact().id {
        return here(agent, app).await;
    }
    let (service, request) = (Service::COLLECTIONS, app.as_bytes().to_vec());
    let asked = exchange::ask(&agent.net, node, service, &request, ANSWER_MAX_BYTES, EXCHANGE_MAX);
    // A node that does not answer, or not with this, tells of no slot.
    let answer = asked.await.unwrap_or_default();
    serde_json::from_slice(&answer).unwrap_or_default()
}

async fn here(agent: &Arc<Agent>, app: AppId) -> Vec<SlotCollections> {
    let mut slots = Vec::new();
    for (slot, of_slot) in agent.collections.of(app) {
        let mut collections = Vec::new();
        for joined in of_slot.all().await {
            // One that was left meanwhile is none.
            collections.extend(reply(&joined).await.ok());
        }
        slots.push(SlotCollections { slot, collections });
    }
    slots
}
