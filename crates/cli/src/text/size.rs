//! Numbers and ids for humans.

/// `bytes` in the largest binary unit with at least one whole, one decimal place where it is not whole.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    // The highest set bit decides: 10 bits a unit.
    let power = (bytes.ilog2() / 10) as usize;
    let unit = 1u64 << (10 * power);
    let (whole, tenth) = (bytes / unit, (bytes % unit) as u128 * 10 / u128::from(unit));
    match tenth {
        0 => format!("{whole} {}", UNITS[power - 1]),
        _ => format!("{whole}.{tenth} {}", UNITS[power - 1]),
    }
}

/// Thousandths of cores, without trailing zeros.
pub fn cores(milli: u32) -> String {
    let text = format!("{}.{:03}", milli / 1_000, milli % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The first digits of an id: enough to tell it on one screen, and accepted by every command.
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (8 << 30, "8 GiB"),
            ((8 << 30) - 1, "7.9 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (size, text) in table {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn cores_are_decimal() {
        for (milli, text) in [(1_000, "1"), (500, "0.5"), (1_250, "1.25"), (10_000, "10"), (1, "0.001")] {
            assert_eq!(cores(milli), text);
        }
    }

    #[test]
    fn short_ids_do_not_panic() {
        assert_eq!((short("0123456789"), short("01"), short("äöüääöü")), ("01234567", "01", "äöüä"));
    }
}
