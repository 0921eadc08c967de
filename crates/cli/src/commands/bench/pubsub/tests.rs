//! The generator against a small server of our own broker.

mod broker_server;

use std::sync::atomic::AtomicBool;

use clap::Parser as _;

use self::broker_server::BrokerServer;
use super::load::Outcome;
use super::*;

fn plan(subscribers: usize, count: u64) -> Plan {
    Plan { subscribers, size: 128, batch: 50, rate: None, count, window: 1_000 }
}

fn run(plan: &Plan, server: &BrokerServer) -> Result<Outcome, LoadError> {
    Load::connect(plan, Proto::Xtreem, &[server.addr])?.run(&AtomicBool::new(false))
}

#[test]
fn every_message_comes_to_every_subscriber_in_order() {
    let server = BrokerServer::start(broker_server::Fault::None);
    for (subscribers, count) in [(1, 10_001), (7, 777), (3, 1)] {
        let outcome = run(&plan(subscribers, count), &server).expect("a run");
        assert_eq!((outcome.published, outcome.deliveries), (count, count * subscribers as u64));
        assert_eq!((outcome.lost, outcome.reordered), (0, 0));
        assert_eq!(outcome.latency.percentile(50), None);
    }
}

#[test]
fn with_a_rate_times_are_told_and_the_rate_is_kept() {
    let server = BrokerServer::start(broker_server::Fault::None);
    let plan = Plan { rate: Some(2_000), batch: 1, ..plan(3, 400) };
    let outcome = run(&plan, &server).expect("a run");
    assert_eq!((outcome.deliveries, outcome.lost, outcome.reordered), (1_200, 0, 0));
    // The last one is due after 399 periods, and cannot come sooner.
    assert!(outcome.span.as_micros() >= 399 * 500, "{:?}", outcome.span);
    assert!(outcome.latency.percentile(50) > Some(0));
}

#[test]
fn what_is_lost_is_counted() {
    let server = BrokerServer::start(broker_server::Fault::Lose);
    let outcome = run(&plan(2, 1_000), &server).expect("a run");
    assert_eq!((outcome.deliveries, outcome.lost, outcome.reordered), (1_980, 20, 0));
}

#[test]
fn what_comes_late_is_counted() {
    let server = BrokerServer::start(broker_server::Fault::Swap);
    let outcome = run(&plan(2, 1_000), &server).expect("a run");
    assert_eq!((outcome.deliveries, outcome.lost, outcome.reordered), (2_000, 0, 20));
}

#[test]
fn a_subscriber_that_is_cut_off_has_lost_the_rest_and_the_others_go_on() {
    let server = BrokerServer::start(broker_server::Fault::Close);
    let outcome = run(&plan(3, 2_000), &server).expect("a run");
    assert!((4_000..6_000).contains(&outcome.deliveries), "{outcome:?}");
    assert_eq!(outcome.deliveries + outcome.lost, 6_000);
}

#[test]
fn a_server_that_refuses_is_quoted() {
    let server = BrokerServer::start(broker_server::Fault::Refuse);
    let error = run(&plan(1, 10), &server).expect_err("refused").to_string();
    assert!(error.contains("may not publish"), "{error}");
}

#[test]
fn a_run_ends_when_it_is_told_to() {
    let server = BrokerServer::start(broker_server::Fault::None);
    let plan = Plan { rate: Some(1), ..plan(1, 1_000) };
    let load = Load::connect(&plan, Proto::Xtreem, &[server.addr]).expect("connected");
    assert!(matches!(load.run(&AtomicBool::new(true)), Err(LoadError::Interrupted)));
}

#[test]
fn servers_are_measured_in_turn_and_idle_clients_counted() {
    let broker = BrokerServer::start(broker_server::Fault::None);
    let server = Server::there(Proto::Xtreem, broker.addr, Some(std::process::id()));
    let server = Cluster::there(server);
    let (show, never) = (Show::new(), AtomicBool::new(false));
    let plan = plan(2, 100);
    let runs = in_turn(&plan, 3, std::slice::from_ref(&server), &never, &show).expect("runs");
    let report = Report::new(&plan, 1, 3, false, &runs);
    let figures = &report.protocols["xtreem"];
    assert!(figures.messages_per_second > 0.0 && figures.server_cpu_us_per_delivery.is_some(), "{figures:?}");
    assert!(report.text().contains("xtreem"));
    let memory = idle::measure(&server.servers[0], 50, &never).expect("measured");
    assert!(memory.rss_before_kib > 0, "{memory:?}");
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(line: &str) -> Result<Arguments, clap::Error> {
    Line::try_parse_from(line.split(' ')).map(|line| line.arguments)
}

#[test]
fn what_is_not_said_follows_from_what_is() {
    // The line; batch, count and window.
    let table = [
        ("bench", (50, 2_000_000, 10_000)),
        ("bench --subs 100", (50, 20_000, 1_000)),
        ("bench --rate 10000", (1, 20_000, 10_000)),
        ("bench --batch 3 --count 7 --window 9", (3, 7, 9)),
    ];
    for (line, expected) in table {
        let plan = arguments(line).expect(line).plan();
        assert_eq!((plan.batch, plan.count, plan.window), expected, "{line}");
    }
    let protos = arguments("bench --proto nats,xtreem,nats").expect("a line").protos();
    assert_eq!(protos, [Proto::Nats, Proto::Xtreem]);
}

#[test]
fn contradictions_are_refused() {
    for line in [
        "bench --size 15",
        "bench --proto mqtt",
        "bench --server-pid 1",
        "bench --rate 5 --window 5",
        "bench --idle-clients 5 --subs 5",
    ] {
        assert!(arguments(line).is_err(), "{line}");
    }
    let two = arguments("bench --proto nats,redis --addr 127.0.0.1:4222").expect("a line");
    assert!(super::run(&two).expect_err("two").message.contains("--addr"));
}
