//! As many different sites, racks or hosts as can be, and as evenly as can be.
//!
//! One by one the candidate whose value has the fewest nodes so far. That is optimal: the values form a
//! partition, so taking from the least used one leaves no better choice for later (property test).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use xtreem_base::Rng;
use xtreem_discovery::{Facts, FactsAsk, FactsError};

use super::{Choice, Placement, Wishes, surplus};

#[derive(Clone, Debug)]
pub struct Spread {
    by: Box<str>,
    facts: FactsAsk,
}

impl Spread {
    /// The attribute whose values are spread over, `site` for example.
    pub fn by(attribute: &str) -> Result<Self, FactsError> {
        Ok(Spread { by: attribute.into(), facts: FactsAsk::new([attribute])? })
    }

    /// Nodes without the attribute count as one value: nothing says that they are apart.
    fn value(&self, facts: &Facts) -> Option<alloc::string::String> {
        facts.values.value(&self.by).map(alloc::string::ToString::to_string)
    }
}

impl Placement for Spread {
    fn wishes(&self, wanted: u16) -> Wishes {
        Wishes { surplus: surplus(wanted), facts: self.facts.clone() }
    }

    fn choose(&self, choice: &Choice<'_>, rng: &mut Rng) -> Vec<usize> {
        let mut groups: BTreeMap<_, Group> = BTreeMap::new();
        for facts in choice.kept {
            groups.entry(self.value(facts)).or_default().used += 1;
        }
        for (at, candidate) in choice.candidates.iter().enumerate() {
            groups.entry(self.value(&candidate.facts)).or_default().left.push(at);
        }
        let mut groups: Vec<Group> = groups.into_values().filter(|group| !group.left.is_empty()).collect();
        // So that of sites used alike not always the first by name is taken.
        rng.shuffle(&mut groups);
        let mut chosen = Vec::new();
        while chosen.len() < choice.wanted {
            let least =
                groups.iter_mut().filter(|group| !group.left.is_empty()).min_by_key(|group| group.used);
            let Some(group) = least else { break };
            group.used += 1;
            chosen.extend(group.left.pop());
        }
        chosen
    }
}

#[derive(Default)]
struct Group {
    used: usize,
    left: Vec<usize>,
}
