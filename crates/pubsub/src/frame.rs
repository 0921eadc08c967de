//! Where one request or reply ends and the next begins: lines, and after `PUBLISH`, `EVENT` and their like
//! headers and a payload whose length the last of them says.

use memchr::memchr;

use crate::{Fault, HEADERS_MAX, LINE_MAX_BYTES, SKIPPED_MAX_BYTES};

/// One request or reply, whole, as it stands in the buffer that was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The first line without its end.
    pub line: &'a [u8],
    /// The header lines with their ends, without the one that says the length.
    pub headers: &'a [u8],
    pub payload: &'a [u8],
}

/// What stands at the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    Frame(Frame<'a>),
    /// Nothing whole: more has to be read, so many bytes at least.
    More(usize),
    /// Something that cannot be taken; the stream is in step behind it.
    Refused(Fault),
    /// Where the next one begins cannot be known: the connection ends.
    Broken(Fault),
}

/// The head of a frame with a payload: all before that.
#[derive(Clone, Copy, Debug)]
struct Head {
    line_end: usize,
    headers: (usize, usize),
    payload: usize,
    len: usize,
}

/// Finds frames in what is read. It keeps no bytes: the caller keeps what was not taken yet, which is at most
/// the longest head and payload.
#[derive(Clone, Debug)]
pub struct Framer {
    payload_max: usize,
    /// The head that was found, while its payload is not whole.
    head: Option<Head>,
    /// Where a line begins that is not whole, and up to where its end was looked for.
    seen: (usize, usize),
    /// Bytes of a refused payload that are still to come, with what ended it.
    skipped: u64,
    refused: Option<Fault>,
}

impl Framer {
    /// `payload_max`: bytes of a payload that is taken.
    pub fn new(payload_max: usize) -> Self {
        Framer { payload_max, head: None, seen: (0, 0), skipped: 0, refused: None }
    }

    /// Bytes that a caller keeps at most for a frame that is not whole.
    pub fn buffer_max(&self) -> usize {
        LINE_MAX_BYTES * (HEADERS_MAX + 1) + self.payload_max + 2
    }

    /// Whether it stands between two frames, if the caller has no bytes left either.
    pub fn is_between(&self) -> bool {
        self.head.is_none() && self.refused.is_none()
    }

    /// Looks at the front of `input`, which begins where the last call's count ended. How many bytes of it
    /// are done with, and what was found.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> (usize, Step<'a>) {
        if self.refused.is_some() {
            return self.skip(input);
        }
        let head = match self.head {
            Some(head) => head,
            None => match self.find_head(input) {
                Ok(Found::Head(head)) => head,
                Ok(Found::Line(end)) => {
                    let line = trimmed(&input[..end]);
                    self.seen = (0, 0);
                    return (end, Step::Frame(Frame { line, headers: b"", payload: b"" }));
                }
                Ok(Found::Nothing) => return (0, Step::More(1)),
                Err(fault) => return (0, Step::Broken(fault)),
            },
        };
        if head.len > self.payload_max {
            if head.len as u64 > SKIPPED_MAX_BYTES {
                return (0, Step::Broken(Fault::PayloadTooLong(head.len as u64, self.payload_max)));
            }
            self.refused = Some(Fault::PayloadTooLong(head.len as u64, self.payload_max));
            self.skipped = head.len as u64;
            self.head = None;
            self.seen = (0, 0);
            let (taken, step) = self.skip(&input[head.payload..]);
            return (head.payload + taken, step);
        }
        let end = head.payload + head.len;
        let Some(after) = line_end(input.get(end..).unwrap_or_default()) else {
            self.head = Some(head);
            return (0, Step::More((end + 1).saturating_sub(input.len()).max(1)));
        };
        let Some(after) = after else {
            return (0, Step::Broken(Fault::PayloadWithoutEnd));
        };
        self.head = None;
        self.seen = (0, 0);
        let frame = Frame {
            line: trimmed(&input[..head.line_end]),
            headers: &input[head.headers.0..head.headers.1],
            payload: &input[head.payload..end],
        };
        (end + after, Step::Frame(frame))
    }

    /// Throws away what is left of a payload that is too long, and its line end.
    fn skip<'a>(&mut self, input: &'a [u8]) -> (usize, Step<'a>) {
        let taken = usize::try_from(self.skipped).unwrap_or(usize::MAX).min(input.len());
        self.skipped -= taken as u64;
        let rest = &input[taken..];
        match line_end(rest) {
            _ if self.skipped > 0 => (taken, Step::More(1)),
            None => (taken, Step::More(1)),
            Some(None) => (taken, Step::Broken(Fault::PayloadWithoutEnd)),
            Some(Some(end)) => {
                let fault = self.refused.take().unwrap_or(Fault::PayloadWithoutEnd);
                (taken + end, Step::Refused(fault))
            }
        }
    }

    fn find_head(&mut self, input: &[u8]) -> Result<Found, Fault> {
        let Some(line_end) = self.find_line(input, 0)? else { return Ok(Found::Nothing) };
        if !has_payload(&input[..line_end]) {
            return Ok(Found::Line(line_end));
        }
        let mut at = line_end;
        for _ in 0..HEADERS_MAX {
            let Some(end) = self.find_line(input, at)? else { return Ok(Found::Nothing) };
            let header = trimmed(&input[at..end]);
            if let Some(number) = named(header, b"Payload-length") {
                let len = length(number)?;
                return Ok(Found::Head(Head { line_end, headers: (line_end, at), payload: end, len }));
            }
            if header.is_empty() || !header.contains(&b':') {
                return Err(Fault::NoLength);
            }
            at = end;
        }
        Err(Fault::TooManyHeaders)
    }

    /// Where the line that begins at `from` ends.
    fn find_line(&mut self, input: &[u8], from: usize) -> Result<Option<usize>, Fault> {
        let start = if self.seen.0 == from { self.seen.1 } else { from };
        if let Some(at) = input.get(start..).and_then(|rest| memchr(b'\n', rest)) {
            let end = start + at + 1;
            return if end - from > LINE_MAX_BYTES { Err(Fault::LineTooLong) } else { Ok(Some(end)) };
        }
        if input.len().saturating_sub(from) >= LINE_MAX_BYTES {
            return Err(Fault::LineTooLong);
        }
        self.seen = (from, input.len());
        Ok(None)
    }
}

enum Found {
    Line(usize),
    Head(Head),
    Nothing,
}

/// Whether headers and a payload come after this line.
fn has_payload(line: &[u8]) -> bool {
    let is = |verb: &[u8]| {
        line.strip_prefix(verb).is_some_and(|rest| rest.first().is_none_or(|byte| b" \r\n\"[".contains(byte)))
    };
    is(b"PUBLISH") || is(b"EVENT") || is(b"UPDATE") || is(b"VALUE")
}

/// The value of a header, if it has this name. Names are told apart without case, as in HTTP.
pub(crate) fn named<'a>(header: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = header.split_at_checked(name.len())?;
    let rest = rest.strip_prefix(b":")?;
    head.eq_ignore_ascii_case(name).then(|| rest.trim_ascii_start())
}

fn length(number: &[u8]) -> Result<usize, Fault> {
    if number.is_empty() || number.len() > 19 || !number.iter().all(u8::is_ascii_digit) {
        return Err(Fault::BadLength);
    }
    let value = number.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    usize::try_from(value).map_err(|_| Fault::BadLength)
}

/// A line without spaces and its end behind it.
pub(crate) fn trimmed(line: &[u8]) -> &[u8] {
    let mut line = line;
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = line {
        line = rest;
    }
    line
}

/// The line end that must stand here: its length; none when something else does. Nothing yet: more is needed.
#[allow(clippy::option_option)] // Three answers: not known yet, none, so long.
fn line_end(rest: &[u8]) -> Option<Option<usize>> {
    match rest {
        [] | [b'\r'] => None,
        [b'\n', ..] => Some(Some(1)),
        [b'\r', b'\n', ..] => Some(Some(2)),
        _ => Some(None),
    }
}
