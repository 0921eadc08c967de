//! New lines of a log that is only known by its last lines.

/// The end of what was seen of one log.
#[derive(Default)]
pub(super) struct Follow {
    seen: Vec<String>,
}

impl Follow {
    /// Of the last lines of the log as they are now, those that were not there at the last look.
    ///
    /// The lines seen before are looked for as a beginning of the lines now, always of equally many; when
    /// none of them is left, the log moved on by more than was asked for (or another run of the program
    /// writes it) and all lines are new. A program that repeats itself exactly may have repetitions dropped.
    pub(super) fn take(&mut self, now: Vec<String>) -> Vec<String> {
        let overlap = (0..=self.seen.len().min(now.len()))
            .rev()
            .find(|&len| self.seen[self.seen.len() - len..] == now[..len])
            .unwrap_or(0);
        let new = now[overlap..].to_vec();
        self.seen = now;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    #[test]
    fn only_new_lines_are_given() {
        // What the log shows at each look, and what is new in it.
        let looks = [("", ""), ("ab", "ab"), ("ab", ""), ("abc", "c"), ("bcd", "d"), ("xy", "xy"), ("y", "")];
        let mut follow = Follow::default();
        for (now, new) in looks {
            assert_eq!(follow.take(lines(now)), lines(new), "at {now}");
        }
    }

    #[test]
    fn repetitions_are_kept_while_the_log_is_short() {
        let mut follow = Follow::default();
        follow.take(lines("aa"));
        assert_eq!(follow.take(lines("aaaa")), lines("aa"));
    }
}
