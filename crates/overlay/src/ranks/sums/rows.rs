//! The rows of one node: each leads twice as far as the one before.

use alloc::vec::Vec;

use xtreem_base::Handle;

use super::message::{Sum, Told};
use super::{Config, Fault, ROWS_MAX};

/// A row, and what the node that it leads to said of its own row of that level.
#[derive(Clone, Debug)]
struct Row {
    peer: Handle,
    /// From this node up to `peer`, which is not in it.
    sum: Sum,
    answer: Option<Told>,
    /// The version of the answer; 0: none.
    heard: u32,
    /// Rounds in which it was asked in vain.
    tries: u8,
    is_due: bool,
    /// Its peer does not tell of changes any more.
    is_forgotten: bool,
}

impl Row {
    fn new(peer: Handle, sum: Sum) -> Row {
        Row { peer, sum, answer: None, heard: 0, tries: 0, is_due: true, is_forgotten: false }
    }
}

/// All rows of a node that is not the last one. Those above a row without an answer are what they were: old,
/// until there is a better answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    /// What lies beyond the last row, and before it.
    rest: Option<Sum>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.rest = None;
    }

    pub(super) fn set_first(&mut self, successor: Handle, own: Sum) {
        match self.rows.first_mut() {
            Some(first) if first.peer == successor => first.sum = own,
            Some(first) => *first = Row::new(successor, own),
            None => self.rows.push(Row::new(successor, own)),
        }
    }

    pub(super) fn set_own(&mut self, own: Sum) {
        if let Some(first) = self.rows.first_mut() {
            first.sum = own;
        }
    }

    /// Where the row of a level leads to, and over how many.
    pub(super) fn row(&self, level: u8) -> Option<(Handle, Sum)> {
        self.rows.get(usize::from(level)).map(|row| (row.peer, row.sum))
    }

    /// This node and all behind it.
    pub(super) fn rest(&self) -> Option<Sum> {
        self.rest
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = Handle> + '_ {
        self.rows.iter().map(|row| row.peer)
    }

    /// All rows follow from answers.
    pub(super) fn is_fresh(&self) -> bool {
        self.rest.is_some() && self.rows.iter().all(|row| row.answer.is_some())
    }

    /// A row leads to somebody who was not asked yet.
    pub(super) fn has_unasked(&self) -> bool {
        self.rows.iter().any(|row| row.is_due)
    }

    /// The successor is asked now, whether it is its turn or not.
    pub(super) fn ask_first(&mut self) {
        if let Some(first) = self.rows.first_mut() {
            first.is_due = true;
        }
    }

    /// How often it was asked without an answer.
    pub(super) fn first_tries(&self) -> u8 {
        self.rows.first().map_or(u8::MAX, |first| first.tries)
    }

    /// The peer of a row has no room for this node: it is asked in the next round.
    pub(super) fn on_forgotten(&mut self, from: Handle, level: u8) -> Result<(), Fault> {
        let row = self.rows.get_mut(usize::from(level)).filter(|row| row.peer == from);
        row.ok_or(Fault::Unasked)?.is_forgotten = true;
        Ok(())
    }

    pub(super) fn forget_answers_of(&mut self, peer: Handle) {
        self.rows.iter_mut().filter(|row| row.peer == peer).for_each(|row| row.answer = None);
    }

    /// Takes an answer; whether its sender waits for a word that it was heard: it is new, or nobody asked.
    pub(super) fn on_tell(
        &mut self,
        me: Handle,
        from: Handle,
        (level, version): (u8, u32),
        told: Told,
    ) -> Result<bool, Fault> {
        let row = self.rows.get_mut(usize::from(level)).filter(|row| row.peer == from);
        let row = row.ok_or(Fault::Unasked)?;
        // The distance between two versions of one sender, of which the older one may come later.
        if row.answer.is_some() && (version.wrapping_sub(row.heard) as i32) < 0 {
            return Err(Fault::Late);
        }
        let is_sound = match told {
            Told::Unknown => true,
            Told::Ahead { peer, sum } => peer != me && peer != from && sum.members <= 1 << level,
            Told::End { sum } => sum.members <= 1 << level,
        };
        if !is_sound {
            return Err(Fault::Unsound);
        }
        let is_new = version != row.heard || row.tries == 0;
        (row.answer, row.heard, row.tries) = (Some(told), version, 0);
        Ok(is_new)
    }

    /// Each row from the one before it.
    pub(super) fn derive(&mut self, me: Handle) {
        let mut level = 0;
        while let Some(row) = self.rows.get(level) {
            let (answer, before) = (row.answer, row.sum);
            match answer {
                None => return,
                Some(Told::Unknown) => {
                    self.rest = None;
                    self.rows.truncate(level + 1);
                    return;
                }
                Some(Told::End { sum }) => {
                    self.rest = Some(before.plus(sum));
                    self.rows.truncate(level + 1);
                    return;
                }
                Some(Told::Ahead { peer, sum }) if level + 1 < ROWS_MAX && peer != me => {
                    let sum = before.plus(sum);
                    match self.rows.get_mut(level + 1) {
                        Some(next) if next.peer == peer => next.sum = sum,
                        Some(next) => *next = Row::new(peer, sum),
                        None => self.rows.push(Row::new(peer, sum)),
                    }
                    level += 1;
                }
                Some(Told::Ahead { .. }) => return,
            }
        }
    }

    /// The row whose turn it is, the last one, and those that have not answered, are asked.
    pub(super) fn start_round(&mut self, config: &Config, turn: u8) {
        let last = self.rows.len();
        for (level, row) in self.rows.iter_mut().enumerate() {
            if row.tries > config.tries {
                row.answer = None;
            }
            let is_known = row.answer.is_some_and(|answer| answer != Told::Unknown);
            let is_turn = level == usize::from(turn) || level + 1 == last;
            row.is_due = !is_known || row.tries > 0 || row.is_forgotten || is_turn;
            row.is_forgotten = false;
        }
    }

    /// Level, peer and version heard of each row that is to be asked now.
    pub(super) fn take_due(&mut self) -> Vec<(u8, Handle, u32)> {
        let due = self.rows.iter_mut().enumerate().filter(|(_, row)| row.is_due);
        due.map(|(level, row)| {
            row.is_due = false;
            row.tries = row.tries.saturating_add(1);
            (level as u8, row.peer, if row.answer.is_some() { row.heard } else { 0 })
        })
        .collect()
    }
}
