//! Messages as bytes, good and bad.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use xtreem_base::{Handle, HandleTable};

use super::grid::{Grid, handle, nodes, with_holds};
use crate::application::AppFilter;
use crate::hold::HoldAnswer;
use crate::host;
use crate::message::{Answer, LINKS_MAX, Message, Query};

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

fn forbidden(rule: &str) -> Answer {
    let hold = Some(HoldAnswer::Forbidden { rule: String::from(rule) });
    let (applications, links, attributes) = (Vec::new(), Vec::new(), None);
    Answer { matched: true, failing: 0, hold, attributes, applications, links }
}

fn examples() -> Vec<Message> {
    let mut grid = Grid::new(40, 14);
    grid.start(with_holds("cpu.cores > 3", 3));
    grid.nodes[1].attributes.set("ecc", true).unwrap();
    let specs = [nodes("ecc", 1), nodes("!ecc", 1), with_holds("", 1)];
    let mut messages: Vec<_> = grid.queue.into_values().map(|(.., message)| message).collect();
    for spec in specs {
        let answer = host::answer(&mut grid.nodes[1], grid.now, handle(0), &spec.query, spec.attributes);
        messages.push(Message::Answer { search: 3, answer });
    }
    messages.push(Message::Answer { search: 4, answer: forbidden("gpu-for_ml.2") });
    let query = Query::Applications(AppFilter::Name { name: String::from("web") });
    messages.push(Message::Visit { search: 1, attributes: false, query });
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
fn an_answer_with_more_links_than_a_view_is_refused_at_decode() {
    let (applications, attributes) = (Vec::new(), None);
    let links = (0..=LINKS_MAX).map(handle).collect();
    let answer = Answer { matched: false, failing: 1, hold: None, attributes, applications, links };
    let bytes = minicbor::to_vec_with(Message::Answer { search: 1, answer }, &mut Numbers).unwrap();
    assert!(minicbor::decode_with::<_, Message>(&bytes, &mut Numbers).is_err());
}

#[test]
fn a_rule_that_is_no_name_is_refused_at_decode() {
    for rule in ["\u{1b}[31m", "two words", &"x".repeat(49)] {
        let answer = forbidden(rule);
        let bytes = minicbor::to_vec_with(Message::Answer { search: 1, answer }, &mut Numbers).unwrap();
        assert!(minicbor::decode_with::<_, Message>(&bytes, &mut Numbers).is_err(), "{rule:?}");
    }
}
