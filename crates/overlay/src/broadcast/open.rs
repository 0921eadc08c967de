//! Who gets which part, and parts that nobody has accepted yet.

use alloc::vec::Vec;

use xtreem_base::{Duration, Handle, Instant};

use super::extent::Extent;
use super::{Around, Config};
use crate::Position;
use crate::ring::{Contact, ROWS_MAX, SUCCESSORS_MAX, clockwise};

/// Delegates of one part at most: all that a node knows. Of more, those farthest away are left out, and the
/// part of the last one is larger.
pub const FANOUT_MAX: usize = SUCCESSORS_MAX + 3 * ROWS_MAX;
/// Silent ones of one broadcast that are remembered; the oldest is forgotten.
const FAILED_MAX: usize = 16;

/// How a part was given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As far as the successors tell, nobody else stands there: it is the one with that number among them.
    Alone(u8),
    Wide,
    /// It owns the end of the part, which holds nobody else.
    Owner,
    /// The first one, by somebody who does not stand there itself.
    First,
    /// The same, and it owns the end, too.
    Only,
}

impl Kind {
    pub(super) fn patience(self, config: &Config, tries: u8) -> Duration {
        match self {
            Kind::Alone(_) if tries > 1 => config.answer_timeout,
            Kind::Alone(nth) => config.verdict + config.verdict_step * u64::from(nth),
            Kind::Wide | Kind::Owner | Kind::First | Kind::Only => config.answer_timeout,
        }
    }
}

/// A part that was delegated.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) to: Contact,
    /// What has to be seen to, by itself or, when it does not accept, by another.
    pub(super) extent: Extent,
    pub(super) seq: u16,
    pub(super) kind: Kind,
    pub(super) due: Instant,
    pub(super) tries: u8,
}

/// What one node has delegated of one broadcast.
#[derive(Clone, Debug, Default)]
pub(super) struct Opened {
    open: Vec<Open>,
    accepted: Vec<Contact>,
    failed: Vec<Handle>,
}

impl Opened {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn add(&mut self, open: Open) {
        self.open.push(open);
    }

    /// How it was given away; none: nobody waits for that.
    pub(super) fn accept(&mut self, from: Handle, seq: u16) -> Option<Kind> {
        let is_it = |open: &Open| open.to.handle == from && open.seq == seq;
        let at = self.open.iter().position(is_it)?;
        let open = self.open.swap_remove(at);
        let kind = open.kind;
        if kind == Kind::Wide && self.accepted.len() < FANOUT_MAX {
            self.accepted.push(open.to);
        }
        if self.open.is_empty() {
            // Nothing is given away any more.
            self.accepted = Vec::new();
        }
        Some(kind)
    }

    pub(super) fn expire(&mut self, now: Instant) -> Vec<Open> {
        let (silent, open) = core::mem::take(&mut self.open).into_iter().partition(|it| it.due <= now);
        self.open = open;
        let silent: Vec<Open> = silent;
        for it in silent.iter().filter(|it| matches!(it.kind, Kind::Wide | Kind::Owner)) {
            if self.failed.len() >= FAILED_MAX {
                self.failed.remove(0);
            }
            self.failed.push(it.to.handle);
        }
        silent
    }

    pub(super) fn has_failed(&self, peer: Handle) -> bool {
        self.failed.contains(&peer)
    }

    /// Of those that have accepted, the last before a position.
    pub(super) fn nearest_before(&self, me: &Position, position: &Position) -> Option<Contact> {
        let before = self.accepted.iter().filter(|it| clockwise(me, &it.position, position).is_lt());
        before.max_by(|a, b| clockwise(me, &a.position, &b.position)).cloned()
    }

    pub(super) fn next_due(&self) -> Instant {
        self.open.iter().map(|open| open.due).min().unwrap_or(Instant::FAR)
    }

    pub(super) fn gone(&mut self, peer: Handle, now: Instant) {
        self.open.iter_mut().filter(|open| open.to.handle == peer).for_each(|open| open.due = now);
        self.accepted.retain(|contact| contact.handle != peer);
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.open.iter().for_each(|open| f(open.to.handle));
        self.accepted.iter().for_each(|contact| f(contact.handle));
    }
}

/// One delegate and its part.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) to: Contact,
    pub(super) extent: Extent,
    pub(super) kind: Kind,
}

/// Cuts `extent` at those known in it that are usable: each sees to what lies between it and the next.
pub(super) fn parts(
    me: &Position,
    around: &Around,
    extent: &Extent,
    is_usable: impl Fn(&Contact) -> bool,
) -> Vec<Part> {
    let others = |it: &&Contact| it.position.id != me.id && is_usable(it);
    let known = || around.successors.iter().chain(&around.others).filter(others);
    let mut inside: Vec<&Contact> = known().filter(|it| extent.contains(&it.position)).collect();
    inside.sort_by(|a, b| clockwise(&extent.after, &a.position, &b.position));
    inside.dedup_by_key(|it| it.handle);
    inside.truncate(FANOUT_MAX - 1);
    let mut parts = Vec::new();
    // As far as the last of the successors they tell of everybody.
    let horizon = around.successors.last().map_or(me, |last| &last.position);
    let is_told = extent.after == *me || clockwise(me, &extent.after, horizon).is_lt();
    if !is_told {
        // The nearest before the extent knows better who stands at its beginning.
        let nearest = known()
            .filter(|it| clockwise(me, &it.position, &extent.after).is_lt())
            .max_by(|a, b| clockwise(me, &a.position, &b.position));
        let before = inside.first().map_or(&extent.before, |first| &first.position);
        let with_owner = extent.with_owner && inside.is_empty();
        let gap = Extent { after: extent.after.clone(), before: before.clone(), with_owner };
        parts.extend(nearest.map(|it| Part { to: it.clone(), extent: gap, kind: Kind::Wide }));
    }
    for (nth, contact) in inside.iter().enumerate() {
        let next = inside.get(nth + 1);
        let before = next.map_or(&extent.before, |next| &next.position);
        let with_owner = extent.with_owner && next.is_none();
        let part = Extent { after: contact.position.clone(), before: before.clone(), with_owner };
        let place = around.successors.iter().position(|it| it.handle == contact.handle);
        let kind = match place {
            // The one behind it is known, and the part ends there or before.
            Some(place) if place + 1 < around.successors.len() && !with_owner => Kind::Alone(place as u8),
            _ => Kind::Wide,
        };
        parts.push(Part { to: (*contact).clone(), extent: part, kind });
    }
    if extent.with_owner && inside.is_empty() && is_told {
        let is_behind =
            |it: &&Contact| is_usable(it) && !clockwise(&extent.after, &it.position, &extent.before).is_lt();
        let owner = around.successors.iter().find(is_behind);
        parts.extend(owner.map(|it| Part { to: it.clone(), extent: extent.clone(), kind: Kind::Owner }));
    }
    parts
}
