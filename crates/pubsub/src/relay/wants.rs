//! What this server's clients subscribed to, as the ring has it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Duration, Instant, NodeId};

use super::{
    Action, Answer, Body, Failure, Interest, Item, Out, Relay, Server, Space, TOLD_MAX, TOLD_OF_ONE_MAX,
    Timer, Token, Waiter, What,
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

/// A pattern, or a group, that somebody here wants.
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
    pub fn wanted(&mut self, now: Instant, interest: impl Into<Interest>) {
        let interest = Arc::new(interest.into());
        if self.wants.len() >= WANTS_MAX {
            let words = format!(
                "{WANTS_MAX} patterns are subscribed to by way of this agent, as many as possible: subscribe \
                 to one above several of them, such as \"a/**\""
            );
            return self.out.push_back(Action::Answer(interest, Answer::Refused(words)));
        }
        self.timers.set(Timer::Answer(interest.clone()), now + ANSWER_MAX);
        let want = Want { cycle: 0, phase: Phase::Held, is_answered: false, written: None };
        self.wants.insert(interest.clone(), want);
        if interest.group.is_some() {
            self.groups.insert(interest.clone());
        }
        self.write_want(&interest);
    }

    /// Nobody here subscribes to it any more.
    pub fn unwanted(&mut self, interest: impl Into<Interest>) {
        let interest = Arc::new(interest.into());
        self.groups.remove(&interest);
        self.timers.clear(&Timer::Answer(interest.clone()));
        self.timers.clear(&Timer::Want(interest.clone()));
        if self.wants.remove(&interest).is_some() {
            self.ops.add(What::Remove(Space::Subscribers, interest), None);
        }
    }

    pub(super) fn renew_want(&mut self, now: Instant, interest: &Arc<Interest>) {
        let Some(want) = self.wants.get_mut(interest) else { return };
        // What was not there for a while is as new.
        if want.written.is_some_and(|written| written + LEASE <= now) {
            want.written = None;
        }
        self.write_want(interest);
    }

    fn write_want(&mut self, interest: &Arc<Interest>) {
        let Some(want) = self.wants.get_mut(interest) else { return };
        self.cycles += 1;
        want.cycle = self.cycles;
        if want.written.is_none() {
            want.phase = Phase::Writing;
        }
        let waiter = Waiter::Want(interest.clone(), want.cycle);
        self.ops.add(What::Put(Space::Subscribers, interest.clone()), Some(waiter));
    }

    pub(super) fn want_done(
        &mut self,
        now: Instant,
        interest: &Arc<Interest>,
        cycle: u64,
        done: &Result<Vec<Item>, Failure>,
    ) {
        let Some(want) = self.wants.get_mut(interest).filter(|want| want.cycle == cycle) else { return };
        match (&mut want.phase, done) {
            (Phase::Writing, Ok(_)) => {
                want.written = Some(now);
                let sections = super::sections(&interest.pattern);
                want.phase =
                    Phase::Looking { left: sections.len(), publishers: BTreeMap::new(), has_failed: false };
                for section in sections {
                    let waiter = Waiter::Want(interest.clone(), cycle);
                    self.ops.add(What::Scan(Space::Publishers, section), Some(waiter));
                }
            }
            (Phase::Writing, Err(Failure::Refused(words))) => {
                if !want.is_answered {
                    let answer = Answer::Refused(words.clone());
                    self.wants.remove(interest);
                    self.groups.remove(interest);
                    self.timers.clear(&Timer::Answer(interest.clone()));
                    return self.out.push_back(Action::Answer(interest.clone(), answer));
                }
                self.timers.set(Timer::Want(interest.clone()), now + RENEWAL);
            }
            (Phase::Writing, Err(Failure::Unanswered)) => {
                self.timers.set(Timer::Want(interest.clone()), now + PAUSE);
            }
            (Phase::Looking { left, publishers, has_failed }, done) => {
                *has_failed |= done.is_err();
                for (others, server) in done.iter().flatten().filter_map(Item::read) {
                    let is_other = server.id != self.own.id && publishers.len() < PUBLISHERS_MAX;
                    if is_other && others.pattern.overlaps(&interest.pattern) {
                        publishers.insert(server.id, server);
                    }
                }
                *left -= 1;
                if *left == 0 && *has_failed {
                    // Somebody may publish who was not seen.
                    want.written = None;
                    self.timers.set(Timer::Want(interest.clone()), now + PAUSE);
                } else if *left == 0 {
                    let publishers = core::mem::take(publishers);
                    self.tell_publishers(now, interest, publishers);
                }
            }
            (Phase::Telling(_) | Phase::Held, Ok(_)) => {
                want.written = Some(now);
                self.timers.set(Timer::Want(interest.clone()), now + RENEWAL);
            }
            (Phase::Telling(_) | Phase::Held, Err(_)) => {
                self.timers.set(Timer::Want(interest.clone()), now + PAUSE);
            }
        }
    }

    fn tell_publishers(
        &mut self,
        now: Instant,
        interest: &Arc<Interest>,
        publishers: BTreeMap<NodeId, Server>,
    ) {
        let Some(want) = self.wants.get_mut(interest) else { return };
        want.phase = Phase::Telling(publishers.keys().copied().collect());
        self.timers.set(Timer::Want(interest.clone()), now + RENEWAL);
        for publisher in publishers.into_values() {
            let body = Body::Changed { server: self.own, wanted: interest.clone() };
            let token = Some(Token::Want(interest.clone(), publisher.id));
            self.send(publisher, Out { body, rest: [].into(), token });
        }
        self.look_whether_told(interest);
    }

    /// A publishing server has taken the news, or is not waited for.
    pub(super) fn want_taken(&mut self, interest: &Arc<Interest>, peer: NodeId) {
        if let Some(Want { phase: Phase::Telling(left), .. }) = self.wants.get_mut(interest) {
            left.remove(&peer);
            self.look_whether_told(interest);
        }
    }

    fn look_whether_told(&mut self, interest: &Arc<Interest>) {
        let Some(want) = self.wants.get_mut(interest) else { return };
        if !matches!(&want.phase, Phase::Telling(left) if left.is_empty()) {
            return;
        }
        want.phase = Phase::Held;
        self.timers.clear(&Timer::Answer(interest.clone()));
        if !core::mem::replace(&mut want.is_answered, true) {
            self.out.push_back(Action::Answer(interest.clone(), Answer::Done));
        }
    }

    pub(super) fn answer_late(&mut self, interest: &Arc<Interest>) {
        if let Some(want) = self.wants.get_mut(interest)
            && !core::mem::replace(&mut want.is_answered, true)
        {
            self.out.push_back(Action::Answer(interest.clone(), Answer::Late));
        }
    }

    /// Another server wants this from now on.
    pub(super) fn changed(&mut self, now: Instant, server: Server, wanted: Arc<Interest>) {
        if let Some(link) = self.links.get_mut(&server.id) {
            link.meet(server);
            // It lives: what comes for it from now on waits as long as for anybody.
            link.failing_since = None;
        }
        let outlets = self.outlets.iter_mut().filter(|(topic, _)| topic.overlaps(&wanted.pattern));
        let overdue: Vec<Body> = outlets.flat_map(|(_, outlet)| outlet.add(now, &wanted, server)).collect();
        for body in overdue {
            self.send(server, Out { body, rest: [].into(), token: None });
        }
        if self.told.len() >= TOLD_MAX {
            self.told.retain(|_, (_, until)| *until > now);
        }
        let of_it = self.told.keys().filter(|(id, _)| *id == server.id).count();
        if self.told.len() < TOLD_MAX && of_it < TOLD_OF_ONE_MAX {
            self.told.insert((server.id, wanted), (server, now + TOLD));
        }
    }

    /// Who told that it wants what this may mean.
    pub(super) fn told_of(
        &self,
        now: Instant,
        topic: &Pattern<'_>,
    ) -> impl Iterator<Item = (Arc<Interest>, Server)> {
        let is_meant = move |((_, wanted), (_, until)): &(&(NodeId, Arc<Interest>), &(Server, Instant))| {
            *until > now && wanted.pattern.overlaps(topic)
        };
        self.told.iter().filter(is_meant).map(|((_, wanted), (server, _))| (wanted.clone(), *server))
    }
}
