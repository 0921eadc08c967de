//! What two nodes tell each other: the half that the other side lacks, and what is believed of the half that
//! comes.

use alloc::vec::Vec;

use xtreem_base::{Handle, Instant};

use super::{Call, DESCRIPTORS_MAX, Fault, Lack, Part, REPORTS_MAX, Report, Summary, Trie, seconds, told};
use crate::key::{KEY_BITS, Key, sibling_cell};

impl Trie {
    pub(super) fn lack(&self, call: Call<'_>) -> Lack {
        let stale = self
            .table
            .stale(told(call.now).saturating_sub(call.config.seconds(call.config.stale_after)).max(1));
        Lack { key: *self.key(), wants: self.table.wants(), stale }
    }

    pub(super) fn part_for(&self, call: Call<'_>, lack: &Lack) -> Part {
        let split = self.key().common_prefix(&lack.key);
        if split >= KEY_BITS {
            return Part::default();
        }
        let now_told = told(call.now);
        let fresh = || {
            let above = self.table.summaries(&lack.stale).take_while(|(level, ..)| *level < split);
            above
                .filter(|(_, told, _)| now_told - told.min(&now_told) < call.config.age_max_seconds())
                .take(REPORTS_MAX)
        };
        let report = |(level, told, summary): (usize, u32, &Summary)| {
            let age = (now_told - told.min(now_told)) as u16;
            Report { level: level as u8, age, summary: *summary }
        };
        // Counted first: growing would copy them.
        let mut reports = Vec::with_capacity(fresh().count());
        reports.extend(fresh().map(report));
        Part {
            own: Some(self.summary(call, split + 1)),
            is_settled: self.is_settled(),
            descriptors: self.table.useful(&lack.key, &lack.wants, seconds(call.now), DESCRIPTORS_MAX),
            reports,
        }
    }

    pub(super) fn meet(&mut self, now: Instant, peer: Handle, key: Key) {
        self.find(now, peer);
        self.table.insert(peer, key, seconds(now));
    }

    pub(super) fn take(&mut self, call: Call<'_>, key: &Key, part: &Part) -> Result<(), Fault> {
        if part.descriptors.len() > DESCRIPTORS_MAX || part.reports.len() > REPORTS_MAX {
            return Err(Fault::TooMany);
        }
        let split = self.key().common_prefix(key);
        if split >= KEY_BITS {
            return Ok(());
        }
        for known in &part.descriptors {
            let seen = seconds(call.now).saturating_sub(known.age.into());
            let is_there = !self.lost.disproves(known.handle, seen, call.config.age_max_seconds());
            if u32::from(known.age) < call.config.age_max_seconds() && is_there {
                self.table.insert(known.handle, known.key, seen);
            }
        }
        let dimensions = self.schema.dimensions().len();
        let limit = seconds(call.now).saturating_sub(call.config.age_max_seconds());
        let (me, lost, doubt) = (self.table.me(), &self.lost, call.config.age_max_seconds());
        let is_heard = |peer, said| said > limit && peer != me && !lost.disproves(peer, said, doubt);
        let mut result = Ok(());
        if let Some(own) = &part.own {
            if own.is_sound(&sibling_cell(&self.codes, split, dimensions)) {
                if part.is_settled {
                    self.table.report(split, own, told(call.now), is_heard);
                } else {
                    self.table.hear_of(split, own, told(call.now), is_heard);
                }
            } else {
                result = Err(Fault::Unsound);
            }
        }
        for report in &part.reports {
            let level = usize::from(report.level);
            let cell = || sibling_cell(&self.codes, level, dimensions);
            if level < split && report.summary.is_sound(&cell()) {
                let made = told(call.now).saturating_sub(report.age.into());
                self.table.report(level, &report.summary, made, is_heard);
            } else {
                result = Err(Fault::Unsound);
            }
        }
        result
    }
}
