//! The agent's main: puts the parts together, turns what the node says into work, and takes them apart again.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use xtreem_allocation::{AWAY_MAX, Notice};
use xtreem_base::{Digest, Handle};
use xtreem_discovery::Attributes;
use xtreem_net::{Contacts, Identity, Named, Net, NetConfig, SavedBytes, encode_kept, for_clients, resolve};
use xtreem_node::Event;
use xtreem_overlay::{overlay, ring};
use xtreem_pubsub::broker::Member;

use crate::agent::{Agent, random_u64};
use crate::api::holders::Holders;
use crate::api::operator;
use crate::beside::Commands;
use crate::collections::{Registry, Starts};
use crate::config::Config;
use crate::contacts;
use crate::declared::{self, DeclaredError};
use crate::durable::{self, Durable};
use crate::fault_switch::{self, FAULT_SWITCH_ENV, NotEmulated};
use crate::identity::{self, IdentityError};
use crate::isolation::{self, RunAsError, Standing};
use crate::lifecycle::{State, StateError};
use crate::mail::Mail;
use crate::overruled::Overruled;
use crate::ports::Ports;
use crate::pubsub::{Door, DoorError, Pubsub, access};
use crate::reserve::{RESERVE_BYTES, RESERVE_EMULATED_BYTES};
use crate::slots::{Order, Slots};
use crate::store::{self, Store};
use crate::trash::Trash;
use crate::waiting::Waiting;
use crate::{members, namesake, policy, publisher, services, validity};

/// Longest time for the node to give its slots up at the end: the grace of a stop, and some for a loaded
/// machine.
const HAND_BACK_MAX: Duration = Duration::from_secs(8);
/// Longest time for the heir of the node's part of the ring to take it: three questions.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Longest time that the end waits for leftovers to be removed (our guess: those of most programs take far
/// less).
const TRASH_MAX: Duration = Duration::from_secs(2);

/// Longest time for what waits to be written at the end.
const DISK_MAX: Duration = Duration::from_secs(5);

/// Why an agent did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    FaultSwitch(#[from] NotEmulated),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Policy(#[from] policy::LoadError),
    #[error(transparent)]
    Declared(#[from] DeclaredError),
    #[error(transparent)]
    Store(#[from] store::OpenError),
    #[error(transparent)]
    Roles(#[from] durable::OpenError),
    #[error(transparent)]
    Net(#[from] xtreem_net::StartError),
    #[error("the operator's socket {} cannot be opened: {error}", .path.display())]
    Control { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Pubsub(#[from] DoorError),
    #[error(transparent)]
    RunAs(#[from] RunAsError),
    #[error("signals cannot be taken: {0}")]
    Signals(io::Error),
    #[error("no thread can be started: {0}")]
    Threads(io::Error),
    #[error(
        "the grid knows a later start of this node, with incarnation {known}, than this agent, which has taken a higher \
         number: start it again"
    )]
    Outlived { known: u32 },
}

/// Runs an agent until SIGTERM or SIGINT, and then stops its programs.
pub async fn run(config: Config) -> Result<(), AgentError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::Signals)?;
    let ended = run_until(config, async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
    })
    .await;
    if let Err(AgentError::Outlived { known }) = ended {
        tracing::warn!(known, "starting again with a higher incarnation");
        let error = namesake::start_again();
        tracing::error!(%error, "this agent cannot start itself again");
    }
    ended
}

/// Runs an agent until `end` is ready, and then stops its programs.
pub async fn run_until(config: Config, end: impl Future<Output = ()>) -> Result<(), AgentError> {
    let fault_switch = fault_switch::file(&config, std::env::var_os(FAULT_SWITCH_ENV))?;
    let user = isolation::program_user(&config)?;
    let reserve = if config.emulated { RESERVE_EMULATED_BYTES } else { RESERVE_BYTES };
    let state = State::open(&config.state_dir, reserve)?;
    isolation::open_the_way(&config, &state, user)
        .map_err(|error| StateError::Directory { dir: state.dir().to_owned(), error })?;
    // Before anything is sent: a socket that cannot lie where it is to lie is no reason to be met and to go.
    operator::check(&config.control)?;
    let (identity, identity_file) = identity::load(&config, state.dir())?;
    let policies = policy::at_start(identity.root(), config.policy.as_deref(), state.dir())?;
    let mut attributes = publisher::statics(&config, &state.slots_dir())?;
    declared::set(&mut attributes, "id", identity.id().to_string())?;
    let offer = declared::offer(&attributes, &config)?;
    let store = Store::open(&state.store_dir(), store::TOTAL_MAX_BYTES)?;
    let name = config.name.clone().unwrap_or_else(|| identity.name().to_owned());
    let (streams_in, streams) = mpsc::channel(services::WAITING_MAX);
    let kept = contacts::load(state.dir());
    let net_config = NetConfig {
        bind: config.bind,
        advertise: config.advertise,
        incarnation: state.incarnation(),
        hints: hints(&config, &kept).await,
        join: config.join.clone(),
        kept,
        attributes: digest(&attributes),
        node: Arc::new(node_config(&config)),
        seed: random_u64(),
        services: streams_in,
        identity: identity.clone(),
        cable: fault_switch::cable(fault_switch),
    };
    let trash = Trash::start(&state).map_err(AgentError::Threads)?;
    store.discard_into(trash.clone());
    let (durable, saved) = Durable::open(state.dir(), state.reserve().clone())?;
    let commands = Commands::new(&identity).map_err(xtreem_net::StartError::from)?;
    let (net, mut events) = Net::start(net_config)?;
    announce(&identity, &net, &state, &name);
    if config.bind.ip().is_unspecified() && config.advertise.is_none() && net.local_addr().ip().is_loopback()
    {
        tracing::warn!("this machine has no route to anywhere: only agents on it can join this one");
    }
    declared::set(&mut attributes, "address", net.own_contact().addr.to_string())?;
    let door = match &config.pubsub.tcp {
        Some(tcp) => {
            Some((Door::open(tcp).await?, for_clients(&identity).map_err(xtreem_net::StartError::from)?))
        }
        None => None,
    };
    let waiting = Arc::new(Waiting::default());
    let (key, roles) = (identity.id(), identity.roles().as_bits());
    let member = Member { key, name: identity.name().to_owned(), roles };
    // Before anybody is let in.
    let newest = policies.iter().filter_map(|signed| signed.open().ok()).max_by_key(|(_, version)| *version);
    let policy = newest.map(|(policy, _)| policy);
    let pubsub =
        Pubsub::start(&config.pubsub, &net, &waiting, member, policy).map_err(AgentError::Threads)?;
    let control = operator::bind(&config.control)?;
    let agent = Arc::new(Agent {
        config,
        state,
        net,
        store,
        durable,
        trash,
        slots: Slots::default(),
        commands,
        holders: Holders::default(),
        ports: Ports::default(),
        mail: Mail::default(),
        collections: Registry::default(),
        starts: Starts::default(),
        pubsub,
        waiting,
        name,
        identity_file,
        attributes: Mutex::new(attributes.clone()),
        standing: Standing::new(user),
    });
    agent
        .tell(move |node, now, out| {
            node.set_attributes(now, attributes);
            node.set_offer(offer);
            // Until it was tried.
            node.set_isolates(false);
            for signed in policies {
                // They were verified and read when they were loaded.
                let _ = node.set_policy(now, signed, out);
            }
        })
        .await;
    restore(&agent, saved).await;
    tracing::info!(offer = %offer, socket = %agent.config.control.path.display(), "agent started");
    // Before anybody is answered: whoever finds the agent up finds it as it will be.
    isolation::look(&agent).await;
    let tasks = [
        tokio::spawn(durable::run(agent.clone())),
        tokio::spawn(publisher::run(agent.clone())),
        tokio::spawn(services::run(agent.clone(), streams)),
        tokio::spawn(isolation::watch(agent.clone())),
        tokio::spawn(operator::serve(agent.clone(), control)),
        tokio::spawn(contacts::keep(agent.clone())),
        tokio::spawn(validity::watch(agent.clone())),
    ];
    let door = door.map(|(door, tls)| tokio::spawn(door.attend(agent.clone(), tls.into())));
    let mut ended = Ok(());
    tokio::select! {
        () = work(&agent, &mut events) => tracing::error!("the node has stopped"),
        known = namesake::watch(&agent) => {
            ended = agent.state.raise(known).map_err(AgentError::State).and(Err(AgentError::Outlived { known }));
        }
        () = end => {}
    }
    agent.durable.freeze();
    contacts::keep_now(&agent).await;
    hand_back(&agent, &mut events).await;
    leave_ring(&agent, &mut events).await;
    tasks.iter().chain(&door).for_each(tokio::task::JoinHandle::abort);
    agent.net.clone().stop().await;
    let closing = agent.clone();
    // A disk that does not write must not keep the agent.
    let _ =
        tokio::time::timeout(DISK_MAX, tokio::task::spawn_blocking(move || closing.durable.close())).await;
    // What takes longer is removed after the next start.
    let _ = tokio::time::timeout(TRASH_MAX, agent.trash.emptied()).await;
    operator::remove(&agent.config.control);
    tracing::info!("agent stopped");
    ended
}

fn announce(identity: &Identity, net: &Net, state: &State, name: &str) {
    tracing::info!(
        node = %identity.id(), name, vo = %identity.root().id(), address = %net.local_addr(),
        incarnation = state.incarnation(), state = %state.dir().display(), "agent starting"
    );
}

/// The protocols' numbers: the real grid's, but for what an emulated host may change.
fn node_config(config: &Config) -> xtreem_node::Config {
    let mut node =
        if config.emulated { xtreem_node::Config::emulated() } else { xtreem_node::Config::default() };
    let trie_period = config.trie_period.unwrap_or(node.trie.period);
    if let Some(period) = config.cyclon_period {
        node.set_period(period);
    }
    node.trie.period = trie_period;
    node
}

/// Whom to ask the routing table about for the address that others are told, when the operator does not say
/// it: the nodes to join by, the ones that were known before, the Internet, and this machine itself.
async fn hints(config: &Config, kept: &[String]) -> Vec<SocketAddr> {
    if config.advertise.is_some() || !config.bind.ip().is_unspecified() {
        return Vec::new();
    }
    let names = config.join.iter().chain(kept).cloned();
    let lookups: Vec<_> = names.map(|name| tokio::spawn(async move { resolve(&name).await })).collect();
    let mut hints = Vec::new();
    for lookup in lookups {
        // Which name is not known the node says when it joins.
        hints.extend(lookup.await.into_iter().flatten().flatten());
    }
    // The addresses of documentation (RFC 5737, RFC 3849), which a default route covers.
    let four: [IpAddr; 2] = [Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into()];
    let six: [IpAddr; 2] =
        [Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into()];
    let last = if config.bind.is_ipv6() { [six[0], four[0], six[1]] } else { [four[0], four[1], four[1]] };
    hints.extend(last.map(|ip| SocketAddr::new(ip, 9)));
    hints
}

/// Of what does not change while the agent runs.
fn digest(attributes: &Attributes) -> Digest {
    let mut statics = Attributes::new();
    for (name, value) in attributes.statics() {
        // A part of a set that is within its limits is within them, too.
        let _ = statics.set(name, value.clone());
    }
    // Writing to a vector cannot fail.
    let bytes = minicbor::to_vec(&statics).unwrap_or_default();
    Digest::from_bytes(*blake3::hash(&bytes).as_bytes())
}

/// Takes up what this node had when its agent ended.
async fn restore(agent: &Agent, saved: SavedBytes) {
    let (roles, contacts) = (saved.kept.len(), saved.reference.len());
    let away = saved.away;
    let unreadable = agent.net.restore(saved).await.unwrap_or_default();
    if away > AWAY_MAX {
        let days = away.as_micros() / 86_400_000_000;
        tracing::warn!(days, "this node was away too long to take up what it had");
    } else if roles > 0 {
        tracing::info!(roles, contacts, "taken up from the disk: others are asked how they stand");
    }
    if unreadable > 0 {
        tracing::error!(unreadable, "roles that cannot be read are left out");
    }
}

/// Ends the programs. The node gives the slots up first: a program that exits with 0 because it was asked to
/// end has not done its work, and is to run elsewhere.
async fn hand_back(agent: &Arc<Agent>, events: &mut mpsc::Receiver<Named<Event>>) {
    for run in agent.slots.shut() {
        agent.tell(move |node, now, out| node.free(now, run, out)).await;
    }
    tokio::select! {
        () = work(agent, events) => {}
        () = agent.slots.emptied() => {}
        () = tokio::time::sleep(HAND_BACK_MAX) => tracing::warn!("slots still run; their programs are stopped"),
    }
    agent.slots.stop_all();
    agent.slots.emptied().await;
}

/// Hands on what this node owns of the ring, so that nobody waits for its lease to end. Programs and roles
/// are gone by now: no other event matters.
async fn leave_ring(agent: &Arc<Agent>, events: &mut mpsc::Receiver<Named<Event>>) {
    agent.tell(|node, now, out| node.leave_ring(now, out)).await;
    let left = async {
        while let Some(Named { what, .. }) = events.recv().await {
            if matches!(what, Event::Ring(overlay::Event::Ring(ring::Event::Left))) {
                break;
            }
        }
    };
    // Who should take it may be dead.
    if tokio::time::timeout(LEAVE_MAX, left).await.is_err() {
        tracing::info!(
            "nobody took over this node's part of the ring: others wait until its lease has ended"
        );
    }
}

/// Takes the node's events. Nothing in here waits for anything but the node itself.
async fn work(agent: &Arc<Agent>, events: &mut mpsc::Receiver<Named<Event>>) {
    let mut overruled = Overruled::default();
    while let Some(event) = events.recv().await {
        match event {
            Named { what: Event::Allocation(notice), contacts } => obey(agent, notice, contacts).await,
            Named { what: Event::Policy(newer), .. } => policy::changed(agent, newer),
            ring @ Named { what: Event::Ring(_), .. } => {
                match &ring.what {
                    Event::Ring(overlay::Event::Ring(event)) => agent.pubsub.report_ring(event),
                    Event::Ring(overlay::Event::Store(xtreem_overlay::store::Event::Lost {
                        version,
                        winner,
                    })) => {
                        overruled.tell(*version, winner);
                    }
                    _ => {}
                }
                agent.waiting.publish(ring);
            }
            // It begins so after a restart, and answers may be there by now.
            Named { what: Event::CutOff { reach: Some(reach) }, .. } if reach.answering >= reach.needed() => {
                tracing::info!("as many nodes as are needed answer: not cut off for long");
            }
            Named { what: Event::CutOff { reach: Some(reach) }, .. } => {
                let (answering, members, needed) = (reach.answering, reach.members, reach.needed());
                let minutes = reach.ends_in.as_micros().div_ceil(60_000_000);
                let contacts = agent.node(|node, _, _| node.status().contacts).await.unwrap_or_default();
                let then = if validity::is_out_of_date(agent, contacts) {
                    "the others may be well: `xtreem node` says what parts this node from them"
                } else {
                    "when the others are gone for good: `xtreem node accept-loss`"
                };
                tracing::warn!(
                    "cut off: this node reaches {answering} of {members} and replaces nothing until {needed} \
                     answer, for {minutes} min at most; {then}"
                );
            }
            Named { what: Event::CutOff { reach: None }, .. } => tracing::info!("no longer cut off"),
            Named { what: Event::Reference(peers), contacts } => {
                let peers: Vec<_> = contacts.all_of(peers).map(|(_, contact)| contact).collect();
                agent.durable.put_reference(&peers);
            }
            search @ Named { what: Event::Search(_), .. } => agent.waiting.publish(search),
        }
    }
}

/// Does what the node asks of this machine, and tells those who wait for the rest.
async fn obey(agent: &Arc<Agent>, notice: Notice, contacts: Contacts) {
    agent.pubsub.report_notice(&notice, &contacts);
    let known = |sources: Vec<Handle>| contacts.all_of(sources).map(|(_, contact)| contact).collect();
    match notice {
        Notice::Start { run, application, sources, restarts } => {
            let (sources, spec) = (known(sources), application.spec);
            let by = access::submitter(&application.record);
            let (name, slots) = (application.record.name, application.record.slots);
            agent.slots.start(agent, Order { run, name, slots, spec, sources, restarts, by });
        }
        Notice::KeepFiles { application, sources } => {
            members::keep_files(agent, application.record.id, application.spec, known(sources));
        }
        Notice::Stop { run, why } => {
            tracing::info!(app = ?run.app, slot = run.slot, epoch = %run.epoch, ?why, "slot is to stop");
            if !agent.slots.stop(run, why) {
                // Its end and this order crossed: the node is told again.
                let exit = xtreem_allocation::Exit::Signal(15);
                agent.tell(move |node, now, out| node.program_exited(now, run, exit, out)).await;
            }
        }
        Notice::Store { number, app, what } => {
            agent.durable.put(number, app, what.map(|kept| encode_kept(*kept, &contacts)));
        }
        Notice::AppLeft { app } => {
            tracing::info!(?app, "application left");
            agent.slots.forget(&agent.trash, app);
        }
        Notice::HolderLost { app, slot, peer, epoch } => {
            let peer_id = contacts.of(peer).map(|contact| contact.id);
            tracing::warn!(?app, ?slot, peer = ?peer_id, "a holder was declared lost");
            tell(agent, Notice::HolderLost { app, slot, peer, epoch }, contacts);
        }
        notice @ (Notice::SlotChanged { .. }
        | Notice::RecordChanged { .. }
        | Notice::Submission { .. }
        | Notice::RecordTaken { .. }
        | Notice::Described { .. }) => tell(agent, notice, contacts),
        // Said to whoever subscribed, above.
        Notice::SlotPlaced { .. } => {}
    }
}

fn tell(agent: &Agent, notice: Notice, contacts: Contacts) {
    agent.waiting.publish(Named { what: Event::Allocation(notice), contacts });
}
