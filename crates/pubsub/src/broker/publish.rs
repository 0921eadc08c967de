//! Requests to publish: who may, which events are repeated, and where an event goes.

use alloc::format;
use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::connection::Route;
use super::repeats::Repeat;
use super::{Broker, ConnectionId, Hearer, Host, Refusal, kept};
use crate::{EventHeaders, EventWriter, HashId, Pattern, Publish, Stem, write_ok};

impl Broker {
    pub(super) fn publish(
        &mut self,
        id: ConnectionId,
        line: &[u8],
        publish: Publish<'_>,
        host: &mut impl Host,
    ) {
        let Some(connection) = self.connection(id) else { return };
        if let Err(why) = connection.access.check_publish(&publish.to) {
            let words = format!("{} may not publish to {}: {why}", connection.access.who, publish.to);
            self.flush(host);
            return self.refuse(id, "forbidden", &words);
        }
        if let Some(Refusal { code, words }) = kept::refusal(&publish).filter(|_| publish.is_retained) {
            self.flush(host);
            return self.refuse(id, code, &words);
        }
        let sequence = publish.sequence.unwrap_or(connection.sequence);
        connection.sequence = connection.sequence.max(sequence).wrapping_add(1);
        let version = self.subscriptions.version();
        let route = match self.connection(id).and_then(|connection| connection.route(line, version)) {
            Some(route) => route,
            None => {
                // Runs name routes by their place in a list that changes now.
                self.flush(host);
                match self.find_route(id, line, &publish.to, host) {
                    Some(route) => route,
                    None => return,
                }
            }
        };
        let headers = EventHeaders {
            is_retained: publish.is_retained,
            sequence: publish.sequence,
            reply_to: publish.reply_to.clone(),
            publisher: None,
        };
        if publish.is_retained {
            // It goes to others also where nobody is known to want it.
            self.flush(host);
        }
        let Some(event) = self.name(id, route, sequence, publish.sequence) else { return };
        let repeat = publish.sequence.map_or(Repeat::New, |number| self.repeats.add(event, number));
        if repeat == Repeat::New {
            self.write(id, route, sequence, &headers, publish.payload, host);
        }
        let is_replayed = self.get(id).is_some_and(|connection| connection.routes[route].is_replayed);
        if is_replayed && repeat != Repeat::Older {
            self.log(id, event, &publish, host);
        }
        if publish.is_retained && repeat != Repeat::Older {
            self.retain(id, event, &publish, host);
            self.flush(host);
        } else if let Some(tag) = publish.ack.filter(|_| !is_replayed || repeat == Repeat::Older) {
            self.flush(host);
            self.answer_with(id, |out| write_ok(out, format_args!("PUBLISH {tag}")));
        }
    }

    fn find_route(
        &mut self,
        id: ConnectionId,
        line: &[u8],
        to: &Pattern<'_>,
        host: &impl Host,
    ) -> Option<usize> {
        let is_replayed = matches!(to, Pattern::Topic(_)) && host.is_replayed(to);
        let (mut plain, mut full, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for hearer in self.subscriptions.hearers(to) {
            match hearer {
                // The host has them among all servers of the group.
                Hearer::Group(_) if self.config.deals_groups => {}
                Hearer::Group(group) => groups.push(group),
                Hearer::Connection(hearer) if !self.hears(hearer, to) => {}
                Hearer::Connection(hearer) => {
                    let with_headers = self.get(hearer).is_some_and(|connection| connection.wishes.headers);
                    if with_headers { full.push(hearer) } else { plain.push(hearer) }
                }
            }
        }
        let topic = Arc::new(to.clone().into_owned());
        let (node, incarnation, version) = (self.node, self.incarnation, self.subscriptions.version());
        let connection = self.connection(id)?;
        let text = topic.to_string();
        let stem = |publisher: &str| Stem::new(node, publisher.as_bytes(), incarnation, &text);
        let stems = [stem(&connection.anonymous()), stem(&connection.publisher())];
        let writer = EventWriter::new(&topic);
        let route =
            Route { line: line.into(), topic, version, writer, stems, plain, full, groups, is_replayed };
        Some(connection.keep_route(route))
    }

    /// What the event is called: numbers that its publisher gives go by the publisher's name, and others by
    /// its connection.
    pub(super) fn name(
        &self,
        id: ConnectionId,
        at: usize,
        sequence: u64,
        given: Option<u64>,
    ) -> Option<HashId> {
        let route = self.get(id)?.routes.get(at)?;
        Some(route.stems[usize::from(given.is_some())].event(sequence))
    }
}
