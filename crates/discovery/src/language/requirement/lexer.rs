//! Text to tokens, one at a time. Numbers leave here exact, with their unit already multiplied in.

use alloc::format;
use alloc::string::String;

use crate::Number;
use crate::language::attributes::{NAME_LEN_MAX, is_name_char};
use crate::language::standard::Unit;

use super::ast::Relation;
use super::error::ParseError;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Name(&'a str),
    Number(Number, Unit),
    Text(String),
    True,
    False,
    In,
    Has,
    Relation(Relation),
    And,
    Or,
    Not,
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Range,
    End,
}

/// A token and where it stands, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Spanned<'a> {
    pub(crate) token: Token<'a>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

pub(crate) struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

/// Suffixes of numbers, what they multiply by, and what they count.
const UNITS: [(&str, i128, Unit); 15] = [
    ("B", 1, Unit::Bytes),
    ("kB", 1_000, Unit::Bytes),
    ("MB", 1_000_000, Unit::Bytes),
    ("GB", 1_000_000_000, Unit::Bytes),
    ("TB", 1_000_000_000_000, Unit::Bytes),
    ("PB", 1_000_000_000_000_000, Unit::Bytes),
    ("KiB", 1 << 10, Unit::Bytes),
    ("MiB", 1 << 20, Unit::Bytes),
    ("GiB", 1 << 30, Unit::Bytes),
    ("TiB", 1 << 40, Unit::Bytes),
    ("PiB", 1 << 50, Unit::Bytes),
    ("Hz", 1, Unit::Hertz),
    ("kHz", 1_000, Unit::Hertz),
    ("MHz", 1_000_000, Unit::Hertz),
    ("GHz", 1_000_000_000, Unit::Hertz),
];
const UNITS_EXPECTED: &str = "a unit: B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB, Hz, kHz, MHz or GHz";

/// Signs, longest first.
const SIGNS: [(&str, Token<'static>); 15] = [
    ("==", Token::Relation(Relation::Equal)),
    ("!=", Token::Relation(Relation::NotEqual)),
    ("<=", Token::Relation(Relation::LessOrEqual)),
    (">=", Token::Relation(Relation::GreaterOrEqual)),
    ("&&", Token::And),
    ("||", Token::Or),
    ("..", Token::Range),
    ("<", Token::Relation(Relation::Less)),
    (">", Token::Relation(Relation::Greater)),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
    ("[", Token::OpenList),
    ("]", Token::CloseList),
    (",", Token::Comma),
];

/// Digits of a number, before its unit; more cannot be exact in any case.
const DIGITS_MAX: usize = 19;

impl<'a> Lexer<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Lexer { source, at: 0 }
    }

    /// Reads from byte `at` on; places are told in the whole text.
    pub(crate) fn starting_at(source: &'a str, at: usize) -> Self {
        Lexer { source, at }
    }

    pub(crate) fn source(&self) -> &'a str {
        self.source
    }

    /// Takes the next character when it is one of these, and says where it stood.
    pub(crate) fn take(&mut self, one_of: &[char]) -> Option<(char, usize)> {
        let rest = self.rest().trim_start();
        let at = self.source.len() - rest.len();
        let sign = rest.chars().next().filter(|c| one_of.contains(c))?;
        self.at = at + sign.len_utf8();
        Some((sign, at))
    }

    pub(crate) fn next(&mut self) -> Result<Spanned<'a>, ParseError> {
        let rest = self.rest().trim_start();
        let start = self.source.len() - rest.len();
        self.at = start;
        let token = match rest.chars().next() {
            None => Token::End,
            Some('"') => self.text()?,
            Some(c) if c.is_ascii_digit() || c == '-' => self.number()?,
            Some(c) if c.is_ascii_lowercase() || c == '_' => self.name()?,
            Some(c) => self.sign(c)?,
        };
        Ok(Spanned { token, start, end: self.at })
    }

    /// The error that `found` stands at byte `offset`.
    pub(crate) fn error(
        &self,
        offset: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> ParseError {
        ParseError::new(self.source, offset, found, expected)
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Takes the characters that satisfy `take`.
    fn run(&mut self, take: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let run = &rest[..rest.find(|c| !take(c)).unwrap_or(rest.len())];
        self.at += run.len();
        run
    }

    fn sign(&mut self, first: char) -> Result<Token<'a>, ParseError> {
        for (sign, token) in SIGNS {
            if self.rest().starts_with(sign) {
                self.at += sign.len();
                return Ok(token);
            }
        }
        let expected = match first {
            '=' => "`==`",
            '&' => "`&&`",
            '|' => "`||`",
            '\'' => "a text in double quotes",
            'A'..='Z' => "an attribute name, which is in lower case",
            _ => "an attribute name, a literal or an operator",
        };
        Err(self.error(self.at, quote(first), expected))
    }

    fn name(&mut self) -> Result<Token<'a>, ParseError> {
        let start = self.at;
        loop {
            self.run(is_name_char);
            // A dot belongs to the name only when a part follows it: `a..b` is a range.
            let mut ahead = self.rest().chars();
            if ahead.next() != Some('.') || !ahead.next().is_some_and(is_name_char) {
                break;
            }
            self.at += 1;
        }
        let name = &self.source[start..self.at];
        if let Some(c) = self.rest().chars().next().filter(|c| c.is_alphanumeric()) {
            return Err(self.error(self.at, quote(c), "lower-case letters, digits, `_` and `.` in a name"));
        }
        if name.len() > NAME_LEN_MAX {
            let found = format!("a name of {} characters", name.len());
            return Err(self.error(start, found, format!("at most {NAME_LEN_MAX}")));
        }
        Ok(match name {
            "true" => Token::True,
            "false" => Token::False,
            "in" => Token::In,
            "has" => Token::Has,
            _ => Token::Name(name),
        })
    }

    fn number(&mut self) -> Result<Token<'a>, ParseError> {
        let start = self.at;
        let negative = self.rest().starts_with('-');
        self.at += usize::from(negative);
        let whole = self.run(|c| c.is_ascii_digit());
        if whole.is_empty() {
            return Err(self.error(start, "`-`", "a number"));
        }
        let mut places = "";
        let mut ahead = self.rest().chars();
        if ahead.next() == Some('.') && ahead.next().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
            places = self.run(|c| c.is_ascii_digit());
        }
        let unit_at = self.at;
        let suffix = self.run(|c| c.is_alphanumeric() || c == '%' || c == '_');
        let (factor, unit) = match UNITS.iter().find(|(name, ..)| *name == suffix) {
            Some((_, factor, unit)) => (*factor, *unit),
            None if suffix.is_empty() => (1, Unit::Plain),
            None => return Err(self.error(unit_at, format!("`{suffix}`"), UNITS_EXPECTED)),
        };
        let places = places.trim_end_matches('0');
        if whole.len() + places.len() > DIGITS_MAX {
            return Err(self.error(
                start,
                "a longer number",
                format!("a number of at most {DIGITS_MAX} digits"),
            ));
        }
        // At most 19 digits, 50 bits of unit and 3 more places: below 2^124, so nothing overflows.
        let digits =
            whole.bytes().chain(places.bytes()).fold(0, |sum: i128, b| sum * 10 + i128::from(b - b'0'));
        let scale = 10i128.pow(places.len() as u32);
        let thousandths = digits * factor * 1_000;
        if thousandths % scale != 0 {
            return Err(self.error(start, "a finer number", "a number of whole thousandths"));
        }
        let thousandths = thousandths / scale * if negative { -1 } else { 1 };
        match i64::try_from(thousandths) {
            Ok(thousandths) => Ok(Token::Number(Number::from_thousandths(thousandths), unit)),
            Err(_) => Err(self.error(start, "a larger number", "a number below 9.2e15")),
        }
    }

    fn text(&mut self) -> Result<Token<'a>, ParseError> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = start + at + 1;
                    return Ok(Token::Text(text));
                }
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((at, c)) => {
                        return Err(self.error(start + at, quote(c), "`\\\"`, `\\\\`, `\\n` or `\\t`"));
                    }
                    None => break,
                },
                _ => text.push(c),
            }
        }
        Err(self.error(start, "a text without end", "a closing `\"`"))
    }
}

/// One character for a message; what would disturb a terminal is escaped.
pub(crate) fn quote(c: char) -> String {
    if c.is_control() { format!("`{}`", c.escape_default()) } else { format!("`{c}`") }
}
