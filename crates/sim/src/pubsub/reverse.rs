//! To compare with: a tree of the ways over the ring to the topic's owner, backwards, as in Scribe (Castro,
//! Druschel, Kermarrec, Rowstron 2002). Who wants events joins at the next node on its way to the owner; that
//! one joins in turn, wanted or not. Not the product.

use std::collections::{BTreeMap, BTreeSet};

use xtreem_base::{Duration, Handle, Instant};
use xtreem_overlay::ring::Ring;
use xtreem_overlay::{Key, Namespace, Position, Range};

/// A child says so anew, and a parent answers.
const PERIOD: Duration = Duration::from_secs(2);
/// A parent that is silent for so long is left, and not chosen again for a while.
const SILENCE_MAX: Duration = Duration::from_secs(4);
const AVOIDED: Duration = Duration::from_secs(20);
/// A child that does not say so any more is forgotten.
const CHILD_MAX: Duration = Duration::from_secs(7);
/// Steps of an event on its way to the owner.
const STEPS_MAX: u8 = 32;

#[derive(Clone, Copy)]
pub(super) enum Message {
    Join,
    Joined,
    /// `up`: steps that it may still take on its way to the owner; none: it goes down the tree.
    Event {
        number: u32,
        up: Option<u8>,
    },
}

#[derive(Default)]
pub(super) struct Out {
    pub(super) sent: Vec<(Handle, Message)>,
    pub(super) is_joined: bool,
}

/// The next node on the way to the owner, without some; none: here it is.
pub(super) type Next<'a> = &'a dyn Fn(&dyn Fn(Handle) -> bool) -> Option<Handle>;

#[derive(Default)]
pub(super) struct Reverse {
    pub(super) is_member: bool,
    parent: Option<Handle>,
    parent_heard: Instant,
    children: BTreeMap<Handle, Instant>,
    avoided: BTreeMap<Handle, Instant>,
    seen: BTreeSet<u32>,
    due: Option<Instant>,
}

/// The topic's place on the ring.
pub(super) fn key() -> Key {
    Key::new(Namespace::USER, b"hot/topic").unwrap_or_default()
}

/// The contact nearest before the key, else the next node.
pub(super) fn next_hop(
    ring: &Ring,
    key: &Key,
    now: Instant,
    is_avoided: &dyn Fn(Handle) -> bool,
) -> Option<Handle> {
    let own = ring.position()?;
    if ring.lease().is_some_and(|lease| lease.is_valid(now) && lease.range().contains_key(key)) {
        return None;
    }
    let target = Position::of_key(key.clone());
    let way = Range::new(own.clone(), target.clone());
    let usable = || ring.contacts().filter(|contact| !is_avoided(contact.handle));
    // The nearer one: the other lies between it and the start.
    let before = usable().filter(|contact| way.contains(&contact.position)).reduce(|best, contact| {
        let is_further = Range::new(best.position.clone(), target.clone()).contains(&contact.position);
        if is_further { contact } else { best }
    });
    before.or_else(|| ring.successors().iter().find(|it| !is_avoided(it.handle))).map(|it| it.handle)
}

impl Reverse {
    pub(super) fn is_new(&self, number: u32) -> bool {
        !self.seen.contains(&number)
    }

    fn next(&self, next: Next<'_>) -> Option<Handle> {
        next(&|handle| self.avoided.contains_key(&handle))
    }

    /// Says to its parent that it is its child, where there is anybody to hear.
    pub(super) fn refresh(&mut self, now: Instant, next: Next<'_>, out: &mut Out) {
        self.avoided.retain(|_, until| *until > now);
        self.children.retain(|_, until| *until > now);
        if !self.is_member && self.children.is_empty() {
            (self.parent, self.due) = (None, None);
            return;
        }
        self.due = Some(now + PERIOD);
        if let Some(parent) = self.parent.filter(|_| now >= self.parent_heard + SILENCE_MAX) {
            self.avoided.insert(parent, now + AVOIDED);
        }
        let parent = self.next(next);
        if parent != self.parent {
            (self.parent, self.parent_heard) = (parent, now);
        }
        match parent {
            Some(parent) => out.sent.push((parent, Message::Join)),
            None => out.is_joined = self.is_member,
        }
    }

    pub(super) fn publish(&mut self, now: Instant, number: u32, next: Next<'_>, out: &mut Out) {
        self.climb(now, number, STEPS_MAX, next, out);
    }

    fn climb(&mut self, now: Instant, number: u32, steps: u8, next: Next<'_>, out: &mut Out) {
        match self.next(next) {
            Some(to) if steps > 0 => out.sent.push((to, Message::Event { number, up: Some(steps - 1) })),
            Some(_) => {}
            None => self.descend(now, number, None, out),
        }
    }

    fn descend(&mut self, now: Instant, number: u32, from: Option<Handle>, out: &mut Out) {
        if !self.seen.insert(number) {
            return;
        }
        for (child, _) in self.children.iter().filter(|(child, until)| Some(**child) != from && **until > now)
        {
            out.sent.push((*child, Message::Event { number, up: None }));
        }
    }

    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: Handle,
        message: Message,
        next: Next<'_>,
        out: &mut Out,
    ) {
        match message {
            Message::Join => {
                self.children.insert(from, now + CHILD_MAX);
                out.sent.push((from, Message::Joined));
                if self.due.is_none() {
                    self.refresh(now, next, out);
                }
            }
            Message::Joined if self.parent == Some(from) => {
                self.parent_heard = now;
                out.is_joined = self.is_member;
            }
            Message::Joined => {}
            Message::Event { number, up: Some(steps) } => self.climb(now, number, steps, next, out),
            Message::Event { number, up: None } => self.descend(now, number, Some(from), out),
        }
    }

    pub(super) fn next_timeout(&self) -> Instant {
        self.due.unwrap_or(Instant::FAR)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, next: Next<'_>, out: &mut Out) {
        self.refresh(now, next, out);
    }
}
