//! Tells the node again and again what this machine measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use xtreem_base::Instant;
use xtreem_discovery::Attributes;
use xtreem_node::Node;

use crate::agent::Agent;
use crate::config::Config;
use crate::declared::{self, DeclaredError};
use crate::exec::Wanted as Isolation;
use crate::{machine, namesake, ports, store, unwilling};

/// Between two measurements for what travels with links. Whoever visits is answered with what is measured
/// then ([`Net::set_measure`](xtreem_net::Net::set_measure)). Our guess: half a round of gossip.
const PERIOD: Duration = Duration::from_secs(5);

/// Every so many measurements all static attributes are read again, which takes milliseconds. Cores, memory
/// and disk are compared at every measurement, so also when a hold is asked for (our guess: the rest is taken
/// away by hand, not by the second).
const STATICS_EVERY: u32 = 12;

/// Attributes that do not change while the agent runs, declared ones merged in.
pub(crate) fn statics(config: &Config, slots_dir: &std::path::Path) -> Result<Attributes, DeclaredError> {
    let mut measured = machine::static_attributes(slots_dir);
    add_all(&mut measured, &machine::present(slots_dir).dynamic)?;
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

/// Whether what is declared and offered is still there, as far as it can be told quickly.
fn is_capable(config: &Config, capacity: Attributes) -> Result<(), DeclaredError> {
    let merged = declared::merge(capacity, config)?;
    declared::offer(&merged, config).map(|_| ())
}

/// Only these speak against the machine; an attribute that does not fit in does not.
fn is_contradiction(compared: &Result<(), DeclaredError>) -> bool {
    matches!(compared, Err(DeclaredError::Contradiction { .. } | DeclaredError::OfferTooLarge { .. }))
}

/// Whether this machine is still what is declared of it. While it is not, the node grants no holds.
#[derive(Default)]
struct Truth {
    /// What the last look at all static attributes came to; that look is taken outside of the node's task.
    statics_contradict: AtomicBool,
}

impl Truth {
    async fn compare_statics(&self, agent: &Arc<Agent>) {
        let measuring = agent.clone();
        let compared =
            tokio::task::spawn_blocking(move || statics(&measuring.config, &measuring.state.slots_dir()));
        let Ok(compared) = compared.await.map(|compared| compared.map(|_| ())) else { return };
        self.statics_contradict.store(is_contradiction(&compared), Ordering::Relaxed);
        if let (true, Err(error)) = (is_contradiction(&compared), &compared) {
            tracing::warn!(%error, "this machine is not what is declared of it: it grants no holds");
        }
    }
}

/// Measures what changes, and tells the node. A fraction of a millisecond: files of the kernel are read, and
/// the state directory's file system is asked for its free space.
fn measure(agent: &Agent, truth: &Truth, node: &mut Node, now: Instant) {
    let machine::Present { dynamic: mut fresh, capacity, disk_free } =
        machine::present(&agent.state.slots_dir());
    let is_disk_full = disk_free.is_some_and(|free| agent.state.reserve().is_disk_full(free));
    if is_disk_full != node.is_disk_full() {
        if is_disk_full {
            tracing::warn!(
                free = disk_free,
                "the disk is full: this node takes no slots until there is room"
            );
        } else {
            tracing::info!("there is room on the disk: this node takes slots");
        }
        node.set_disk_full(is_disk_full);
    }
    // Without namespaces of their own programs are as capable as the agent, which may have been allowed more.
    let is_shut_in = agent.config.isolation != Isolation::ProcessGroup;
    node.set_lowest_port(if is_shut_in { ports::lowest() } else { 0 });
    let compared = is_capable(&agent.config, capacity);
    let contradicts = is_contradiction(&compared) || truth.statics_contradict.load(Ordering::Relaxed);
    if contradicts != node.contradicts() {
        match compared {
            Err(error) if contradicts => {
                tracing::warn!(%error, "this machine has less than is declared of it: it grants no holds")
            }
            _ => tracing::info!(contradicts, "whether this machine is what is declared of it has changed"),
        }
        node.set_contradicts(contradicts);
    }
    for (name, value) in agent.config.declared.iter().filter(|_| agent.config.emulated) {
        if xtreem_discovery::standard::is_dynamic(name) {
            let _ = fresh.set(name, value.clone());
        }
    }
    let status = node.status();
    let used = status.slots + status.open_holds;
    let mut attributes = agent.attributes();
    let set = add_all(&mut attributes, &fresh)
        .and_then(|()| declared::set(&mut attributes, "address", agent.net.local_addr().to_string()))
        .and_then(|()| declared::set(&mut attributes, "slots.used", used as u64))
        .and_then(|()| declared::set(&mut attributes, "cut_off", status.is_cut_off));
    if let Err(error) = set {
        tracing::warn!(%error, "a measured attribute was left out");
    }
    agent.set_attributes(attributes.clone());
    // Not among those that are told again: the marks go when what they tell of is over.
    let namesake = namesake::mark(agent).map(|other| (namesake::ATTRIBUTE, other.to_string()));
    let unwilling = unwilling::why(agent, node, now);
    let unwilling = unwilling.map(|why| (unwilling::ATTRIBUTE, unwilling::mark(&why).to_owned()));
    for (name, value) in namesake.into_iter().chain(unwilling) {
        if let Err(error) = declared::set(&mut attributes, name, value) {
            tracing::warn!(%error, "the mark of a node with a trouble was left out");
        }
    }
    node.set_attributes(now, attributes);
}

/// Measures until the agent ends.
pub(crate) async fn run(agent: Arc<Agent>) {
    // The node's task must not keep the agent alive.
    let weak = Arc::downgrade(&agent);
    let truth = Arc::new(Truth::default());
    let shared = truth.clone();
    let measure = move |node: &mut Node, now| {
        if let Some(agent) = weak.upgrade() {
            measure(&agent, &shared, node, now);
        }
    };
    let address = agent.net.local_addr().ip();
    let is_port_free = move |port| ports::is_free(address, port);
    if agent.net.set_measure(Box::new(measure), Box::new(is_port_free)).await.is_err() {
        return;
    }
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for round in 1u32.. {
        period.tick().await;
        if round.is_multiple_of(STATICS_EVERY) {
            truth.compare_statics(&agent).await;
            agent.store.give_up_idle(store::IDLE_MAX);
        }
        if agent.net.measure().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;

    use super::*;

    /// On a machine with one core there is none to take away.
    #[test]
    fn a_core_that_is_taken_away_is_missed_at_the_next_measurement() {
        let capacity = || machine::present(Path::new("/")).capacity;
        let measured = capacity();
        let mut config = Config::new("/state".into());
        for (name, value) in measured.iter() {
            config.declared.set(name, value.clone()).unwrap();
        }
        assert_eq!(is_capable(&config, capacity()), Ok(()));
        // Of this thread alone: tests have one each.
        let me = Pid::from_raw(0);
        let mine = sched_getaffinity(me).unwrap();
        let mut cores = (0..CpuSet::count()).filter(|core| mine.is_set(*core).unwrap_or_default());
        let mut fewer = CpuSet::new();
        fewer.set(cores.next().unwrap()).unwrap();
        let is_one_left = cores.next().is_none();
        sched_setaffinity(me, &fewer).unwrap();
        let compared = is_capable(&config, capacity());
        assert_eq!(is_contradiction(&compared), !is_one_left, "{compared:?}");
        sched_setaffinity(me, &mine).unwrap();
        assert_eq!(is_capable(&config, capacity()), Ok(()));
        config.offer.memory_bytes = Some(u64::MAX);
        assert!(is_contradiction(&is_capable(&config, capacity())));
    }
}
