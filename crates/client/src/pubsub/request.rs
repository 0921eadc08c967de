//! Requests and answers: an event that names a topic where its publisher waits for another one.

use std::time::Duration;

use tokio::time::timeout;

use super::{Details, Event, PubSub, PubSubError, Told, WAITING_MAX};

/// Random bytes in the name of an inbox: nobody has the same by chance.
const INBOX_BYTES: usize = 16;

/// Where answers to one connection come: its topic, and how many requests there were.
#[derive(Debug)]
pub(super) struct Inbox {
    topic: String,
    requests: u64,
}

impl Inbox {
    fn new() -> Result<Inbox, PubSubError> {
        let mut bytes = [0; INBOX_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| PubSubError::Broken(std::io::Error::other(error)))?;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Inbox { topic: format!("inbox/{digits}"), requests: 0 })
    }

    fn has(&self, topic: &str) -> bool {
        topic.strip_prefix(&self.topic).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl PubSub {
    /// Publishes an event and waits so long for the first answer to it, from when the agent has taken it.
    /// What else comes meanwhile [`PubSub::recv`] has afterwards; what answers too late comes to nobody.
    ///
    /// # Errors
    /// [`PubSubError::Unanswered`]: nobody answered in time. Somebody may have heard it all the same.
    pub async fn request(&mut self, to: &str, payload: &[u8], limit: Duration) -> Result<Event, PubSubError> {
        let mut inbox = match self.inbox.take() {
            Some(inbox) => inbox,
            None => {
                let inbox = Inbox::new()?;
                self.subscribe(&format!("{}/*", inbox.topic)).await?;
                inbox
            }
        };
        inbox.requests += 1;
        let reply_to = format!("{}/{}", inbox.topic, inbox.requests);
        self.inbox = Some(inbox);
        let details = Details { reply_to: Some(reply_to.clone()), ..Details::default() };
        self.publish_acknowledged(to, payload, &details).await?;
        match timeout(limit, self.answered_at(&reply_to)).await {
            Ok(answer) => answer,
            Err(_) => Err(PubSubError::Unanswered { topic: to.to_owned(), limit }),
        }
    }

    /// Answers whoever published this; false where no answer is awaited.
    ///
    /// # Errors
    /// As [`PubSub::publish`].
    pub async fn reply(&mut self, to: &Event, payload: &[u8]) -> Result<bool, PubSubError> {
        match &to.reply_to {
            Some(topic) => self.publish(topic, payload).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Whether it is an answer that nobody awaits any more.
    pub(super) fn is_late(&self, told: &Told) -> bool {
        let topic = match told {
            Told::Event(event) => &event.topic,
            Told::Lost { topic, .. } => topic,
            Told::Overtaken(_) => return false,
        };
        self.inbox.as_ref().is_some_and(|inbox| inbox.has(topic))
    }

    async fn answered_at(&mut self, reply_to: &str) -> Result<Event, PubSubError> {
        // It may have come before the acknowledgement.
        let is_it = |told: &Told| matches!(told, Told::Event(event) if event.topic == reply_to);
        if let Some(at) = self.told.iter().position(is_it)
            && let Some(Told::Event(event)) = self.told.remove(at)
        {
            return Ok(event);
        }
        loop {
            match self.read().await? {
                Some(Told::Event(event)) if event.topic == reply_to => return Ok(event),
                Some(told) if self.is_late(&told) => {}
                Some(_) if self.told.len() == WAITING_MAX => return Err(PubSubError::TooMany),
                Some(told) => self.told.push_back(told),
                None => return Err(PubSubError::Malformed("an answer that nobody awaits".into())),
            }
        }
    }
}
