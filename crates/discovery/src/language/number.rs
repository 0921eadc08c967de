//! The one number type of attributes and requirements: exact decimals, so that `load.1m < 0.5` needs no
//! floats.

use alloc::format;
use core::fmt;

use minicbor::{Decode, Encode};

use crate::language::requirement::ParseError;
use crate::language::requirement::lexer::{Lexer, Token};
use crate::standard::Unit;

/// A decimal number with three places, held as whole thousandths.
///
/// Sizes are in bytes, frequencies in hertz. The largest is about 9.2 × 10¹⁵ (9.2 PB, 8.2 PiB); larger values
/// saturate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Number(#[n(0)] i64);

impl Number {
    pub const fn from_thousandths(thousandths: i64) -> Self {
        Number(thousandths)
    }

    pub const fn from_whole(whole: i64) -> Self {
        Number(whole.saturating_mul(1_000))
    }

    /// Takes sizes and counts as the machine reports them.
    pub const fn from_unsigned(whole: u64) -> Self {
        if whole > (i64::MAX / 1_000) as u64 { Number(i64::MAX) } else { Number(whole as i64 * 1_000) }
    }

    /// Reads a number with its unit, such as `8GiB`, as it stands in a requirement; and what it counts.
    ///
    /// Here a space may stand before the unit, as nothing else can follow.
    pub fn parse(text: &str) -> Result<(Self, Unit), ParseError> {
        let text = text.trim();
        let digits = text.rfind(|c: char| c.is_ascii_digit()).map_or(0, |last| last + 1);
        let (digits, unit) = text.split_at(digits);
        let joined = format!("{digits}{}", unit.trim_start());
        let mut lexer = Lexer::new(&joined);
        match (lexer.next()?.token, lexer.next()?.token) {
            (Token::Number(number, unit), Token::End) => Ok((number, unit)),
            _ => Err(ParseError::new(text, 0, "another text", "a number, with a unit or without")),
        }
    }

    pub const fn as_thousandths(self) -> i64 {
        self.0
    }

    /// The whole part, rounded towards zero.
    pub const fn whole(self) -> i64 {
        self.0 / 1_000
    }
}

/// Decimal, without trailing zeros: `8`, `0.5`, `-1.25`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, size) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let (whole, part) = (size / 1_000, size % 1_000);
        write!(f, "{sign}{whole}")?;
        match (part, part % 100, part % 10) {
            (0, ..) => Ok(()),
            (_, 0, _) => write!(f, ".{}", part / 100),
            (.., 0) => write!(f, ".{:02}", part / 10),
            _ => write!(f, ".{part:03}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn prints_the_shortest_decimal() {
        let table =
            [(0, "0"), (8_000, "8"), (500, "0.5"), (-1_250, "-1.25"), (-5, "-0.005"), (10_010, "10.01")];
        for (thousandths, text) in table {
            assert_eq!(Number::from_thousandths(thousandths).to_string(), text);
        }
    }

    #[test]
    fn a_text_is_one_number_with_its_unit_or_none() {
        let table = [
            ("8", Some((8_000, Unit::Plain))),
            ("0.5", Some((500, Unit::Plain))),
            ("-8", Some((-8_000, Unit::Plain))),
            ("8GiB", Some(((8 << 30) * 1_000, Unit::Bytes))),
            (" 8 GiB ", Some(((8 << 30) * 1_000, Unit::Bytes))),
            ("1.5kB", Some((1_500_000, Unit::Bytes))),
            ("2.4GHz", Some((2_400_000_000_000, Unit::Hertz))),
            ("", None),
            ("GiB", None),
            ("8gib", None),
            ("8.", None),
            ("8..1", None),
            ("8 8", None),
            ("x86_64", None),
            ("9PiB", None),
            ("0.0001", None),
            ("99999999999999999999", None),
        ];
        for (text, read) in table {
            let read = read.map(|(thousandths, unit)| (Number::from_thousandths(thousandths), unit));
            assert_eq!(Number::parse(text).ok(), read, "{text}");
        }
    }

    #[test]
    fn huge_values_saturate() {
        assert_eq!(Number::from_unsigned(u64::MAX), Number::from_thousandths(i64::MAX));
        assert_eq!(Number::from_whole(i64::MIN), Number::from_thousandths(i64::MIN));
    }
}
