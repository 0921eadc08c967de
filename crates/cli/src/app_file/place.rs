//! Complaints that point at a place in a file.

use std::fmt;
use std::ops::Range;

/// A file's text and the name by which its user knows it.
pub(super) struct Source<'a> {
    pub(super) shown: &'a str,
    pub(super) text: &'a str,
}

/// What is wrong, and where. Prints the line with a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub reason: String,
    source_line: String,
}

/// Characters of a line that are shown on each side of the caret.
const SHOWN_EACH_SIDE: usize = 60;

impl Source<'_> {
    /// Complains of the text at the beginning of `span`.
    pub(super) fn complaint(&self, span: Range<usize>, reason: impl Into<String>) -> Complaint {
        let mut offset = span.start.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let (before, after) = self.text.split_at(offset);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = offset + after.find('\n').unwrap_or(after.len());
        Complaint {
            file: self.shown.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            reason: reason.into(),
            source_line: self.text[line_start..line_end].to_owned(),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.reason)?;
        let place = self.column - 1;
        let skipped = place.saturating_sub(SHOWN_EACH_SIDE);
        f.write_str("  | ")?;
        for c in self.source_line.chars().skip(skipped).take(2 * SHOWN_EACH_SIDE) {
            write!(f, "{}", if c.is_control() { ' ' } else { c })?;
        }
        write!(f, "\n  | {:>width$}", '^', width = place - skipped + 1)
    }
}

impl std::error::Error for Complaint {}
