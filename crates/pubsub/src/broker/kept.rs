//! Events that are kept, and what is kept for those who subscribe later.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use xtreem_base::Instant;

use super::catching::{Catching, Events, ON_ITS_WAY, for_each};
use super::{Broker, ConnectionId, Host, Refusal};
use crate::keeper::Asker;
use crate::relay::Arrival;
use crate::{
    EventHeaders, EventWriter, HashId, Options, Pattern, Publish, RETAINED_MAX_BYTES, reserved, write_ok,
};

/// Why an event cannot be kept as the last value of its topic.
pub(super) fn refusal(publish: &Publish<'_>) -> Option<Refusal> {
    let words = match &publish.to {
        Pattern::Topic(_) if publish.payload.len() <= RETAINED_MAX_BYTES => return None,
        Pattern::Topic(_) => {
            let len = publish.payload.len();
            format!("Retain: a payload of {len} bytes: {RETAINED_MAX_BYTES} are possible")
        }
        several => format!("Retain: {several} may mean several topics, and one has a last value"),
    };
    Some(Refusal { code: "bad-value", words })
}

/// An event as it is kept: with all that may be told of it.
fn written(who: &str, event: HashId, publish: &Publish<'_>, is_retained: bool) -> Bytes {
    let headers = EventHeaders {
        is_retained,
        sequence: publish.sequence,
        reply_to: publish.reply_to.clone(),
        publisher: Some(who),
    };
    let mut out = BytesMut::new();
    EventWriter::new(&publish.to).write(&mut out, event, Some(&headers), publish.payload);
    out.freeze()
}

impl Broker {
    /// Keeps an event that has been published as the last value of its topic; an empty one ends that. Its
    /// publisher is answered by [`Broker::kept`].
    pub(super) fn retain(
        &mut self,
        id: ConnectionId,
        event: HashId,
        publish: &Publish<'_>,
        host: &mut impl Host,
    ) {
        let Some(connection) = self.connection(id) else { return };
        let value = match publish.payload {
            [] => None,
            _ => Some(written(&connection.access.who, event, publish, true)),
        };
        let ack = publish.ack.map(Into::into);
        let asker = Asker { connection: id, number: connection.number, ack };
        let topic = Arc::new(publish.to.clone().into_owned());
        host.retain(asker, &topic, value);
    }

    /// What this one published is kept, or why not.
    pub fn kept(&mut self, asker: &Asker, topic: &Pattern<'_>, result: Result<(), &str>) {
        let id = asker.connection;
        if self.get(id).is_none_or(|connection| connection.number != asker.number) {
            return;
        }
        match (&asker.ack, result) {
            (Some(tag), Ok(())) => self.answer_with(id, |out| write_ok(out, format_args!("PUBLISH {tag}"))),
            (None, Ok(())) => {}
            (tag, Err(words)) => {
                let tag = tag.as_ref().map(|tag| format!(" ({tag})")).unwrap_or_default();
                self.refuse(id, "not-kept", &format!("what was published to {topic}{tag}: {words}"));
            }
        }
    }

    /// Somebody subscribed and is known to all who publish, as far as these words say: first comes what is
    /// kept.
    pub(super) fn subscribed(
        &mut self,
        id: ConnectionId,
        pattern: &Pattern<'static>,
        words: &str,
        host: &mut impl Host,
    ) {
        let is_answered = !words.is_empty();
        let catching = self.connection(id).and_then(|connection| connection.catching.as_mut());
        let begun = catching.and_then(|catching| catching.begin(pattern));
        let is_looking = match begun {
            // Events wait for past ones: not longer.
            Some(Some(_)) if is_answered => false,
            Some(replay) => host.recall(id, pattern, replay, is_answered),
            None => false,
        };
        if !is_looking || is_answered {
            self.answer_subscribe(id, pattern, words);
        }
        if begun.is_some() && !is_looking {
            self.end_recall(id, pattern);
        }
    }

    /// Why past events cannot be had.
    pub(super) fn check_replay(
        &self,
        pattern: &Pattern<'_>,
        options: &Options<'_>,
        is_new: bool,
        host: &impl Host,
    ) -> Result<(), Refusal> {
        let words = match options.replay {
            None => return Ok(()),
            Some(_) if options.group.is_some() => "replay=: members of a group get no past events".into(),
            Some(_) if !is_new => {
                format!("replay=: the subscription to {pattern} is there: cancel it before")
            }
            Some(_) if host.is_replayed(pattern) => return Ok(()),
            Some(_) => format!(
                "replay=: no past events are kept of {pattern}: `replay` below [pubsub] of agent.toml says \
                 of which topics"
            ),
        };
        Err(Refusal { code: "bad-option", words })
    }

    /// What was held goes on.
    fn end_recall(&mut self, id: ConnectionId, pattern: &Pattern<'static>) {
        if let Some(catching) = self.connection(id).and_then(|connection| connection.catching.as_mut()) {
            catching.end(pattern);
        }
        self.release(id);
    }

    fn release(&mut self, id: ConnectionId) {
        let catching = self.connection(id).and_then(|connection| connection.catching.as_mut());
        let free = catching.map(Catching::release).unwrap_or_default();
        for (events, topic, count) in free {
            self.push(id, &events, &topic, count);
        }
    }

    /// Events wait until past ones have come.
    pub(super) fn hold(&mut self, id: ConnectionId, events: Events) {
        let Some(connection) = self.connection(id) else { return };
        let Some(catching) = &mut connection.catching else { return };
        for (_, topic, count) in catching.hold(events) {
            connection.queue.lose(topic, count);
        }
    }

    /// Keeps an event of a topic that is replayed, also when it is only repeated.
    pub(super) fn log(
        &mut self,
        id: ConnectionId,
        event: HashId,
        publish: &Publish<'_>,
        host: &mut impl Host,
    ) {
        let Some(connection) = self.connection(id) else { return };
        let event = written(&connection.access.who, event, publish, false);
        let ack = publish.ack.filter(|_| !publish.is_retained).map(String::from);
        let asker = ack.map(|ack| Asker { connection: id, number: connection.number, ack: Some(ack) });
        host.log(asker, &Arc::new(publish.to.clone().into_owned()), &event);
    }

    pub(super) fn answer_subscribe(&mut self, id: ConnectionId, pattern: &Pattern<'static>, words: &str) {
        match words {
            "" => self.ok(id, format_args!("SUBSCRIBE {pattern}")),
            words => self.ok(id, format_args!("SUBSCRIBE {pattern} {words}")),
        }
    }

    /// Who looks for what is kept gets this.
    pub fn found(&mut self, id: ConnectionId, pattern: &Pattern<'static>, found: &Arrival) {
        let Some(connection) = self.connection(id) else { return };
        // What agents say of the grid is never kept: whoever wrote it is no agent.
        if reserved::is_reserved(&found.topic) || !connection.access.hears(&found.topic) {
            return;
        }
        let with_headers = connection.wishes.headers;
        let Some(catching) = connection.catching.as_mut().filter(|it| it.has(pattern)) else { return };
        let mut missing = Vec::new();
        for_each(&found.plain, |event, _| missing.push(catching.is_missing(event)));
        if missing == [true] {
            self.enqueue(id, if with_headers { &found.full } else { &found.plain }, &found.topic, 1);
        }
    }

    fn is_catching(&self, id: ConnectionId, pattern: &Pattern<'static>) -> bool {
        let catching = self.get(id).and_then(|connection| connection.catching.as_ref());
        catching.is_some_and(|catching| catching.has(pattern))
    }

    /// It is answered, with these words behind, unless it was.
    pub fn answer_recall(&mut self, id: ConnectionId, pattern: &Pattern<'static>, words: &str) {
        if self.is_catching(id, pattern) {
            self.answer_subscribe(id, pattern, words);
        }
    }

    /// Nothing more comes of what is kept.
    pub fn recalled(&mut self, now: Instant, id: ConnectionId, pattern: &Pattern<'static>) {
        let catching = self.get(id).and_then(|connection| connection.catching.as_ref());
        match catching.filter(|catching| catching.has(pattern)).map(Catching::has_found) {
            Some(true) => {
                self.catching.set((id, pattern.clone()), now + ON_ITS_WAY);
                self.end_recall(id, pattern);
            }
            // Nothing that is still on its way has come before: events need not be looked at one by one.
            Some(false) => self.stop_catching(id, pattern),
            None => {}
        }
    }

    pub(super) fn end_catching(&mut self, now: Instant) {
        while let Some((id, pattern)) = self.catching.expire(now) {
            self.stop_catching(id, &pattern);
        }
    }

    pub(super) fn stop_catching(&mut self, id: ConnectionId, pattern: &Pattern<'static>) {
        self.catching.clear(&(id, pattern.clone()));
        self.end_recall(id, pattern);
        if let Some(connection) = self.connection(id)
            && !connection.catching.as_mut().is_some_and(|catching| catching.remove(pattern))
        {
            connection.catching = None;
        }
    }
}
