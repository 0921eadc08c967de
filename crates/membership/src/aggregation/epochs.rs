//! Which epoch a node is in, and when it believes that another one has begun.
//!
//! Source: Jelasity, Montresor, Babaoglu 2005, §4: epochs restart the averages and spread epidemically; who
//! comes in the middle of one waits for the next. Here a single peer is believed only near the end of an
//! epoch, and otherwise three different ones are: nobody alone makes a grid begin again and again.

use xtreem_base::{Call, Duration, Handle, Instant};

use super::config::Config;

/// How old an epoch is, in parts of a round: whole ones would add up when nodes hear of an epoch from each
/// other.
pub type Age = u16;
/// Parts of a round.
pub(super) const ROUND: Age = 16;
/// Age up to which an epoch takes in nodes that hear of it: three rounds, our guess. All nodes begin within
/// two, and each round adds 0.2 % of newcomers to the size.
pub(super) const OPEN_AGE: Age = 3 * ROUND;
/// After that a node that hears of no epoch begins the first one.
const LONELY_AGE: Age = 3 * ROUND;
/// Peers that must say so before an unexpected epoch is believed.
const WITNESSES: usize = 3;
/// Nobody who knows of an epoch believes in one farther ahead, whoever says so: seven months of a split grid.
const AHEAD_MAX: u32 = 1 << 16;
/// The highest that a newcomer believes in: after that many there is room for as many more.
const NUMBER_MAX: u32 = u32::MAX / 2;

#[derive(Clone, Debug)]
pub(super) struct Epochs {
    /// Zero: none is known.
    pub number: u32,
    /// When it began, as far as this node was told.
    began: Instant,
    /// This node's values are in the averages.
    pub is_in: bool,
    /// Peers that spoke of unexpected epochs since this one began, and the lowest that they spoke of with its
    /// age.
    witnesses: [Handle; WITNESSES - 1],
    claim: (u32, Age),
}

/// What to make of a word on epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Known,
    /// It has begun: move on.
    Begun {
        epoch: u32,
        age: Age,
    },
    /// Not believed yet.
    Unexpected,
}

impl Epochs {
    pub fn new(now: Instant) -> Self {
        Epochs {
            number: 0,
            began: now,
            is_in: false,
            witnesses: [Handle::NONE; WITNESSES - 1],
            claim: (u32::MAX, 0),
        }
    }

    pub fn age(&self, call: Call<'_, Config>) -> Age {
        let parts =
            call.now.since(self.began).as_micros() * u64::from(ROUND) / call.config.period.as_micros().max(1);
        Age::try_from(parts).unwrap_or(Age::MAX)
    }

    pub fn hear(&mut self, call: Call<'_, Config>, from: Handle, epoch: u32, age: Age) -> Word {
        if epoch <= self.number {
            return Word::Known;
        }
        let highest = if self.number == 0 { NUMBER_MAX } else { self.number.saturating_add(AHEAD_MAX) };
        if epoch > highest {
            return Word::Unexpected;
        }
        let is_ripe = self.number == 0 || self.age(call) >= call.config.ripe_age();
        if epoch == self.number.saturating_add(1) && is_ripe {
            return Word::Begun { epoch, age: age.min(call.config.age_max() / 4) };
        }
        if epoch < self.claim.0 {
            self.claim = (epoch, age);
        }
        if self.witnesses.contains(&from) {
            return Word::Unexpected;
        }
        match self.witnesses.iter_mut().find(|witness| **witness == Handle::NONE) {
            Some(place) => {
                *place = from;
                Word::Unexpected
            }
            None => Word::Begun { epoch: self.claim.0, age: self.claim.1.min(call.config.age_max()) },
        }
    }

    pub fn witnesses(&self) -> impl Iterator<Item = Handle> + '_ {
        self.witnesses.iter().copied()
    }

    /// Asked at the beginning of a round.
    pub fn is_over(&self, call: Call<'_, Config>) -> bool {
        let age = self.age(call);
        age >= if self.number == 0 { LONELY_AGE } else { call.config.age_max() }
    }

    pub fn move_on(&mut self, call: Call<'_, Config>, epoch: u32, age: Age) {
        // A newcomer that hears of the very first epoch is as good as anybody.
        let was_here = self.number > 0 || epoch == 1;
        let since = Duration::from_micros(call.config.period.as_micros() * u64::from(age) / u64::from(ROUND));
        *self = Epochs { number: epoch, is_in: was_here && age <= OPEN_AGE, ..Epochs::new(call.now - since) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u32) -> Handle {
        Handle::from_u32(number)
    }

    const CONFIG: Config = Config {
        period: Duration::from_secs(10),
        reply_timeout: Duration::from_secs(1),
        rounds: 30,
        tries: 3,
    };
    const NOW: Instant = Instant::from_millis(1_000_000);

    fn at(number: u32, age: Age) -> Epochs {
        let mut epochs = Epochs::new(NOW);
        epochs.move_on(Call::new(&CONFIG, NOW), number, age);
        epochs
    }

    #[test]
    fn the_next_epoch_is_believed_near_the_end_of_this_one() {
        let begun = |epoch, age| Word::Begun { epoch, age };
        for (age, epoch, word) in [
            (29, 7, Word::Known),
            (29, 8, begun(8, ROUND)),
            (23, 8, begun(8, ROUND)),
            (22, 8, Word::Unexpected),
            (29, 9, Word::Unexpected),
            (29, u32::MAX, Word::Unexpected),
        ] {
            assert_eq!(
                at(7, age * ROUND).hear(Call::new(&CONFIG, NOW), peer(1), epoch, ROUND),
                word,
                "{age} {epoch}"
            );
        }
        // A single word makes an epoch at most a quarter shorter.
        assert_eq!(
            at(7, 29 * ROUND).hear(Call::new(&CONFIG, NOW), peer(1), 8, Age::MAX),
            begun(8, 30 * ROUND / 4)
        );
        assert_eq!(Epochs::new(NOW).hear(Call::new(&CONFIG, NOW), peer(1), 1, 2), begun(1, 2));
        assert_eq!(Epochs::new(NOW).hear(Call::new(&CONFIG, NOW), peer(1), 2, 2), Word::Unexpected);
    }

    #[test]
    fn three_peers_are_believed_at_the_lowest_word_and_one_never() {
        let mut epochs = at(7, 5 * ROUND);
        for _ in 0..9 {
            assert_eq!(epochs.hear(Call::new(&CONFIG, NOW), peer(1), 60_000, 0), Word::Unexpected);
        }
        assert_eq!(epochs.hear(Call::new(&CONFIG, NOW), peer(2), 40, 60), Word::Unexpected);
        assert_eq!(epochs.hear(Call::new(&CONFIG, NOW), peer(3), 41, 70), Word::Begun { epoch: 40, age: 60 });
        epochs.move_on(Call::new(&CONFIG, NOW), 40, 60);
        assert!(!epochs.is_in);
        assert_eq!(epochs.age(Call::new(&CONFIG, NOW)), 60);
        assert_eq!(epochs.hear(Call::new(&CONFIG, NOW), peer(2), 42, 6), Word::Unexpected);
    }

    #[test]
    fn no_number_of_peers_leads_far_ahead_or_to_the_last_number() {
        for (number, epoch, is_believed) in [
            (7, 7 + AHEAD_MAX, true),
            (7, 8 + AHEAD_MAX, false),
            (7, u32::MAX, false),
            (0, NUMBER_MAX, true),
            (0, NUMBER_MAX + 1, false),
            (u32::MAX - 1, u32::MAX, true),
            (u32::MAX, u32::MAX, false),
        ] {
            let mut epochs = Epochs { number, ..Epochs::new(NOW) };
            let heard = (1..10).map(|from| epochs.hear(Call::new(&CONFIG, NOW), peer(from), epoch, 0));
            let is_begun = heard.into_iter().any(|word| matches!(word, Word::Begun { .. }));
            assert_eq!(is_begun, is_believed, "{number} {epoch}");
        }
    }

    #[test]
    fn only_who_was_there_or_is_early_takes_part() {
        let late = OPEN_AGE + 1;
        for (number, epoch, age, is_in) in
            [(7, 8, 0, true), (7, 8, OPEN_AGE, true), (7, 8, late, false), (0, 8, 0, false), (0, 1, 0, true)]
        {
            let mut epochs = Epochs { number, ..Epochs::new(NOW) };
            epochs.move_on(Call::new(&CONFIG, NOW), epoch, age);
            assert_eq!(epochs.is_in, is_in, "{number} {epoch} {age}");
        }
    }
}
