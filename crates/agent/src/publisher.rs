//! Tells the node again and again what this machine measures.

use std::sync::Arc;
use std::time::Duration;

use xtreem_base::Instant;
use xtreem_discovery::Attributes;
use xtreem_node::Node;

use crate::agent::Agent;
use crate::config::Config;
use crate::declared::{self, DeclaredError};
use crate::machine;

/// Between two measurements for what travels with links. Whoever visits is answered with what is measured then
/// ([`Net::set_measure`](xtreem_net::Net::set_measure)). Our guess: half a round of gossip.
const PERIOD: Duration = Duration::from_secs(5);

/// Every so many measurements the static attributes are read again: what is declared must still be true when a hold
/// is asked for (our guess: hardware is taken away by hand, not by the second).
const STATICS_EVERY: u32 = 12;

/// Attributes that do not change while the agent runs, declared ones merged in.
pub(crate) fn statics(config: &Config, slots_dir: &std::path::Path) -> Result<Attributes, DeclaredError> {
    let mut measured = machine::static_attributes(slots_dir);
    add_all(&mut measured, &machine::dynamic_attributes(slots_dir))?;
    let mut merged = declared::merge(measured, config)?;
    if let Some(name) = &config.name {
        declared::set(&mut merged, "host", name.as_str())?;
    }
    if config.emulated {
        // Nobody shall take what it declares for what the machine is.
        declared::set(&mut merged, "emulated", true)?;
    }
    let offer = declared::offer(&merged, config)?;
    declared::set(
        &mut merged,
        "offer.cores",
        xtreem_discovery::Number::from_thousandths(offer.cores_milli.into()),
    )?;
    declared::set(&mut merged, "offer.mem", offer.memory_bytes)?;
    declared::set(&mut merged, "offer.disk", offer.disk_bytes)?;
    Ok(merged)
}

fn add_all(into: &mut Attributes, more: &Attributes) -> Result<(), DeclaredError> {
    more.iter().try_for_each(|(name, value)| declared::set(into, name, value.clone()))
}

/// Whether the declared attributes and the offer still agree with the machine. While they do not, the node grants no
/// holds.
async fn compare(agent: &Arc<Agent>) {
    let measuring = agent.clone();
    let compared =
        tokio::task::spawn_blocking(move || statics(&measuring.config, &measuring.state.slots_dir()));
    let Ok(compared) = compared.await else { return };
    let contradicts = match compared {
        Err(error @ (DeclaredError::Contradiction { .. } | DeclaredError::OfferTooLarge { .. })) => {
            tracing::warn!(%error, "this machine is not what is declared of it: it grants no holds");
            true
        }
        _ => false,
    };
    agent.tell(move |node, _, _| node.set_contradicts(contradicts)).await;
}

/// Measures what changes, and tells the node. A fraction of a millisecond: files of the kernel are read, and the state
/// directory's file system is asked for its free space.
fn measure(agent: &Agent, node: &mut Node, now: Instant) {
    let mut fresh = machine::dynamic_attributes(&agent.state.slots_dir());
    for (name, value) in agent.config.declared.iter().filter(|_| agent.config.emulated) {
        if xtreem_discovery::standard::is_dynamic(name) {
            let _ = fresh.set(name, value.clone());
        }
    }
    let status = node.status();
    let used = status.slots + status.open_holds;
    let mut attributes = agent.attributes();
    let set = add_all(&mut attributes, &fresh)
        .and_then(|()| declared::set(&mut attributes, "slots.used", used as u64));
    if let Err(error) = set {
        tracing::warn!(%error, "a measured attribute was left out");
    }
    agent.set_attributes(attributes.clone());
    node.set_attributes(now, attributes);
}

/// Measures until the agent ends.
pub(crate) async fn run(agent: Arc<Agent>) {
    // The node's task must not keep the agent alive.
    let weak = Arc::downgrade(&agent);
    let measure = move |node: &mut Node, now| {
        if let Some(agent) = weak.upgrade() {
            measure(&agent, node, now);
        }
    };
    if agent.net.set_measure(Box::new(measure)).await.is_err() {
        return;
    }
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for round in 1u32.. {
        period.tick().await;
        if round.is_multiple_of(STATICS_EVERY) {
            compare(&agent).await;
        }
        if agent.net.measure().await.is_err() {
            return;
        }
    }
}
