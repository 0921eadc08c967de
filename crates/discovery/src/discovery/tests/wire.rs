//! Messages as bytes, good and bad.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use xtreem_base::{Handle, HandleTable, Travel};

use super::grid::{Grid, handle, nodes, with_holds};
use crate::key::Key;
use crate::search::aim::{Holder, Peak};
use crate::search::gather::{Delegate, Found, Gather, Gathered, Histogram, Tally};
use crate::visit::application::AppFilter;
use crate::visit::hold::HoldAnswer;
use crate::visit::host;
use crate::visit::message::{Answer, CONTACTS_MAX, Message, Query};
use crate::visit::route::{Link, Place, Route, Step};
use crate::{Attributes, Requirement, Value};
use crate::{FactsAsk, SearchSpec};

/// Handles as plain numbers.
struct Numbers;

impl HandleTable for Numbers {
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        e.u32(handle.as_u32())?.ok()
    }

    fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        d.u32().map(Handle::from_u32)
    }
}

fn nothing() -> Answer {
    let (applications, contacts, place) = (Vec::new(), Vec::new(), None);
    Answer {
        matched: false,
        failing: 0,
        hold: None,
        attributes: None,
        applications,
        contacts,
        place,
        only: false,
        facts: None,
        left_out: 0,
    }
}

const ROUTE: Route = Route { schema: 1, len: 0, contacts: true, only: false, aims: crate::Aims::NONE };

fn peak() -> Peak {
    let holder = |i| Holder { handle: handle(i), code: 40_000, place: 9 };
    Peak { holders: [holder(7), holder(8)].into(), rest: 30_000 }
}

fn with_links(links: usize) -> Message {
    let key = Key::new(&[0; 8], 0, 0);
    let link = |level: usize| {
        let steps = [1, 2, 3].map(|i| Step { handle: handle(i), key: key.sibling(level) });
        Link {
            level: level as u8,
            count: 70_000,
            place: 900,
            state: 1 << 16,
            alternates: steps.into(),
            peaks: [peak()].into(),
        }
    };
    let place = Some(Place { key, is_settled: true, links: (0..links).map(link).collect() });
    Message::Answer { search: 9, answer: Answer { place, ..nothing() } }
}

/// What goes down the trie and comes back up.
fn gathered() -> Vec<Message> {
    let histogram = || {
        let mut histogram = Histogram::default();
        let values = [Value::from(7), Value::from("x86_64"), Value::from(true)];
        values.iter().for_each(|value| histogram.count(Some(value)));
        histogram.count(None);
        Some(histogram)
    };
    let gather = |histogram: Option<&str>| Gather {
        requirement: Requirement::parse("cpu.cores > 3").unwrap(),
        list: true,
        attributes: false,
        histogram: histogram.map(Into::into),
    };
    let key = Key::new(&[9; 8], 2, 77);
    let delegate = |gather| Delegate { task: 7, gather, schema: 1, len: 9, key, time_ms: 900, last: true };
    let found = |i| Found { peer: handle(i), attributes: (i == 2).then(Attributes::new) };
    let tally =
        Tally { visited: 9, matched: 2, failing: [7].into(), histogram: histogram(), ..Tally::default() };
    let gathered = Gathered { tally, parts: 1, found: [found(1)].into() };
    [
        Message::Delegate(delegate(gather(None))),
        Message::Delegate(delegate(gather(Some("arch")))),
        Message::Working { task: 7, found: [found(2), found(3)].into() },
        Message::Gathered { task: 7, gathered },
        Message::Declined { task: 7 },
    ]
    .into()
}

fn forbidden(rule: &str) -> Answer {
    let hold = Some(HoldAnswer::Forbidden { rule: String::from(rule) });
    Answer { matched: true, hold, ..nothing() }
}

fn examples() -> Vec<Message> {
    let mut grid = Grid::new(40, 14);
    grid.start(with_holds("cpu.cores > 3", 3));
    grid.nodes[1].attributes.set("ecc", true).unwrap();
    let facts = FactsAsk::new(["cpu.cores", "site"]).ok();
    let told = SearchSpec { facts, ..with_holds("", 1) };
    let specs = [nodes("ecc", 1), nodes("!ecc", 1), with_holds("", 1), told];
    let mut messages: Vec<_> = grid.queue.into_values().map(|(.., message)| message).collect();
    for spec in specs {
        let asked = host::Asked { attributes: spec.attributes, facts: spec.facts.as_ref() };
        let answer = host::answer(&mut grid.nodes[1], grid.now, handle(0), &spec.query, asked, &ROUTE);
        messages.push(Message::Answer { search: 3, answer });
    }
    messages.push(Message::Answer { search: 4, answer: forbidden("gpu-for_ml.2") });
    let query = Query::Applications(AppFilter::Name { name: String::from("web") });
    let facts = FactsAsk::new(["site"]).ok();
    messages.push(Message::Visit { search: 1, attributes: false, query, route: ROUTE, facts });
    messages.push(with_links(17));
    messages.extend(gathered());
    messages
}

#[test]
fn messages_survive_the_wire_and_no_cut_or_flip_panics() {
    for message in examples() {
        let bytes = minicbor::to_vec_with(&message, &mut Numbers).unwrap();
        assert_eq!(minicbor::decode_with::<_, Message>(&bytes, &mut Numbers).unwrap(), message);
        for len in 0..bytes.len() {
            assert!(minicbor::decode_with::<_, Message>(&bytes[..len], &mut Numbers).is_err(), "{len}");
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[len] ^= 1 << bit;
                drop(minicbor::decode_with::<_, Message>(&flipped, &mut Numbers));
            }
        }
    }
}

#[test]
fn all_go_by_streams_and_what_asks_about_the_machine_has_it_measured() {
    for message in examples() {
        let is_asked = matches!(message, Message::Visit { .. } | Message::Delegate(_));
        assert_eq!(message.travel(), Travel::STREAM.measured(is_asked), "{message:?}");
    }
}

#[test]
fn an_answer_with_more_contacts_or_links_than_allowed_is_refused_at_decode() {
    let answer = Answer { contacts: (0..=CONTACTS_MAX).map(handle).collect(), ..nothing() };
    for message in [Message::Answer { search: 1, answer }, with_links(crate::limits::LINKS_MAX + 1)] {
        let bytes = minicbor::to_vec_with(message, &mut Numbers).unwrap();
        assert!(minicbor::decode_with::<_, Message>(&bytes, &mut Numbers).is_err());
    }
}

#[test]
fn a_rule_that_is_no_name_is_refused_at_decode() {
    for rule in ["\u{1b}[31m", "two words", &"x".repeat(49)] {
        let answer = forbidden(rule);
        let bytes = minicbor::to_vec_with(Message::Answer { search: 1, answer }, &mut Numbers).unwrap();
        assert!(minicbor::decode_with::<_, Message>(&bytes, &mut Numbers).is_err(), "{rule:?}");
    }
}
