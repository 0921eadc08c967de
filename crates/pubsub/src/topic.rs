//! Topics: names in levels, as they are written and as they are ordered on the ring.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use crate::words::Words;
use crate::{Fault, LEVELS_MAX, TOPIC_MAX_BYTES};

/// Stands for `/` where topics are ordered: below every byte that a level may have, so that a topic and all
/// below it are one range.
const SEPARATOR: u8 = 1;

/// Why something is no topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    #[error("a topic has at least one level")]
    Empty,
    #[error("a topic of {0} bytes: {TOPIC_MAX_BYTES} are possible")]
    TooLong(usize),
    #[error("a topic of {0} levels: {LEVELS_MAX} are possible")]
    TooDeep(usize),
    #[error("an empty level: a topic neither begins nor ends with `/`, and has no two in a row")]
    EmptyLevel,
    #[error("a control character: topics are printable UTF-8")]
    Control,
    #[error("not UTF-8")]
    NotText,
    #[error(
        "a star stands alone, as the last level: `a/*` is one level below `a`, `a/**` is `a` and all below"
    )]
    Star,
    #[error("a range that is empty: its first end comes before its second")]
    EmptyRange,
}

/// The name of a class of events: 1 to 16 levels of printable UTF-8 with `/` between them, without `*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic<'a>(Cow<'a, str>);

impl<'a> Topic<'a> {
    /// # Errors
    /// It is not one, see [`TopicError`].
    pub fn new(text: impl Into<Cow<'a, str>>) -> Result<Topic<'a>, TopicError> {
        let text = text.into();
        check(&text)?;
        Ok(Topic(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, without what it was read from.
    pub fn into_owned(self) -> Topic<'static> {
        Topic(Cow::Owned(self.0.into_owned()))
    }

    /// Its place in the order of all topics: levels with a byte between them that comes before all others.
    /// What begins with this and that byte, and this itself, is all of its subtree.
    pub fn order_key(&self) -> Vec<u8> {
        self.0.bytes().map(|byte| if byte == b'/' { SEPARATOR } else { byte }).collect()
    }

    /// All that stand above it, the nearest last: `a`, `a/b` of `a/b/c`.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }

    /// The one above, if there is one.
    pub fn parent(&self) -> Option<&str> {
        self.0.rfind('/').map(|at| &self.0[..at])
    }
}

impl fmt::Debug for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The order of topics: level by level.
pub(crate) fn is_before(a: &str, b: &str) -> bool {
    let code = |byte: u8| if byte == b'/' { SEPARATOR } else { byte };
    a.bytes().map(code).lt(b.bytes().map(code))
}

fn check(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_MAX_BYTES {
        return Err(TopicError::TooLong(text.len()));
    }
    let mut levels = 1;
    let mut last = b'/';
    for byte in text.bytes() {
        match byte {
            b'/' if last == b'/' => return Err(TopicError::EmptyLevel),
            b'/' => levels += 1,
            b'*' => return Err(TopicError::Star),
            0..0x20 | 0x7f => return Err(TopicError::Control),
            _ => {}
        }
        last = byte;
    }
    if last == b'/' {
        return Err(TopicError::EmptyLevel);
    }
    if levels > LEVELS_MAX { Err(TopicError::TooDeep(levels)) } else { Ok(()) }
}

/// What is subscribed to, and what is published to: one topic, or several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern<'a> {
    /// One topic.
    Topic(Topic<'a>),
    /// `a/*`: all that are one level below.
    Children(Topic<'a>),
    /// `a/**`: the topic and all below.
    Subtree(Topic<'a>),
    /// `**`: all topics.
    All,
    /// `["a", "b")`: from the first on, up to but without the second, in the order of [`Topic::order_key`].
    Range(Topic<'a>, Topic<'a>),
}

impl<'a> Pattern<'a> {
    /// Reads a topic, or one with a star as its last level.
    ///
    /// # Errors
    /// It is neither, see [`TopicError`].
    pub fn new(text: impl Into<Cow<'a, str>>) -> Result<Pattern<'a>, TopicError> {
        let text = text.into();
        if *text == *"**" {
            return Ok(Pattern::All);
        }
        let (of, cut): (fn(Topic<'a>) -> Pattern<'a>, usize) = match () {
            () if text.ends_with("/**") => (Pattern::Subtree, 3),
            () if text.ends_with("/*") => (Pattern::Children, 2),
            () => (Pattern::Topic, 0),
        };
        let end = text.len() - cut;
        let above = match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
            Cow::Owned(mut text) => {
                text.truncate(end);
                Cow::Owned(text)
            }
        };
        Topic::new(above).map(of)
    }

    /// Reads what [`Pattern`] writes: in quotes, or a range.
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &'a [u8]) -> Result<Pattern<'a>, Fault> {
        let mut words = Words::new(text);
        let pattern = words.pattern()?;
        words.end().map(|()| pattern)
    }

    /// # Errors
    /// One of both is no topic, or the first does not come before the second.
    pub fn range(
        from: impl Into<Cow<'a, str>>,
        to: impl Into<Cow<'a, str>>,
    ) -> Result<Pattern<'a>, TopicError> {
        let (from, to) = (Topic::new(from)?, Topic::new(to)?);
        if is_before(from.as_str(), to.as_str()) {
            Ok(Pattern::Range(from, to))
        } else {
            Err(TopicError::EmptyRange)
        }
    }

    pub fn into_owned(self) -> Pattern<'static> {
        match self {
            Pattern::Topic(topic) => Pattern::Topic(topic.into_owned()),
            Pattern::Children(topic) => Pattern::Children(topic.into_owned()),
            Pattern::Subtree(topic) => Pattern::Subtree(topic.into_owned()),
            Pattern::All => Pattern::All,
            Pattern::Range(from, to) => Pattern::Range(from.into_owned(), to.into_owned()),
        }
    }

    /// As it is written without quotes: `a/b`, `a/*`, `a/**`, `**`, `[a, b)`.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Pattern::Topic(topic) => Cow::Borrowed(topic.as_str()),
            Pattern::Children(topic) => Cow::Owned(format!("{}/*", topic.as_str())),
            Pattern::Subtree(topic) => Cow::Owned(format!("{}/**", topic.as_str())),
            Pattern::All => Cow::Borrowed("**"),
            Pattern::Range(from, to) => Cow::Owned(format!("[{}, {})", from.as_str(), to.as_str())),
        }
    }

    /// Whether an event of this topic is meant.
    pub fn matches(&self, topic: &str) -> bool {
        let is_below = |above: &str| topic.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'));
        match self {
            Pattern::Topic(own) => own.as_str() == topic,
            Pattern::Children(above) => {
                is_below(above.as_str()) && !topic[above.as_str().len() + 1..].contains('/')
            }
            Pattern::Subtree(above) => above.as_str() == topic || is_below(above.as_str()),
            Pattern::All => true,
            Pattern::Range(from, to) => !is_before(topic, from.as_str()) && is_before(topic, to.as_str()),
        }
    }

    /// Whether every topic that the other means is meant.
    pub fn covers(&self, other: &Pattern<'_>) -> bool {
        match (self, other) {
            (_, Pattern::Topic(topic)) => self.matches(topic.as_str()),
            (Pattern::Topic(_), _) => false,
            (Pattern::Children(own), other) => matches!(other, Pattern::Children(topic) if topic == own),
            (Pattern::Subtree(_) | Pattern::All | Pattern::Range(..), other) => {
                let ((from, to), (other_from, other_to)) = (self.extent(), other.extent());
                let ends = to.is_none_or(|to| other_to.is_some_and(|other| other <= to));
                from <= other_from && ends
            }
        }
    }

    /// Whether there may be a topic that both mean.
    pub fn overlaps(&self, other: &Pattern<'_>) -> bool {
        let ((from, to), (other_from, other_to)) = (self.extent(), other.extent());
        let is_before =
            |end: &Option<Vec<u8>>, start: &[u8]| end.as_ref().is_some_and(|end| &end[..] <= start);
        !is_before(&to, &other_from) && !is_before(&other_to, &from) && self.meets_depth(other)
    }

    /// The part of the order of topics in which all lie that are meant: its first key, and the first one
    /// behind it.
    pub fn extent(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let behind = |key: &[u8], last: u8| [key, &[last]].concat();
        match self {
            Pattern::Topic(topic) => (topic.order_key(), Some(behind(&topic.order_key(), 0))),
            Pattern::Children(topic) => {
                let key = topic.order_key();
                (behind(&key, SEPARATOR), Some(behind(&key, SEPARATOR + 1)))
            }
            Pattern::Subtree(topic) => (topic.order_key(), Some(behind(&topic.order_key(), SEPARATOR + 1))),
            Pattern::All => (Vec::new(), None),
            Pattern::Range(from, to) => (from.order_key(), Some(to.order_key())),
        }
    }

    /// Of two whose extents meet: topics one level below one place, and topics one level below another, are
    /// the same ones only if the places are.
    fn meets_depth(&self, other: &Pattern<'_>) -> bool {
        match (self, other) {
            (Pattern::Children(a), Pattern::Children(b)) => a == b,
            (Pattern::Children(_), Pattern::Topic(topic)) => self.matches(topic.as_str()),
            (Pattern::Topic(topic), Pattern::Children(_)) => other.matches(topic.as_str()),
            (Pattern::Children(a), Pattern::Subtree(b)) | (Pattern::Subtree(b), Pattern::Children(a)) => {
                // Its children are in the subtree, or its only child there is the subtree's own place.
                let subtree = Pattern::Subtree(b.clone());
                subtree.matches(a.as_str()) || b.parent() == Some(a.as_str())
            }
            _ => true,
        }
    }
}

/// As it is written in a request, quoted.
impl fmt::Display for Pattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Topic(topic) => write!(f, "\"{}\"", Escaped(topic.as_str())),
            Pattern::Children(topic) => write!(f, "\"{}/*\"", Escaped(topic.as_str())),
            Pattern::Subtree(topic) => write!(f, "\"{}/**\"", Escaped(topic.as_str())),
            Pattern::All => f.write_str("\"**\""),
            Pattern::Range(from, to) => {
                write!(f, "[\"{}\", \"{}\")", Escaped(from.as_str()), Escaped(to.as_str()))
            }
        }
    }
}

/// Text between quotes: `"` and `\` have a `\` before them.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['"', '\\']) {
            write!(f, "{}\\{}", &rest[..at], &rest[at..=at])?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn topics_are_levels_of_printable_text() {
        for good in ["a", "a/b", "topic name", "größe/α", "a\"b\\c", "storage/osd/17/status", "-"] {
            assert_eq!(Topic::new(good).map(|topic| topic.as_str().to_string()), Ok(good.to_string()));
        }
        for (bad, why) in [
            ("", TopicError::Empty),
            ("/", TopicError::EmptyLevel),
            ("/a", TopicError::EmptyLevel),
            ("a/", TopicError::EmptyLevel),
            ("a//b", TopicError::EmptyLevel),
            ("a\0", TopicError::Control),
            ("a\nb", TopicError::Control),
            ("a\x7f", TopicError::Control),
            ("a/*/b", TopicError::Star),
            ("a*", TopicError::Star),
            ("1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", TopicError::TooDeep(17)),
        ] {
            assert_eq!(Topic::new(bad), Err(why), "{bad:?}");
            assert_eq!(Pattern::new(bad), Err(why), "{bad:?}");
        }
        assert_eq!(Topic::new("x".repeat(256)), Err(TopicError::TooLong(256)));
        assert!(Topic::new("x".repeat(255)).is_ok());
    }

    #[test]
    fn patterns_match_what_they_say() {
        let matched = |pattern: &str, topics: &[&str]| {
            let pattern = Pattern::new(pattern.to_string()).expect("a pattern");
            topics.iter().map(|topic| pattern.matches(topic)).collect::<Vec<_>>()
        };
        let topics = ["a", "a/b", "a/b/c", "ab", "ab/c", "b"];
        assert_eq!(matched("a", &topics), [true, false, false, false, false, false]);
        assert_eq!(matched("a/*", &topics), [false, true, false, false, false, false]);
        assert_eq!(matched("a/**", &topics), [true, true, true, false, false, false]);
        assert_eq!(matched("**", &topics), [true; 6]);
        let range = Pattern::range("osd/10", "osd/20").expect("a range");
        for (topic, is_in) in
            [("osd/1", false), ("osd/10", true), ("osd/10/x", true), ("osd/19", true), ("osd/20", false)]
        {
            assert_eq!(range.matches(topic), is_in, "{topic}");
        }
        assert_eq!(Pattern::range("b", "a"), Err(TopicError::EmptyRange));
        assert_eq!(Pattern::range("a", "a"), Err(TopicError::EmptyRange));
    }

    #[test]
    fn a_topic_and_all_below_it_are_one_range() {
        let ordered = ["a", "a/b", "a/b/c", "a/c", "a b", "a!", "ab", "b"];
        assert!(ordered.is_sorted_by(|a, b| is_before(a, b)));
        let key = |topic: &str| Topic::new(topic.to_string()).expect("a topic").order_key();
        assert!(ordered.map(key).is_sorted());
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["a", "a/b/*", "x\"y\\z/**", "**"] {
            let pattern = Pattern::new(text).expect("a pattern");
            let written = pattern.to_string();
            assert!(written.starts_with('"') && written.ends_with('"'), "{written}");
        }
        assert_eq!(Pattern::new("x\"y\\z").expect("a topic").to_string(), r#""x\"y\\z""#);
        assert_eq!(Topic::new("a/b/c").expect("a topic").ancestors().collect::<Vec<_>>(), ["a", "a/b"]);
    }
}
