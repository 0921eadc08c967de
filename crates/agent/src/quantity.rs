//! Sizes as people write them: `8GiB`, `20 GB`. The units are those of the requirement language.

use xtreem_discovery::Number;
use xtreem_discovery::standard::Unit;

/// A size in whole bytes, or nothing when the text says none.
pub fn parse_bytes(text: &str) -> Option<u64> {
    match Number::parse(text) {
        Ok((size, Unit::Bytes | Unit::Plain)) => u64::try_from(size.whole()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_not_negative_and_count_bytes() {
        let table =
            [("256MiB", Some(256 << 20)), ("7", Some(7)), ("-8B", None), ("1GHz", None), ("8gb", None)];
        for (text, size) in table {
            assert_eq!(parse_bytes(text), size, "{text}");
        }
    }
}
