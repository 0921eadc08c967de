extern crate std;
use std::vec;

use super::*;

/// A document that is its own version; zero cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Paper(u32);

impl Document for Paper {
    type Version = u32;
    type Error = &'static str;
    const NONE: u32 = 0;

    fn version(&self) -> Result<u32, &'static str> {
        if self.0 == 0 { Err("unreadable") } else { Ok(self.0) }
    }
}

type Said = Message<u32, Paper>;

#[derive(Default)]
struct Out {
    contacts: Vec<Handle>,
    sent: Vec<(Handle, Said)>,
    news: Vec<(u32, u32)>,
}

impl Sink<Said> for Out {
    fn send(&mut self, to: Handle, message: Said) {
        self.sent.push((to, message));
    }
}

impl Events<Newer<Paper>> for Out {
    fn event(&mut self, newer: Newer<Paper>) {
        self.news.push((newer.before, newer.version));
    }
}

impl Contacts for Out {
    fn contacts(&self) -> Vec<Handle> {
        self.contacts.clone()
    }
}

const CONFIG: Config = Config { period: Duration::from_secs(10) };

fn call(secs: u64) -> Call<'static, Config> {
    Call::new(&CONFIG, Instant::from_millis(1_000 * secs))
}

fn h(number: u32) -> Handle {
    Handle::from_u32(number)
}

fn node(contacts: u32) -> (Rumour<Paper>, Out) {
    let out = Out { contacts: (1..=contacts).map(h).collect(), ..Out::default() };
    (Rumour::new(&CONFIG, Rng::new(3), Instant::ZERO), out)
}

#[test]
fn a_new_document_goes_to_three_and_an_old_one_changes_nothing() {
    let (mut node, mut out) = node(9);
    assert_eq!(node.take(call(1), Paper(5), &mut out), Ok(true));
    assert_eq!(out.sent.len(), FANOUT);
    assert!(out.sent.iter().all(|(_, message)| *message == Message::Offer(5)));
    assert_eq!(node.take(call(2), Paper(4), &mut out), Ok(false));
    assert_eq!(node.take(call(2), Paper(5), &mut out), Ok(true));
    assert_eq!(node.take(call(2), Paper(0), &mut out), Err("unreadable"));
    assert_eq!((node.version(), out.sent.len(), out.news), (5, FANOUT, vec![(0, 5)]));
}

#[test]
fn whoever_is_older_fetches_the_newer_one() {
    let ((mut old, mut from_old), (mut new, mut from_new)) = (node(0), node(0));
    new.take(call(1), Paper(7), &mut from_new).unwrap();
    old.handle_message(call(1), h(1), Message::Offer(7), &mut from_old).unwrap();
    let (_, fetch) = from_old.sent.pop().unwrap();
    assert_eq!(fetch, Message::Fetch);
    new.handle_message(call(1), h(2), fetch, &mut from_new).unwrap();
    let (_, document) = from_new.sent.pop().unwrap();
    old.handle_message(call(1), h(1), document, &mut from_old).unwrap();
    assert_eq!(old.version(), 7);
    // And a newer one says so to an older offer, but not to its equal.
    new.handle_message(call(2), h(3), Message::Offer(6), &mut from_new).unwrap();
    new.handle_message(call(2), h(3), Message::Offer(7), &mut from_new).unwrap();
    assert_eq!(from_new.sent, [(h(3), Message::Offer(7))]);
}

#[test]
fn without_a_document_a_node_asks_three_times_and_with_one_it_goes_on() {
    let (mut node, mut out) = node(4);
    let run = |node: &mut Rumour<Paper>, out: &mut Out| {
        for _ in 0..10 {
            let wake = Core::next_timeout(node, &CONFIG);
            if wake.is_never() {
                break;
            }
            node.handle_timeout(Call::new(&CONFIG, wake.at), out);
        }
    };
    run(&mut node, &mut out);
    assert_eq!(out.sent.len(), usize::from(ASKING_ROUNDS));
    node.take(call(100), Paper(1), &mut out).unwrap();
    run(&mut node, &mut out);
    assert_eq!(out.sent.len(), usize::from(ASKING_ROUNDS) + FANOUT + 10);
}
