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

    /// The number is what stands before the last digit.
    fn are_rivals(one: u32, other: u32) -> bool {
        one / 10 == other / 10 && one != other
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

#[test]
fn two_documents_of_one_number_are_told_on_both_sides_once_and_the_higher_stays() {
    let ((mut low, mut from_low), (mut high, mut from_high)) = (node(0), node(0));
    low.take(call(1), Paper(71), &mut from_low).unwrap();
    high.take(call(1), Paper(72), &mut from_high).unwrap();
    // An offer is a claim; only the document itself proves that its author signed two.
    high.handle_message(call(2), h(1), Message::Offer(71), &mut from_high).unwrap();
    let asked: Vec<_> = from_high.sent.drain(..).map(|(_, message)| message).collect();
    assert_eq!((asked, high.rival()), (vec![Message::Fetch, Message::Offer(72)], None));
    for _ in 0..2 {
        high.handle_message(call(3), h(1), Message::Document(Box::new(Paper(71))), &mut from_high).unwrap();
        high.handle_message(call(3), h(1), Message::Offer(71), &mut from_high).unwrap();
    }
    assert_eq!((high.version(), high.rival(), from_high.news), (72, Some(71), vec![(0, 72), (71, 72)]));
    assert!(from_high.sent.iter().all(|(_, message)| *message == Message::Offer(72)), "it asks once");
    low.handle_message(call(3), h(1), Message::Document(Box::new(Paper(72))), &mut from_low).unwrap();
    assert_eq!((low.version(), low.rival(), &from_low.news[1..]), (72, Some(71), &[(71, 72)][..]));
    let told =
        |(to, message): &(Handle, Said)| *to == h(1) && *message == Message::Document(Box::new(Paper(71)));
    assert_eq!(from_low.sent.iter().filter(|sent| told(sent)).count(), 1, "whoever won is told what lost");
    low.take(call(4), Paper(80), &mut from_low).unwrap();
    assert_eq!(low.rival(), None, "a higher number ends it");
}
