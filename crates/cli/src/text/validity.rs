//! How long a credential is good.

use std::time::{SystemTime, UNIX_EPOCH};

use xtreem_net::date_at;

const DAY: u64 = 86_400;

/// As people are told, at `now`; both in Unix seconds.
pub fn validity(not_after: u64, now: u64) -> String {
    let until = date_at(not_after, now);
    // A credential that was issued a second ago has all its days before it.
    match not_after.checked_sub(now).map(|left| if left < DAY { 0 } else { left.div_ceil(DAY) }) {
        Some(0) => format!("until {until}, less than a day"),
        Some(1) => format!("until {until}, 1 more day"),
        Some(days) => format!("until {until}, {days} more days"),
        None => format!("no more, it expired on {until}: `xtreem vo renew` gives it new dates"),
    }
}

/// Zero when the clock stands before 1970.
pub fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_is_told_by_its_last_day_and_in_days() {
        let now = 1_800_000_000;
        let table = [
            (3 * DAY, "until 2027-01-18, 3 more days"),
            (3 * DAY - 5, "until 2027-01-18, 3 more days"),
            (DAY, "until 2027-01-16 08:00 UTC, 1 more day"),
            (DAY - 1, "until 2027-01-16 07:59 UTC, less than a day"),
            (0, "until 2027-01-15 08:00 UTC, less than a day"),
        ];
        for (left, text) in table {
            assert_eq!(validity(now + left, now), text);
        }
        assert!(validity(now - 1, now).starts_with("no more, it expired on 2027-01-15 07:59 UTC"));
    }
}
