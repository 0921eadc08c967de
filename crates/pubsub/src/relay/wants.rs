//! What this server's clients subscribed to, as the ring has it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Duration, Instant, NodeId};

use super::{
    Action, Answer, Body, Failure, Item, Out, Relay, Server, Space, TOLD_MAX, TOLD_OF_ONE_MAX, Timer, Token,
    Waiter, What,
};
use crate::Pattern;

/// Patterns of one server on the ring; one more is refused. As many items as one writer may have on a node,
/// which has all of them in a small grid.
pub const WANTS_MAX: usize = 4_096;
/// An item of a subscription lives so long unless it is renewed: what a dead server costs those who publish.
pub const LEASE: Duration = Duration::from_secs(90);
/// It is renewed after a third of that.
const RENEWAL: Duration = Duration::from_secs(30);
/// After a failure (our guess).
const PAUSE: Duration = Duration::from_secs(2);
/// A subscriber is answered by then, whatever the ring does. Our guess: a few of its answer times.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Publishing servers that are told of a new subscription; others find it when they look next.
const PUBLISHERS_MAX: usize = 256;
/// What another server told is remembered so long: longer than a look that had begun before takes.
const TOLD: Duration = Duration::from_secs(60);

/// A pattern that somebody here wants.
#[derive(Debug)]
pub(super) struct Want {
    cycle: u64,
    phase: Phase,
    is_answered: bool,
    /// When its item was last written.
    written: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// Its item is being written.
    Writing,
    /// Those who publish what is meant are looked for, in so many places.
    Looking {
        left: usize,
        publishers: BTreeMap<NodeId, Server>,
        has_failed: bool,
    },
    /// They are told.
    Telling(BTreeSet<NodeId>),
    Held,
}

impl Relay {
    /// Somebody here subscribes to this now, and nobody did before. [`Action::Answer`] follows.
    pub fn wanted(&mut self, now: Instant, pattern: &Pattern<'static>) {
        let pattern = Arc::new(pattern.clone());
        if self.wants.len() >= WANTS_MAX {
            let words = format!(
                "{WANTS_MAX} patterns are subscribed to by way of this agent, as many as possible: subscribe \
                 to one above several of them, such as \"a/**\""
            );
            return self.out.push_back(Action::Answer(pattern, Answer::Refused(words)));
        }
        self.timers.set(Timer::Answer(pattern.clone()), now + ANSWER_MAX);
        let want = Want { cycle: 0, phase: Phase::Held, is_answered: false, written: None };
        self.wants.insert(pattern.clone(), want);
        self.write_want(&pattern);
    }

    /// Nobody here subscribes to it any more.
    pub fn unwanted(&mut self, pattern: &Pattern<'static>) {
        let pattern = Arc::new(pattern.clone());
        self.timers.clear(&Timer::Answer(pattern.clone()));
        self.timers.clear(&Timer::Want(pattern.clone()));
        if self.wants.remove(&pattern).is_some() {
            self.ops.add(What::Remove(Space::Subscribers, pattern), None);
        }
    }

    pub(super) fn renew_want(&mut self, now: Instant, pattern: &Arc<Pattern<'static>>) {
        let Some(want) = self.wants.get_mut(pattern) else { return };
        // What was not there for a while is as new.
        if want.written.is_some_and(|written| written + LEASE <= now) {
            want.written = None;
        }
        self.write_want(pattern);
    }

    fn write_want(&mut self, pattern: &Arc<Pattern<'static>>) {
        let Some(want) = self.wants.get_mut(pattern) else { return };
        self.cycles += 1;
        want.cycle = self.cycles;
        if want.written.is_none() {
            want.phase = Phase::Writing;
        }
        let waiter = Waiter::Want(pattern.clone(), want.cycle);
        self.ops.add(What::Put(Space::Subscribers, pattern.clone()), Some(waiter));
    }

    pub(super) fn want_done(
        &mut self,
        now: Instant,
        pattern: &Arc<Pattern<'static>>,
        cycle: u64,
        done: &Result<Vec<Item>, Failure>,
    ) {
        let Some(want) = self.wants.get_mut(pattern).filter(|want| want.cycle == cycle) else { return };
        match (&mut want.phase, done) {
            (Phase::Writing, Ok(_)) => {
                want.written = Some(now);
                let sections = super::sections(pattern);
                want.phase =
                    Phase::Looking { left: sections.len(), publishers: BTreeMap::new(), has_failed: false };
                for section in sections {
                    let waiter = Waiter::Want(pattern.clone(), cycle);
                    self.ops.add(What::Scan(Space::Publishers, section), Some(waiter));
                }
            }
            (Phase::Writing, Err(Failure::Refused(words))) => {
                if !want.is_answered {
                    let answer = Answer::Refused(words.clone());
                    self.wants.remove(pattern);
                    self.timers.clear(&Timer::Answer(pattern.clone()));
                    return self.out.push_back(Action::Answer(pattern.clone(), answer));
                }
                self.timers.set(Timer::Want(pattern.clone()), now + RENEWAL);
            }
            (Phase::Writing, Err(Failure::Unanswered)) => {
                self.timers.set(Timer::Want(pattern.clone()), now + PAUSE);
            }
            (Phase::Looking { left, publishers, has_failed }, done) => {
                *has_failed |= done.is_err();
                for (others, server) in done.iter().flatten().filter_map(Item::read) {
                    let is_other = server.id != self.own.id && publishers.len() < PUBLISHERS_MAX;
                    if is_other && others.overlaps(pattern) {
                        publishers.insert(server.id, server);
                    }
                }
                *left -= 1;
                if *left == 0 && *has_failed {
                    // Somebody may publish who was not seen.
                    want.written = None;
                    self.timers.set(Timer::Want(pattern.clone()), now + PAUSE);
                } else if *left == 0 {
                    let publishers = core::mem::take(publishers);
                    self.tell_publishers(now, pattern, publishers);
                }
            }
            (Phase::Telling(_) | Phase::Held, Ok(_)) => {
                want.written = Some(now);
                self.timers.set(Timer::Want(pattern.clone()), now + RENEWAL);
            }
            (Phase::Telling(_) | Phase::Held, Err(_)) => {
                self.timers.set(Timer::Want(pattern.clone()), now + PAUSE);
            }
        }
    }

    fn tell_publishers(
        &mut self,
        now: Instant,
        pattern: &Arc<Pattern<'static>>,
        publishers: BTreeMap<NodeId, Server>,
    ) {
        let Some(want) = self.wants.get_mut(pattern) else { return };
        want.phase = Phase::Telling(publishers.keys().copied().collect());
        self.timers.set(Timer::Want(pattern.clone()), now + RENEWAL);
        for publisher in publishers.into_values() {
            let body = Body::Changed { server: self.own, pattern: pattern.clone() };
            let token = Some(Token::Want(pattern.clone(), publisher.id));
            self.send(publisher, Out { body, rest: [].into(), token });
        }
        self.look_whether_told(pattern);
    }

    /// A publishing server has taken the news, or is not waited for.
    pub(super) fn want_taken(&mut self, pattern: &Arc<Pattern<'static>>, peer: NodeId) {
        if let Some(Want { phase: Phase::Telling(left), .. }) = self.wants.get_mut(pattern) {
            left.remove(&peer);
            self.look_whether_told(pattern);
        }
    }

    fn look_whether_told(&mut self, pattern: &Arc<Pattern<'static>>) {
        let Some(want) = self.wants.get_mut(pattern) else { return };
        if !matches!(&want.phase, Phase::Telling(left) if left.is_empty()) {
            return;
        }
        want.phase = Phase::Held;
        self.timers.clear(&Timer::Answer(pattern.clone()));
        if !core::mem::replace(&mut want.is_answered, true) {
            self.out.push_back(Action::Answer(pattern.clone(), Answer::Done));
        }
    }

    pub(super) fn answer_late(&mut self, pattern: &Arc<Pattern<'static>>) {
        if let Some(want) = self.wants.get_mut(pattern)
            && !core::mem::replace(&mut want.is_answered, true)
        {
            self.out.push_back(Action::Answer(pattern.clone(), Answer::Late));
        }
    }

    /// Another server wants this from now on.
    pub(super) fn changed(&mut self, now: Instant, server: Server, pattern: Arc<Pattern<'static>>) {
        if let Some(link) = self.links.get_mut(&server.id) {
            link.meet(server);
            // It lives: what comes for it from now on waits as long as for anybody.
            link.failing_since = None;
        }
        let outlets = self.outlets.iter_mut().filter(|(topic, _)| topic.overlaps(&pattern));
        let overdue: Vec<Body> = outlets.flat_map(|(_, outlet)| outlet.add(now, server)).collect();
        for body in overdue {
            self.send(server, Out { body, rest: [].into(), token: None });
        }
        if self.told.len() >= TOLD_MAX {
            self.told.retain(|_, (_, until)| *until > now);
        }
        let of_it = self.told.keys().filter(|(id, _)| *id == server.id).count();
        if self.told.len() < TOLD_MAX && of_it < TOLD_OF_ONE_MAX {
            self.told.insert((server.id, pattern), (server, now + TOLD));
        }
    }

    /// Who told that it wants what this may mean.
    pub(super) fn told_of(&self, now: Instant, topic: &Pattern<'_>) -> impl Iterator<Item = Server> {
        self.told.iter().filter_map(move |((_, pattern), (server, until))| {
            (*until > now && pattern.overlaps(topic)).then_some(*server)
        })
    }
}
