//! Any nodes that match, as the search finds them: its order is random already, and it spreads load best.

use alloc::vec::Vec;

use xtreem_base::Rng;

use super::{Choice, Placement, Wishes};

#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Placement for Random {
    fn wishes(&self, _: u16) -> Wishes {
        Wishes::default()
    }

    fn choose(&self, choice: &Choice<'_>, rng: &mut Rng) -> Vec<usize> {
        let mut all: Vec<usize> = (0..choice.candidates.len()).collect();
        rng.shuffle(&mut all);
        all.truncate(choice.wanted);
        all
    }
}
