//! What a node does with more than its limits allow: connections, streams, messages.

use std::future::Future as _;
use std::pin::pin;
use std::task::Poll;

use quinn::{Connection, ConnectionError, VarInt};

use super::*;
use crate::connections::{INCOMING_MAX, INCOMING_PER_PEER_MAX, QUEUE_MAX, SERVICE_STREAMS_MAX};

/// A member that only opens connections.
struct Caller {
    endpoint: Endpoint,
    tls: Tls,
    manners: Manners,
}

impl Caller {
    fn new(identity: Identity) -> Caller {
        let endpoint =
            Endpoint::client(LOOPBACK[0].parse().expect("a literal address")).expect("a free port");
        let addr = endpoint.local_addr().expect("a bound socket");
        let record = NodeRecord { addr, incarnation: 1, attributes: Digest::from_bytes([0; 32]) };
        let record = Mutex::new(record.sign(identity.key()));
        let tls = Tls::new(&identity).expect("a node");
        Caller { endpoint, tls, manners: Manners { identity, record, run: 1 } }
    }

    /// One more connection, with the first exchange behind it.
    async fn call(&self, to: &Agent) -> Result<Connection, MeetError> {
        let connection = self.dial(to).await?;
        self.manners.greet(&connection).await?;
        Ok(connection)
    }

    /// One that says something every second.
    async fn dial(&self, to: &Agent) -> Result<Connection, MeetError> {
        let (mut config, _) = self.tls.client.dial().expect("a configuration");
        let mut transport = quinn::TransportConfig::default();
        transport.keep_alive_interval(Some(StdDuration::from_secs(1)));
        config.transport_config(Arc::new(transport));
        let name = &self.tls.client.server_name;
        Ok(self.endpoint.connect_with(config, to.net.local_addr(), name)?.await?)
    }

    async fn calls(&self, to: &Agent, count: usize) -> Vec<Connection> {
        let mut open = Vec::new();
        for _ in 0..count {
            open.push(self.call(to).await.expect("a connection"));
        }
        open
    }
}

fn are_open(connections: &[Connection]) -> bool {
    connections.iter().all(|connection| connection.close_reason().is_none())
}

#[tokio::test]
async fn the_newest_connection_of_a_node_that_has_enough_is_refused_and_that_of_another_is_not() {
    let vo = vo();
    let mut a = start(&issue(&vo, "a"), 1, &[]);
    let (greedy, other) = (Caller::new(issue(&vo, "greedy")), Caller::new(issue(&vo, "other")));
    let mut open = greedy.calls(&a, INCOMING_PER_PEER_MAX).await;
    for refused in 1..=3 {
        let newest = greedy.dial(&a).await.expect("its credential is good");
        // Who it is the other side knows by its hello alone.
        let _ = greedy.manners.greet(&newest).await;
        let why = newest.closed().await;
        assert!(
            matches!(&why, ConnectionError::ApplicationClosed(why) if &why.reason[..] == b"too many connections")
        );
        assert_eq!(a.net.counters().of(Count::Refused), refused);
    }
    let others = other.calls(&a, 1).await;
    assert!(are_open(&open) && are_open(&others));
    open.pop().expect("one of them").close(VarInt::from_u32(0), b"");
    eventually("there is room again", async || {
        let Ok(again) = greedy.call(&a).await else { return false };
        let Ok((mut send, _receive)) = again.open_bi().await else { return false };
        let _ = send.write_all(&[Service::PIECES.0]).await;
        tokio::select! {
            _ = again.closed() => false,
            stream = a.services.recv() => stream.is_some(),
        }
    })
    .await;
}

#[tokio::test]
async fn the_newest_connection_of_anybody_is_refused_when_all_places_are_taken() {
    let vo = vo();
    let a = start(&issue(&vo, "a"), 1, &[]);
    let mut callers = Vec::new();
    let mut open = Vec::new();
    for number in 0..INCOMING_MAX / INCOMING_PER_PEER_MAX {
        let caller = Caller::new(issue(&vo, &format!("n{number}")));
        open.extend(caller.calls(&a, INCOMING_PER_PEER_MAX).await);
        callers.push(caller);
    }
    assert_eq!((open.len(), are_open(&open), a.net.counters().of(Count::Refused)), (INCOMING_MAX, true, 0));
    let late = Caller::new(issue(&vo, "late"));
    let refused = late.call(&a).await.map(drop);
    assert!(
        matches!(refused, Err(MeetError::Connection(ConnectionError::ConnectionClosed(_)))),
        "{refused:?}"
    );
    assert_eq!(a.net.counters().of(Count::Refused), 1);
    assert!(are_open(&open));
    open.pop().expect("one of them").close(VarInt::from_u32(0), b"");
    eventually("there is room again", async || late.call(&a).await.is_ok()).await;
}

#[tokio::test]
async fn a_connection_has_so_many_streams_and_the_host_is_given_so_many_at_a_time() {
    let vo = vo();
    let mut a = start(&issue(&vo, "a"), 1, &[]);
    let caller = Caller::new(issue(&vo, "caller"));
    let connection = caller.call(&a).await.expect("a connection");
    // Nothing when one more has to wait.
    let try_ask = async || {
        let mut opening = pin!(connection.open_bi());
        let opened = std::future::poll_fn(|cx| Poll::Ready(opening.as_mut().poll(cx))).await;
        let Poll::Ready(opened) = opened else { return None };
        let (mut send, receive) = opened.expect("a stream");
        send.write_all(&[Service::PIECES.0]).await.expect("an open stream");
        Some((send, receive))
    };
    let ask = async || try_ask().await.expect("there is room");
    // The host takes none: eight wait for it, and the next one is dropped.
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(ask().await);
    }
    let (send, mut receive) = ask().await;
    let answer = receive.read_to_end(1).await;
    assert!(answer.is_ok_and(|answer| answer.is_empty()), "it ends without an answer");
    drop((send, receive));
    counts(&a, Count::Refused, 1).await;
    // The host takes all and ends none.
    let mut taken = Vec::new();
    for _ in 0..8 {
        taken.push(a.services.recv().await.expect("one that waited"));
    }
    while let Some(streams) = try_ask().await {
        open.push(streams);
        taken.push(a.services.recv().await.expect("the next one"));
    }
    // Places come back an eighth at a time: those of the hello and of the refused stream not yet.
    let (all, most) = (taken.len(), SERVICE_STREAMS_MAX as usize);
    assert!((most - most / 8..=most).contains(&all), "{all}");
    assert_eq!(a.net.counters().of(Count::Refused), 1);
    // Both sides end all of them.
    drop((open, taken));
    eventually("there is room again", async || try_ask().await.is_some()).await;
}

#[tokio::test]
async fn of_messages_for_somebody_who_does_not_answer_the_newest_are_dropped() {
    let vo = vo();
    let a = start(&issue(&vo, "a"), 1, &[]);
    // A socket that answers nothing.
    let silent = UdpSocket::bind(LOOPBACK[0]).expect("a free port");
    let addr = silent.local_addr().expect("a bound socket");
    let to = Contact { id: NodeId::from_bytes([7; 16]), addr, incarnation: 1 };
    for _ in 0..QUEUE_MAX + 6 {
        a.net.connections.send(to, vec![0; 2_000]);
    }
    assert_eq!(a.net.counters().of(Count::SendQueueFull), 6);
    // One more for the connection itself.
    counts(&a, Count::Unreachable, QUEUE_MAX as u64 + 1).await;
    still_works(&vo, &a).await;
}
