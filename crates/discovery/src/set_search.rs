//! The part of a search that looks for a set: candidates, the set chosen among them, and its holds.
//!
//! Source: docs/design/selection.md, "Sets". Visits only ask; when the candidates seen are enough together, the
//! members of the tightest set among them are asked once more, now for holds, and answer with their values of that
//! moment. Who refuses is no candidate any more, and the search goes on where it was; whatever is held and not in the
//! set is given back at once.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use xtreem_base::Handle;

use crate::choice::{CANDIDATES_MAX, Candidate, Terms, best_sum, choose};
use crate::hold::HoldAsk;
use crate::requirement::{Constraint, SetQuery};
use crate::{Attributes, Number};

/// Visits at once of a set search at its beginning: each answer may say where to go better (our guess between visits and
/// round trips).
const IN_FLIGHT: u32 = 4;
/// One visit is out for so many made, so that a set which is hard to find is found in time: ten seconds are enough for
/// 1,500 visits of 0.2 s, and at most an eighth of the visits is in vain when it is found.
const VISITS_PER_OUT: u32 = 8;

/// Visits that may be out after so many, `most` at any time.
pub(crate) fn in_flight(visited: u32, most: u32) -> u32 {
    (visited / VISITS_PER_OUT).max(IN_FLIGHT).min(most)
}

/// What came of a search for a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetReport {
    /// Whether there is a set; its members are the matches.
    pub found: bool,
    pub members: u32,
    /// Each aggregate as written without its bound, and what it comes to: over the members, or without a set the most
    /// (or least) that as many of the nodes seen as allowed come to.
    pub reached: Vec<(String, Option<Number>)>,
    /// Nodes seen that could be members.
    pub candidates: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    None,
    Asked,
    Granted(u64),
}

#[derive(Clone, Debug)]
struct Member {
    peer: Handle,
    attributes: Attributes,
    choice: Candidate,
    hold: Hold,
}

/// A hold that is to be given back.
pub(crate) type Surplus = (Handle, u64);

#[derive(Clone, Debug)]
pub(crate) struct SetSearch {
    query: SetQuery,
    constraints: Vec<Constraint>,
    terms: Terms,
    /// What to ask the members for, when holds are wanted.
    pub(crate) ask: Option<HoldAsk>,
    seen: Vec<Member>,
    /// Candidates that there were, those dropped for want of room included.
    candidates: u32,
    /// Numbers of the values of which a set may have each one once.
    groups: BTreeMap<String, u32>,
    next_group: u32,
    /// Members that were silent when they were asked for a hold.
    silent: Vec<Handle>,
    /// The set that is being held, or is done.
    chosen: Vec<Handle>,
    is_done: bool,
}

impl SetSearch {
    pub(crate) fn new(query: SetQuery, ask: Option<HoldAsk>) -> Self {
        let constraints = query.constraints();
        let sums = constraints.iter().map(|constraint| (constraint.at_least, constraint.is_cost())).collect();
        let terms = Terms { least: query.least().into(), most: query.most().into(), sums };
        SetSearch {
            query,
            constraints,
            terms,
            ask,
            seen: Vec::new(),
            candidates: 0,
            groups: BTreeMap::new(),
            next_group: 0,
            silent: Vec::new(),
            chosen: Vec::new(),
            is_done: false,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// A set was chosen: nothing else is looked for while its members are asked for holds.
    pub(crate) fn is_choosing(&self) -> bool {
        !self.chosen.is_empty() && !self.is_done
    }

    /// Members that were asked for a hold and have not answered.
    pub(crate) fn asked(&self) -> impl Iterator<Item = Handle> {
        self.seen.iter().filter(|member| member.hold == Hold::Asked).map(|member| member.peer)
    }

    pub(crate) fn is_asked(&self, peer: Handle) -> bool {
        self.asked().any(|asked| asked == peer)
    }

    /// The next member to ask for a hold, which counts as asked from now on.
    pub(crate) fn ask_next(&mut self) -> Option<Handle> {
        if self.is_done || self.ask.is_none() {
            return None;
        }
        let chosen = &self.chosen;
        let is_next = |member: &&mut Member| member.hold == Hold::None && chosen.contains(&member.peer);
        let member = self.seen.iter_mut().find(is_next)?;
        member.hold = Hold::Asked;
        Some(member.peer)
    }

    fn choice(&mut self, attributes: &Attributes) -> Option<Candidate> {
        let weights: Option<Vec<i64>> = self.constraints.iter().map(|part| part.weight(attributes)).collect();
        self.next_group += 1;
        let group = match self.query.together().spread_by() {
            Some(name) => *self.groups.entry(attributes.value(name)?.to_string()).or_insert(self.next_group),
            // Everybody is a group of its own.
            None => self.next_group,
        };
        Some(Candidate { weights: weights?, group })
    }

    /// A node meets the requirement of each member. Says what is to be given back.
    pub(crate) fn on_match(&mut self, peer: Handle, attributes: Attributes) -> Vec<Surplus> {
        let Some(choice) = self.choice(&attributes) else { return Vec::new() };
        self.candidates += 1;
        self.seen.push(Member { peer, attributes, choice, hold: Hold::None });
        if self.seen.len() > CANDIDATES_MAX {
            self.drop_worst();
        }
        if self.is_choosing() { Vec::new() } else { self.choose() }
    }

    /// A member that was asked for a hold has one, with its attributes of that moment.
    pub(crate) fn on_granted(&mut self, peer: Handle, hold: u64, attributes: Attributes) -> Vec<Surplus> {
        let group = self.seen.iter().find(|member| member.peer == peer).map(|member| member.choice.group);
        let Some(mut choice) = self.choice(&attributes) else { return self.on_refused(peer, Some(hold)) };
        if self.query.together().spread_by().is_none() {
            choice.group = group.unwrap_or(choice.group);
        }
        for member in self.seen.iter_mut().filter(|member| member.peer == peer) {
            (member.hold, member.attributes, member.choice) =
                (Hold::Granted(hold), attributes.clone(), choice.clone());
        }
        if !self.is_held() {
            return Vec::new();
        }
        let members: Vec<&Attributes> = self.members().map(|member| &member.attributes).collect();
        if self.query.is_met_by(&members) {
            self.is_done = true;
            return self.release_others();
        }
        // Values have changed.
        self.choose()
    }

    /// A member that was asked for a hold was silent.
    pub(crate) fn on_silence(&mut self, peer: Handle) -> Vec<Surplus> {
        self.silent.push(peer);
        self.on_refused(peer, None)
    }

    /// Whether `peer` was silent when asked for a hold, so that its word may still come; asked once.
    pub(crate) fn is_late(&mut self, peer: Handle) -> bool {
        let at = self.silent.iter().position(|silent| *silent == peer);
        at.map(|at| self.silent.swap_remove(at)).is_some()
    }

    /// Whether that hold of `peer` is kept for the set.
    pub(crate) fn keeps(&self, peer: Handle, hold: u64) -> bool {
        self.seen.iter().any(|member| member.peer == peer && member.hold == Hold::Granted(hold))
    }

    /// A member has refused, or is no match any more.
    pub(crate) fn on_refused(&mut self, peer: Handle, hold: Option<u64>) -> Vec<Surplus> {
        self.seen.retain(|member| member.peer != peer);
        let mut surplus: Vec<Surplus> = hold.map(|hold| (peer, hold)).into_iter().collect();
        surplus.extend(self.choose());
        surplus
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        self.chosen.iter().filter_map(|peer| self.seen.iter().find(|member| member.peer == *peer))
    }

    fn is_held(&self) -> bool {
        !self.chosen.is_empty()
            && self.members().count() == self.chosen.len()
            && self.members().all(|member| matches!(member.hold, Hold::Granted(_)))
    }

    fn choose(&mut self) -> Vec<Surplus> {
        let candidates: Vec<Candidate> = self.seen.iter().map(|member| member.choice.clone()).collect();
        let chosen = choose(&candidates, &self.terms);
        self.chosen = chosen.into_iter().flatten().map(|at| self.seen[at].peer).collect();
        if self.chosen.is_empty() {
            // What is held already stays held: the search goes on for the rest.
            return Vec::new();
        }
        self.is_done = self.ask.is_none() || self.is_held();
        self.release_others()
    }

    /// Whatever is held and not chosen.
    fn release_others(&mut self) -> Vec<Surplus> {
        let mut surplus = Vec::new();
        for member in self.seen.iter_mut().filter(|member| !self.chosen.contains(&member.peer)) {
            if let Hold::Granted(hold) = member.hold {
                surplus.push((member.peer, hold));
                member.hold = Hold::None;
            }
        }
        surplus
    }

    /// At the end without a set: everything that is held.
    pub(crate) fn release_all(&mut self) -> Vec<Surplus> {
        if self.is_done {
            return Vec::new();
        }
        self.chosen.clear();
        self.release_others()
    }

    /// Who brings least, where others have the same value of what sets are spread by; held ones stay.
    fn drop_worst(&mut self) {
        let mut sizes: BTreeMap<u32, u32> = BTreeMap::new();
        self.seen.iter().for_each(|member| *sizes.entry(member.choice.group).or_default() += 1);
        let is_spread = self.query.together().spread_by().is_some();
        let measure = |i: usize| (self.terms.sums[i].0 / self.terms.most as i128).abs().max(1);
        let rank = |member: &Member| {
            let parts = member.choice.weights.iter().enumerate();
            let sum: i128 = parts.map(|(i, weight)| i128::from(*weight) * 1_024 / measure(i)).sum();
            let is_needed = member.hold != Hold::None || self.chosen.contains(&member.peer);
            (is_needed, is_spread && sizes[&member.choice.group] == 1, sum)
        };
        if let Some(worst) = (0..self.seen.len()).min_by_key(|at| rank(&self.seen[*at])) {
            self.seen.swap_remove(worst);
        }
    }

    /// The members of the set, once it is there.
    pub(crate) fn take(&mut self) -> Vec<(Handle, Option<u64>, Attributes)> {
        let hold = |hold: Hold| if let Hold::Granted(id) = hold { Some(id) } else { None };
        let one = |member: &Member| (member.peer, hold(member.hold), member.attributes.clone());
        if self.is_done { self.members().map(one).collect() } else { Vec::new() }
    }

    pub(crate) fn report(&self) -> SetReport {
        let of_members: Vec<&Attributes> = self.members().map(|member| &member.attributes).collect();
        let candidates: Vec<Candidate> = self.seen.iter().map(|member| member.choice.clone()).collect();
        let groups = self.seen.iter().map(|member| member.choice.group);
        let groups = groups.collect::<alloc::collections::BTreeSet<_>>().len();
        let reached = self.query.together().aggregates().iter().map(|aggregate| {
            let value = if self.is_done {
                aggregate.over(of_members.iter().copied())
            } else {
                let at =
                    self.constraints.iter().position(|part| Constraint::of(aggregate).as_ref() == Some(part));
                // A sum grows with the set, an average is best with the fewest.
                let size = |part: &Constraint| part.best_size(self.terms.least, self.terms.most.min(groups));
                at.and_then(|at| {
                    let size = size(&self.constraints[at]);
                    self.constraints[at].best(best_sum(&candidates, size, at)?, size)
                })
            };
            (aggregate.what(), value)
        });
        SetReport {
            found: self.is_done,
            members: if self.is_done { self.chosen.len() as u32 } else { 0 },
            reached: reached.collect(),
            candidates: self.candidates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hard_set_has_more_visits_out_than_an_easy_one() {
        for (visited, most, out) in
            [(0, 64, 4), (39, 64, 4), (40, 64, 5), (400, 64, 50), (2_000, 64, 64), (2_000, 8, 8), (0, 1, 1)]
        {
            assert_eq!(in_flight(visited, most), out, "{visited} of {most}");
        }
        let visited = (0..50).fold(0, |visited, _| visited + in_flight(visited, 64));
        assert!(visited > 1_500, "{visited} visits in fifty round trips");
    }
}
