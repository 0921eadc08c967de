use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use xtreem_messages::Misaddressed;

use super::*;

/// Where this member stands.
const MESH: &str = r#"{"name":"r","kind":"mesh","shape":[2,4],"known":7,
    "standing":{"rank":5,"members":8,"numbering":"1.a","settled":true},
    "place":{"at":[1,1],"neighbours":[]}}"#;

/// An agent for which everything leads to one slot: 0 when it is asked first, then 1, and so on.
pub(in super::super) struct Agent {
    pub(in super::super) addresses: Addresses,
    asked: Arc<AtomicU16>,
    _dir: TempDir,
}

impl Agent {
    pub(in super::super) fn start() -> Agent {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("s.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let asked = Arc::new(AtomicU16::new(0));
        let counted = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a whole head"));
                }
                let head = String::from_utf8(head).expect("text");
                let slot = counted.fetch_add(1, Ordering::SeqCst);
                let body = match head.split(' ').nth(1).expect("a path") {
                    "/v1/self/collections/r/owner?key=a%20b" => {
                        format!(r#"{{"slot":{slot},"epoch":1,"hops":0}}"#)
                    }
                    "/v1/self/collections/r/ranks/7" | "/v1/self/collections/r/places?at=1%2C2" => {
                        format!(r#"{{"slot":{slot},"rank":7,"numbering":"1.a","settled":true}}"#)
                    }
                    "/v1/self/collections/r" => MESH.to_owned(),
                    other => panic!("asked for {other}"),
                };
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.expect("an open client");
            }
        });
        Agent { addresses: Addresses::new(Http::new(socket, None)), asked, _dir: dir }
    }

    async fn slot(&self, to: &To) -> u16 {
        self.addresses.find(to).await.expect("a slot").slot
    }

    fn asked(&self) -> u16 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn target(slot: u16) -> Target {
    Target { slot, address: None }
}

fn of_r(by: By) -> Address {
    Address { collection: "r".to_owned(), by }
}

#[tokio::test]
async fn what_is_found_says_by_what() {
    let agent = Agent::start();
    let numbering = Numbering { number: 1, digest: 10 };
    let table = [
        (To::from(9), None),
        (To::rank("r", 7), Some(of_r(By::Rank { rank: 7, numbering }))),
        (To::place("r", [1, 2]), Some(of_r(By::Place { at: vec![1, 2], numbering }))),
        (To::key("r", "a b"), Some(of_r(By::Key { key: "a b".to_owned() }))),
    ];
    for (to, address) in table {
        assert_eq!(agent.addresses.find(&to).await.expect("found").address, address, "{to}");
    }
}

#[tokio::test]
async fn what_comes_by_the_own_rank_is_taken_and_asked_for_once() {
    let agent = Agent::start();
    let numbering = Numbering { number: 1, digest: 10 };
    let rank = |rank| of_r(By::Rank { rank, numbering });
    let own = &agent.addresses.own;
    for (address, asked) in [
        (rank(5), 1),
        (of_r(By::Place { at: vec![1, 1], numbering }), 1),
        (of_r(By::Key { key: "k".to_owned() }), 1),
    ] {
        assert_eq!((own.check(&address).await, agent.asked()), (Ok(()), asked), "{address}");
    }
    // What is remembered may be old.
    let is_rank_5 = Err(Misaddressed::Stands { rank: Some(5), numbering });
    assert_eq!((own.check(&rank(6)).await, agent.asked()), (is_rank_5, 2));
    agent.addresses.forget_collection("r");
    assert_eq!((own.check(&rank(5)).await, agent.asked()), (Ok(()), 3));
}

#[tokio::test]
async fn ranks_places_and_keys_are_asked_once_and_slots_never() {
    let agent = Agent::start();
    assert_eq!((agent.slot(&To::from(9)).await, agent.asked()), (9, 0));
    let (rank, place, key) = (To::rank("r", 7), To::place("r", [1, 2]), To::key("r", "a b"));
    for _ in 0..2 {
        assert_eq!(agent.slot(&rank).await, 0);
        assert_eq!(agent.slot(&place).await, 1);
        assert_eq!(agent.slot(&key).await, 2);
    }
    assert_eq!(agent.asked(), 3);
}

#[tokio::test]
async fn what_is_forgotten_is_asked_anew() {
    let agent = Agent::start();
    let rank = To::rank("r", 7);
    type Forget = fn(&Addresses, &To);
    let table: [(Forget, bool); 4] = [
        (|addresses, to| addresses.forget(to), true),
        (|addresses, _| addresses.forget_collection("r"), true),
        (|addresses, _| addresses.forget_collection("another"), false),
        (|addresses, _| addresses.forget_all(), true),
    ];
    for (at, (forget, is_asked)) in table.into_iter().enumerate() {
        let before = agent.slot(&rank).await;
        forget(&agent.addresses, &rank);
        assert_eq!(agent.slot(&rank).await != before, is_asked, "row {at}");
    }
}

#[tokio::test]
async fn nothing_is_believed_for_long() {
    let agent = Agent::start();
    let rank = To::rank("r", 7);
    for (age, slot) in [(BELIEVED / 2, 99), (BELIEVED, 0)] {
        let since = Instant::now().checked_sub(age).expect("the machine runs for some seconds");
        agent.addresses.known().insert(rank.clone(), Believed { target: target(99), since });
        assert_eq!(agent.slot(&rank).await, slot, "{age:?}");
    }
}

#[tokio::test]
async fn the_table_of_addresses_is_bounded() {
    let agent = Agent::start();
    let since = Instant::now();
    for rank in 0..ADDRESSES_MAX as u32 {
        agent.addresses.known().insert(To::rank("other", rank), Believed { target: target(0), since });
    }
    agent.slot(&To::rank("r", 7)).await;
    assert_eq!(agent.addresses.known().len(), 1);
}
