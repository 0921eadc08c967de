//! An item of a short lease took the place of one with a long lease: that one does not come back.

use super::*;

const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_secs(5);
const KEY: u8 = 60;

impl Node {
    /// Owns its range for days.
    fn staying() -> Node {
        let mut node = Node::open();
        if let Some((.., until)) = &mut node.world.tenure.lease {
            *until = Instant::from_secs(1_000_000);
        }
        node.ring();
        node.take();
        node
    }

    fn stand_before(&mut self, successors: &[u32]) {
        let contact = |node: &u32| Contact { handle: Handle::from_u32(*node), position: at(200, *node) };
        self.world.tenure.successors = successors.iter().map(contact).collect();
        self.ring();
    }

    /// Writes; what is sent to those that shall have copies.
    fn write(&mut self, degree: u8, lease: Duration, request: u64) -> Vec<(Handle, Message)> {
        let value = Some(Value::new(&request.to_be_bytes()).expect("short"));
        let action = Action::Write { value, degree, lease, expected: None };
        let ask = Message::Ask { request: RequestId(request), key: key(KEY), action };
        self.hear(CLIENT, ask).expect("a request is never a fault");
        self.take()
    }

    fn reads(&mut self) -> Option<Outcome> {
        let get = Message::Ask { request: RequestId(1 << 40), key: key(KEY), action: Action::Get };
        self.hear(CLIENT, get).expect("a request is never a fault");
        self.answer()
    }

    fn wait(&mut self, until: Duration) {
        self.now = Instant::ZERO + until;
        self.store.handle_timeout(Call::new(&self.config, self.now), &mut self.world);
    }

    /// What it says to a stray copy: whether it wants it, and which version stands above it.
    fn offered(&mut self, from: u32, stray: &Sent) -> (bool, Option<Version>) {
        self.take();
        let entries = [entry(stray)].into_iter().collect();
        self.hear(Handle::from_u32(from), Message::Offer { seq: 7, entries }).expect("an offer");
        let Some((_, Message::Placed { wanted, unneeded, .. })) = self.take().pop() else {
            panic!("an offer is answered");
        };
        (!wanted.as_slice().is_empty(), unneeded.as_slice().first().map(|it| it.stamp.version))
    }
}

fn entry(sent: &Sent) -> Entry {
    let (key, item) = sent.clone().open(Instant::ZERO).expect("possible");
    Entry { key, stamp: item.stamp }
}

fn copied_to(sent: &[(Handle, Message)]) -> Vec<(u32, Sent)> {
    let copy = |(to, message): &(Handle, Message)| match message {
        Message::Copy { items, .. } => Some((to.as_u32(), items.as_slice().first()?.clone())),
        _ => None,
    };
    sent.iter().filter_map(copy).collect()
}

const FIRST: Version = Version { epoch: 3, number: 1 };
const SECOND: Version = Version { epoch: 3, number: 2 };

#[test]
fn what_had_five_copies_does_not_come_back_when_what_has_none_ends() {
    let mut node = Node::staying();
    node.stand_before(&[11, 12, 13, 14, 15, 16]);
    let asked = node.write(5, LONG, 1);
    node.copied(&asked);
    assert_eq!(node.answer(), Some(Outcome::Written { version: FIRST }));
    let old = copied_to(&asked);
    assert_eq!(old.len(), 5);
    let told = node.write(0, SHORT, 2);
    assert!(matches!(told[..], [(CLIENT, Message::Answer { outcome: Outcome::Written { .. }, .. })]));

    node.wait(SHORT);
    assert_eq!(node.reads(), Some(Outcome::Got(None)));
    for (holder, stray) in old {
        assert_eq!(node.offered(holder, &stray), (false, Some(SECOND)), "it may go");
    }
    node.wait(LONG);
    assert!(node.store.shelf().is_empty(), "no copy of the old one is left");
}

#[test]
fn what_lies_at_a_holder_that_was_paused_does_not_come_back() {
    let mut node = Node::staying();
    let asked = node.write(2, LONG, 1);
    node.copied(&asked);
    let old = copied_to(&asked).remove(0).1;
    let asked = node.write(2, SHORT, 2);
    assert_eq!(copied_to(&asked).iter().map(|it| it.0).collect::<Vec<_>>(), [11, 12]);
    // Node 12 is paused. The new one ends before the ring has noticed.
    node.wait(SHORT);
    node.take();
    node.stand_before(&[11, 13]);
    let asked = node.take();
    let marks = copied_to(&asked);
    assert!(marks.iter().any(|(to, sent)| *to == 13 && sent.value.is_none() && sent.version == SECOND));
    node.copied(&asked);
    node.wait(SHORT + SHORT);
    let asked = node.take();
    node.copied(&asked);
    assert_eq!(node.reads(), Some(Outcome::Got(None)));
    assert_eq!(node.offered(12, &old), (false, Some(SECOND)), "it goes on");

    // Where it shall have a copy again it is given the mark.
    node.wait(SHORT + SHORT + SHORT);
    node.stand_before(&[11, 12, 13]);
    let compared = |(to, message): (Handle, Message)| match message {
        Message::Compare { seq, .. } if to.as_u32() == 12 => Some(seq),
        _ => None,
    };
    let seq = node.take().into_iter().find_map(compared).expect("successors are compared with");
    let entries = [entry(&old)].into_iter().collect();
    node.hear(Handle::from_u32(12), Message::Listing { seq, entries, through: None }).expect("asked");
    let sent = node.take();
    assert!(!sent.iter().any(|(_, message)| matches!(message, Message::Fetch { .. })));
    let [(12, mark)] = &copied_to(&sent)[..] else { panic!("{sent:?}") };
    assert_eq!((mark.value.as_ref(), mark.version), (None, SECOND));
}

#[test]
fn who_takes_over_what_replaced_another_remembers_that_one_too() {
    let mut node = Node::new();
    if let Some((.., until)) = &mut node.world.tenure.lease {
        *until = Instant::from_secs(1_000_000);
    }
    node.ring();
    let compared: Vec<u32> = node
        .take()
        .into_iter()
        .filter_map(|(_, message)| match message {
            Message::Compare { seq, .. } => Some(seq),
            _ => None,
        })
        .collect();
    let old = sent(KEY, Version { epoch: 2, number: 1 });
    let new = Version { epoch: 2, number: 2 };
    let new = Sent { left: SHORT, remembered: Some(LONG), ..sent(KEY, new) };
    let holders = [11, 12, 13].map(Handle::from_u32);
    node.hear(holders[0], Message::Same { seq: compared[0] }).expect("asked");
    for (nth, copy) in [(1, &new), (2, &old)] {
        let entries = [entry(copy)].into_iter().collect();
        let listing = Message::Listing { seq: compared[nth], entries, through: None };
        node.hear(holders[nth], listing).expect("asked");
        if let Some((_, Message::Fetch { seq, .. })) = node.take().pop() {
            let items = [copy.clone()].into_iter().collect();
            node.hear(holders[nth], Message::Fetched { seq, items }).expect("asked");
        }
    }
    assert!(node.store.is_open());
    node.wait(SHORT);
    let asked = node.take();
    node.copied(&asked);
    // It is copied before it is answered.
    node.reads();
    node.wait(SHORT);
    node.store.unsettled.clear();
    assert_eq!(node.offered(14, &old), (false, Some(new.version)));
    assert_eq!(node.reads(), Some(Outcome::Got(None)));
}

#[test]
fn items_that_are_remembered_no_longer_than_their_leases_travel_as_before() {
    let bytes = |sent: &Sent| minicbor::to_vec_with(sent, &mut Numbers).expect("written");
    let short = sent(KEY, FIRST);
    let long = Sent { remembered: Some(LONG), ..short.clone() };
    assert_eq!(bytes(&short)[0], 0x87, "seven fields");
    for sent in [short, long] {
        let read = minicbor::decode_with::<_, Sent>(&bytes(&sent), &mut Numbers).ok();
        assert_eq!(read, Some(sent));
    }
}
