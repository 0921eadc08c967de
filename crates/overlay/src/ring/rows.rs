//! Rows in node space: contacts 1, 2, 3, then 4, 8, 12, then 16, 32, 48 nodes away, and so on round the ring.
//!
//! Source: Schütt, Schintke, Reinefeld: Chord#: Structured overlay network for non-uniform load distribution,
//! DAIS 2005, with base 4. Distances are counted in nodes, so skewed keys make no way longer. A row comes
//! from the same row of another node: who stands at 4^i tells its own row i, which is 2, 3 and 4 times 4^i
//! away from here. So one question a round fills the rest of a row and the beginning of the next.

use alloc::vec::Vec;

use xtreem_base::Handle;

use super::contact::{Contact, clockwise};
use crate::Position;

/// Nodes between two entries of a row are a power of this.
pub const BASE: usize = 4;
/// Entries of one row.
pub const ENTRIES: usize = BASE - 1;
/// Rows at most: 4^12 nodes are more than a grid has.
pub const ROWS_MAX: usize = 12;

/// One row; where nobody is known there is a hole.
pub type Row = [Option<Contact>; ENTRIES];

/// Row 1 and those above; row 0 are the successors.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows(Vec<Row>);

impl Rows {
    /// Rows from 1 on.
    pub(super) fn as_slice(&self) -> &[Row] {
        &self.0
    }

    pub(super) fn row(&self, level: usize) -> Option<&Row> {
        self.0.get(level.checked_sub(1)?)
    }

    /// The one that is asked for its row `level`.
    pub(super) fn first(&self, level: usize) -> Option<&Contact> {
        self.row(level)?[0].as_ref()
    }

    pub(super) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.0.iter().flatten().flatten()
    }

    /// Row 1 begins four nodes away: the fourth successor.
    pub(super) fn begin(&mut self, successors: &[Contact]) {
        match successors.get(BASE - 1) {
            Some(fourth) => self.set(1, 0, Some(fourth.clone())),
            None => self.0.clear(),
        }
    }

    /// `entries` are row `level` of the one that stands first in our row `level`. What does not go on round
    /// the ring towards `me` ends the rows.
    pub(super) fn fill(&mut self, me: &Position, level: usize, entries: &[Option<Contact>; ENTRIES]) {
        let Some(mut last) = self.first(level).map(|first| first.position.clone()) else { return };
        for (nth, entry) in entries.iter().enumerate() {
            let (at_level, at) = if nth + 1 < ENTRIES { (level, nth + 1) } else { (level + 1, 0) };
            let goes_on = |contact: &&Contact| {
                contact.position.id != me.id && clockwise(me, &last, &contact.position).is_lt()
            };
            match entry {
                // The other does not know: what was known here stays.
                None => continue,
                Some(contact) if goes_on(&contact) => {
                    last = contact.position.clone();
                    self.set(at_level, at, Some(contact.clone()));
                }
                Some(_) => {
                    self.end(at_level, at);
                    return;
                }
            }
        }
    }

    fn set(&mut self, level: usize, at: usize, contact: Option<Contact>) {
        if level > ROWS_MAX {
            return;
        }
        while self.0.len() < level {
            self.0.push(Row::default());
        }
        self.0[level - 1][at] = contact;
    }

    /// Nothing from there on.
    fn end(&mut self, level: usize, at: usize) {
        if let Some(row) = self.0.get_mut(level - 1) {
            row[at..].iter_mut().for_each(|entry| *entry = None);
        }
        self.0.truncate(if at == 0 { level - 1 } else { level });
    }

    /// True when it was in a row.
    pub(super) fn remove(&mut self, handle: Handle) -> bool {
        let mut is_changed = false;
        for entry in self.0.iter_mut().flatten() {
            if entry.as_ref().is_some_and(|contact| contact.handle == handle) {
                *entry = None;
                is_changed = true;
            }
        }
        is_changed
    }

    /// It stands elsewhere by its own word: it is no longer so many nodes away.
    pub(super) fn moved(&mut self, contact: &Contact) {
        for entry in self.0.iter_mut().flatten() {
            if entry
                .as_ref()
                .is_some_and(|known| known.handle == contact.handle && known.position != contact.position)
            {
                *entry = None;
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
