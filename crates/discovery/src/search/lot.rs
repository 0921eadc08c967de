//! Nodes drawn by lot: every one that matches is found with equal odds, whoever searches.
//!
//! Each node has a turn, drawn from an exponential distribution, and a search goes by the turns. The turn of
//! a subtree is the first one of its nodes, whose distribution depends on their number alone, so that it can
//! be drawn before anybody is known who stands in it. Once a subtree is opened, the turns of its parts are
//! drawn so that the first of them is the one that was drawn for the whole (exponential variates have no
//! memory: Efraimidis, Spirakis, Weighted random sampling with a reservoir, Information Processing Letters
//! 97, 2006).

use xtreem_base::Rng;

use crate::region::WHOLE;
use crate::visit::route::{Link, Step};

#[derive(Clone, Debug)]
pub(crate) struct Lots {
    /// The requester, which is one node like others.
    pub(crate) own: Option<Step>,
    /// Visits left that ask for nothing but the way into a subtree.
    pub(crate) roams: u32,
}

impl Lots {
    /// Time until the first of the nodes that match in a subtree: shorter the more there are.
    pub(crate) fn wait(link: &Link, rng: &mut Rng) -> u64 {
        let whole = u64::from(WHOLE);
        let share = u64::from(link.place.max(1)) * u64::from(link.state.max(1)) / whole;
        let nodes = u64::from(link.count) * share.max(1);
        (exponential(rng) << 36) / nodes
    }
}

/// The negative binary logarithm of a random number of (0, 1], in 65,536ths: less than 2^23.
fn exponential(rng: &mut Rng) -> u64 {
    let draw = rng.next_u64() | 1;
    let zeros = draw.leading_zeros();
    // 1 <= mantissa < 2, of 2^63; squared, its logarithm is doubled: one more bit of it passes the point.
    let mut mantissa = draw << zeros;
    let mut logarithm = 0u64;
    for _ in 0..16 {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let bit = (square >> 64) as u64;
        mantissa = (square >> bit) as u64;
        logarithm = logarithm << 1 | bit;
    }
    (u64::from(zeros + 1) << 16) - logarithm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_of_random_numbers_has_mean_and_median_of_an_exponential() {
        let mut rng = Rng::new(202_611_261_000);
        let mut draws: alloc::vec::Vec<u64> = (0..20_000).map(|_| exponential(&mut rng)).collect();
        let mean = draws.iter().sum::<u64>() / 20_000;
        draws.sort_unstable();
        // 1 / ln 2 and 1, times 65,536.
        assert!(mean.abs_diff(94_548) < 2_000, "{mean}");
        assert!(draws[10_000].abs_diff(65_536) < 2_000, "{}", draws[10_000]);
    }

    #[test]
    fn a_subtree_of_nine_comes_before_one_node_nine_times_in_ten() {
        let link = |count| Link {
            level: 0,
            count,
            place: WHOLE,
            state: WHOLE,
            alternates: alloc::vec::Vec::new(),
            peaks: alloc::vec::Vec::new(),
        };
        let mut rng = Rng::new(202_611_261_001);
        let first = |_: &u32| Lots::wait(&link(9), &mut rng) < Lots::wait(&link(1), &mut rng);
        let nine = (0..10_000).filter(first).count();
        assert!((8_900..9_100).contains(&nine), "{nine}");
    }
}
