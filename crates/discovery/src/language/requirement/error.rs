//! What is wrong with a requirement, where, and what would have been right there.

use alloc::string::String;
use core::fmt;

/// A text that is no requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line in the text, from 1.
    pub line: u32,
    /// Column in that line, in characters, from 1.
    pub column: u32,
    /// The same place in bytes from the beginning of the text.
    pub offset: usize,
    /// What stands there.
    pub found: String,
    /// What could have stood there.
    pub expected: String,
}

impl ParseError {
    /// An error at byte `offset` of `source`, which must lie on a character boundary: for other small
    /// languages, too.
    pub fn new(source: &str, offset: usize, found: impl Into<String>, expected: impl Into<String>) -> Self {
        let before = &source[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ParseError {
            line: before.matches('\n').count() as u32 + 1,
            column: before[line_start..].chars().count() as u32 + 1,
            offset,
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// The message without the place, for those who show the place themselves.
    pub fn message(&self) -> String {
        alloc::format!("expected {}, found {}", self.expected, self.found)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParseError { line, column, expected, found, .. } = self;
        write!(f, "line {line}, column {column}: expected {expected}, found {found}")
    }
}

impl core::error::Error for ParseError {}
