//! Which of the nodes seen make the tightest set: the fewest that are enough together, then those that waste
//! least.
//!
//! A pure function. In general this is a knapsack to be covered in several dimensions, so that work is
//! bounded: with one condition whether there is a set is told exactly, whatever the number of candidates;
//! beyond [`STEPS_MAX`] steps a set may be missed that several conditions allow, and a tighter one than the
//! one taken may exist.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Candidates among which sets are looked for; the caller keeps the best ones (our guess: 40 nodes are
/// visited for a set of six).
pub const CANDIDATES_MAX: usize = 256;
/// Partial sets that one choice looks at (our guess: about a millisecond).
pub const STEPS_MAX: u32 = 20_000;

/// A node as far as the choice sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// There is one for each condition.
    pub(crate) weights: Vec<i64>,
    /// No two members may be of the same one.
    pub(crate) group: u32,
}

/// What a set must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) least: usize,
    pub(crate) most: usize,
    /// What the weights of the members must sum up to at least, and whether more is a waste.
    pub(crate) sums: Vec<(i128, bool)>,
}

/// The members of the tightest set found, by index, rising.
pub(crate) fn choose(candidates: &[Candidate], terms: &Terms) -> Option<Vec<usize>> {
    let mut steps = STEPS_MAX;
    let groups = candidates.iter().map(|candidate| candidate.group).collect::<BTreeSet<_>>().len();
    for size in terms.least.max(1)..=terms.most.min(groups) {
        let enough = |i: usize| best_sum(candidates, size, i).is_some_and(|sum| sum >= terms.sums[i].0);
        if !(0..terms.sums.len()).all(enough) {
            continue;
        }
        let mut walk = Walk::new(candidates, terms, size, &mut steps);
        walk.go(0);
        if let Some((_, chosen)) = walk.best {
            let mut chosen: Vec<usize> = chosen.into_iter().map(|at| walk.order[at]).collect();
            shrink(candidates, terms, &mut chosen);
            chosen.sort_unstable();
            return Some(chosen);
        }
        if *walk.steps == 0 {
            return None;
        }
    }
    None
}

/// The most that `size` candidates of different groups sum up to, for one condition; nothing when there are
/// too few.
pub(crate) fn best_sum(candidates: &[Candidate], size: usize, condition: usize) -> Option<i128> {
    let mut weights: Vec<(i64, u32)> =
        candidates.iter().map(|candidate| (candidate.weights[condition], candidate.group)).collect();
    weights.sort_unstable_by(|a, b| b.cmp(a));
    let mut seen = BTreeSet::new();
    let best = weights.into_iter().filter(|(_, group)| seen.insert(*group)).take(size);
    let best: Vec<i128> = best.map(|(weight, _)| weight.into()).collect();
    (best.len() == size).then(|| best.into_iter().sum())
}

/// Depth first over sets of one size, the largest candidates first.
struct Walk<'a> {
    candidates: &'a [Candidate],
    terms: &'a Terms,
    size: usize,
    /// Candidates by the sum of what they bring to each condition, falling.
    order: Vec<usize>,
    /// The most that one of those from here on brings, for each condition.
    ahead: Vec<Vec<i64>>,
    /// The least that one brings, for each condition.
    floor: Vec<i64>,
    chosen: Vec<usize>,
    sums: Vec<i128>,
    best: Option<(i128, Vec<usize>)>,
    steps: &'a mut u32,
}

impl<'a> Walk<'a> {
    fn new(candidates: &'a [Candidate], terms: &'a Terms, size: usize, steps: &'a mut u32) -> Self {
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        // What a condition asks of each member evenly is its measure.
        let measure = |i: usize| (terms.sums[i].0 / size as i128).abs().max(1);
        let rank = |at: &usize| {
            let parts = candidates[*at].weights.iter().enumerate();
            parts.map(|(i, weight)| i128::from(*weight) * 1_024 / measure(i)).sum::<i128>()
        };
        order.sort_by_cached_key(|at| (core::cmp::Reverse(rank(at)), *at));
        let ahead = (0..terms.sums.len()).map(|i| {
            let mut most = i64::MIN;
            let mut ahead: Vec<i64> = order.iter().rev().map(|at| candidates[*at].weights[i]).collect();
            ahead.iter_mut().for_each(|weight| {
                most = most.max(*weight);
                *weight = most;
            });
            ahead.reverse();
            ahead
        });
        let floor = |i: usize| candidates.iter().map(|candidate| candidate.weights[i]).min().unwrap_or(0);
        Walk {
            ahead: ahead.collect(),
            floor: (0..terms.sums.len()).map(floor).collect(),
            candidates,
            terms,
            size,
            order,
            chosen: Vec::with_capacity(size),
            sums: alloc::vec![0; terms.sums.len()],
            best: None,
            steps,
        }
    }

    /// What the sums are beyond what is asked, where that is a waste, when `left` more members bring the
    /// least.
    fn waste(&self, left: usize) -> i128 {
        let wasted = self.terms.sums.iter().enumerate().filter(|(_, (_, is_waste))| *is_waste);
        wasted
            .map(|(i, (bound, _))| {
                let sum = self.sums[i] + i128::from(self.floor[i]) * left as i128;
                sum.saturating_sub(*bound).max(0)
            })
            .fold(0, i128::saturating_add)
    }

    fn go(&mut self, from: usize) {
        let left = self.size - self.chosen.len();
        if self.best.as_ref().is_some_and(|(waste, _)| self.waste(left) >= *waste) {
            return;
        }
        if left == 0 {
            let is_enough = self.sums.iter().zip(&self.terms.sums).all(|(sum, (bound, _))| sum >= bound);
            if is_enough {
                self.best = Some((self.waste(0), self.chosen.clone()));
            }
            return;
        }
        for at in from..=self.order.len().saturating_sub(left) {
            let reaches = |i: usize| {
                let most = self.ahead[i].get(at).copied().unwrap_or(i64::MIN);
                self.sums[i] + i128::from(most) * left as i128 >= self.terms.sums[i].0
            };
            if *self.steps == 0 || !(0..self.sums.len()).all(reaches) {
                return;
            }
            let candidate = &self.candidates[self.order[at]];
            let group = |at: &usize| self.candidates[self.order[*at]].group;
            if self.chosen.iter().any(|other| group(other) == candidate.group) {
                continue;
            }
            *self.steps -= 1;
            self.chosen.push(at);
            self.sums
                .iter_mut()
                .zip(&candidate.weights)
                .for_each(|(sum, weight)| *sum += i128::from(*weight));
            self.go(at + 1);
            self.chosen.pop();
            self.sums
                .iter_mut()
                .zip(&candidate.weights)
                .for_each(|(sum, weight)| *sum -= i128::from(*weight));
        }
    }
}

/// Puts smaller candidates in the place of members, where the set stays sufficient: what bounded steps left
/// over.
fn shrink(candidates: &[Candidate], terms: &Terms, chosen: &mut [usize]) {
    let waste = |set: &[usize]| {
        let mut waste: i128 = 0;
        for (i, (bound, is_waste)) in terms.sums.iter().enumerate() {
            let sum: i128 = set.iter().map(|at| i128::from(candidates[*at].weights[i])).sum();
            if sum < *bound {
                return None;
            }
            waste = waste.saturating_add(if *is_waste { sum.saturating_sub(*bound) } else { 0 });
        }
        Some(waste)
    };
    let Some(mut least) = waste(chosen) else { return };
    for at in 0..chosen.len() {
        for other in 0..candidates.len() {
            let group = |member: &usize| candidates[*member].group;
            let mut others = chosen.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, member)| member);
            if chosen.contains(&other) || others.any(|member| group(member) == candidates[other].group) {
                continue;
            }
            let old = core::mem::replace(&mut chosen[at], other);
            match waste(chosen) {
                Some(less) if less < least => least = less,
                _ => chosen[at] = old,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates(weights: &[(i64, u32)]) -> Vec<Candidate> {
        weights.iter().map(|(weight, group)| Candidate { weights: [*weight].into(), group: *group }).collect()
    }

    fn apart(weights: &[i64]) -> Vec<Candidate> {
        candidates(&weights.iter().copied().zip(0..).collect::<Vec<_>>())
    }

    #[test]
    fn the_tightest_set_has_the_fewest_members_and_then_the_least_waste() {
        let sum = |least, most, bound| Terms { least, most, sums: [(bound, true)].into() };
        type Row<'a> = (&'a [i64], Terms, Option<&'a [usize]>);
        let table: [Row<'_>; 9] = [
            (&[1, 2, 3], sum(1, 6, 3), Some(&[2])),
            (&[1, 2, 9], sum(1, 6, 3), Some(&[2])),
            (&[5, 9, 4], sum(1, 6, 4), Some(&[2])),
            (&[5, 9, 4, 6], sum(1, 6, 10), Some(&[2, 3])),
            (&[4, 4, 4], sum(1, 2, 10), None),
            (&[4, 4, 4], sum(1, 3, 12), Some(&[0, 1, 2])),
            (&[4, 4, 4], sum(2, 3, 1), Some(&[0, 1])),
            (&[4, 4], sum(3, 3, 1), None),
            (&[], sum(1, 3, 0), None),
        ];
        for (weights, terms, chosen) in table {
            assert_eq!(choose(&apart(weights), &terms).as_deref(), chosen, "{weights:?} {terms:?}");
        }
        // Little is wanted: weights below zero.
        let terms = Terms { least: 3, most: 3, sums: [(-6, false)].into() };
        assert_eq!(choose(&apart(&[-1, -9, -2, -3]), &terms), Some([0, 2, 3].into()));
        // One group has one member.
        let grouped = candidates(&[(8, 1), (7, 1), (2, 2)]);
        assert_eq!(choose(&grouped, &sum(1, 6, 15)), None);
        assert_eq!(choose(&grouped, &sum(1, 6, 9)), Some([1, 2].into()));
    }

    #[test]
    fn work_is_bounded_whatever_the_candidates_are() {
        let many: Vec<i64> = (0..CANDIDATES_MAX as i64).map(|i| 1_000_000 + i * 7_919 % 1_009).collect();
        let terms = Terms { least: 1, most: 64, sums: [(64_032_111, true)].into() };
        let chosen = choose(&apart(&many), &terms).unwrap();
        let sum: i64 = chosen.iter().map(|at| many[*at]).sum();
        assert!(chosen.len() == 64 && (64_032_111..64_033_111).contains(&sum), "{sum}");
        let extreme = apart(&[i64::MAX; 200]);
        assert!(choose(&extreme, &Terms { least: 60, most: 64, sums: [(i128::MAX, true)].into() }).is_none());
        let pull = |i: i64| [i, 1_000 - i];
        let torn: Vec<Candidate> =
            (0..200).map(|i| Candidate { weights: pull(i).into(), group: i as u32 }).collect();
        // Each alone is possible, both are not: a walk over everything that ends.
        let terms = Terms { least: 6, most: 64, sums: [(1_180, true), (6_000, true)].into() };
        assert_eq!(choose(&torn, &terms), None);
    }

    /// All sets.
    fn brute(candidates: &[Candidate], terms: &Terms) -> Option<(usize, i128)> {
        let mut best = None;
        for mask in 1u32..1 << candidates.len() {
            let set: Vec<&Candidate> =
                (0..candidates.len()).filter(|i| mask >> i & 1 == 1).map(|i| &candidates[i]).collect();
            let groups: BTreeSet<u32> = set.iter().map(|member| member.group).collect();
            if groups.len() < set.len() || !(terms.least..=terms.most).contains(&set.len()) {
                continue;
            }
            let excess = |i: usize| {
                set.iter().map(|member| i128::from(member.weights[i])).sum::<i128>() - terms.sums[i].0
            };
            if (0..terms.sums.len()).all(|i| excess(i) >= 0) {
                let waste = (0..terms.sums.len()).filter(|i| terms.sums[*i].1).map(excess).sum();
                best = Some((set.len(), waste)).into_iter().chain(best).min();
            }
        }
        best
    }

    proptest! {
        #[test]
        fn small_choices_are_those_of_brute_force(
            weights in prop::collection::vec(prop::array::uniform2(-20i64..40), 0..9),
            groups in prop::collection::vec(0u32..6, 9),
            bounds in prop::array::uniform2(-30i128..90),
            waste in prop::array::uniform2(any::<bool>()),
            two: bool,
            least in 1usize..4,
            more in 0usize..4,
        ) {
            let conditions = if two { 2 } else { 1 };
            let candidates: Vec<Candidate> = weights
                .iter()
                .zip(groups)
                .map(|(weights, group)| Candidate { weights: weights[..conditions].into(), group })
                .collect();
            let sums = bounds.into_iter().zip(waste).take(conditions).collect();
            let terms = Terms { least, most: least + more, sums };
            let chosen = choose(&candidates, &terms);
            let found = chosen.map(|chosen| {
                let excess = |i: usize| {
                    chosen.iter().map(|at| i128::from(candidates[*at].weights[i])).sum::<i128>()
                        - terms.sums[i].0
                };
                let groups: BTreeSet<u32> = chosen.iter().map(|at| candidates[*at].group).collect();
                assert_eq!(groups.len(), chosen.len());
                assert!((0..conditions).all(|i| excess(i) >= 0));
                (chosen.len(), (0..conditions).filter(|i| terms.sums[*i].1).map(excess).sum())
            });
            prop_assert_eq!(found, brute(&candidates, &terms));
        }
    }
}
