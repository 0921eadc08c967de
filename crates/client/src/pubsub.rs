//! Publish/subscribe by the agent: one connection that publishes, subscribes and hears events.

mod request;
mod update;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use xtreem_pubsub::{Framer, Pattern, Reply, Step, Topic, write_publish};
pub use xtreem_pubsub::{HashId, TopicError};

use self::request::Inbox;
use self::update::Answer;
pub use self::update::Change;
use crate::{OperatorClient, SlotClient};

/// Longest payload that is read: more than any agent takes by default.
const PAYLOAD_MAX_BYTES: usize = 64 << 20;
/// Told while an answer is awaited: beyond it the agent is not asked for more, and lets go what is too much.
const WAITING_MAX: usize = 65_536;
/// Written at once when so much is published, if nobody flushes before.
const WRITE_BYTES: usize = 64 << 10;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum PubSubError {
    #[error("no agent answers at {place}: {source}")]
    Unreachable { place: String, source: io::Error },
    /// The agent said no. The connection goes on, unless it says that the stream is out of step.
    #[error("{words} ({code})")]
    Refused { code: String, words: String },
    #[error("the connection to the agent broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the agent has ended the connection")]
    Ended,
    #[error("the agent's answer is not understood: {0}")]
    Malformed(String),
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("{WAITING_MAX} events came before the answer: take them with `recv` first")]
    TooMany,
    /// It was published, and somebody may have heard it.
    #[error("nobody has answered the request to {topic} within {limit:?}")]
    Unanswered { topic: String, limit: Duration },
}

/// What is told to a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Event(Event),
    /// So many events of the topic did not come: this program read too slowly.
    Lost {
        topic: String,
        count: u64,
    },
    /// While the grid was split a topic of an update was changed on the other side, and that has won; in
    /// words, which begin with the update's operation id.
    Overtaken(String),
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it was published to, as it is written: `a/b`, or a pattern.
    pub topic: String,
    pub id: HashId,
    pub payload: Bytes,
    /// Who published it, as the agent says that took it.
    pub publisher: Option<String>,
    /// The publisher's own number.
    pub sequence: Option<u64>,
    /// Where an answer is awaited.
    pub reply_to: Option<String>,
    /// It was kept from before the subscription.
    pub is_retained: bool,
}

/// What is published with an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// A number of the publisher's own; the same one again is the same event.
    pub sequence: Option<u64>,
    /// Where an answer is awaited.
    pub reply_to: Option<String>,
    /// The event is kept as the last value of its topic, for those who subscribe later; an empty one ends
    /// that. It is then acknowledged when the grid keeps it.
    pub retain: bool,
}

trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// One connection for publishing and subscribing.
///
/// ```no_run
/// # async fn main_() -> Result<(), Box<dyn std::error::Error>> {
/// use xtreem_client::{SlotClient, pubsub::Told};
///
/// let mut bus = SlotClient::from_env()?.pubsub().await?;
/// bus.subscribe("jobs/**").await?;
/// bus.publish("jobs/7", b"begun").await?;
/// while let Told::Event(event) = bus.recv().await? {
///     println!("{}: {:?}", event.topic, event.payload);
/// }
/// # Ok(())
/// # }
/// ```
pub struct PubSub {
    stream: Pin<Box<dyn Io>>,
    framer: Framer,
    input: BytesMut,
    output: BytesMut,
    told: VecDeque<Told>,
    /// The last one that came.
    answer: Answer,
    /// Events were published that nobody acknowledges: a refusal may be theirs.
    is_unsure: bool,
    /// Once there was a request.
    inbox: Option<Inbox>,
}

/// Asked at the beginning, and to hear of all before it.
const WISHES: &str = "CONNECT ok lost headers\r\n";

impl std::fmt::Debug for PubSub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PubSub").field("told", &self.told.len()).finish_non_exhaustive()
    }
}

impl SlotClient {
    /// Publishes and subscribes as this slot.
    ///
    /// # Errors
    /// The agent does not answer, or does not know the token any more.
    pub async fn pubsub(&self) -> Result<PubSub, PubSubError> {
        let mut bus = PubSub::at_socket(self.http.socket()).await?;
        bus.ask(&format!("AUTH {}\r\n", self.http.token().unwrap_or_default())).await?;
        Ok(bus)
    }
}

impl OperatorClient {
    /// Publishes and subscribes as whoever may use the agent's socket.
    ///
    /// # Errors
    /// The agent does not answer.
    pub async fn pubsub(&self) -> Result<PubSub, PubSubError> {
        PubSub::at_socket(self.socket()).await
    }
}

impl PubSub {
    /// By TCP, as a guest. Without TLS: for an agent on the same machine.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn at_address(address: SocketAddr) -> Result<PubSub, PubSubError> {
        let unreachable = |source| PubSubError::Unreachable { place: address.to_string(), source };
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        stream.set_nodelay(true)?;
        PubSub::begin(Box::pin(stream)).await
    }

    /// By a connection that somebody else has made.
    ///
    /// # Errors
    /// It broke, or nobody who speaks this protocol is behind it.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Result<PubSub, PubSubError> {
        PubSub::begin(Box::pin(stream)).await
    }

    async fn at_socket(socket: &Path) -> Result<PubSub, PubSubError> {
        let unreachable = |source| PubSubError::Unreachable { place: socket.display().to_string(), source };
        let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
        PubSub::begin(Box::pin(stream)).await
    }

    async fn begin(stream: Pin<Box<dyn Io>>) -> Result<PubSub, PubSubError> {
        let framer = Framer::new(PAYLOAD_MAX_BYTES);
        let mut bus = PubSub {
            stream,
            framer,
            input: BytesMut::new(),
            output: BytesMut::new(),
            told: VecDeque::new(),
            answer: Answer::default(),
            is_unsure: false,
            inbox: None,
        };
        bus.ask(WISHES).await?;
        Ok(bus)
    }

    /// Subscribes to a topic, to `a/*` (one level below `a`), `a/**` (`a` and all below) or `**` (all). When
    /// this returns, whatever is published from now on comes, behind the retained values of these topics.
    ///
    /// # Errors
    /// It is no topic, or it is not allowed.
    pub async fn subscribe(&mut self, topics: &str) -> Result<(), PubSubError> {
        self.ask(&format!("SUBSCRIBE {}\r\n", Pattern::new(topics)?)).await
    }

    /// As [`PubSub::subscribe`]; past events come first, of topics for which agents keep them. How many of
    /// each topic is written as in `50`, or how old they may be, as in `10s`.
    ///
    /// # Errors
    /// Past events are not kept there.
    pub async fn subscribe_with_replay(&mut self, topics: &str, replay: &str) -> Result<(), PubSubError> {
        if replay.contains(char::is_control) {
            return Err(PubSubError::Malformed("a replay is written as in `50` or `10s`".into()));
        }
        self.ask(&format!("SUBSCRIBE {} replay={replay}\r\n", Pattern::new(topics)?)).await
    }

    /// Subscribes to several at once, with past events if `replay` says so. When this returns, whatever is
    /// published from now on comes.
    ///
    /// # Errors
    /// One of them is refused; nobody knows which of the others were.
    pub async fn subscribe_all(
        &mut self,
        topics: &[String],
        replay: Option<&str>,
    ) -> Result<(), PubSubError> {
        let replay = match replay {
            Some(replay) if replay.is_empty() || replay.contains(|c: char| !c.is_ascii_alphanumeric()) => {
                return Err(PubSubError::Malformed("a replay is written as in `50` or `10s`".into()));
            }
            replay => replay.map(|replay| format!(" replay={replay}")).unwrap_or_default(),
        };
        let patterns = topics.iter().map(|topic| Pattern::new(topic.as_str()));
        let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
        self.be_sure().await?;
        for pattern in &patterns {
            self.output.extend_from_slice(format!("SUBSCRIBE {pattern}{replay}\r\n").as_bytes());
        }
        for _ in &patterns {
            self.answer().await?;
        }
        Ok(())
    }

    /// What was told while answers were awaited.
    pub fn take_told(&mut self) -> VecDeque<Told> {
        std::mem::take(&mut self.told)
    }

    /// As [`PubSub::subscribe`], as one of a group: each event goes to one of it.
    pub async fn subscribe_in_group(&mut self, topics: &str, group: &str) -> Result<(), PubSubError> {
        self.ask(&format!("SUBSCRIBE {} group={group}\r\n", Pattern::new(topics)?)).await
    }

    /// Subscribes to the topics from the first on and before the second, in their order.
    pub async fn subscribe_range(&mut self, from: &str, to: &str) -> Result<(), PubSubError> {
        self.ask(&format!("SUBSCRIBE {}\r\n", Pattern::range(from, to)?)).await
    }

    /// Ends a subscription; what it brought before still comes.
    pub async fn cancel(&mut self, topics: &str) -> Result<(), PubSubError> {
        self.ask(&format!("CANCEL {}\r\n", Pattern::new(topics)?)).await
    }

    /// Publishes one event and writes it out.
    ///
    /// # Errors
    /// It is no topic. Whether it is allowed the next call that waits tells: a refusal is its error, and it
    /// has done nothing else. [`PubSub::publish_acknowledged`] tells at once.
    pub async fn publish(&mut self, to: &str, payload: &[u8]) -> Result<(), PubSubError> {
        self.feed(to, payload, &Details::default()).await?;
        self.flush().await
    }

    /// Publishes one event, to be written with others: see [`PubSub::flush`]. One that is to be retained is
    /// written at once, and its acknowledgement awaited.
    pub async fn feed(&mut self, to: &str, payload: &[u8], details: &Details) -> Result<(), PubSubError> {
        if details.retain {
            return self.publish_acknowledged(to, payload, details).await;
        }
        write_publish(&mut self.output, &Pattern::new(to)?, &headers(details)?, payload);
        self.is_unsure = true;
        if self.output.len() >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Writes out what was fed.
    pub async fn flush(&mut self) -> Result<(), PubSubError> {
        self.stream.write_all_buf(&mut self.output).await?;
        Ok(self.stream.flush().await?)
    }

    /// Publishes one event and waits until the agent has taken it, and the grid keeps it where it is to be
    /// retained.
    ///
    /// # Errors
    /// It is refused.
    pub async fn publish_acknowledged(
        &mut self,
        to: &str,
        payload: &[u8],
        details: &Details,
    ) -> Result<(), PubSubError> {
        let headers = format!("{}Ack: a\r\n", headers(details)?);
        self.be_sure().await?;
        write_publish(&mut self.output, &Pattern::new(to)?, &headers, payload);
        self.answer().await
    }

    /// The next event, or word of lost ones. May be dropped while it waits.
    ///
    /// # Errors
    /// The connection broke, or something that was published before is refused.
    pub async fn recv(&mut self) -> Result<Told, PubSubError> {
        while let Some(told) = self.told.pop_front() {
            if !self.is_late(&told) {
                return Ok(told);
            }
        }
        self.flush().await?;
        let mut read = self.read().await?;
        while read.as_ref().is_some_and(|told| self.is_late(told)) {
            read = self.read().await?;
        }
        match read {
            Some(told) => Ok(told),
            None => Err(PubSubError::Malformed("an answer that nobody awaits".into())),
        }
    }

    /// Hears what became of all that was published.
    async fn be_sure(&mut self) -> Result<(), PubSubError> {
        if !self.is_unsure {
            return Ok(());
        }
        self.output.extend_from_slice(WISHES.as_bytes());
        let mut refused = Ok(());
        loop {
            match self.answer().await {
                Ok(()) => break,
                Err(refusal @ PubSubError::Refused { .. }) => refused = refused.and(Err(refusal)),
                Err(other) => return Err(other),
            }
        }
        self.is_unsure = false;
        refused
    }

    async fn ask(&mut self, request: &str) -> Result<(), PubSubError> {
        self.be_sure().await?;
        self.output.extend_from_slice(request.as_bytes());
        self.answer().await
    }

    /// Until the next answer; what is told meanwhile is kept.
    async fn answer(&mut self) -> Result<(), PubSubError> {
        self.flush().await?;
        while let Some(told) = self.read().await? {
            if self.told.len() == WAITING_MAX {
                return Err(PubSubError::TooMany);
            }
            self.told.push_back(told);
        }
        Ok(())
    }

    /// The next thing that is told; none: an answer.
    async fn read(&mut self) -> Result<Option<Told>, PubSubError> {
        loop {
            let (taken, step) = self.framer.next(&self.input);
            let told = match step {
                Step::More(_) => None,
                Step::Frame(frame) => Some(Reply::parse(frame).map_err(|fault| fault.to_string()).map(owned)),
                Step::Refused(fault) | Step::Broken(fault) => Some(Err(fault.to_string())),
            };
            bytes::Buf::advance(&mut self.input, taken);
            match told {
                Some(Ok(Ok(Heard::Told(told)))) => return Ok(Some(told)),
                Some(Ok(Ok(Heard::Answer(answer)))) => {
                    self.answer = answer;
                    return Ok(None);
                }
                Some(Ok(Err(refused))) => return Err(refused),
                Some(Err(words)) => return Err(PubSubError::Malformed(words)),
                None => {}
            }
            if taken == 0 && self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(PubSubError::Ended);
            }
        }
    }
}

fn headers(details: &Details) -> Result<String, PubSubError> {
    let mut headers = String::new();
    if details.retain {
        headers += "Retain: yes\r\n";
    }
    if let Some(sequence) = details.sequence {
        headers += &format!("Sequence: {sequence}\r\n");
    }
    if let Some(topic) = &details.reply_to {
        headers += &format!("Reply-to: {}\r\n", Pattern::Topic(Topic::new(topic.as_str())?));
    }
    Ok(headers)
}

/// What the agent says.
enum Heard {
    Told(Told),
    Answer(Answer),
}

fn owned(reply: Reply<'_>) -> Result<Heard, PubSubError> {
    Ok(match reply {
        Reply::Ok(words) => Heard::Answer(Answer::Done(String::from_utf8_lossy(words).into_owned())),
        Reply::Value(event) => Heard::Answer(Answer::Value(Box::new(event_of(&event)))),
        Reply::Error("overtaken", words) => Heard::Told(Told::Overtaken(words.into_owned())),
        Reply::Error(code, words) => {
            return Err(PubSubError::Refused { code: code.to_owned(), words: words.into_owned() });
        }
        Reply::Lost(topic, count) => Heard::Told(Told::Lost { topic: topic.text().into_owned(), count }),
        Reply::Event(event) => Heard::Told(Told::Event(event_of(&event))),
    })
}

fn event_of(event: &xtreem_pubsub::Event<'_>) -> Event {
    Event {
        topic: event.topic.text().into_owned(),
        id: event.id,
        payload: Bytes::copy_from_slice(event.payload),
        publisher: event.headers.publisher.map(str::to_owned),
        sequence: event.headers.sequence,
        reply_to: event.headers.reply_to.as_ref().map(|topic| topic.as_str().to_owned()),
        is_retained: event.headers.is_retained,
    }
}
