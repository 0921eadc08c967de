//! Reading last values, and changing several of them at once.

use bytes::{Bytes, BytesMut};
use xtreem_pubsub::update::{self, Expected, What, write_update};
use xtreem_pubsub::{HashId, Pattern, Topic};

use super::{Event, PubSub, PubSubError};

/// What an agent has answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// In its words, without the `OK`.
    Done(String),
    Value(Box<Event>),
}

impl Default for Answer {
    fn default() -> Answer {
        Answer::Done(String::new())
    }
}

/// What an update does with one topic, and what it expects there: an event by its id, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    topic: String,
    expected: Expected,
    what: What,
}

impl Change {
    /// Sets the topic's last value, whatever it was. An empty one ends that there is one.
    pub fn set(topic: &str, value: &[u8]) -> Change {
        let what = What::Set(Bytes::copy_from_slice(value));
        Change { topic: topic.to_owned(), expected: Expected::Any, what }
    }

    /// Leaves the value as it is: for an update that depends on it.
    pub fn keep(topic: &str) -> Change {
        Change { topic: topic.to_owned(), expected: Expected::Any, what: What::Keep }
    }

    /// Nothing of the update is done unless the last value is this event, or unless there is none.
    #[must_use]
    pub fn expect(self, id: Option<HashId>) -> Change {
        Change { expected: id.map_or(Expected::Absent, Expected::Is), ..self }
    }
}

impl PubSub {
    /// The last value of a topic.
    ///
    /// # Errors
    /// It is not allowed, or the ring does not answer.
    pub async fn read_value(&mut self, topic: &str) -> Result<Option<Event>, PubSubError> {
        let topic = Pattern::Topic(Topic::new(topic)?);
        self.ask(&format!("READ {topic}\r\n")).await?;
        match std::mem::take(&mut self.answer) {
            Answer::Value(event) => Ok(Some(*event)),
            Answer::Done(_) => Ok(None),
        }
    }

    /// Changes the last values of all these topics, or of none. Returns of each the id of its value now, or
    /// none where there is none. The same operation id again, also by another agent, is the same update.
    ///
    /// # Errors
    /// It is not made: the code `conflict` says which topic is not as expected. With `indefinite`, or when
    /// the connection breaks, it may have been made: repeat it with the same operation id.
    pub async fn update(
        &mut self,
        operation: &str,
        changes: &[Change],
    ) -> Result<Vec<Option<HashId>>, PubSubError> {
        let of = |change: &Change| {
            let topic = Topic::new(change.topic.clone())?;
            Ok(update::Change { topic, expected: change.expected, what: change.what.clone() })
        };
        let changes: Vec<_> = changes.iter().map(of).collect::<Result<_, PubSubError>>()?;
        if operation.contains(|of: char| of.is_control() || of == ' ') {
            return Err(PubSubError::Malformed("an operation id is letters, digits and -_.:".into()));
        }
        self.be_sure().await?;
        let mut request = BytesMut::new();
        write_update(&mut request, operation, &changes);
        self.output.extend_from_slice(&request);
        self.answer().await?;
        let Answer::Done(words) = std::mem::take(&mut self.answer) else {
            return Err(PubSubError::Malformed("a value in answer to an update".into()));
        };
        let ids = words.split(' ').skip(2);
        Ok(ids.map(|id| HashId::parse(id.as_bytes())).collect())
    }
}
