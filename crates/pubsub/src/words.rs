//! The parts of one line: quoted text, patterns, words.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::str;

use memchr::memchr2;

use crate::frame::trimmed;
use crate::{Fault, Pattern, Topic, TopicError, WORD_MAX_BYTES};

/// What is left of a line.
pub(crate) struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Words(line)
    }

    /// Everything up to the next space.
    pub(crate) fn next_word(&mut self) -> Option<&'a [u8]> {
        self.skip_spaces();
        let end = self.0.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    /// A topic in quotes.
    pub(crate) fn topic(&mut self) -> Result<Topic<'a>, Fault> {
        Ok(Topic::new(self.quoted()?)?)
    }

    /// A topic or a pattern in quotes, or a range.
    pub(crate) fn pattern(&mut self) -> Result<Pattern<'a>, Fault> {
        self.skip_spaces();
        let Some(rest) = self.0.strip_prefix(b"[") else {
            return Ok(Pattern::new(self.quoted()?)?);
        };
        self.0 = rest;
        let from = self.quoted()?;
        self.expect(b',')?;
        let to = self.quoted()?;
        self.expect(b')')?;
        Ok(Pattern::range(from, to)?)
    }

    pub(crate) fn quoted(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.skip_spaces();
        let text = self.0.strip_prefix(b"\"").ok_or(Fault::NoTopic)?;
        let mut unescaped: Option<Vec<u8>> = None;
        let mut from = 0;
        loop {
            let at = from + memchr2(b'"', b'\\', &text[from..]).ok_or(Fault::OpenQuote)?;
            if text[at] == b'"' {
                self.0 = &text[at + 1..];
                let not_text = |_| Fault::Topic(TopicError::NotText);
                return match unescaped {
                    None => str::from_utf8(&text[..at]).map(Cow::Borrowed).map_err(not_text),
                    Some(mut bytes) => {
                        bytes.extend_from_slice(&text[from..at]);
                        String::from_utf8(bytes)
                            .map(Cow::Owned)
                            .map_err(|_| Fault::Topic(TopicError::NotText))
                    }
                };
            }
            let escaped =
                text.get(at + 1).filter(|byte| matches!(byte, b'"' | b'\\')).ok_or(Fault::BadEscape)?;
            let bytes = unescaped.get_or_insert_default();
            bytes.extend_from_slice(&text[from..at]);
            bytes.push(*escaped);
            from = at + 2;
        }
    }

    /// That nothing is left.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        let rest = trimmed(self.0).trim_ascii_start();
        if rest.is_empty() { Ok(()) } else { Err(Fault::Trailing(shown(rest))) }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        self.skip_spaces();
        self.0 = self.0.strip_prefix(&[byte]).ok_or(Fault::BadRange)?;
        Ok(())
    }

    fn skip_spaces(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }
}

/// A word that a client chose: it comes back as it is, so nothing in it may look like something else.
pub(crate) fn word<'a>(bytes: &'a [u8], of: &'static str) -> Result<&'a str, Fault> {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    if bytes.is_empty() || bytes.len() > WORD_MAX_BYTES || !bytes.iter().all(is_good) {
        return Err(Fault::BadWord(of));
    }
    str::from_utf8(bytes).map_err(|_| Fault::BadWord(of))
}

pub(crate) fn number<T: str::FromStr>(bytes: &[u8]) -> Option<T> {
    // FromStr of integers takes a sign, too.
    bytes.first().filter(|byte| byte.is_ascii_digit())?;
    str::from_utf8(bytes).ok()?.parse().ok()
}

/// The beginning of what somebody wrote, for a message about it.
pub(crate) fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(40)].escape_ascii().map(char::from).collect()
}
