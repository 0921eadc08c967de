//! Events as another server wrote them, read and written anew for clients: nothing of the other's bytes but
//! what was understood comes to anybody here.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::{EventWriter, Frame, Framer, PAYLOAD_MAX_BYTES, Pattern, Reply, Step};

/// Events of one topic, for [`Broker::deliver`](crate::broker::Broker::deliver).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub topic: Arc<Pattern<'static>>,
    pub plain: Bytes,
    pub full: Bytes,
    pub count: u32,
}

impl Arrival {
    /// Nothing unless all of it is whole events of one topic.
    pub(super) fn read(events: &[u8]) -> Option<Arrival> {
        Arrival::read_all(events).map(|(arrival, _)| arrival)
    }

    /// Just one event.
    pub(crate) fn one(event: &[u8]) -> Option<Arrival> {
        Arrival::read(event).filter(|arrival| arrival.count == 1)
    }

    /// The same, if all of them are retained values.
    pub(crate) fn read_retained(events: &[u8]) -> Option<Arrival> {
        Arrival::read_all(events).filter(|(_, are_retained)| *are_retained).map(|(arrival, _)| arrival)
    }

    fn read_all(events: &[u8]) -> Option<(Arrival, bool)> {
        let mut framer = Framer::new(PAYLOAD_MAX_BYTES);
        let mut rest = events;
        let mut known: Option<(Arc<Pattern<'static>>, EventWriter)> = None;
        let (mut plain, mut full) = (BytesMut::new(), BytesMut::new());
        let (mut count, mut are_retained) = (0, true);
        while !rest.is_empty() {
            let (taken, Step::Frame(frame)) = framer.next(rest) else { return None };
            rest = &rest[taken..];
            let event = event(frame)?;
            if let Some((topic, _)) = &known {
                if **topic != event.topic {
                    return None;
                }
            } else {
                let topic = Arc::new(event.topic.clone().into_owned());
                known = Some((topic, EventWriter::new(&event.topic)));
            }
            let (_, writer) = known.as_ref()?;
            writer.write(&mut plain, event.id, None, event.payload);
            writer.write(&mut full, event.id, Some(&event.headers), event.payload);
            count += 1;
            are_retained &= event.headers.is_retained;
        }
        let (topic, _) = known?;
        Some((Arrival { topic, plain: plain.freeze(), full: full.freeze(), count }, are_retained))
    }
}

/// Single events of some that were read.
pub(crate) fn pieces(events: &Bytes) -> Vec<Bytes> {
    let (mut framer, mut at, mut pieces) = (Framer::new(PAYLOAD_MAX_BYTES), 0, Vec::new());
    while let (taken, Step::Frame(_)) = framer.next(&events[at..]) {
        pieces.push(events.slice(at..at + taken));
        at += taken;
    }
    pieces
}

fn event(frame: Frame<'_>) -> Option<crate::Event<'_>> {
    match Reply::parse(frame) {
        Ok(Reply::Event(event)) => Some(event),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventHeaders, HashId};

    fn events(topics: &[&str]) -> Vec<u8> {
        let mut out = BytesMut::new();
        for (number, topic) in topics.iter().enumerate() {
            let writer = EventWriter::new(&Pattern::new(*topic).expect("a topic"));
            let headers = EventHeaders { publisher: Some("operator"), ..EventHeaders::default() };
            writer.write(&mut out, HashId(number as u128), Some(&headers), b"\r\nEVENT \"x\"");
        }
        out.to_vec()
    }

    #[test]
    fn whole_events_of_one_topic_are_taken_and_nothing_else() {
        let good = events(&["a/*", "a/*"]);
        let arrival = Arrival::read(&good).expect("events");
        assert_eq!((arrival.count, &arrival.full[..]), (2, &good[..]));
        assert!(arrival.plain.len() < good.len());
        let single = pieces(&arrival.full);
        assert_eq!((single.len(), single.concat()), (2, good.clone()));
        assert_eq!(Arrival::read(b""), None);
        assert_eq!(Arrival::read(&good[..good.len() - 1]), None);
        assert_eq!(Arrival::read(&[&good[..], b"OK AUTH\r\n"].concat()), None);
        assert_eq!(Arrival::read(&events(&["a", "b"])), None);
    }
}
