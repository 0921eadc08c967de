//! One owner and what it hears, message by message.

extern crate std;

mod marks;

use std::vec;
use std::vec::Vec;

use xtreem_base::{Duration, Plane};

use super::*;
use crate::Namespace;
use crate::ring::Contact;

const ME: u32 = 10;
const CLIENT: Handle = Handle::from_u32(90);
const LEASE: Duration = Duration::from_secs(60);

fn id(node: u32) -> NodeId {
    NodeId::from_bytes(u128::from(node).to_be_bytes())
}

fn key(name: u8) -> Key {
    Key::new(Namespace::USER, &[name]).expect("short")
}

fn at(name: u8, node: u32) -> Position {
    Position::new(key(name), id(node))
}

/// What the host says, and what it was told.
struct World {
    tenure: Tenure,
    sent: Vec<(Handle, Message)>,
    events: Vec<Event>,
    verifies_words: bool,
}

impl Sink<Message> for World {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push((to, message));
    }
}

impl Events<Event> for World {
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

impl Host for World {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        Some(id(peer.as_u32()))
    }

    fn is_admin(&self, _: Handle) -> bool {
        false
    }

    fn may_write(&self, writer: NodeId, key: &Key) -> bool {
        key.may_be_of(writer)
    }

    fn verifies_words(&self) -> bool {
        self.verifies_words
    }

    fn site_of(&self, _: Handle) -> Option<u64> {
        None
    }

    fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    fn look_up(&mut self, _: Position) -> Option<LookupId> {
        Some(LookupId(1))
    }
}

struct Node {
    config: Config,
    now: Instant,
    store: Store,
    world: World,
}

impl Node {
    /// Owns keys 51 to 100, with successors 11, 12 and 13, until it is 5 s.
    fn new() -> Node {
        Node::with(at(100, ME))
    }

    /// The same up to another place.
    fn with(end: Position) -> Node {
        let contact = |node| Contact { handle: Handle::from_u32(node), position: at(200, node) };
        let lease = Some((Range::new(at(50, 9), end), 3, Instant::from_secs(5)));
        let successors = vec![contact(11), contact(12), contact(13)];
        let tenure = Tenure { lease, successors, predecessor: Some(Handle::from_u32(9)) };
        Node {
            config: Config::default(),
            now: Instant::ZERO,
            store: Store::new(Handle::from_u32(ME), Rng::new(1), Instant::ZERO),
            world: World { tenure, sent: Vec::new(), events: Vec::new(), verifies_words: true },
        }
    }

    /// After all successors said that they have the same.
    fn open() -> Node {
        Node::new().opened()
    }

    fn opened(mut self) -> Node {
        let node = &mut self;
        node.ring();
        for (to, message) in node.take() {
            let Message::Compare { seq, .. } = message else { panic!("{message:?}") };
            node.hear(to, Message::Same { seq }).expect("asked");
        }
        assert!(node.store.is_open());
        self
    }

    fn ring(&mut self) {
        self.store.handle_ring(Call::new(&self.config, self.now), &mut self.world);
    }

    fn hear(&mut self, from: Handle, message: Message) -> Result<(), Fault> {
        self.store.handle_message(Call::new(&self.config, self.now), from, message, &mut self.world)
    }

    fn take(&mut self) -> Vec<(Handle, Message)> {
        core::mem::take(&mut self.world.sent)
    }

    fn put(&mut self, name: u8, request: u64) {
        let value = Some(Value::new(&[name]).expect("short"));
        let action = Action::Write { value, degree: 2, lease: LEASE, expected: None };
        let ask = Message::Ask { request: RequestId(request), key: key(name), action };
        self.hear(CLIENT, ask).expect("a request is never a fault");
    }

    fn answer(&mut self) -> Option<Outcome> {
        let answers = self.take().into_iter().filter_map(|(to, message)| match message {
            Message::Answer { outcome, .. } if to == CLIENT => Some(outcome),
            _ => None,
        });
        answers.last()
    }
}

fn copies(sent: &[(Handle, Message)]) -> Vec<(Handle, u32)> {
    let copy = |(to, message): &(Handle, Message)| match message {
        Message::Copy { seq, .. } => Some((*to, *seq)),
        _ => None,
    };
    sent.iter().filter_map(copy).collect()
}

fn sent(name: u8, version: Version) -> Sent {
    Sent {
        key: key(name),
        value: Some(Value::new(b"other").expect("short")),
        writer: Writer { id: id(91), at: Some(Handle::from_u32(91)) },
        version,
        request: RequestId(77),
        degree: 2,
        left: LEASE,
        remembered: None,
    }
}

/// A key of publish/subscribe at which only this node writes.
fn key_of(node: NodeId) -> Key {
    let name = [&[60, 0, b'T'], &node.as_bytes()[..]].concat();
    Key::new(crate::Namespace::SUBSCRIBERS, &name).expect("short")
}

#[test]
fn at_a_key_that_names_a_node_only_that_one_writes_and_no_copy_says_otherwise() {
    let other = id(77);
    let copy = |writer: NodeId, value: Option<&[u8]>| {
        let mut node = Node::open();
        let writer = Writer { id: writer, at: None };
        let value = value.map(|value| Value::new(value).expect("short"));
        let sent = Sent { key: key_of(other), writer, value, ..sent(60, Version { epoch: 3, number: 1 }) };
        node.store.take_in(Call::new(&node.config, node.now), sent, &mut node.world).map(drop)
    };
    assert_eq!(copy(other, Some(b"own")), Ok(()));
    assert_eq!(copy(id(78), Some(b"squat")), Err(Fault::Impossible));
    assert_eq!(copy(id(78), None), Ok(()), "an administrator may have removed it");
    let end = Key::new(crate::Namespace(9), b"").expect("short");
    let mut node = Node::with(Position::new(end, id(ME))).opened();
    let value = Some(Value::new(b"squat").expect("short"));
    let action = Action::Write { value, degree: 2, lease: LEASE, expected: None };
    node.hear(CLIENT, Message::Ask { request: RequestId(5), key: key_of(other), action }).expect("no fault");
    assert_eq!(node.answer(), Some(Outcome::Refused(Refused::AnothersPlace)));
}

#[test]
fn a_write_is_acknowledged_when_all_copies_exist_and_not_before() {
    let mut node = Node::open();
    node.put(60, 1);
    let asked = node.take();
    let copies = copies(&asked);
    assert_eq!(copies.iter().map(|it| it.0.as_u32()).collect::<Vec<_>>(), [11, 12]);
    assert_eq!(asked.len(), 2, "nobody is answered");
    node.hear(copies[0].0, Message::Copied { seq: copies[0].1, is_full: false }).expect("asked");
    assert_eq!(node.answer(), None);
    assert_eq!(
        node.hear(Handle::from_u32(13), Message::Copied { seq: copies[1].1, is_full: false }),
        Err(Fault::Unasked)
    );
    node.hear(copies[1].0, Message::Copied { seq: copies[1].1, is_full: false }).expect("asked");
    let version = Version { epoch: 3, number: 1 };
    assert_eq!(node.answer(), Some(Outcome::Written { version }));
    node.put(60, 1);
    assert_eq!(node.answer(), Some(Outcome::Written { version }), "a repetition changes nothing");
}

#[test]
fn nobody_reads_what_has_no_copies_yet() {
    let mut node = Node::open();
    node.put(60, 1);
    let copies = copies(&node.take());
    let get = Message::Ask { request: RequestId(2), key: key(60), action: Action::Get };
    node.hear(CLIENT, get).expect("a request");
    assert_eq!(node.answer(), None);
    for (to, seq) in copies {
        node.hear(to, Message::Copied { seq, is_full: false }).expect("asked");
    }
    let answers = node.take();
    assert_eq!(answers.len(), 2);
    assert!(matches!(&answers[1].1, Message::Answer { outcome: Outcome::Got(Some(_)), epoch: 3, .. }));
}

#[test]
fn after_its_lease_it_answers_nothing_and_acknowledges_nothing() {
    let mut node = Node::open();
    node.put(60, 1);
    let copies = copies(&node.take());
    node.now = Instant::from_secs(5);
    for (to, seq) in copies {
        node.hear(to, Message::Copied { seq, is_full: false }).expect("asked");
    }
    assert_eq!(node.answer(), Some(Outcome::NotOwner));
    let get = Message::Ask { request: RequestId(2), key: key(60), action: Action::Get };
    node.hear(CLIENT, get).expect("a request");
    assert_eq!(node.answer(), Some(Outcome::NotOwner));
}

#[test]
fn who_takes_a_range_over_asks_all_successors_first_and_takes_what_is_newer() {
    let mut node = Node::new();
    node.ring();
    let asked: Vec<(Handle, u32)> = node
        .take()
        .into_iter()
        .filter_map(|(to, message)| match message {
            Message::Compare { seq, is_takeover: true, .. } => Some((to, seq)),
            _ => None,
        })
        .collect();
    assert_eq!(asked.len(), 3);
    node.put(60, 1);
    assert_eq!(node.answer(), Some(Outcome::Later));
    node.hear(asked[0].0, Message::Same { seq: asked[0].1 }).expect("asked");
    let other = sent(60, Version { epoch: 2, number: 7 });
    let (_, item) = other.clone().open(node.now).expect("possible");
    let entries = [Entry { key: key(60), stamp: item.stamp }].into_iter().collect();
    node.hear(asked[1].0, Message::Listing { seq: asked[1].1, entries, through: None }).expect("asked");
    let Some((_, Message::Fetch { seq, .. })) = node.take().pop() else { panic!("it is fetched") };
    node.hear(asked[1].0, Message::Fetched { seq, items: [other].into_iter().collect() }).expect("asked");
    assert!(!node.store.is_open(), "one is missing");
    node.hear(asked[2].0, Message::Same { seq: asked[2].1 }).expect("asked");
    assert!(node.store.is_open());
    assert_eq!(node.store.shelf().get(&key(60)), Some(&item));
    assert_eq!(node.store.unsettled(), 1, "it is copied before it is answered");
}

#[test]
fn wrong_messages_change_nothing() {
    let mut node = Node::new();
    node.ring();
    let (peer, seq) = match node.take().remove(0) {
        (to, Message::Compare { seq, .. }) => (to, seq),
        other => panic!("{other:?}"),
    };
    let outside = sent(120, Version { epoch: 2, number: 7 });
    let stamp = Stamp { version: outside.version, digest: xtreem_base::Digest::from_bytes([1; 32]) };
    let entries: List<Entry, PAGE_MAX> = [Entry { key: key(120), stamp }].into_iter().collect();
    let request = RequestId(5);
    let range = Range::new(at(1, 1), at(2, 2));
    let copy = |sent| Message::Copy { seq: 1, items: [sent].into_iter().collect() };
    let cases = [
        (Message::Same { seq: seq + 100 }, Fault::Unasked),
        (Message::Listing { seq, entries, through: None }, Fault::NotAsked),
        (Message::Listing { seq, entries: List::default(), through: Some(key(200)) }, Fault::NotAsked),
        (Message::Fetched { seq, items: [outside.clone()].into_iter().collect() }, Fault::NotAsked),
        (Message::Copied { seq, is_full: false }, Fault::Unasked),
        (Message::Answer { request, outcome: Outcome::Later, epoch: 1 }, Fault::Unasked),
        (Message::Compare { seq: 1, range, sum: Sum::default(), is_takeover: false }, Fault::AnotherId),
        (copy(Sent { degree: 200, ..outside.clone() }), Fault::Impossible),
        (copy(Sent { left: LEASE_MAX + LEASE, ..outside.clone() }), Fault::Impossible),
        (copy(Sent { remembered: Some(LEASE_MAX + LEASE), ..outside }), Fault::Impossible),
        (Message::Placed { seq, wanted: List::default(), unneeded: List::default() }, Fault::Unasked),
    ];
    for (message, fault) in cases {
        let name = std::format!("{message:?}");
        assert_eq!(node.hear(peer, message), Err(fault), "{name}");
        assert!(
            node.store.shelf().is_empty() && node.take().is_empty() && node.world.events.is_empty(),
            "{name}"
        );
    }
    node.hear(peer, Message::Same { seq }).expect("it still waits for that");
}

#[test]
fn small_messages_are_datagrams_and_large_ones_streams() {
    let copy = |len: usize| {
        let value = Some(Value::new(&vec![0; len]).expect("short"));
        let sent = Sent { value, ..sent(60, Version::default()) };
        Message::Copy { seq: 1, items: [sent].into_iter().collect() }
    };
    assert_eq!(copy(100).travel().plane, Plane::Datagram);
    assert_eq!(copy(1_000).travel().plane, Plane::Stream);
    let compare = Message::Compare {
        seq: 1,
        range: Range::new(at(1, 1), at(2, 2)),
        sum: Sum::default(),
        is_takeover: true,
    };
    assert!(compare.travel().is_padded, "its answer is longer");
}

/// A table that writes handles as they are.
struct Numbers;

impl xtreem_base::HandleTable for Numbers {
    fn encode_handle<W: minicbor::encode::Write>(
        &mut self,
        handle: Handle,
        e: &mut minicbor::Encoder<W>,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u32(handle.as_u32())?.ok()
    }

    fn decode_handle(&mut self, d: &mut minicbor::Decoder<'_>) -> Result<Handle, minicbor::decode::Error> {
        d.u32().map(Handle::from_u32)
    }
}

#[test]
fn messages_come_back_as_they_were_and_long_lists_are_refused() {
    let stamp =
        Stamp { version: Version { epoch: 3, number: 4 }, digest: xtreem_base::Digest::from_bytes([1; 32]) };
    let winner = Winner { key: key(1), stamp, writer: id(3) };
    let action = Action::Write { value: None, degree: 2, lease: LEASE, expected: Some(stamp.version) };
    let refused = Outcome::Refused(Refused::AnotherWriter(id(4)));
    let messages = [
        Message::Ask { request: RequestId(7), key: key(1), action },
        Message::Answer { request: RequestId(7), outcome: refused, epoch: 9 },
        Message::Copy { seq: 1, items: [sent(1, stamp.version)].into_iter().collect() },
        Message::Listing {
            seq: 1,
            entries: [Entry { key: key(1), stamp }].into_iter().collect(),
            through: None,
        },
        Message::Placed { seq: 1, wanted: List::default(), unneeded: [winner.clone()].into_iter().collect() },
        Message::Lost { version: stamp.version, winner },
    ];
    for message in messages {
        let bytes = minicbor::to_vec_with(&message, &mut Numbers).expect("written");
        assert_eq!(minicbor::decode_with::<_, Message>(&bytes, &mut Numbers).ok(), Some(message));
    }
    let long: List<u32, 5> = (0..5).collect();
    let bytes = minicbor::to_vec(&long).expect("written");
    assert!(
        minicbor::decode::<List<u32, 5>>(&bytes).is_ok() && minicbor::decode::<List<u32, 4>>(&bytes).is_err()
    );
}

impl Node {
    /// Another node asks, with an administrator's word.
    fn overwrite(&mut self, value: Option<&[u8]>, version: Version, request: u64) -> Vec<(Handle, Message)> {
        let value = value.map(|bytes| Value::new(bytes).expect("short"));
        let what = Overwrite { value, degree: 2, lease: LEASE, version };
        let proof = Proof::new(b"verified by the driver").expect("short");
        let action = Action::Overwrite { what, word: Word { by: id(1_000), at_unix: 7, proof } };
        let ask = Message::Ask { request: RequestId(request), key: key(70), action };
        self.hear(OTHER, ask).expect("a request is never a fault");
        self.take()
    }

    /// The copies that are asked for are made.
    fn copied(&mut self, sent: &[(Handle, Message)]) {
        for (to, seq) in copies(sent) {
            self.hear(to, Message::Copied { seq, is_full: false }).expect("asked");
        }
    }
}

const OTHER: Handle = Handle::from_u32(92);

fn told(sent: &[(Handle, Message)]) -> Option<Outcome> {
    sent.iter().find_map(|(to, message)| match message {
        Message::Answer { outcome, .. } if *to == OTHER => Some(outcome.clone()),
        _ => None,
    })
}

#[test]
fn an_administrator_writes_over_what_another_wrote_and_it_is_nobody_elses_then() {
    let mut node = Node::open();
    node.put(70, 1);
    let asked = node.take();
    node.copied(&asked);
    let Some(Outcome::Written { version }) = node.answer() else { panic!("it lies there") };

    let asked = node.overwrite(Some(b"mine"), version, 2);
    let copy = asked.iter().find_map(|(_, message)| match message {
        Message::Copy { items, .. } => items.as_slice().first().cloned(),
        _ => None,
    });
    assert_eq!(copy.map(|sent| sent.writer.id), Some(id(1_000)), "copies say whose it is");
    node.copied(&asked);
    let Some(Outcome::Written { version: second }) = told(&node.take()) else { panic!("it may") };
    assert!(second > version);

    node.put(70, 3);
    assert_eq!(node.answer(), Some(Outcome::Refused(Refused::AnotherWriter(id(1_000)))));
    let again = node.overwrite(Some(b"mine"), version, 4);
    assert_eq!(told(&again), Some(Outcome::Refused(Refused::AnotherVersion(second))), "said again later");
    let asked = node.overwrite(None, second, 5);
    node.copied(&asked);
    assert!(matches!(told(&node.take()), Some(Outcome::Written { .. })), "it removes, too");
    assert_eq!(
        told(&node.overwrite(None, second, 6)),
        Some(Outcome::Refused(Refused::AnotherVersion(Version::default())))
    );
    assert_eq!(
        told(&node.overwrite(Some(b"new"), Version::default(), 7)),
        Some(Outcome::Refused(Refused::NothingToOverwrite)),
        "a word for nothing could be said again after a removal"
    );
}

#[test]
fn where_nobody_verifies_words_they_do_not_count() {
    let mut node = Node::open();
    node.world.verifies_words = false;
    node.put(70, 1);
    let asked = node.take();
    node.copied(&asked);
    let Some(Outcome::Written { version }) = node.answer() else { panic!("it lies there") };
    assert_eq!(told(&node.overwrite(None, version, 2)), Some(Outcome::Refused(Refused::NoWords)));
}

#[test]
fn a_bulk_load_without_owners_ends_and_says_that_nothing_was_done() {
    let mut node = Node::new();
    let write = |name| {
        let value = Some(Value::new(&[name]).expect("short"));
        Operation { key: key(name), action: Action::Write { value, degree: 2, lease: LEASE, expected: None } }
    };
    let items = (0..100).map(write).collect();
    let call = Call::new(&node.config, node.now);
    let request = node.store.load(call, items, &mut node.world).expect("room");
    // The first one looks for an owner, and there is none.
    while node.world.events.is_empty() && node.now < Instant::from_secs(60) {
        node.now = node.store.client.next_due();
        node.store.tick_client(Call::new(&node.config, node.now), &mut node.world);
    }
    assert!(node.now <= Instant::from_secs(40), "two deadlines");
    let failed: Vec<(Key, Failed)> = (0..100).map(|name| (key(name), Failed::Unanswered)).collect();
    let Some(Event::Done { request: done, result: Ok(Success::Loaded { written: 0, failed: not }) }) =
        node.world.events.pop()
    else {
        panic!("nothing was written");
    };
    assert_eq!((done, not), (request, failed));
}
