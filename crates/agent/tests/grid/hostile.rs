//! What others do to a grid: strangers, garbage, programs that want to stay, submitters that die, doubled
//! names.

use std::io::Write as _;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use xtreem_client::ClientError;
use xtreem_client::api::ProgressLine;

use crate::lab::{Lab, PATIENCE, until};
use crate::{all_run, shell};

/// Time within which a change of the machine is noticed: much more than the 20 ms, much less than the minute
/// in which everything else is compared.
const SOON: Duration = Duration::from_secs(5);
/// Kinds of garbage in one round; as many rounds are sent to every port and socket.
const ROUNDS: usize = 40;

pub async fn strangers_and_garbage_disturb_no_application() {
    let lab = Lab::of(4).await;
    let app = lab.application("calm", 2, &shell("exec sleep 600"));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    let before = lab.agents[0].client.app(&id).await.expect("it runs");

    let intruder = lab.intruder().await;
    throw_garbage(&lab).await;
    until("the stranger was refused, and more than once", async || {
        let counters = intruder.client.node().await.map(|node| node.counters).unwrap_or_default();
        counters.get("net.stranger").is_some_and(|count| *count > 1)
    })
    .await;
    assert_eq!(intruder.client.node().await.expect("it lives").contacts, 0);
    for agent in &lab.agents {
        // A contact is out of the view while its shuffle is open.
        until("all know all others", async || agent.client.node().await.is_ok_and(|node| node.contacts == 3))
            .await;
        let node = agent.client.node().await.expect("it lives");
        let dropped = ["net.unknown_version", "net.malformed", "net.wrong_length"];
        assert!(dropped.iter().any(|name| node.counters[*name] > 0), "{:?}", node.counters);
    }
    let after = lab.agents[0].client.app(&id).await.expect("it runs");
    assert_eq!(after.slots, before.slots);
    assert_eq!(lab.agents[0].client.apps(None, true).await.expect("a list").apps.len(), 1);
}

/// What it declares is compared with what it measures when somebody wants to hold it, not some time later.
pub async fn a_machine_that_loses_a_core_is_not_held_until_it_has_it_again() {
    let all = sched_getaffinity(Pid::from_raw(0)).expect("the cores of this process");
    let cores: Vec<usize> = (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap_or(false)).collect();
    let [first, _, ..] = cores[..] else {
        println!("  one core: there is none to take away");
        return;
    };
    let lab = Lab::honest(cores.len()).await;
    let held = lab.application("first", 1, &shell("exec sleep 600"));
    lab.place(&held).await;
    let mut one = CpuSet::new();
    one.set(first).expect("a core of this machine");
    lab.agents[0].run_on(&one);
    // It has no room, and says so until it has measured again: questions within 20 ms share a measurement.
    let second = lab.application("second", 1, &shell("exec sleep 600"));
    let changed = Instant::now();
    let refused = loop {
        let lines = lab.submit(&second).await;
        let Some(ProgressLine::NotPlaced { report }) = lines.last() else { panic!("{lines:?}") };
        if report.refused.mismatch > 0 || changed.elapsed() > SOON {
            break report.refused;
        }
    };
    assert_eq!((refused.mismatch, refused.busy), (1, 0), "{refused:?}");
    // What runs there goes on.
    let shown = lab.agents[0].client.app(&held.record.id.to_string()).await.expect("it runs");
    assert!(all_run(&shown), "{shown:?}");
    lab.agents[0].run_on(&all);
    lab.agents[0].client.publish(&held.record.id.to_string(), lab.stopped(&held)).await.expect("taken");
    lab.place(&lab.application("third", 1, &shell("exec sleep 600"))).await;
}

async fn throw_garbage(lab: &Lab) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for agent in &lab.agents {
        let address = agent.client.node().await.expect("it lives").address;
        for round in 0..ROUNDS {
            let mut datagram = vec![0; [0, 1, 20, 300, 1_200, 9_000][round % 6]];
            getrandom::fill(&mut datagram).expect("random bytes");
            if let Some(first) = datagram.first_mut() {
                // Half for each of the two protocols of the port.
                *first = if round % 2 == 0 { *first & !0x40 } else { *first | 0xc0 };
            }
            socket.send_to(&datagram, &address).expect("sent");
        }
    }
    let long_head = [b"GET / HTTP/1.1\r\nX: ", &[b'x'; 100_000][..]].concat();
    let garbage: [&[u8]; 5] = [
        b"\x16\x03\x01\xff\xff\0\0",
        b"POST /v1/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"PUT /v1/files/00 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nAuthorization: Bearer \xff\r\n\r\nshort",
        b"GET /v1/self/peers?count=-1 HTTP/1.1\r\nHost: x\r\n\r\n",
        &long_head,
    ];
    let sockets = lab.sockets();
    assert_eq!(sockets.len(), 6, "four agents and two slots: {sockets:?}");
    for socket in sockets {
        for round in 0..ROUNDS {
            let mut stream = UnixStream::connect(&socket).expect("it listens");
            // The other side may hang up in the middle of it.
            let _ = stream.write_all(garbage[round % garbage.len()]);
        }
    }
}

pub async fn a_program_that_does_all_it_can_to_stay_is_gone_after_the_stop() {
    let lab = Lab::of(2).await;
    let program = shell(
        "stay() { trap '' TERM INT HUP; while :; do sleep 0.05; done; }; trap '' TERM INT HUP
         for child in 1 2 3; do setsid sh -c 'trap \"\" TERM; setsid sleep 600 & while :; do sleep 0.05; done' & done
         (stay &); yes | head -c 50000000; echo printed; stay",
    );
    let app = lab.application("clingy", 1, &program);
    lab.place(&app).await;
    let id = app.record.id.to_string();
    until("it has printed 50 MB", async || lab.log(&id, 0).await.contains("printed")).await;
    assert!(lab.programs().len() >= 5, "{:?}", lab.programs());
    let stopped = lab.stopped(&app);
    lab.agents[0].client.publish(&id, stopped).await.expect("taken");
    until("no process is left", async || lab.programs().is_empty()).await;
    until("nothing is used", async || lab.uses_nothing().await).await;
}

pub async fn an_application_whose_submitter_dies_after_the_first_confirm_is_completed() {
    let mut lab = Lab::of(5).await;
    let app = lab.application("orphan", 3, &shell("exec sleep 600"));
    let encoded = minicbor::to_vec(&app).expect("encoded");
    let mut stream = lab.agents[0].client.submit_within(encoded, Some(PATIENCE)).await.expect("submitted");
    while !matches!(stream.next().await.expect("a line"), Some(ProgressLine::Accepted { .. })) {}
    let submitter = lab.agents[0].id.clone();
    lab.kill(&submitter);
    let id = app.record.id.to_string();
    until("all slots run", async || {
        let shown = lab.agents[1].client.app(&id).await;
        shown.is_ok_and(|shown| shown.slots.len() == 3 && all_run(&shown))
    })
    .await;
}

/// Pairs of submissions tried before the test says that they always see each other.
const PAIRS_MAX: u32 = 20;

pub async fn two_submissions_that_did_not_see_each_other_are_both_shown() {
    let lab = Lab::of(3).await;
    let twin = |name: &str| lab.application(name, 1, &shell("exec sleep 600"));
    // Whether the two see each other is a race: pairs are submitted until one pair did not.
    let mut unseen = None;
    for pair in 0..PAIRS_MAX {
        let name = format!("twin{pair}");
        let (one, two) = (lab.through(1, twin(&name)), lab.through(2, twin(&name)));
        let (first, second) = tokio::join!(
            lab.try_submit_to(1, &one, Some(PATIENCE)),
            lab.try_submit_to(2, &two, Some(PATIENCE))
        );
        if first.is_ok() && second.is_ok() {
            unseen = Some((name, one, two));
            break;
        }
        let refused = |result: &Result<_, _>| matches!(result, Err(ClientError::Refused { status: 409, .. }));
        assert!(refused(&first) || refused(&second), "{first:?} {second:?}");
        for app in [&one, &two] {
            let id = app.record.id.to_string();
            // The refused one is unknown everywhere.
            let _ = lab.agents[0].client.publish(&id, lab.stopped(app)).await;
        }
        until("the pair is gone", async || lab.programs().is_empty()).await;
    }
    let (name, one, two) = unseen.expect("one pair in many does not see each other");
    let mut expected = [&one, &two].map(|app| app.record.id.to_string());
    expected.sort_unstable();
    until("both are shown", async || {
        let listed = lab.agents[0].client.apps(Some(&name), true).await;
        let mut ids: Vec<_> = listed.map_or(vec![], |list| list.apps.into_iter().map(|app| app.id).collect());
        ids.sort_unstable();
        ids == expected
    })
    .await;
    let third = lab.try_submit(&twin(&name)).await;
    assert!(matches!(third, Err(ClientError::Refused { status: 409, .. })), "{third:?}");
}
