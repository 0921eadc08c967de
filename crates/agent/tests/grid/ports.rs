//! Ports: booked where they have numbers, kept where they have not, and found by those who need them.

use std::net::{TcpListener, UdpSocket};

use xtreem_agent::program::{PortRef, Program, SELF_COMMAND};
use xtreem_client::api::ProgressLine;

use crate::lab::{Lab, until};
use crate::program::BE_PROGRAM;
use crate::{all_run, shell};

fn port(name: &str, port: u16) -> PortRef {
    PortRef { name: name.into(), port }
}

pub async fn ports_of_any_number_are_told_to_users_and_members() {
    let lab = Lab::of(3).await;
    let program = Program {
        command: vec![SELF_COMMAND.into(), BE_PROGRAM.into()],
        ports: vec![port("http", 0), port("extra", 0)],
        ..Program::default()
    };
    let app = lab.application("ports", 2, &program);
    lab.place(&app).await;
    let id = app.record.id.to_string();
    let mut shown = None;
    until("show tells the ports of both", async || {
        shown = lab.agents[0].client.app(&id).await.ok().filter(all_run);
        shown.as_ref().is_some_and(|shown| shown.covered.ports == 2)
    })
    .await;
    let shown = shown.expect("it was there a line ago");
    assert_eq!((shown.covered.slots, shown.covered.known), (2, 2));
    for slot in 0..2u16 {
        let other = 1 - slot;
        let number = shown.slots[usize::from(other)].ports["http"];
        let told = [
            format!("slot {other} listens at {number}"),
            format!("peer of slot {other} listens at {number}"),
        ];
        until("each program is told where the other listens", async || {
            let log = lab.log(&id, slot).await;
            told.iter().all(|told| log.contains(told))
        })
        .await;
    }
}

pub async fn a_port_in_use_keeps_a_node_from_matching() {
    let lab = Lab::of(1).await;
    let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let in_use = [tcp.local_addr(), udp.local_addr()].map(|address| address.expect("an address").port());
    for number in in_use {
        let program = Program { ports: vec![port("http", number)], ..shell("exec sleep 600") };
        let lines = lab.submit(&lab.application("taken", 1, &program)).await;
        let Some(ProgressLine::NotPlaced { report }) = lines.last() else { panic!("{lines:?}") };
        assert_eq!((report.matched, report.refused.port_taken), (1, 1), "{report:?}");
    }
    // Programs have no capability in the machine's network, whoever the agent is.
    let lowest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("of Linux");
    if lowest.trim() != "0" {
        let program = Program { ports: vec![port("low", 1)], ..shell("exec sleep 600") };
        let lines = lab.submit(&lab.application("low", 1, &program)).await;
        let Some(ProgressLine::NotPlaced { report }) = lines.last() else { panic!("{lines:?}") };
        assert_eq!((report.matched, report.refused.port_too_low), (1, 1), "{report:?}");
    }
    drop((tcp, udp));
    let program = Program { ports: vec![port("http", in_use[0])], ..shell("exec sleep 600") };
    lab.place(&lab.application("first", 1, &program)).await;
    // Its program does not listen, but the port is booked.
    let lines = lab.submit(&lab.application("second", 1, &program)).await;
    let Some(ProgressLine::NotPlaced { report }) = lines.last() else { panic!("{lines:?}") };
    assert_eq!(report.refused.port_taken, 1, "{report:?}");
}
