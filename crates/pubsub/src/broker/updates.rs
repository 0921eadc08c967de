//! Atomic updates of retained values, and reading them: who may, and what is answered.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write as _;

use bytes::Bytes;

use super::{Broker, ConnectionId, Host, Refusal};
use crate::keeper::Asker;
use crate::relay::Arrival;
use crate::update::{Change, Expected, Failed, Update, What};
use crate::{HashId, Pattern, Topic, reserved, write_ok};

impl Broker {
    pub(super) fn read_value(
        &mut self,
        id: ConnectionId,
        topic: Topic<'static>,
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        let Some(connection) = self.connection(id) else { return Ok(()) };
        let topic = Pattern::Topic(topic);
        if let Err(why) = connection.access.check_subscribe(&topic) {
            let words = format!("{} may not read {topic}: {why}", connection.access.who);
            return Err(Refusal { code: "forbidden", words });
        }
        // Whoever wrote one there is no agent.
        if reserved::is_reserved(&topic) {
            let words = format!("{topic}: no last value is kept of what agents say of the grid");
            return Err(Refusal { code: "forbidden", words });
        }
        let asker = Asker { connection: id, number: connection.number, ack: None };
        if host.read(asker, &Arc::new(topic)) { Ok(()) } else { Err(impossible()) }
    }

    /// Whoever changes a topic publishes to it, and whoever expects something of it learns of its value.
    pub(super) fn update(
        &mut self,
        id: ConnectionId,
        operation: &str,
        update: Update,
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        let Some(connection) = self.connection(id) else { return Ok(()) };
        let access = &connection.access;
        for Change { topic, expected, what } in &update.changes {
            let topic = Pattern::Topic(topic.clone());
            let is_blind = *expected == Expected::Any && matches!(what, What::Set(_));
            let is_free = access.check_publish(&topic);
            let is_free =
                is_free.and_then(|()| if is_blind { Ok(()) } else { access.check_subscribe(&topic) });
            if let Err(why) = is_free {
                let words = format!("{operation}: {} may not update {topic}: {why}", access.who);
                return Err(Refusal { code: "forbidden", words });
            }
        }
        let (who, ack) = (access.who.clone(), Some(String::from(operation)));
        let asker = Asker { connection: id, number: connection.number, ack };
        if host.update(asker, &who, update) { Ok(()) } else { Err(impossible()) }
    }

    /// What an update has come to: of each topic its version now; or why it was not made.
    pub fn updated(&mut self, asker: &Asker, result: &Result<alloc::vec::Vec<Option<HashId>>, Failed>) {
        let operation = asker.ack.as_deref().unwrap_or_default();
        if !self.is_there(asker) {
            return;
        }
        match result {
            Ok(ids) => {
                let mut words = format!("UPDATE {operation}");
                for id in ids {
                    let _ = match id {
                        Some(id) => write!(words, " {id}"),
                        None => write!(words, " absent"),
                    };
                }
                self.answer_with(asker.connection, |out| write_ok(out, format_args!("{words}")));
            }
            Err(failed) => {
                let (code, words) = said(failed);
                self.refuse(asker.connection, code, &format!("{operation}: {words}"));
            }
        }
    }

    /// What another side of a split wrote has taken the place of what an update wrote.
    pub fn overtaken(&mut self, asker: &Asker, topic: &Pattern<'_>) {
        if self.is_there(asker) {
            let operation = asker.ack.as_deref().unwrap_or_default();
            let words = format!("{operation}: {topic} was changed while the grid was split: read it");
            self.refuse(asker.connection, "overtaken", &words);
        }
    }

    /// The last value of a topic as an event, for who reads it.
    pub fn value(&mut self, asker: &Asker, topic: &Pattern<'_>, result: &Result<Option<Bytes>, String>) {
        let id = asker.connection;
        if !self.is_there(asker) {
            return;
        }
        let read = |value: &Bytes| Arrival::one(value).filter(|arrival| *arrival.topic == *topic);
        match result {
            Ok(value) => match value.as_ref().and_then(read) {
                Some(found) => self.answer_with(id, |out| {
                    out.extend_from_slice(b"VALUE");
                    out.extend_from_slice(&found.full[b"EVENT".len()..]);
                }),
                None => self.answer_with(id, |out| write_ok(out, format_args!("READ {topic} absent"))),
            },
            Err(words) => self.refuse(id, "not-read", &format!("{topic}: {words}")),
        }
    }

    fn is_there(&self, asker: &Asker) -> bool {
        self.get(asker.connection).is_some_and(|connection| connection.number == asker.number)
    }
}

fn impossible() -> Refusal {
    Refusal { code: "refused", words: "there is no ring to keep values on".into() }
}

/// Each word behind the operation stands for what can be done about it.
fn said(failed: &Failed) -> (&'static str, String) {
    match failed {
        Failed::Conflict(topic, Some(id)) => ("conflict", format!("{topic} {id}")),
        Failed::Conflict(topic, None) => ("conflict", format!("{topic} absent")),
        Failed::Another => ("bad-value", "another update had this operation id: take a new one".into()),
        Failed::Abandoned => {
            ("aborted", "it took too long and nothing was done: take a new operation id".into())
        }
        Failed::Refused(words) => ("refused", format!("nothing was done: {words}")),
        Failed::Indefinite => {
            ("indefinite", "it may have been made: repeat it with the same operation id".into())
        }
        Failed::Full => ("too-many", "too many updates are under way: try again".into()),
    }
}
