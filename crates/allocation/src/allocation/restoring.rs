//! The way to the disk and back: what changed is handed to the host, what was kept is taken up again.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Reverse;

use xtreem_base::{AppId, Call, Duration, Handle};

use super::{APPS_MAX, Allocation, STOPPED_MAX};
use crate::app::App;
use crate::finals::FinalRecord;
use crate::message::Message;
use crate::stopped::Stopped;
use crate::{Config, Found, Host, Kept, Notice};

/// A node that was away for longer has no part in anything any more; what was stopped stays so. As long as
/// others remember what has ended.
pub const AWAY_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

impl Allocation {
    /// From now on the host keeps what [`Notice::Store`] tells it to. `found` is what it kept of the time
    /// before this start; the node was `away` since. To be called when the offer is known and before anything
    /// else.
    pub fn restore<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        found: Vec<Found>,
        away: Duration,
        host: &mut H,
    ) {
        self.books.journal.turn_on();
        // Others ask for old holders, and tell of stopped records, for so long.
        let is_remembered = away < call.config.keep;
        let is_forgotten = away > AWAY_MAX;
        let mut over = Vec::new();
        for Found { kept, age } in found {
            let app = kept.app();
            if self.apps.contains_key(&app) || self.stopped.contains_key(&app) || self.finals.contains(app) {
                continue;
            }
            self.books.journal.has(kept.clone());
            match kept {
                Kept::Stopped { record, untold } if self.stopped.len() < STOPPED_MAX => {
                    let mut stopped = Stopped::new(record, call.now);
                    stopped.before = age;
                    untold.into_iter().for_each(|peer| stopped.tell(call.now, peer));
                    self.stopped.insert(app, stopped);
                }
                Kept::Role(role) if role.is_finished || (!is_forgotten && self.apps.len() < APPS_MAX) => {
                    let mut restored =
                        App::restore(*role, is_remembered, &mut self.books.context(call, host));
                    restored.ended_before = age;
                    if restored.is_settled() {
                        over.push((age, FinalRecord::of(&restored, self.books.me)));
                        continue;
                    }
                    self.apps.insert(app, restored);
                }
                // It goes from the disk, too: the next start is not away for so long.
                _ => {}
            }
            self.books.journal.mark(app);
        }
        over.sort_by_key(|(age, _)| Reverse(*age));
        over.into_iter().for_each(|(age, over)| self.remember(call.now, age, over, host));
    }

    /// Everything up to `number` is on disk.
    pub fn handle_stored<H: Host>(&mut self, call: Call<'_, Config>, number: u64, host: &mut H) {
        self.books.journal.on_stored(call.now, number);
        let mut cx = self.books.context(call, host);
        for (id, app) in &mut self.apps {
            if cx.books.journal.is_stored(*id) {
                app.on_stored(&mut cx);
            }
        }
        self.sweep(call.now, host);
    }

    /// Peer `old` restarted, and is `new` from now on. Comes before the old one is said to be gone.
    pub fn handle_successor(&mut self, old: Handle, new: Handle) {
        self.books.ledger.rename(old, new);
        self.apps.values_mut().for_each(|app| app.on_successor(old, new));
        self.stopped.values_mut().for_each(|stopped| stopped.rename(old, new));
    }

    /// Hands over what changed, and gives the answers that waited for what is on disk by now. Called after
    /// every input.
    pub fn save<H: Host>(&mut self, call: Call<'_, Config>, host: &mut H) {
        for app in self.books.journal.take_unsaved() {
            if self.finals.contains(app) {
                continue;
            }
            let kept = self.kept(app);
            if let Some(number) = self.books.journal.replace(call.now, app, kept.as_ref()) {
                host.event(Notice::Store { number, app, what: kept.map(Box::new) });
            }
        }
        for (to, message) in self.books.journal.take_acks() {
            host.send(to, message);
        }
    }

    /// What there is to keep of an application.
    fn kept(&self, app: AppId) -> Option<Kept> {
        if let Some(stopped) = self.stopped.get(&app) {
            return Some(stopped.kept());
        }
        self.apps.get(&app)?.role().map(|role| Kept::Role(Box::new(role)))
    }

    /// Whether the disk takes too long: nothing new is promised until it has written what it has.
    pub fn is_disk_stalled(&self, now: xtreem_base::Instant) -> bool {
        self.books.journal.is_stalled(now)
    }

    pub(super) fn acknowledge<H: Host>(&mut self, to: Handle, app: AppId, answer: Message, host: &mut H) {
        if self.books.journal.is_on() {
            self.books.journal.ack(app, to, answer);
        } else {
            host.send(to, answer);
        }
    }
}
