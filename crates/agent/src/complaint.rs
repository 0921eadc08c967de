//! Complaints about what people wrote: what is wrong, with a caret under the place.
//!
//! Configuration, applications, policies and requirements are all complained of in this one form.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::de::DeserializeOwned;
use xtreem_discovery::ParseError;

/// A text, and the name by which whoever wrote it knows it: a file's path, as a rule.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

/// What is wrong, and where. Prints the reason, then the line with a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{shown}")]
pub struct Complaint {
    pub reason: String,
    shown: String,
}

impl Source<'_> {
    /// Complains of what stands at `span`, in bytes.
    pub fn complaint(&self, span: Range<usize>, reason: impl Into<String>) -> Complaint {
        let reason = reason.into();
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end).max(start);
        // What goes over several lines is pointed at where it begins.
        let end = if self.text[start..end].contains('\n') { start } else { end };
        let mark = AnnotationKind::Primary.span(start..end);
        let place = Snippet::source(self.text).path(self.name).annotation(mark);
        let report = [Level::ERROR.no_name().primary_title(&*reason).element(place)];
        let shown = Renderer::plain().render(&report);
        Complaint { reason, shown }
    }

    /// Complains of a place inside `value`, a text in one of the small languages that stands at `span`.
    pub fn complaint_inside(&self, span: Range<usize>, value: &str, error: &ParseError) -> Complaint {
        // Where the value stands here as it is (no escapes), the caret can go inside it.
        match self.text.get(span.clone()).and_then(|text| text.find(value)) {
            Some(at) => {
                let place = span.start + at + error.offset;
                self.complaint(place..place, error.message())
            }
            None => self.complaint(span, format!("column {} of the text: {}", error.column, error.message())),
        }
    }

    /// Reads TOML.
    pub fn toml<T: DeserializeOwned>(&self) -> Result<T, Complaint> {
        toml::from_str(self.text).map_err(|error| {
            // What serde calls fields are keys for users.
            let reason = error.message().trim().replace("unknown field", "unknown key");
            let reason = reason.replace("unknown variant", "unknown value");
            let reason = reason.replace("expected a sequence", "expected a list");
            let reason = reason.replace("missing field", "missing key").replace('\n', ": ");
            self.complaint(error.span().unwrap_or(0..0), reason)
        })
    }
}

/// What is wrong with a text that is all in one of the small languages, as on a command line.
pub fn of_text(name: &str, text: &str, error: &ParseError) -> Complaint {
    Source { name, text }.complaint_inside(0..text.len(), text, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_discovery::Requirement;

    fn shown(text: &str) -> String {
        let error = Requirement::parse(text).unwrap_err();
        of_text("requirement", text, &error).to_string()
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        let lines = [
            "expected a number: `>=` compares only numbers, found a text",
            " --> requirement:2:15",
            "  |",
            "2 |     cpu.cores >= \"4\"",
            "  |                  ^",
        ];
        assert_eq!(shown("ecc &&\n\tcpu.cores >= \"4\""), lines.join("\n"));
        let source = Source { name: "a.toml", text: "a = 'b'\nc = '''d\ne'''\n" };
        let lines = ["why", " --> a.toml:1:5", "  |", "1 | a = 'b'", "  |     ^^^"];
        assert_eq!(source.complaint(4..7, "why").to_string(), lines.join("\n"));
        let lines = ["why", " --> a.toml:2:5", "  |", "2 | c = '''d", "  |     ^"];
        assert_eq!(source.complaint(12..21, "why").to_string(), lines.join("\n"));
    }

    #[test]
    fn every_place_can_be_pointed_at() {
        let text = "ä = 1\n\u{1b}[2J\r\n";
        for start in 0..=text.len() + 2 {
            for end in start..=text.len() + 2 {
                let complaint = Source { name: "x", text }.complaint(start..end, "why");
                assert!(!complaint.to_string().contains('\u{1b}'), "{complaint}");
            }
        }
    }

    #[test]
    fn of_a_long_line_only_the_part_around_the_place_is_shown() {
        let shown = shown(&format!("{}?{}", "ecc && ".repeat(100), " && ecc".repeat(100)));
        let lines: Vec<_> = shown.lines().collect();
        let caret = lines[4].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[3].chars().nth(caret), Some('?'), "{shown}");
        assert!(lines[3].len() < 160, "{shown}");
    }
}
