//! Which slots here have collections, for operators who ask for those of an application.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use xtreem_allocation::SlotRun;
use xtreem_base::AppId;

use super::Collections;

/// As many as there are slots here: what a slot leaves goes when the next one comes.
#[derive(Default)]
pub(crate) struct Registry(Mutex<BTreeMap<SlotRun, Weak<Collections>>>);

impl Registry {
    pub(crate) fn add(&self, run: SlotRun, collections: &Arc<Collections>) {
        let mut all = self.all();
        all.retain(|_, of| of.strong_count() > 0);
        all.insert(run, Arc::downgrade(collections));
    }

    /// Slots of an application whose programs run here.
    pub(crate) fn of(&self, app: AppId) -> Vec<(u16, Arc<Collections>)> {
        let all = self.all();
        let of_app = all.iter().filter(|(run, _)| run.app == app);
        of_app.filter_map(|(run, of)| Some((run.slot, of.upgrade()?))).collect()
    }

    /// Those of one slot, while its program runs here.
    pub(crate) fn of_run(&self, run: SlotRun) -> Option<Arc<Collections>> {
        self.all().get(&run)?.upgrade()
    }

    /// A panic elsewhere cannot leave the table half-changed: every change is one call.
    fn all(&self) -> MutexGuard<'_, BTreeMap<SlotRun, Weak<Collections>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
