//! Queue groups: of all members of one group at one topic, one gets each event.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Pattern;

/// Groups of one broker, as subscribers with numbers of their own.
#[derive(Default)]
pub(super) struct Groups {
    numbers: BTreeMap<(Pattern<'static>, String), u32>,
    groups: BTreeMap<u32, Group>,
    next: u32,
}

struct Group {
    key: (Pattern<'static>, String),
    members: Vec<u32>,
    /// Counts events: members take turns.
    turn: usize,
}

impl Groups {
    /// The group's number, and whether it is new.
    pub fn join(&mut self, pattern: &Pattern<'static>, name: &str, member: u32) -> (u32, bool) {
        let key = (pattern.clone(), name.into());
        if let Some(number) = self.numbers.get(&key) {
            if let Some(group) = self.groups.get_mut(number)
                && !group.members.contains(&member)
            {
                group.members.push(member);
            }
            return (*number, false);
        }
        let number = self.next;
        self.next += 1;
        self.numbers.insert(key.clone(), number);
        self.groups.insert(number, Group { key, members: [member].into(), turn: 0 });
        (number, true)
    }

    /// The group's number, if this was its last member.
    pub fn leave(&mut self, pattern: &Pattern<'static>, name: &str, member: u32) -> Option<u32> {
        let number = *self.numbers.get(&(pattern.clone(), name.into()))?;
        let group = self.groups.get_mut(&number)?;
        group.members.retain(|known| *known != member);
        if !group.members.is_empty() {
            return None;
        }
        let group = self.groups.remove(&number)?;
        self.numbers.remove(&group.key);
        Some(number)
    }

    pub fn number(&self, pattern: &Pattern<'static>, name: &str) -> Option<u32> {
        self.numbers.get(&(pattern.clone(), name.into())).copied()
    }

    pub fn len_of(&self, number: u32) -> usize {
        self.groups.get(&number).map_or(0, |group| group.members.len())
    }

    /// Whose turn it is.
    pub fn pick(&mut self, number: u32) -> Option<u32> {
        let group = self.groups.get_mut(&number)?;
        group.turn = (group.turn + 1) % group.members.len();
        group.members.get(group.turn).copied()
    }
}
