//! Applications that are over: small records that answer for them when nothing else is left.
//!
//! An application whose slots have all ended leaves the table of those that this node takes part in at once,
//! so that thousands of short ones leave room for the next. What stays says enough to refuse another run of
//! it, to tell whoever has not heard of its end, and to show it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use xtreem_base::{AppId, Duration, Handle, Instant};

use crate::app::App;
use crate::{Epoch, Evidence, Known, Me, Record, SlotReport, SlotState};

/// Applications that ended and are remembered; the oldest go first. About 2.1 kB each with one slot, most of
/// it signatures: 210 MB when the table is full of those (`docs/figures.md`).
pub const FINAL_RECORDS_MAX: usize = 100_000;
/// How long. Our guess: longer than a month's bill takes to be read.
pub(crate) const FINAL_RECORDS_KEEP: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Slots of one application that are remembered: the own ones, then the lowest.
const SLOTS_MAX: usize = 16;

/// How one slot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    slot: u16,
    epoch: Epoch,
    state: SlotState,
    /// It ended here.
    is_own: bool,
}

/// One application that is over.
#[derive(Clone, Debug)]
pub(crate) struct FinalRecord {
    pub record: Record,
    ends: Box<[End]>,
    /// What shows that they are true.
    pub evidence: Box<Evidence>,
}

impl FinalRecord {
    /// What stays of an application all of whose slots have ended.
    pub fn of(app: &App, me: Me) -> Self {
        let own = app.mine.iter().filter(|mine| mine.is_held());
        let own =
            own.map(|mine| End { slot: mine.slot, epoch: mine.epoch, state: mine.state(), is_own: true });
        let known = app.all_known(me.handle).into_iter().filter(|known| known.holder != Some(me.handle));
        let known = known.map(|known| End {
            slot: known.slot,
            epoch: known.epoch,
            state: known.state,
            is_own: false,
        });
        let ends: Vec<End> = own.chain(known).filter(|end| end.state.is_final()).take(SLOTS_MAX).collect();
        let evidence = app.chain.evidence(ends.iter().map(|end| (end.slot, end.epoch)), me.id).into();
        FinalRecord { record: app.application.record.clone(), ends: ends.into(), evidence }
    }

    /// How a slot ended, if that is remembered. Its holder is not named, unless it is this node.
    pub fn known(&self, slot: u16, me: Handle) -> Option<Known> {
        self.ends.iter().find(|end| end.slot == slot).map(|end| end.known(me))
    }

    pub fn slots(&self, me: Handle) -> Vec<Known> {
        self.ends.iter().map(|end| end.known(me)).collect()
    }

    /// A slot that ended here: every other one has, too.
    pub fn report(&self, slot: u16) -> Option<SlotReport> {
        let own = self.ends.iter().find(|end| end.slot == slot && end.is_own)?;
        Some(SlotReport { slot, epoch: own.epoch, state: own.state, done_run: self.record.slots })
    }

    pub fn own_slots(&self) -> Vec<u16> {
        self.ends.iter().filter(|end| end.is_own).map(|end| end.slot).collect()
    }
}

impl End {
    fn known(&self, me: Handle) -> Known {
        Known { slot: self.slot, epoch: self.epoch, holder: self.is_own.then_some(me), state: self.state }
    }
}

/// All of them, and until when, in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Finals {
    by_app: BTreeMap<AppId, FinalRecord>,
    order: VecDeque<(Instant, AppId)>,
}

impl Finals {
    /// It ended `age` ago. Says which one had to go for it.
    pub fn insert(&mut self, now: Instant, age: Duration, app: AppId, of: FinalRecord) -> Option<AppId> {
        if self.by_app.insert(app, of).is_none() {
            let until = now + (FINAL_RECORDS_KEEP - age);
            let at = self.order.partition_point(|(other, _)| *other <= until);
            self.order.insert(at, (until, app));
        }
        if self.order.len() > FINAL_RECORDS_MAX { self.forget_oldest() } else { None }
    }

    pub fn get(&self, app: AppId) -> Option<&FinalRecord> {
        self.by_app.get(&app)
    }

    pub fn get_mut(&mut self, app: AppId) -> Option<&mut FinalRecord> {
        self.by_app.get_mut(&app)
    }

    pub fn contains(&self, app: AppId) -> bool {
        self.by_app.contains_key(&app)
    }

    /// The newest first, each with the time since its end.
    pub fn newest(&self, now: Instant) -> impl Iterator<Item = (&FinalRecord, Duration)> {
        let age = move |until: Instant| FINAL_RECORDS_KEEP - until.since(now);
        let newest = self.order.iter().rev();
        newest.filter_map(move |(until, app)| Some((self.by_app.get(app)?, age(*until))))
    }

    /// Those whose time is over, which go.
    pub fn expire(&mut self, now: Instant) -> Vec<AppId> {
        let mut over = Vec::new();
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            over.extend(self.forget_oldest());
        }
        over
    }

    pub fn next_due(&self) -> Instant {
        self.order.front().map_or(Instant::FAR, |(until, _)| *until)
    }

    fn forget_oldest(&mut self) -> Option<AppId> {
        let (_, app) = self.order.pop_front()?;
        self.by_app.remove(&app);
        Some(app)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::sync::Arc;

    use xtreem_base::{Digest, NodeId};

    use super::*;
    use crate::{Exit, Wanted};

    fn app(number: u32) -> AppId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        AppId::from_bytes(bytes)
    }

    fn over(number: u32) -> FinalRecord {
        let record = Record {
            id: app(number),
            owner: NodeId::from_bytes([1; 16]),
            name: "job".to_string(),
            spec_digest: Digest::from_bytes([0; 32]),
            slots: 1,
            generation: 1,
            wanted: Wanted::Running,
            proof: Arc::from([]),
            submitter: NodeId::from_bytes([2; 16]),
        };
        let state = SlotState::Done(Exit::Code(0));
        let ends = [End { slot: 0, epoch: Epoch::NONE, state, is_own: true }];
        FinalRecord { record, ends: ends.into(), evidence: Default::default() }
    }

    #[test]
    fn the_oldest_go_first_and_all_go_after_their_time() {
        let mut finals = Finals::default();
        let many = FINAL_RECORDS_MAX as u32 + 10;
        for number in 0..many {
            let now = Instant::from_millis(number.into());
            let gone = finals.insert(now, Duration::ZERO, app(number), over(number));
            assert_eq!(gone, number.checked_sub(FINAL_RECORDS_MAX as u32).map(app));
        }
        let end = Instant::from_millis(many.into());
        assert_eq!(finals.newest(end).count(), FINAL_RECORDS_MAX);
        assert!(!finals.contains(app(9)) && finals.contains(app(10)) && finals.contains(app(many - 1)));
        let newest = finals.newest(end).next().map(|(over, age)| (over.record.id, age));
        assert_eq!(newest, Some((app(many - 1), Duration::from_millis(1))));
        assert_eq!(finals.next_due(), Instant::from_millis(10) + FINAL_RECORDS_KEEP);
        let gone = finals.expire(Instant::from_millis(20) + FINAL_RECORDS_KEEP);
        assert_eq!((gone.len(), gone[0]), (11, app(10)));
        assert!(!finals.contains(app(20)) && finals.contains(app(21)));
        finals.expire(Instant::FAR);
        assert_eq!((finals.newest(end).count(), finals.next_due()), (0, Instant::FAR));
    }

    #[test]
    fn the_time_since_the_end_counts_also_when_it_was_spent_before_this_start() {
        let mut finals = Finals::default();
        let (start, day) = (Instant::from_millis(1), Duration::from_secs(24 * 3_600));
        // One is settled late: it has its place among them all the same.
        for (number, age) in [(1, day * 40), (3, Duration::ZERO), (2, day * 29)] {
            finals.insert(start, age, app(number), over(number));
        }
        let newest: Vec<_> = finals.newest(start + day).map(|(over, age)| (over.record.id, age)).collect();
        assert_eq!(newest[..2], [(app(3), day), (app(2), day * 30)]);
        assert_eq!(finals.next_due(), start, "it is over already");
        assert_eq!(finals.expire(start), [app(1)]);
        assert_eq!(finals.expire(start + day), [app(2)]);
        assert_eq!(finals.next_due(), start + day * 30);
    }

    #[test]
    fn own_slots_are_reported_with_the_whole_and_others_without_a_holder() {
        let me = Handle::from_u32(7);
        let mut over = over(1);
        let state = SlotState::Failed(Exit::Code(3));
        over.record.slots = 2;
        over.ends = [over.ends[0], End { slot: 1, epoch: Epoch::NONE, state, is_own: false }].into();
        assert_eq!(over.report(0).map(|report| report.done_run), Some(2));
        assert_eq!(over.report(1), None);
        assert_eq!(over.known(0, me).and_then(|known| known.holder), Some(me));
        assert_eq!(over.known(1, me).map(|known| (known.holder, known.state)), Some((None, state)));
        assert_eq!((over.known(2, me), over.own_slots()), (None, alloc::vec![0]));
    }

    #[test]
    fn one_is_small() {
        assert!(size_of::<FinalRecord>() + size_of::<End>() <= 256, "{}", size_of::<FinalRecord>());
    }
}
