//! A cumulative distribution as far as its bounds tell, and what lies between them.

use super::bounds::{BOUNDS, Row};
use super::{Fraction, WHOLE};

/// Parts of a [`Fraction`]'s unit in [`Curve::refined`].
const FINE: u64 = 1 << 16;

/// Shares of nodes at or below each bound of one attribute.
#[derive(Clone, Copy)]
pub struct Curve<'a> {
    known: Option<(&'a Row, &'a [Fraction])>,
    /// Leaves the checks out.
    is_unchecked: bool,
}

impl<'a> Curve<'a> {
    /// `values` are those of the bounds of `row`, rising.
    pub fn new(row: &'a Row, values: &'a [Fraction]) -> Self {
        Curve { known: Some((row, values)), is_unchecked: false }
    }

    /// The same without the bounds that only measure the error.
    pub fn unchecked(row: &'a Row, values: &'a [Fraction]) -> Self {
        Curve { known: Some((row, values)), is_unchecked: true }
    }

    /// A curve of which nothing is known.
    pub fn even() -> Self {
        Curve { known: None, is_unchecked: false }
    }

    /// The codes whose shares are known.
    pub fn bounds(&self) -> impl Iterator<Item = u16> {
        self.known.into_iter().flat_map(|(row, _)| row.codes)
    }

    /// The bounds on both sides of a code with their shares: the last one below it, the first one that is
    /// not.
    fn around(&self, code: u16) -> ((u16, Fraction), (u16, Fraction)) {
        let (start, end) = ((0, 0), (u16::MAX, WHOLE));
        let Some((row, values)) = self.known else { return (start, end) };
        let counts = |bound: &usize| !(self.is_unchecked && row.is_check(*bound));
        let at = row.codes.partition_point(|bound| *bound < code);
        let pair = |bound: usize| (row.codes[bound], values[bound]);
        ((0..at).rev().find(counts).map_or(start, pair), (at..BOUNDS).find(counts).map_or(end, pair))
    }

    /// The share of nodes whose code is `code` or less, by a straight line between two bounds.
    pub fn at_most(&self, code: u16) -> Fraction {
        (self.line(code) / FINE) as Fraction
    }

    fn line(&self, code: u16) -> u64 {
        let ((low, below), (high, above)) = self.around(code);
        let rise = u64::from(above.saturating_sub(below));
        u64::from(below) * FINE + part(rise * FINE, u64::from(code - low), u64::from(high - low))
    }

    /// The same, 65,536 times as fine, with sorted values of some random nodes showing where between two
    /// bounds nodes are. The straight line counts as one of them.
    pub fn refined(&self, samples: &[u16], code: u16) -> u64 {
        let ((low, below), (high, above)) = self.around(code);
        let before = |code: u16| samples.partition_point(|sample| *sample <= code) as u64;
        // The first bound is zero: nothing lies below it.
        let (start, end) = (before(low), before(high));
        let rise = u64::from(above.saturating_sub(below)) * FINE / (end - start + 1);
        u64::from(below) * FINE
            + rise * (before(code) - start)
            + part(rise, u64::from(code - low), u64::from(high - low))
    }
}

/// `whole * some / all`; all of it when `all` is nothing.
fn part(whole: u64, some: u64, all: u64) -> u64 {
    (whole * some).checked_div(all).unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use super::super::bounds::Bounds;
    use super::*;

    #[test]
    fn between_bounds_the_curve_is_straight_and_checks_can_be_left_out() {
        let bounds = Bounds::even(1);
        let row = &bounds.rows[0];
        let values: [Fraction; BOUNDS] = core::array::from_fn(|i| i as Fraction * 1_000);
        let curve = Curve::new(row, &values);
        for (bound, value) in row.codes.iter().zip(values) {
            assert_eq!(curve.at_most(*bound), value);
        }
        let (a, b) = (row.codes[20], row.codes[21]);
        assert_eq!(curve.at_most(a + (b - a) / 2), 20_500);
        assert_eq!(curve.at_most(u16::MAX), WHOLE);
        let check = (0..BOUNDS).find(|bound| row.is_check(*bound)).unwrap();
        let mut bent = values;
        bent[check] += 900;
        let unchecked = Curve::unchecked(row, &bent);
        assert!(unchecked.at_most(row.codes[check]).abs_diff(values[check]) <= 1);
        assert_eq!(Curve::new(row, &bent).at_most(row.codes[check]), bent[check]);
    }

    #[test]
    fn samples_show_where_between_two_bounds_the_nodes_are() {
        let bounds = Bounds::even(1);
        let row = &bounds.rows[0];
        let mut values = [WHOLE; BOUNDS];
        values[0] = 0;
        let code = row.codes[1] - 10;
        let curve = Curve::new(row, &values);
        let share = |at| curve.refined(&[code; 9], at) / FINE;
        assert!(share(code - 1) < u64::from(WHOLE) / 9);
        assert!(share(code) > u64::from(WHOLE) / 10 * 9);
    }
}
