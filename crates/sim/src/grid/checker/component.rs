//! After healing the grid is one component.
//!
//! Source: docs/design/allocation.md, "What is judged in the simulator"; Voulgaris, Gavidia, van Steen,
//! CYCLON (2005), section 5.1: connectivity is the property that a collection may never lose. Links count
//! both ways; links to the dead and to dead incarnations do not count.

use std::collections::BTreeMap;

use xtreem_base::Instant;

use super::{Checker, Findings};
use crate::grid::seen::{Seen, Snapshot};

pub(super) const NAME: &str = "one_component";

pub(super) struct Component;

impl Checker for Component {
    fn observe(&mut self, _: Instant, _: &Seen, _: &mut Findings) {}

    fn finish(&mut self, at: Instant, end: &Snapshot, findings: &mut Findings) {
        let place: BTreeMap<_, _> =
            end.views.iter().enumerate().map(|(i, (handle, _))| (*handle, i)).collect();
        let mut root: Vec<usize> = (0..end.views.len()).collect();
        for (i, (_, view)) in end.views.iter().enumerate() {
            for j in view.iter().filter_map(|peer| place.get(peer)) {
                let (a, b) = (find(&mut root, i), find(&mut root, *j));
                root[a] = b;
            }
        }
        let mut sizes = vec![0usize; root.len()];
        for i in 0..root.len() {
            sizes[find(&mut root, i)] += 1;
        }
        sizes.retain(|size| *size > 0);
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        if sizes.len() > 1 {
            let (parts, shown) = (sizes.len(), &sizes[..sizes.len().min(5)]);
            findings.add(
                NAME,
                at,
                format!("the live nodes form {parts} components, the largest of {shown:?}"),
            );
        }
    }
}

/// The representative of a set, with path halving.
fn find(root: &mut [usize], mut i: usize) -> usize {
    while root[i] != i {
        root[i] = root[root[i]];
        i = root[i];
    }
    i
}
