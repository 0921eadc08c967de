//! A box in the space of attribute codes.

use minicbor::{Decode, Encode};

use crate::key::{Codes, DIMENSIONS_MAX};

/// All codes from `low` to `high`, both included, in every dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Area {
    #[n(0)]
    pub low: Codes,
    #[n(1)]
    pub high: Codes,
}

impl Area {
    pub const EVERYTHING: Area = Area { low: [0; DIMENSIONS_MAX], high: [u16::MAX; DIMENSIONS_MAX] };

    /// The area of one node.
    pub fn of(codes: &Codes) -> Self {
        Area { low: *codes, high: *codes }
    }

    pub fn contains(&self, codes: &Codes) -> bool {
        (0..DIMENSIONS_MAX).all(|i| (self.low[i]..=self.high[i]).contains(&codes[i]))
    }

    /// Whether all of `inner` lies within.
    pub fn covers(&self, inner: &Area) -> bool {
        self.contains(&inner.low) && self.contains(&inner.high)
    }

    /// The smallest area with both in it.
    pub fn join(&mut self, other: &Area) {
        for i in 0..DIMENSIONS_MAX {
            self.low[i] = self.low[i].min(other.low[i]);
            self.high[i] = self.high[i].max(other.high[i]);
        }
    }

    /// What both have in common; only sensible when they touch.
    pub fn meet(&self, other: &Area) -> Area {
        let mut both = *self;
        for i in 0..DIMENSIONS_MAX {
            both.low[i] = both.low[i].max(other.low[i]);
            both.high[i] = both.high[i].min(other.high[i]);
        }
        both
    }

    /// Grows to `news` at once but shrinks only an eighth of the way: a report that misses somebody must not
    /// hide it, and one too wide merely costs visits.
    pub fn follow(&mut self, news: &Area) {
        for i in 0..DIMENSIONS_MAX {
            self.low[i] = self.low[i].saturating_add(news.low[i].saturating_sub(self.low[i]) / 8);
            self.high[i] = self.high[i].saturating_sub(self.high[i].saturating_sub(news.high[i]) / 8);
        }
        self.join(news);
    }

    /// False for what no set of nodes has: an upper end below its lower one.
    pub fn is_sound(&self) -> bool {
        (0..DIMENSIONS_MAX).all(|i| self.low[i] <= self.high[i])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn area(a: Codes, b: Codes) -> Area {
        let mut area = Area::of(&a);
        area.join(&Area::of(&b));
        area
    }

    proptest! {
        #[test]
        fn a_join_covers_both_and_following_never_loses_the_news(a: Codes, b: Codes, c: Codes, d: Codes) {
            let (old, news) = (area(a, b), area(c, d));
            let mut joined = old;
            joined.join(&news);
            prop_assert!(joined.covers(&old) && joined.covers(&news));
            let mut followed = old;
            followed.follow(&news);
            prop_assert!(followed.covers(&news) && joined.covers(&followed) && followed.is_sound());
        }
    }
}
