//! How long ago something was.

/// Units with their seconds, and up to how many seconds each is used: "90 min" says more than "1 h".
const UNITS: [(&str, u64, u64); 4] =
    [("s", 1, 120), ("min", 60, 2 * 3_600), ("h", 3_600, 2 * 86_400), ("days", 86_400, u64::MAX)];

/// As people are told.
pub fn ago(seconds: u64) -> String {
    let (unit, length, _) = UNITS.into_iter().find(|(.., until)| seconds < *until).unwrap_or(UNITS[3]);
    format!("{} {unit} ago", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_grows_with_the_time() {
        let table = [
            (0, "0 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7_199, "119 min ago"),
            (7_200, "2 h ago"),
            (2 * 86_400, "2 days ago"),
            (u64::MAX, "213503982334601 days ago"),
        ];
        for (seconds, text) in table {
            assert_eq!(ago(seconds), text);
        }
    }
}
