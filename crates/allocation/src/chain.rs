//! Which claims about one application are believed: those of nodes that were recruited, appointed or named by
//! its record. Pure: no messages, no time.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{AppId, NodeId};

use crate::message::SetVersion;
use crate::proof::{
    Appointment, Evidence, FINALS_MAX, Final, LINKS_SENT_MAX, Link, ROOTS_MAX, SETS_MAX, STEP_MAX, Signed,
};
use crate::{Epoch, SlotState};

#[cfg(test)]
mod tests;

/// All that one node believes of one application. What is in here is proven, or was the start of a newcomer.
#[derive(Clone, Debug)]
pub struct Chain {
    app: AppId,
    /// Submitters, and those with whom a newcomer's confirm began; the oldest but one goes.
    roots: Vec<NodeId>,
    /// In the order in which they were believed: what a link hangs on stands before it.
    links: Vec<Arc<Signed<Link>>>,
    sets: Vec<Arc<Signed<Appointment>>>,
    finals: BTreeMap<u16, Arc<Signed<Final>>>,
    /// The highest counter of any link believed so far.
    top: u32,
}

impl Chain {
    /// The chain of an application that `submitter` submits.
    pub fn new(app: AppId, submitter: NodeId) -> Self {
        let (links, sets, finals) = Default::default();
        Chain { app, roots: alloc::vec![submitter], links, sets, finals, top: 0 }
    }

    /// The record of a new generation names this node.
    pub fn add_root(&mut self, id: NodeId) {
        if !self.roots.contains(&id) {
            if self.roots.len() >= ROOTS_MAX {
                self.roots.remove(1);
            }
            self.roots.push(id);
        }
    }

    /// How much is believed.
    pub fn size(&self) -> usize {
        self.links.len() + self.sets.len() + self.finals.len()
    }

    /// The highest counter of any epoch believed.
    pub fn top(&self) -> u32 {
        self.top
    }

    /// The link of one epoch.
    pub fn link(&self, slot: u16, epoch: Epoch) -> Option<&Arc<Signed<Link>>> {
        self.links.iter().rev().find(|link| (link.body.slot, link.body.epoch) == (slot, epoch))
    }

    /// Who holds the slot under this epoch, as far as it is proven here.
    pub fn holder(&self, slot: u16, epoch: Epoch) -> Option<NodeId> {
        self.link(slot, epoch).map(|link| link.body.holder)
    }

    /// How the slot ended, and under which epoch.
    pub fn ended(&self, slot: u16) -> Option<&Arc<Signed<Final>>> {
        self.finals.get(&slot)
    }

    /// How the slot ended.
    pub fn final_state(&self, slot: u16) -> Option<SlotState> {
        self.ended(slot).map(|ended| ended.body.state)
    }

    /// Whether the guardians of this version are these, and were appointed by somebody entitled to.
    pub fn has_set(&self, version: SetVersion, members: &[NodeId]) -> bool {
        self.sets.iter().any(|set| set.body.version == version && set.body.members == members)
    }

    /// Whether this node has or had a part in the application: such a node may recruit.
    pub fn is_entitled(&self, id: NodeId) -> bool {
        self.roots.contains(&id)
            || self.links.iter().any(|link| link.body.holder == id)
            || self.sets.iter().any(|set| set.body.members.contains(&id))
    }

    /// Takes what can be believed of `evidence`, whatever the order in it. Returns how much of it could not.
    pub fn admit(&mut self, evidence: &Evidence) -> usize {
        let mut links: Vec<&Arc<Signed<Link>>> = evidence.links.iter().collect();
        let mut sets: Vec<&Arc<Signed<Appointment>>> = evidence.sets.iter().collect();
        loop {
            let before = links.len() + sets.len();
            links.retain(|link| !self.try_link(link));
            sets.retain(|set| !self.try_set(set));
            if links.len() + sets.len() == before {
                break;
            }
        }
        let doubtful = evidence.finals.iter().filter(|ended| !self.try_final(ended)).count();
        links.len() + sets.len() + doubtful
    }

    /// A newcomer begins with what its confirm or its appointment states: whom that names as recruiters is
    /// believed.
    pub fn begin_with(&mut self, evidence: &Evidence) {
        evidence.roots.iter().for_each(|root| self.add_root(*root));
        let stated = evidence.links.iter().filter(|link| self.is_well_formed(&link.body));
        self.top = stated.map(|link| link.body.epoch.counter).fold(self.top, u32::max);
        self.admit(evidence);
        for link in &evidence.links {
            if self.is_well_formed(&link.body) && !self.is_entitled(link.body.epoch.recruiter) {
                self.add_root(link.body.epoch.recruiter);
                self.admit(evidence);
            }
        }
    }

    /// Two guardians known before say so: takes this link although what it hangs on is not known here.
    pub fn take_on_word(&mut self, link: &Arc<Signed<Link>>) {
        if self.is_well_formed(&link.body) && self.link(link.body.slot, link.body.epoch).is_none() {
            self.insert(link.clone());
        }
    }

    fn is_well_formed(&self, link: &Link) -> bool {
        link.app == self.app && link.is_step()
    }

    /// True when the link is believed, now or before.
    fn try_link(&mut self, link: &Arc<Signed<Link>>) -> bool {
        let body = &link.body;
        match self.holder(body.slot, body.epoch) {
            // An epoch names one confirm: of two that its recruiter signed the first one known stays.
            Some(holder) => return holder == body.holder,
            None if !self.is_well_formed(body) => return false,
            None => {}
        }
        let is_near = body.epoch.counter <= self.top.saturating_add(STEP_MAX);
        let is_believed = is_near && self.is_entitled(body.epoch.recruiter);
        if is_believed {
            self.insert(link.clone());
        }
        is_believed
    }

    fn insert(&mut self, link: Arc<Signed<Link>>) {
        self.top = self.top.max(link.body.epoch.counter);
        self.links.push(link);
    }

    fn try_set(&mut self, set: &Arc<Signed<Appointment>>) -> bool {
        let body = &set.body;
        if self.sets.iter().any(|known| known.body == *body) {
            return true;
        }
        let by = body.version.by;
        let is_first = by.counter == 0 && by.recruiter == body.signer && self.roots.contains(&body.signer);
        let is_entitled = is_first || self.holder(body.slot, by) == Some(body.signer);
        let is_believed = body.app == self.app && is_entitled;
        if is_believed {
            if self.sets.len() >= SETS_MAX {
                // The oldest on which nothing hangs; without such a one the oldest.
                let recruited = |set: &Arc<Signed<Appointment>>| {
                    self.links.iter().any(|link| set.body.members.contains(&link.body.epoch.recruiter))
                };
                let idle = self.sets.iter().position(|set| !recruited(set));
                self.sets.remove(idle.unwrap_or(0));
            }
            self.sets.push(set.clone());
        }
        is_believed
    }

    fn try_final(&mut self, ended: &Arc<Signed<Final>>) -> bool {
        let body = &ended.body;
        if self.finals.contains_key(&body.slot) {
            return true;
        }
        let is_believed = body.app == self.app
            && body.state.is_final()
            && self.holder(body.slot, body.epoch) == Some(body.holder);
        if is_believed {
            if self.finals.len() >= FINALS_MAX {
                self.finals.pop_last();
            }
            self.finals.insert(body.slot, ended.clone());
        }
        is_believed
    }

    /// What shows that `told` (slots and their epochs) is true, for somebody who knows some of what it hangs
    /// on, and that `me` has a part in the application. Nearest first where not all of it fits.
    pub fn evidence(&self, told: impl IntoIterator<Item = (u16, Epoch)>, me: NodeId) -> Evidence {
        let told: Vec<(u16, Epoch)> = told.into_iter().collect();
        let slots: Vec<u16> = told.iter().map(|(slot, _)| *slot).collect();
        let ends: Vec<_> = slots.iter().filter_map(|slot| self.finals.get(slot)).collect();
        let of_ends = ends.iter().map(|ended| (ended.body.slot, ended.body.epoch));
        let mut walk = Walk::new(self, LINKS_SENT_MAX);
        told.iter().copied().chain(of_ends).for_each(|(slot, epoch)| walk.add_epoch(slot, epoch));
        walk.add_grant(me);
        let (links, sets) = walk.run();
        Evidence {
            roots: self.roots.clone(),
            links: links.into_iter().map(|at| self.links[at].clone()).collect(),
            sets: sets.into_iter().map(|at| self.sets[at].clone()).collect(),
            finals: ends.into_iter().cloned().collect(),
        }
    }

    /// Everything, for a store: [`Chain::begin_with`] makes the same chain of it.
    pub fn all(&self) -> Evidence {
        Evidence {
            roots: self.roots.clone(),
            links: self.links.clone(),
            sets: self.sets.clone(),
            finals: self.finals.values().cloned().collect(),
        }
    }

    /// Keeps the links within their limit: those of `current` epochs stay, with what they hang on, then the
    /// latest.
    pub fn trim(&mut self, most: usize, current: impl IntoIterator<Item = (u16, Epoch)>) {
        if self.links.len() <= most {
            return;
        }
        let mut walk = Walk::new(self, most);
        current.into_iter().for_each(|(slot, epoch)| walk.add_epoch(slot, epoch));
        (0..self.sets.len()).for_each(|at| walk.add_set(at));
        let (mut kept, _) = walk.run();
        let latest = (0..self.links.len()).rev();
        let missing = most.saturating_sub(kept.len());
        let others: Vec<usize> = latest.filter(|at| !kept.contains(at)).take(missing).collect();
        kept.extend(others);
        kept.sort_unstable();
        self.links = kept.into_iter().map(|at| self.links[at].clone()).collect();
    }
}

/// Walks from links to what they hang on, breadth first.
struct Walk<'a> {
    chain: &'a Chain,
    most: usize,
    links: Vec<usize>,
    sets: Vec<usize>,
    next_link: usize,
    next_set: usize,
}

impl<'a> Walk<'a> {
    fn new(chain: &'a Chain, most: usize) -> Self {
        let (links, sets, next_link, next_set) = Default::default();
        Walk { chain, most, links, sets, next_link, next_set }
    }

    fn add_link(&mut self, at: usize) {
        if self.links.len() < self.most && !self.links.contains(&at) {
            self.links.push(at);
        }
    }

    fn add_set(&mut self, at: usize) {
        if !self.sets.contains(&at) {
            self.sets.push(at);
        }
    }

    fn add_epoch(&mut self, slot: u16, epoch: Epoch) {
        let is_it = |link: &Arc<Signed<Link>>| (link.body.slot, link.body.epoch) == (slot, epoch);
        if let Some(at) = self.chain.links.iter().position(is_it) {
            self.add_link(at);
        }
    }

    /// What entitled `id` first: later links of it may hang on that one.
    fn add_grant(&mut self, id: NodeId) {
        let Chain { links, sets, .. } = self.chain;
        if let Some(at) = links.iter().position(|link| link.body.holder == id) {
            self.add_link(at);
        }
        if let Some(at) = sets.iter().position(|set| set.body.members.contains(&id)) {
            self.add_set(at);
        }
    }

    /// What was found, in the order of the chain.
    fn run(mut self) -> (Vec<usize>, Vec<usize>) {
        loop {
            if let Some(at) = self.links.get(self.next_link) {
                self.next_link += 1;
                self.add_grant(self.chain.links[*at].body.epoch.recruiter);
            } else if let Some(at) = self.sets.get(self.next_set) {
                self.next_set += 1;
                let set = &self.chain.sets[*at].body;
                self.add_epoch(set.slot, set.version.by);
            } else {
                break;
            }
        }
        self.links.sort_unstable();
        self.sets.sort_unstable();
        (self.links, self.sets)
    }
}
