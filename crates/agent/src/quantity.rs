//! Numbers with units as people write them: `8GiB`, `2.4GHz`, `0.5`. The units of the requirement language.

use xtreem_discovery::Number;

/// Factor of each unit. `kB` and its like are powers of ten, `KiB` and its like powers of two (IEC 80000-13).
const UNITS: [(&str, i128); 16] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("Hz", 1),
    ("kHz", 1_000),
    ("MHz", 1_000_000),
    ("GHz", 1_000_000_000),
];

/// The number that `text` says, or nothing when it is no number with a known unit.
///
/// At most three decimal places of the result are kept; a result beyond [`Number`]'s range is refused.
pub fn parse(text: &str) -> Option<Number> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    // Eighteen digits fit i128 with any factor; more say nothing a machine could have.
    if whole.is_empty() || whole.len() > 18 || part.len() > 9 || number.ends_with('.') {
        return None;
    }
    let scale = 10i128.pow(part.len() as u32);
    let value = format!("{whole}{part}").parse::<i128>().ok()?;
    let thousandths = value * factor * 1_000 / scale;
    i64::try_from(thousandths).ok().map(Number::from_thousandths)
}

/// A size in whole bytes.
pub fn parse_bytes(text: &str) -> Option<u64> {
    if text.contains("Hz") {
        return None;
    }
    u64::try_from(parse(text)?.whole()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_mean_what_the_requirement_language_means() {
        let table = [
            ("8", Some(8_000)),
            ("0.5", Some(500)),
            ("8GiB", Some((8 << 30) * 1_000)),
            ("8 GiB", Some((8 << 30) * 1_000)),
            ("1.5kB", Some(1_500_000)),
            ("2.4GHz", Some(2_400_000_000_000)),
            ("", None),
            ("GiB", None),
            ("8gib", None),
            ("8.", None),
            ("8..1", None),
            ("-8", None),
            ("x86_64", None),
            ("9PiB", None),
            ("99999999999999999999", None),
        ];
        for (text, thousandths) in table {
            assert_eq!(parse(text).map(Number::as_thousandths), thousandths, "{text}");
        }
        assert_eq!(parse_bytes("256MiB"), Some(256 << 20));
        assert_eq!(parse_bytes("1GHz"), None);
    }
}
