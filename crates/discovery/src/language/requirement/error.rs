//! What is wrong with a requirement, where, and what would have been right there.

use alloc::string::String;
use core::fmt;

/// A text that is no requirement. Prints the line with a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line in the text, from 1.
    pub line: u32,
    /// Column in that line, in characters, from 1.
    pub column: u32,
    /// What stands there.
    pub found: String,
    /// What could have stood there.
    pub expected: String,
    source_line: String,
}

/// Characters of a line that are shown on each side of the caret.
const SHOWN_EACH_SIDE: usize = 60;

impl ParseError {
    /// An error at byte `offset` of `source`, which must lie on a character boundary: for other small
    /// languages, too.
    pub fn new(source: &str, offset: usize, found: impl Into<String>, expected: impl Into<String>) -> Self {
        let (before, after) = source.split_at(offset);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = offset + after.find('\n').unwrap_or(after.len());
        ParseError {
            line: before.matches('\n').count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
            found: found.into(),
            expected: expected.into(),
            source_line: source[line_start..line_end].into(),
        }
    }

    /// The message without the source line, for places that have only one line.
    pub fn message(&self) -> String {
        alloc::format!("expected {}, found {}", self.expected, self.found)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.column as usize - 1;
        let skipped = place.saturating_sub(SHOWN_EACH_SIDE);
        writeln!(
            f,
            "line {}, column {}: expected {}, found {}",
            self.line, self.column, self.expected, self.found
        )?;
        f.write_str("  | ")?;
        for c in self.source_line.chars().skip(skipped).take(2 * SHOWN_EACH_SIDE) {
            write!(f, "{}", if c.is_control() { ' ' } else { c })?;
        }
        write!(f, "\n  | {:>width$}", '^', width = place - skipped + 1)
    }
}

impl core::error::Error for ParseError {}
