mod limits;

use std::collections::BTreeSet;
use std::time::Duration as StdDuration;

use xtreem_base::{Duration, NodeId, Rng};
use xtreem_node::{Message, Relay};
use xtreem_wire::{Padding, Roles};

use super::*;
use crate::counters::Count;
use crate::hello::wall_ms;
use crate::identity::unix_now;
use crate::plane::Now;
use crate::{MeetError, OutOfDate, VoKey};

const LOOPBACK: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// A running node with what its host would hold.
struct Agent {
    net: Net,
    /// Kept, as a host that does not listen loses its events.
    _events: mpsc::Receiver<Named<Event>>,
    services: mpsc::Receiver<ServiceStream>,
}

fn vo() -> VoKey {
    VoKey::create("test").expect("a VO")
}

fn config(
    identity: &Identity,
    incarnation: u32,
    join: &[SocketAddr],
) -> (NetConfig, mpsc::Receiver<ServiceStream>) {
    let (services, received) = mpsc::channel(8);
    let mut node = Config::emulated();
    node.set_period(Duration::from_millis(200));
    let config = NetConfig {
        identity: identity.clone(),
        bind: LOOPBACK[0].parse().expect("a literal address"),
        advertise: None,
        incarnation,
        join: join.iter().map(SocketAddr::to_string).collect(),
        kept: Vec::new(),
        hints: Vec::new(),
        attributes: Digest::from_bytes([0; 32]),
        node: Arc::new(node),
        seed: 1,
        services,
        cable: crate::Cable::default(),
    };
    (config, received)
}

fn start_with(config: NetConfig, services: mpsc::Receiver<ServiceStream>) -> Agent {
    let (net, events) = Net::start(config).expect("a node on loopback");
    Agent { net, _events: events, services }
}

fn start(identity: &Identity, incarnation: u32, join: &[SocketAddr]) -> Agent {
    let (config, services) = config(identity, incarnation, join);
    start_with(config, services)
}

fn issue(vo: &VoKey, name: &str) -> Identity {
    vo.issue_node(name, 1).expect("an identity")
}

/// Waits until `is_so`, and fails after ten seconds.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(StdDuration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(StdDuration::from_secs(10), waiting).await.is_ok(), "never: {what}");
}

/// The contacts of the grid-wide partial view.
async fn view(agent: &Agent) -> BTreeSet<(NodeId, u32)> {
    let Named { what: links, contacts } =
        agent.net.call_named(|node, _, _| node.contacts()).await.expect("a running node");
    assert_eq!(contacts.all_of(links.iter().copied()).count(), links.len(), "all are in use");
    contacts.all_of(links).map(|(_, contact)| (contact.id, contact.incarnation)).collect()
}

fn key(agent: &Agent) -> (NodeId, u32) {
    let own = agent.net.own_contact();
    (own.id, own.incarnation)
}

async fn knows_exactly(agent: &Agent, others: &[&Agent]) {
    let expected: BTreeSet<_> = others.iter().map(|other| key(other)).collect();
    eventually("the view is complete", async || view(agent).await == expected).await;
}

async fn counts(agent: &Agent, count: Count, at_least: u64) {
    eventually(&format!("{at_least} of {count:?}"), async || agent.net.counters().of(count) >= at_least)
        .await;
}

/// A grid that still works: a newcomer joins through `agent`.
async fn still_works(vo: &VoKey, agent: &Agent) {
    let newcomer = start(&issue(vo, "newcomer"), 1, &[agent.net.local_addr()]);
    knows_exactly(&newcomer, &[agent]).await;
    knows_exactly(agent, &[&newcomer]).await;
}

#[tokio::test]
async fn three_nodes_join_in_a_row_and_know_each_other_on_both_families() {
    for bind in LOOPBACK {
        let vo = vo();
        let begin = |name, join: &[SocketAddr]| {
            let (mut config, services) = config(&issue(&vo, name), 1, join);
            config.bind = bind.parse().expect("a literal address");
            start_with(config, services)
        };
        let a = begin("a", &[]);
        let b = begin("b", &[a.net.local_addr()]);
        knows_exactly(&a, &[&b]).await;
        knows_exactly(&b, &[&a]).await;
        let c = begin("c", &[b.net.local_addr()]);
        knows_exactly(&a, &[&b, &c]).await;
        knows_exactly(&b, &[&a, &c]).await;
        knows_exactly(&c, &[&a, &b]).await;
        let trouble: Vec<_> = [&a, &b, &c].iter().flat_map(|agent| drops(agent)).collect();
        assert_eq!(trouble, [], "{bind}");
    }
}

#[tokio::test]
async fn an_address_of_another_family_is_told_as_such_and_at_once() {
    let vo = vo();
    let bound = |bind: &str| {
        let (mut config, services) = config(&issue(&vo, "a"), 1, &[]);
        config.bind = bind.parse().expect("a literal address");
        start_with(config, services)
    };
    for (bind, there) in [(LOOPBACK[0], "[::1]:9"), (LOOPBACK[1], "127.0.0.1:9")] {
        let node = bound(bind);
        let met = node.net.connections.meet(there.parse().expect("a literal address")).await;
        let error = met.map(drop).expect_err("nobody can be met there");
        assert!(matches!(error, MeetError::Families { .. }), "{error}");
        let words = error.to_string();
        assert!(words.contains("IPv4") && words.contains("IPv6") && words.contains("`bind`"), "{words}");
    }
}

/// Everything that was dropped.
fn drops(agent: &Agent) -> Vec<(&'static str, u64)> {
    let counters = agent.net.counters();
    let fine = ["received", "sent", "stream_sent", "stream_received"];
    counters.iter().filter(|(name, n)| *n > 0 && !fine.contains(name)).collect()
}

#[tokio::test]
async fn a_node_that_is_told_to_join_through_itself_forgets_it_and_joins_through_the_others() {
    let vo = vo();
    let free = std::net::UdpSocket::bind(LOOPBACK[0]).and_then(|socket| socket.local_addr());
    let own = free.expect("a free port");
    let other = start(&issue(&vo, "other"), 1, &[]);
    let (mut config, services) = config(&issue(&vo, "listed"), 1, &[own, other.net.local_addr()]);
    config.bind = own;
    let listed = start_with(config, services);
    knows_exactly(&listed, &[&other]).await;
    // Both sides of the meeting know whom they met: it is no node that hung up.
    counts(&listed, Count::Misaddressed, 2).await;
    assert_eq!(listed.net.counters().of(Count::Unreachable), 0);
}

#[tokio::test]
async fn a_first_node_that_comes_up_late_is_joined_all_the_same() {
    let vo = vo();
    let free = UdpSocket::bind(LOOPBACK[0]).expect("a free port");
    let addr = free.local_addr().expect("a bound socket");
    let b = start(&issue(&vo, "b"), 1, &[addr]);
    counts(&b, Count::Unreachable, 1).await;
    drop(free);
    let (mut config, services) = config(&issue(&vo, "a"), 1, &[]);
    config.bind = addr;
    let a = start_with(config, services);
    knows_exactly(&a, &[&b]).await;
    knows_exactly(&b, &[&a]).await;
}

#[tokio::test]
async fn a_restarted_node_replaces_its_old_incarnation() {
    let vo = vo();
    // Without a shuffle nothing but the news itself can end the old incarnation.
    let quiet = |identity: &Identity, incarnation, join: &[SocketAddr]| {
        let (mut config, services) = config(identity, incarnation, join);
        config.node = Arc::new({
            let mut node = Config::default();
            node.membership.period = Duration::from_secs(600);
            node
        });
        start_with(config, services)
    };
    let (a, identity) = (quiet(&issue(&vo, "a"), 1, &[]), issue(&vo, "b"));
    let b = quiet(&identity, 1, &[a.net.local_addr()]);
    knows_exactly(&a, &[&b]).await;
    b.net.stop().await;
    let b = quiet(&identity, 2, &[a.net.local_addr()]);
    knows_exactly(&b, &[&a]).await;
    knows_exactly(&a, &[&b]).await;
}

#[tokio::test]
async fn a_message_to_an_old_incarnation_is_answered_and_the_sender_turns_to_the_new_one() {
    let vo = vo();
    let (a, b) = (start(&issue(&vo, "a"), 1, &[]), start(&issue(&vo, "b"), 2, &[]));
    let old = Contact { incarnation: 1, ..b.net.own_contact() };
    // a is told to join through an incarnation of b that ended, as a hint may say.
    let handle = a.net.handle_of(old).await.expect("room for one");
    a.net.call(move |node, now, out| node.join(now, handle, out)).await.expect("a running node");
    counts(&b, Count::Reborn, 1).await;
    knows_exactly(&a, &[&b]).await;
}

#[tokio::test]
async fn garbage_on_the_port_is_counted_and_shrugged_off() {
    let vo = vo();
    let a = start(&issue(&vo, "a"), 1, &[]);
    let socket = tokio::net::UdpSocket::bind(LOOPBACK[0]).await.expect("a free port");
    let mut rng = Rng::new(1);
    for round in 0..4_000u32 {
        let mut packet = vec![0; rng.below(1_400) as usize];
        packet.iter_mut().for_each(|byte| *byte = rng.next_u32() as u8);
        if let Some(first) = packet.first_mut() {
            // A quarter each: our version, other versions, QUIC long and short headers.
            *first = match round % 4 {
                0 => 1,
                1 => *first & !0x40,
                2 => *first | 0xc0,
                _ => *first & !0x80 | 0x40,
            };
        }
        socket.send_to(&packet, a.net.local_addr()).await.expect("loopback takes all");
        if round % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for count in [Count::Malformed, Count::WrongLength, Count::UnknownVersion] {
        counts(&a, count, 1).await;
    }
    assert_eq!(a.net.counters().of(Count::Received), 0);
    still_works(&vo, &a).await;
}

#[tokio::test]
async fn replayed_flipped_and_truncated_datagrams_are_counted_each_for_itself() {
    let vo = vo();
    let a = start(&issue(&vo, "a"), 1, &[]);
    let socket = tokio::net::UdpSocket::bind(LOOPBACK[0]).await.expect("a free port");
    let addr = socket.local_addr().expect("a bound socket");
    let record = NodeRecord { addr, incarnation: 1, attributes: Digest::from_bytes([0; 32]) };
    let mut plane = DatagramPlane::new(issue(&vo, "b"), record);
    let mut seal = || {
        let ping = Message::Relay(Relay::Ping { origin: Handle::from_u32(0), nonce: 1 });
        let mut table = PeerTable::default();
        table.intern_proven(Contact { id: NodeId::from_bytes([1; 16]), addr, incarnation: 1 });
        let mut payload = Vec::new();
        minicbor::encode_with(ping, &mut payload, &mut table).expect("a known handle");
        let now = Now { at: monotonic_now(), wall_ms: wall_ms() };
        plane.seal(now, a.net.own_contact(), &payload, Padding::Least).expect("it fits")
    };
    let send = async |bytes: &[u8]| {
        socket.send_to(bytes, a.net.local_addr()).await.expect("loopback takes all");
    };
    let good = seal();
    send(&good).await;
    counts(&a, Count::Received, 1).await;
    send(&good).await;
    counts(&a, Count::Replayed, 1).await;
    let mut flipped = seal();
    *flipped.last_mut().expect("it has bytes") ^= 1;
    send(&flipped).await;
    counts(&a, Count::Forged, 1).await;
    send(&seal()[..300]).await;
    counts(&a, Count::WrongLength, 1).await;
    assert_eq!(a.net.counters().of(Count::Received), 1);
    still_works(&vo, &a).await;
}

#[tokio::test]
async fn strangers_and_expired_members_do_not_get_through_the_handshake() {
    let vo = vo();
    let a = start(&issue(&vo, "a"), 1, &[]);
    let stranger = issue(&self::vo(), "stranger");
    let expired = vo.issue("expired", Roles::NODE, unix_now() - 3 * 86_400, 1).expect("an identity");
    for (identity, is_stranger) in [(stranger, true), (expired, false)] {
        let outsider = start(&identity, 1, &[]);
        let met = outsider.net.connections.meet(a.net.local_addr()).await;
        if is_stranger {
            // Both VOs have one name: only the id tells them apart.
            let words = met.map(drop).expect_err("a stranger").to_string();
            for part in [vo.root().id().to_string(), identity.root().id().to_string(), "vo invite".to_owned()]
            {
                assert!(words.contains(&part), "{words}");
            }
        } else {
            assert!(matches!(met, Err(MeetError::Connection(_) | MeetError::Hello)), "{met:?}");
        }
        assert_eq!(view(&outsider).await, BTreeSet::new());
    }
    counts(&a, Count::Stranger, 1).await;
    assert_eq!(view(&a).await, BTreeSet::new());
    still_works(&vo, &a).await;
}

#[tokio::test]
async fn who_finds_all_others_out_of_date_knows_how_many_until_one_is_believed() {
    let vo = vo();
    let day = 86_400;
    let issued = |name, now| vo.issue(name, Roles::NODE, now, 1).expect("an identity");
    let expired = [issued("b", unix_now() - 3 * day), issued("c", 1_000_000_000)];
    let early = issued("d", unix_now() + 3 * day);
    let others: Vec<_> = expired.iter().chain([&early]).map(|identity| start(identity, 1, &[])).collect();
    let addresses: Vec<_> = others.iter().map(|other| other.net.local_addr()).collect();
    let a = start(&issue(&vo, "a"), 1, &addresses);
    let all = OutOfDate { expired: 2, early: 1 };
    eventually("all three are known", async || a.net.out_of_date() == all).await;
    let words = a.net.connections.meet(addresses[1]).await.map(drop).expect_err("expired").to_string();
    assert!(words.contains("expired on 2001-09-10, and it is 2"), "{words}");
    still_works(&vo, &a).await;
    // Those that are out of date are dialled again, but ever more seldom.
    eventually("somebody was believed", async || a.net.out_of_date() == OutOfDate::default()).await;
}

#[tokio::test]
async fn a_connection_ends_with_the_credential_that_it_was_made_with() {
    let vo = vo();
    let end = unix_now() + 3;
    let ends = vo.issue("ends", Roles::NODE, end - 86_400, 1).expect("an identity");
    let (a, b) = (start(&issue(&vo, "a"), 1, &[]), start(&ends, 1, &[]));
    // One stream that stays open, and others again and again: the connection is never idle.
    let (mut long, _answer) = b.net.open(a.net.own_contact(), Service::PORTS).await.expect("a stream");
    let mut used_until = 0;
    eventually("nothing passes any more", async || {
        let stream = b.net.open(a.net.own_contact(), Service::PIECES).await;
        if stream.is_ok() {
            used_until = unix_now();
        }
        stream.is_err() && long.write_all(b"more").await.is_err()
    })
    .await;
    assert!(unix_now() > end, "it ended before its time");
    assert!((end - 1..=end + 1).contains(&used_until), "used until {used_until}, to end at {end}");
    assert!(a.net.counters().of(Count::Expired) > 0);
    still_works(&vo, &a).await;
}

#[tokio::test]
async fn a_service_stream_carries_the_proven_name_of_who_opened_it() {
    let vo = vo();
    let (a, mut b) = (start(&issue(&vo, "a"), 1, &[]), start(&issue(&vo, "b"), 1, &[]));
    let (mut send, mut receive) = a.net.open(b.net.own_contact(), Service::PIECES).await.expect("a stream");
    send.write_all(b"which pieces?").await.expect("an open stream");
    send.finish().expect("an open stream");
    let mut stream = b.services.recv().await.expect("a stream");
    assert_eq!((stream.service, stream.peer.member.name()), (Service::PIECES, "a"));
    assert_eq!(stream.receive.read_to_end(100).await.expect("a whole question"), b"which pieces?");
    stream.send.write_all(b"all").await.expect("an open stream");
    stream.send.finish().expect("an open stream");
    assert_eq!(receive.read_to_end(100).await.expect("a whole answer"), b"all");
    // The same connection serves the other direction.
    let back = b.net.open(a.net.own_contact(), Service::LOGS).await;
    assert!(back.is_ok(), "{back:?}");
}

#[tokio::test]
async fn nobody_answers_for_another() {
    let vo = vo();
    let (a, b) = (start(&issue(&vo, "a"), 1, &[]), start(&issue(&vo, "b"), 1, &[]));
    let elsewhere = Contact { id: NodeId::from_bytes([7; 16]), ..b.net.own_contact() };
    let opened = a.net.open(elsewhere, Service::PIECES).await;
    assert_eq!(opened.map(|_| ()), Err(OpenError::Unreachable));
    counts(&a, Count::Misaddressed, 1).await;
}

#[tokio::test]
async fn a_member_that_shows_anothers_credential_on_its_own_connection_is_refused() {
    let vo = vo();
    let (a, victim) = (start(&issue(&vo, "a"), 1, &[]), issue(&vo, "victim"));
    let tls = Tls::new(&issue(&vo, "forger")).expect("a node");
    let forger = Endpoint::client(LOOPBACK[0].parse().expect("a literal address")).expect("a free port");
    let connection = forger
        .connect_with(
            tls.client.dial().expect("a configuration").0,
            a.net.local_addr(),
            crate::tls::SERVER_NAME,
        )
        .expect("a reachable address")
        .await
        .expect("a member's handshake");
    let addr = forger.local_addr().expect("a bound socket");
    let record = NodeRecord { addr, incarnation: 1, attributes: Digest::from_bytes([0; 32]) };
    let record = record.sign(victim.key());
    let met = Manners { identity: victim, record: Mutex::new(record), run: 1 }.greet(&connection).await;
    assert!(met.is_err(), "{met:?}");
    counts(&a, Count::Forged, 1).await;
}

#[tokio::test]
async fn a_node_without_a_usable_address_or_role_does_not_start() {
    let vo = vo();
    let (mut wildcard, _services) = config(&issue(&vo, "a"), 1, &[]);
    wildcard.bind = "0.0.0.0:0".parse().expect("a literal address");
    let error = Net::start(wildcard).map(|_| ()).expect_err("no address");
    assert!(error.to_string().contains("set `advertise`"), "{error}");
    let user = vo.issue_user("alice", Roles::SUBMIT, 1).expect("an identity");
    let error = Net::start(config(&user, 1, &[]).0).map(|_| ()).expect_err("a user");
    assert!(error.to_string().contains("alice is a user"), "{error}");
}

#[test]
fn the_advertised_address_is_the_configured_one_then_the_bound_one_then_the_routes() {
    let addr = |text: &str| text.parse::<SocketAddr>().expect("a literal address");
    let ip = |text: &str| Some(text.parse::<IpAddr>().expect("a literal address"));
    let loopback = [addr("127.0.0.1:9")];
    assert_eq!(advertised(ip("192.0.2.1"), addr("127.0.0.1:1"), &[]), ip("192.0.2.1"));
    assert_eq!(advertised(None, addr("127.0.0.1:1"), &[]), ip("127.0.0.1"));
    assert_eq!(advertised(None, addr("0.0.0.0:1"), &loopback), ip("127.0.0.1"));
    assert_eq!(advertised(None, addr("0.0.0.0:1"), &[addr("[::1]:9")]), None);
    assert_eq!(advertised(None, addr("[::]:1"), &[]), None);
}

#[tokio::test]
async fn a_pulled_cable_stops_both_planes_until_it_is_back() {
    let vo = vo();
    let (mut first, services) = config(&issue(&vo, "a"), 1, &[]);
    // On another address than the second node's, which a cut does not reach otherwise.
    first.bind = "127.0.0.2:0".parse().expect("a literal address");
    let cable = first.cable.clone();
    let a = start_with(first, services);
    cable.set_cut(true);
    let b = start(&issue(&vo, "b"), 1, &[a.net.local_addr()]);
    // It tries to join, by QUIC.
    counts(&a, Count::Cut, 2).await;
    assert!(view(&a).await.is_empty() && view(&b).await.is_empty());
    cable.set_cut(false);
    knows_exactly(&a, &[&b]).await;
    knows_exactly(&b, &[&a]).await;
    // From here on it is gossip, by datagrams.
    cable.set_cut(true);
    let (received, cut) = (a.net.counters().of(Count::Received), a.net.counters().of(Count::Cut));
    counts(&a, Count::Cut, cut + 4).await;
    assert!(a.net.counters().of(Count::Received) <= received + 1, "one may have waited in the queue");
    cable.set_cut(false);
    counts(&a, Count::Received, received + 3).await;
}

/// Whom this node knows to have its key.
fn namesake(agent: &Agent) -> Option<(SocketAddr, u32)> {
    let doubts = *agent.net.doubts().borrow();
    doubts.namesake.map(|other| (other.addr, other.incarnation))
}

#[tokio::test]
async fn two_machines_with_one_key_both_know_of_each_other() {
    let vo = vo();
    let key = issue(&vo, "copied");
    for (first, second) in [(5, 9), (5, 5)] {
        let hub = start(&issue(&vo, "hub"), 1, &[]);
        let original = start(&key, first, &[hub.net.local_addr()]);
        knows_exactly(&original, &[&hub]).await;
        let copy = start(&key, second, &[hub.net.local_addr()]);
        eventually("both know where the other one is", async || {
            namesake(&original) == Some((copy.net.local_addr(), second))
                && namesake(&copy) == Some((original.net.local_addr(), first))
        })
        .await;
        assert_eq!(namesake(&hub), None);
    }
}

#[tokio::test]
async fn a_restart_and_a_change_of_address_are_no_second_machine() {
    let vo = vo();
    let key = issue(&vo, "moving");
    let hub = start(&issue(&vo, "hub"), 1, &[]);
    let first = start(&key, 1, &[hub.net.local_addr()]);
    knows_exactly(&first, &[&hub]).await;
    // Another port is another address.
    first.net.clone().stop().await;
    let second = start(&key, 2, &[hub.net.local_addr()]);
    knows_exactly(&second, &[&hub]).await;
    let (mut config, services) = config(&key, 2, &[hub.net.local_addr()]);
    second.net.clone().stop().await;
    config.bind = LOOPBACK[0].parse().expect("a literal address");
    let moved = start_with(config, services);
    knows_exactly(&hub, &[&moved]).await;
    eventually("the hub has told it of its other address, and it has looked", async || {
        moved.net.counters().of(Count::Received) > 5
    })
    .await;
    let doubts = *moved.net.doubts().borrow();
    assert_eq!(doubts, crate::Doubts::default());
}

#[tokio::test]
async fn a_node_that_starts_below_its_last_run_is_told_and_has_found_nobody_there() {
    let vo = vo();
    let key = issue(&vo, "forgetful");
    let hub = start(&issue(&vo, "hub"), 1, &[]);
    let before = start(&key, 9, &[hub.net.local_addr()]);
    knows_exactly(&before, &[&hub]).await;
    before.net.clone().stop().await;
    let after = start(&key, 3, &[hub.net.local_addr()]);
    eventually("it knows that a higher run of it is known", async || {
        let doubts = *after.net.doubts().borrow();
        doubts.namesake.is_none() && doubts.outlived.map(|other| other.incarnation) == Some(9)
    })
    .await;
}

#[tokio::test]
async fn a_node_that_moves_is_found_at_its_new_address_by_all_who_hear_it() {
    let vo = vo();
    let hub = start(&issue(&vo, "hub"), 1, &[]);
    let (mut config, services) = config(&issue(&vo, "moving"), 1, &[hub.net.local_addr()]);
    config.bind = "0.0.0.0:0".parse().expect("a literal address");
    config.hints = vec![hub.net.local_addr()];
    let moving = start_with(config, services);
    knows_exactly(&hub, &[&moving]).await;
    let moved = SocketAddr::new([127, 0, 0, 2].into(), moving.net.local_addr().port());
    moving.net.ask(move |driver| driver.move_to(moved)).await.expect("it runs");
    assert_eq!(moving.net.local_addr(), moved);
    eventually("the hub has the new address", async || {
        let known = hub.net.call_named(|node, _, _| node.contacts()).await.expect("a running node");
        known.contacts.all_of(known.what).any(|(_, contact)| contact.addr == moved)
    })
    .await;
    knows_exactly(&hub, &[&moving]).await;
    hub.net.open(moving.net.own_contact(), Service::PIECES).await.expect("it is reached there");
}

#[tokio::test]
async fn a_node_whose_join_leads_nowhere_finds_its_grid_by_what_was_kept() {
    let vo = vo();
    let hub = start(&issue(&vo, "hub"), 1, &[]);
    let (mut config, services) = config(&issue(&vo, "back"), 1, &[]);
    config.join = vec!["no-such-name.invalid:7227".to_owned(), "127.0.0.1:9".to_owned()];
    config.kept = vec![hub.net.local_addr().to_string()];
    let back = start_with(config, services);
    knows_exactly(&back, &[&hub]).await;
}

#[tokio::test]
async fn strangers_that_begin_connections_and_never_end_them_keep_no_member_out() {
    let vo = vo();
    let hub = start(&issue(&vo, "hub"), 1, &[]);
    // They come further than a stranger can: to the hello, which they do not say.
    let tls = Tls::new(&issue(&vo, "silent")).expect("an identity");
    let socket = quinn::Endpoint::client(LOOPBACK[0].parse().expect("an address")).expect("a socket");
    let mut silent = tokio::task::JoinSet::new();
    for _ in 0..2 * 64 {
        let (config, _) = tls.client.dial().expect("a configuration");
        let dialled = socket.connect_with(config, hub.net.local_addr(), &tls.client.server_name);
        silent.spawn(async move { dialled.expect("an address").await });
    }
    counts(&hub, Count::Refused, 1).await;
    let (mut config, services) = config(&issue(&vo, "member"), 1, &[hub.net.local_addr()]);
    config.bind = "127.0.0.2:0".parse().expect("a literal address");
    let member = start_with(config, services);
    knows_exactly(&member, &[&hub]).await;
}

/// Its nodes know each other, and of the rest they remember a machine that is gone.
#[tokio::test]
async fn an_island_finds_a_new_grid_behind_the_name_that_it_once_joined_by() {
    let vo = vo();
    let quick = |name: &str, join: &[SocketAddr]| {
        let (mut config, services) = config(&issue(&vo, name), 1, join);
        config.node = Arc::new({
            let mut node = Config::emulated();
            node.set_period(Duration::from_millis(100));
            node
        });
        (config, services)
    };
    let start = |(config, services)| start_with(config, services);
    let hub = start(quick("hub", &[]));
    let addr = hub.net.local_addr();
    let (a, b) = (start(quick("a", &[addr])), start(quick("b", &[addr])));
    knows_exactly(&a, &[&hub, &b]).await;
    knows_exactly(&b, &[&hub, &a]).await;
    hub.net.stop().await;
    knows_exactly(&a, &[&b]).await;
    let (mut config, services) = quick("other", &[]);
    config.bind = addr;
    let other = start_with(config, services);
    knows_exactly(&a, &[&b, &other]).await;
    knows_exactly(&other, &[&a, &b]).await;
}
