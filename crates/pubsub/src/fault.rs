//! What is wrong with what was read, in words for whoever wrote it.

use alloc::string::String;

use crate::{
    HEADERS_MAX, LEASE_MAX_SECONDS, LINE_MAX_BYTES, TopicError, UPDATE_MAX_BYTES, UPDATE_TOPICS_MAX,
    WORD_MAX_BYTES,
};

/// Why a request or reply cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("no such verb: SUBSCRIBE, CANCEL, PUBLISH, READ, UPDATE, AUTH and CONNECT are there")]
    UnknownVerb,
    #[error("no topic in quotes after the verb: for example SUBSCRIBE \"a/b\"")]
    NoTopic,
    #[error("a quote that does not end")]
    OpenQuote,
    #[error("after a `\\` in quotes comes `\\` or `\"`")]
    BadEscape,
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("a range is written [\"from\", \"to\")")]
    BadRange,
    #[error("there is something behind the end of the request: {0}")]
    Trailing(String),
    #[error("no such option here: {0}")]
    UnknownOption(String),
    #[error("no such header: {0}")]
    UnknownHeader(String),
    #[error("{0}: {1} is expected")]
    BadValue(&'static str, &'static str),
    #[error("a word of 1 to {WORD_MAX_BYTES} letters, digits and -_.: is expected after {0}")]
    BadWord(&'static str),
    #[error("an update has 1 to {UPDATE_TOPICS_MAX} topics, and {UPDATE_MAX_BYTES} bytes of them and values")]
    UpdateTooLarge,
    #[error("an update has a line for each topic, and as many bytes as it says and a line end behind it")]
    OpenChange,
    #[error("a lease of 1 to {LEASE_MAX_SECONDS} seconds is possible")]
    BadLease,
    #[error("a payload of {0} bytes: {1} are possible here")]
    PayloadTooLong(u64, usize),
    #[error("a line of more than {LINE_MAX_BYTES} bytes")]
    LineTooLong,
    #[error("more than {HEADERS_MAX} header lines")]
    TooManyHeaders,
    #[error("no Payload-length before the payload, as the last of the header lines")]
    NoLength,
    #[error("Payload-length: a number of bytes is expected")]
    BadLength,
    #[error("the payload is longer than its Payload-length, or no line end stands behind it")]
    PayloadWithoutEnd,
}

impl Fault {
    /// The word that stands for it in an `ERROR` line.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::UnknownVerb => "unknown-verb",
            Fault::NoTopic | Fault::OpenQuote | Fault::BadEscape | Fault::Topic(_) | Fault::BadRange => {
                "bad-topic"
            }
            Fault::Trailing(_) | Fault::UnknownOption(_) | Fault::BadLease => "bad-option",
            Fault::UnknownHeader(_)
            | Fault::BadValue(..)
            | Fault::BadWord(_)
            | Fault::UpdateTooLarge
            | Fault::OpenChange => "bad-value",
            Fault::PayloadTooLong(..) => "payload-too-long",
            Fault::LineTooLong | Fault::TooManyHeaders => "line-too-long",
            Fault::NoLength | Fault::BadLength => "no-length",
            Fault::PayloadWithoutEnd => "out-of-step",
        }
    }
}
