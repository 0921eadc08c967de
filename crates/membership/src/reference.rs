//! Am I cut off? Asked before a node declares another one lost, so that it never takes its own lost network
//! for everybody else's death.
//!
//! A node keeps the 16 grid-wide contacts that answered last. [`Reference::check`] probes them all; when
//! fewer than half answer, the set is frozen and the node counts as cut off until half of this very set
//! answers again, or for [`Config::isolation_limit`], since a lasting death of half the grid cannot be told
//! from a split.
//!
//! A set of fewer than [`MEMBERS_MIN`] says nothing: its node counts as connected. So a grid of two or three
//! nodes goes on when one dies, at the price that it cannot see a split; from four nodes on it can.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_base::{Call, Core, Driven, Duration, Handle, Instant, Sink, Travel, Wake};

/// Contacts in the set; the one whose answer is oldest makes room for a new one.
pub const MEMBERS_MAX: usize = 16;
/// The set changes all the time; the host is told of it this often ...
pub const KEEP_PERIOD: Duration = Duration::from_secs(60);
/// ... and so soon when it has become larger. Both our guess: a set of a minute ago has nearly the same
/// meaning, and the first one is what a fresh grid needs.
pub const KEEP_LARGER: Duration = Duration::from_secs(2);
/// Below this a set decides nothing.
pub const MEMBERS_MIN: usize = 3;

/// Times of the check, lent to every call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// An answer takes at most that long; six times the longest latency in our simulations.
    pub probe_timeout: Duration,
    /// A result younger than this is used again: many watchers ask at once when something happens.
    pub reuse: Duration,
    /// Contacts that answered this much before the latest answer are dropped from the set.
    pub fresh: Duration,
    /// After this long cut off, a new set is taken. 1 h, our guess: longer than most repairs of a network.
    pub isolation_limit: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            probe_timeout: Duration::from_secs(1),
            reuse: Duration::from_secs(1),
            fresh: Duration::from_secs(60),
            isolation_limit: Duration::from_secs(3_600),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// "Do you hear me?"
    #[n(0)]
    Probe {
        #[n(0)]
        seq: u16,
    },
    /// The answer, with the probe's number.
    #[n(1)]
    Alive {
        #[n(0)]
        seq: u16,
    },
}

impl Message {
    pub fn travel(&self) -> Travel {
        Travel::DATAGRAM
    }
}

/// An answer to no open probe, or from a stranger to the set. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer that nobody waits for")]
pub struct Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At least half of the set answers, or the set is too small to tell.
    Connected,
    /// Fewer than half answer: keep what runs, declare nobody lost.
    CutOff,
    /// No fresh result: [`Reference::check`] starts a probe, and one that runs ends within twice its timeout.
    Pending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// When half of the set was last heard, if it was asked at all.
    Idle {
        connected_at: Option<Instant>,
    },
    /// The set has been asked `asked` times, once or twice.
    Probing {
        asked: u8,
        deadline: Instant,
    },
    CutOff {
        since: Instant,
        next_probe: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
struct Member {
    peer: Handle,
    answered_at: Instant,
    /// In this probe.
    answered: bool,
}

/// How much of its set a node that is cut off reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Members that answered one of the last three questions, a second apart.
    pub answering: u8,
    pub members: u8,
    /// From now on: then a new set is taken, whoever answers ([`Config::isolation_limit`]).
    pub ends_in: Duration,
}

impl Reach {
    /// Members that have to answer before the node counts as connected.
    pub fn needed(&self) -> u8 {
        self.members.div_ceil(2)
    }
}

/// What the host was told to keep.
#[derive(Clone, Copy, Debug, Default)]
struct Keeping {
    len: u8,
    at: Option<Instant>,
}

/// The reference set of one node and the state of its check.
#[derive(Clone, Debug)]
pub struct Reference {
    members: [Member; MEMBERS_MAX],
    len: u8,
    seq: u16,
    phase: Phase,
    keeping: Keeping,
}

impl Default for Reference {
    fn default() -> Self {
        let unused = Member { peer: Handle::NONE, answered_at: Instant::ZERO, answered: false };
        Reference {
            members: [unused; MEMBERS_MAX],
            len: 0,
            seq: 0,
            phase: Phase::Idle { connected_at: None },
            keeping: Keeping::default(),
        }
    }
}

impl Reference {
    /// `peer` answered a request of this node, of whatever protocol.
    ///
    /// Strangers to a frozen set are not taken in: a small side of a split must not fill it with its own.
    pub fn answered(&mut self, call: Call<'_, Config>, peer: Handle) {
        if peer == Handle::NONE {
            return;
        }
        let Call { config, now } = call;
        let frozen = matches!(self.phase, Phase::CutOff { .. });
        if let Some(member) = self.members_mut().iter_mut().find(|member| member.peer == peer) {
            member.answered_at = now;
            member.answered = true;
        } else if !frozen {
            self.take_in(Member { peer, answered_at: now, answered: true });
        }
        if !frozen {
            self.drop_stale(config, now);
        }
        self.conclude(now);
    }

    /// Takes up the set of the time before this start. This node counts as cut off until half of this very
    /// set answers: else the first machine to boot after a power cut would take itself for the whole grid.
    pub fn restore(&mut self, call: Call<'_, Config>, peers: impl IntoIterator<Item = Handle>) {
        for peer in peers {
            self.take_in(Member { peer, answered_at: call.now, answered: false });
        }
        if self.members().len() >= MEMBERS_MIN {
            self.phase = Phase::CutOff { since: call.now, next_probe: call.now };
        }
    }

    /// A peer restarted: the member stays, under its new handle, and has just been heard.
    pub fn rename(&mut self, call: Call<'_, Config>, old: Handle, new: Handle) {
        if self.members().iter().any(|member| member.peer == new) {
            return;
        }
        if let Some(member) = self.members_mut().iter_mut().find(|member| member.peer == old) {
            *member = Member { peer: new, answered_at: call.now, answered: true };
            self.conclude(call.now);
        }
    }

    /// The set, when the host is to keep another one than it has. A set that is frozen, or too small to say
    /// anything, is not kept.
    pub fn take_changed(&mut self, now: Instant) -> Option<Vec<Handle>> {
        let is_frozen = matches!(self.phase, Phase::CutOff { .. });
        let Keeping { len, at } = self.keeping;
        let due = at.map(|at| at + if self.len > len { KEEP_LARGER } else { KEEP_PERIOD });
        if is_frozen || self.members().len() < MEMBERS_MIN || due.is_some_and(|due| now < due) {
            return None;
        }
        self.keeping = Keeping { len: self.len, at: Some(now) };
        Some(self.members().iter().map(|member| member.peer).collect())
    }

    /// Nothing unless this node is cut off.
    pub fn reach(&self, call: Call<'_, Config>) -> Option<Reach> {
        let Phase::CutOff { since, .. } = self.phase else { return None };
        let Call { config, now } = call;
        let answering = self.members().iter().filter(|member| is_heard(member, call)).count() as u8;
        let ends_in = config.isolation_limit - now.since(since);
        Some(Reach { answering, members: self.len, ends_in })
    }

    /// The operator's word that the members which do not answer are gone for good: those that answer are the
    /// whole set from now on, and this node counts as connected. Returns how many were given up; nothing
    /// unless the node is cut off.
    pub fn accept_loss(&mut self, call: Call<'_, Config>) -> Option<u8> {
        let reach = self.reach(call)?;
        for at in (0..usize::from(self.len)).rev() {
            if !is_heard(&self.members[at], call) {
                self.remove_at(at);
            }
        }
        self.phase = Phase::Idle { connected_at: Some(call.now) };
        Some(reach.members - reach.answering)
    }

    /// Asks whether this node is cut off: starts a probe, joins the one that runs, or uses a fresh result.
    pub fn check(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message>) -> Verdict {
        let verdict = self.verdict(call);
        let running = matches!(self.phase, Phase::Probing { .. });
        if verdict != Verdict::Pending || running {
            return verdict;
        }
        self.phase = Phase::Probing { asked: 1, deadline: call.now + call.config.probe_timeout };
        self.probe_all(out);
        Verdict::Pending
    }

    /// What is known now. Sends nothing; ask again after any other call while it is [`Verdict::Pending`].
    pub fn verdict(&self, call: Call<'_, Config>) -> Verdict {
        let Call { config, now } = call;
        match self.phase {
            Phase::CutOff { .. } => Verdict::CutOff,
            _ if self.members().len() < MEMBERS_MIN => Verdict::Connected,
            Phase::Idle { connected_at: Some(at) } if now.since(at) < config.reuse => Verdict::Connected,
            Phase::Idle { .. } | Phase::Probing { .. } => Verdict::Pending,
        }
    }

    /// The set.
    pub fn peers(&self) -> impl Iterator<Item = Handle> + '_ {
        self.members().iter().map(|member| member.peer)
    }

    fn members(&self) -> &[Member] {
        &self.members[..usize::from(self.len)]
    }

    fn members_mut(&mut self) -> &mut [Member] {
        &mut self.members[..usize::from(self.len)]
    }

    fn remove_at(&mut self, at: usize) {
        self.len -= 1;
        self.members.swap(at, usize::from(self.len));
    }

    fn take_in(&mut self, member: Member) {
        if usize::from(self.len) < MEMBERS_MAX {
            self.members[usize::from(self.len)] = member;
            self.len += 1;
        } else if let Some(oldest) = self.members.iter_mut().min_by_key(|member| member.answered_at) {
            *oldest = member;
        }
    }

    /// Measured from an answer that has just come, never from the clock alone: silence must not empty the
    /// set.
    fn drop_stale(&mut self, config: &Config, latest: Instant) {
        for at in (0..usize::from(self.len)).rev() {
            if latest.since(self.members[at].answered_at) > config.fresh {
                self.remove_at(at);
            }
        }
    }

    fn probe_all(&mut self, out: &mut impl Sink<Message>) {
        self.seq = self.seq.wrapping_add(1);
        self.members_mut().iter_mut().for_each(|member| member.answered = false);
        self.ask_silent(out);
    }

    fn ask_silent(&self, out: &mut impl Sink<Message>) {
        for member in self.members().iter().filter(|member| !member.answered) {
            out.send(member.peer, Message::Probe { seq: self.seq });
        }
    }

    /// Half is enough to know at once.
    fn conclude(&mut self, now: Instant) {
        let answered = self.members().iter().filter(|member| member.answered).count();
        if !matches!(self.phase, Phase::Idle { .. }) && 2 * answered >= self.members().len() {
            self.phase = Phase::Idle { connected_at: Some(now) };
        }
    }
}

/// While cut off, members are asked every [`Config::probe_timeout`].
fn is_heard(member: &Member, call: Call<'_, Config>) -> bool {
    member.answered || call.now.since(member.answered_at) <= call.config.probe_timeout * 3
}

impl Core for Reference {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, config: &Config) -> Wake {
        match self.phase {
            Phase::Idle { .. } => Wake::NEVER,
            Phase::Probing { deadline, .. } => Wake::new(deadline, "probe of the reference set"),
            Phase::CutOff { since, next_probe } => Wake::new(next_probe, "next probe while cut off")
                .or(Wake::new(since + config.isolation_limit, "cut off for too long")),
        }
    }

    fn handle_gone(&mut self, _: Call<'_, Config>, peer: Handle) {
        if let Some(at) = self.members().iter().position(|member| member.peer == peer) {
            self.remove_at(at);
        }
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.members().iter().for_each(|member| f(member.peer));
    }
}

impl<S: Sink<Message>> Driven<S> for Reference {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut S,
    ) -> Result<(), Fault> {
        match message {
            Message::Probe { seq } => {
                out.send(from, Message::Alive { seq });
                Ok(())
            }
            Message::Alive { seq } => {
                let (is_asked, is_open) = match self.phase {
                    Phase::Idle { connected_at } => (connected_at.is_some(), false),
                    Phase::Probing { .. } | Phase::CutOff { .. } => (true, true),
                };
                let is_asked = is_asked && seq == self.seq;
                let member = self.members_mut().iter_mut().find(|member| member.peer == from);
                // The answers of the half that comes later say nothing any more.
                let member =
                    member.filter(|member| is_asked && (is_open || !member.answered)).ok_or(Fault)?;
                member.answered = true;
                if is_open {
                    member.answered_at = call.now;
                    self.conclude(call.now);
                }
                Ok(())
            }
        }
    }

    /// The second question, the verdict, or the next probe while cut off.
    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        let Call { config, now } = call;
        match self.phase {
            Phase::Probing { asked: 1, deadline } if deadline <= now => {
                self.phase = Phase::Probing { asked: 2, deadline: now + config.probe_timeout };
                self.ask_silent(out);
            }
            Phase::Probing { deadline, .. } if deadline <= now => {
                // Half would have ended the probe at once.
                self.phase = if self.members().len() < MEMBERS_MIN {
                    Phase::Idle { connected_at: Some(now) }
                } else {
                    Phase::CutOff { since: now, next_probe: now }
                };
                self.handle_timeout(call, out);
            }
            Phase::CutOff { since, .. } if now.since(since) >= config.isolation_limit => {
                self.len = 0;
                self.phase = Phase::Idle { connected_at: None };
            }
            Phase::CutOff { since, next_probe } if next_probe <= now => {
                self.phase = Phase::CutOff { since, next_probe: now + config.probe_timeout };
                self.probe_all(out);
            }
            _ => {}
        }
    }
}
