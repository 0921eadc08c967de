//! The watch over slots around one's own: probes, the search for holders, whose turn it is to recruit.

use alloc::vec::Vec;

use xtreem_base::{Duration, Handle, Instant};
use xtreem_membership::detector::{Action, INDIRECT_PROBES, INDIRECT_ROUNDS};

use super::App;
use crate::context::Context;
use crate::knowledge::Entry;
use crate::message::{Holds, Message, Versions};
use crate::mine::Mine;
use crate::{Config, Connection, Host, Known, Notice, SlotState, Wish, window};

/// How often an unknown holder is asked for. Our guess.
const LOCATE_PERIOD: Duration = Duration::from_secs(1);
/// Slots that a guardian watches: the lowest live ones (docs/design/allocation.md, "Guardians").
pub(super) const GUARDED: usize = 4;

impl App {
    /// Slots that this node has to keep an eye on.
    pub fn watched(&self) -> Vec<u16> {
        let slots = self.slots();
        let held = self.mine.iter().filter(|mine| mine.is_held());
        let mut watched: Vec<u16> = held.flat_map(|mine| window::around(mine.slot, slots)).collect();
        if self.is_guardian() {
            if self.is_wide() {
                watched.extend(self.known.iter().map(|(slot, _)| slot));
            } else {
                watched.extend(self.guarded().map(|(slot, _)| slot));
            }
        }
        watched.retain(|slot| self.mine(*slot).is_none_or(|mine| !mine.is_held()));
        watched.sort_unstable();
        watched.dedup();
        watched
    }

    pub(super) fn tick_watches<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        for slot in self.watched() {
            let entry = self.known.entry_or_unknown(slot, cx.now, &mut cx.books.rng);
            let Some(holder) = entry.live_holder() else { continue };
            let about = entry.known(slot);
            match entry.watch.handle_timeout(cx.now) {
                Action::Nothing => {}
                Action::Probe => self.send_probe(cx, holder, about),
                Action::IndirectProbe { round } => {
                    self.send_probe(cx, holder, about);
                    ask_others(cx, holder);
                    if round + 1 == INDIRECT_ROUNDS {
                        cx.host.connection(cx.now);
                    }
                }
                Action::Down => {
                    entry.mark_lost(cx.now);
                    self.suspect(cx.now, slot, holder);
                }
            }
        }
    }

    pub(super) fn tick_locate<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        let is_unknown = |entry: &Entry| entry.unknown.is_some() && !entry.state.is_final();
        let unknown: Vec<u16> = self
            .watched()
            .into_iter()
            .filter(|slot| self.known.entry(*slot).is_some_and(is_unknown))
            .collect();
        let is_round = self.locate_due <= cx.now;
        for slot in unknown {
            let Some(entry) = self.known.entry_mut(slot) else { continue };
            let Some(since) = entry.unknown else { continue };
            if cx.now.since(since) >= cx.config.locate_limit {
                entry.mark_lost(cx.now);
            } else if is_round {
                let mut asked = self.guardians.set.members.clone();
                asked.extend(cx.host.app_peers(self.id(), 2));
                let near = window::around(slot, self.slots());
                asked.extend(near.filter_map(|s| self.known.entry(s)?.live_holder()).take(2));
                asked.sort_unstable();
                asked.dedup();
                asked.retain(|peer| *peer != cx.me.handle);
                for peer in asked {
                    cx.host.send(peer, Message::Locate { app: self.id(), slot });
                }
            }
        }
        if is_round {
            self.locate_due = cx.now + LOCATE_PERIOD;
        }
    }

    /// Decides for each lost slot whether it is this node's turn to recruit.
    pub(super) fn tick_lost<H: Host>(&mut self, cx: &mut Context<'_, H>) {
        if cx.now < self.quiet_until {
            return;
        }
        let mut watched = self.watched();
        if self.is_wide() {
            // First those from which new holders see all others.
            watched.sort_by_key(|slot| slot % (2 * window::REACH + 1) != 0);
        }
        for slot in watched {
            let Some(entry) = self.known.entry(slot) else { continue };
            if entry.lost.is_none() || entry.state.is_final() || self.recruits.contains_key(&slot) {
                continue;
            }
            let Some(turn) = self.turn(slot, cx.now) else { continue };
            if cx.now < turn_at(entry, turn.place, cx.config) {
                continue;
            }
            match cx.host.connection(cx.now) {
                Connection::Connected => {}
                Connection::Pending => continue,
                Connection::CutOff => {
                    self.watch_anew(cx.now, slot);
                    continue;
                }
            }
            self.declare(cx, slot);
            self.start_recruit(cx, slot, turn.order);
        }
    }

    /// This node is cut off: its watches prove nothing and begin again, so that nobody is declared lost in
    /// the moment of healing.
    fn watch_anew(&mut self, now: Instant, slot: u16) {
        if let Some(entry) = self.known.entry_mut(slot).filter(|entry| entry.holder.is_some()) {
            entry.mark_alive(now);
        }
    }

    fn declare<H: Host>(&mut self, cx: &mut Context<'_, H>, slot: u16) {
        let app = self.id();
        if let Some(entry) = self.known.entry_mut(slot).filter(|entry| !entry.is_declared) {
            entry.is_declared = true;
            if let Some(peer) = entry.holder {
                let epoch = entry.epoch;
                cx.host.event(Notice::HolderLost { app, slot: Some(slot), peer, epoch });
            }
        }
    }

    /// When it is this node's turn to recruit `slot`; nothing when it has no say.
    pub fn turn(&self, slot: u16, now: Instant) -> Option<window::Turn> {
        let is_mine = |other: u16| self.mine(other).is_some_and(Mine::is_held);
        let is_live = |other: u16| self.known.entry(other).is_some_and(|entry| entry.is_seasoned(now));
        let as_holder = window::turn(slot, self.slots(), is_mine, is_live);
        as_holder.or_else(|| self.turn_as_guardian(slot, now))
    }

    pub fn on_probe<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        from: Handle,
        about: Known,
        theirs: Option<Versions>,
    ) {
        self.learn(cx, from, about);
        let slot = about.slot;
        let holds = match self.mine(slot).filter(|mine| mine.is_held()) {
            Some(mine) => Holds::Yes(self.report(mine)),
            // A restored role may run it again: whoever looks for old holders goes on doing so.
            None if self.offers_slot(slot) => Holds::Planned,
            None if cx.books.ledger.has_hold(cx.now, self.id()) => Holds::Planned,
            None => Holds::No,
        };
        let newest = match holds {
            Holds::Yes(_) => None,
            _ => self.proven(slot, cx.me.handle).filter(|known| {
                known.epoch > about.epoch && known.holder.is_some_and(|holder| holder != from)
            }),
        };
        let (app, versions) = (self.id(), Some(self.versions()));
        cx.host.send(from, Message::ProbeAck { app, versions, slot, holds, newest });
        self.compare(cx, from, theirs);
    }

    pub fn on_probe_ack<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        from: Handle,
        slot: u16,
        holds: Holds,
        newest: Option<Known>,
    ) {
        match holds {
            Holds::Yes(report) => self.hear(cx, from, report),
            Holds::Planned => {
                if let Some(entry) = self.known.entry_mut(slot).filter(|entry| entry.holder == Some(from))
                    && entry.state == SlotState::Planned
                {
                    entry.watch.answered(cx.now);
                }
            }
            Holds::No => {
                self.older.remove(slot, from);
                if let Some(entry) = self.known.entry_mut(slot).filter(|entry| entry.holder == Some(from)) {
                    entry.mark_given_up(cx.now);
                    self.due = cx.now;
                }
                self.on_checked(cx.now, from);
            }
        }
        if let Some(newest) = newest {
            self.learn(cx, from, newest);
        }
    }

    pub fn send_probe<H: Host>(&self, cx: &mut Context<'_, H>, to: Handle, about: Known) {
        let (app, versions) = (self.id(), Some(self.versions()));
        cx.host.send(to, Message::Probe { app, versions, about, mine: self.reports(about.slot) });
    }
}

/// When it is the turn of the watcher at `place`: at once for the first, later for the others and after
/// claims.
fn turn_at(entry: &Entry, place: u16, config: &Config) -> Instant {
    let lost = entry.lost.unwrap_or(Instant::FAR);
    match entry.claimed {
        None if place == 0 => lost,
        claimed => {
            claimed.map_or(lost, |claimed| claimed.max(lost))
                + config.claim_silence
                + config.claim_place * u64::from(place)
        }
    }
}

/// Lets random others probe a silent peer.
pub(super) fn ask_others<H: Host>(cx: &mut Context<'_, H>, about: Handle) {
    let mut helpers = cx.host.grid_contacts(usize::from(INDIRECT_PROBES) + 1);
    helpers.retain(|helper| *helper != about);
    helpers.truncate(usize::from(INDIRECT_PROBES));
    cx.host.event(Wish::AskOthers { about, helpers });
}
