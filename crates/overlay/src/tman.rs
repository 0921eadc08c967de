//! T-Man: nodes that each keep the nearest peers by some ranking, and find them through those they have.
//!
//! Source: Jelasity, Montresor, Babaoglu: T-Man: Gossip-based fast overlay topology construction, Computer
//! Networks 53(13), 2009; the layers after Voulgaris, van Steen: Epidemic-style management of semantic
//! overlays for content-based searching, Euro-Par 2005. Departures, each with its reason, are listed in
//! `docs/protocols/tman.md`.

mod choice;
mod config;
mod lost;
mod message;
mod ranking;
mod view;

use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Duration, Events, Handle, Instant, Rng, Sampler, Sink, Wake};

pub use config::{Config, EXCHANGES_MAX};
pub use message::{Descriptor, Kind, Message, PEERS_MAX};
pub use ranking::{Profile, Ranking, Ring, Side};
pub use view::VIEW_MAX;

use choice::{ALARM_ROUNDS, FEW};
use lost::Lost;
use view::{NEVER, Owner, Room, TOLD_AGE_MAX, View};

/// A message that a correct and timely peer would not have sent. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Answers nothing that is still open: late, repeated or made up.
    #[error("an answer that nobody waits for")]
    Unsolicited,
    #[error("a message with {0} peers: {PEERS_MAX} are possible")]
    TooManyPeers(usize),
    #[error("a message from this node to itself")]
    FromMyself,
    #[error("a message that tells this node of itself or of its sender")]
    NoNews,
    #[error("a message that tells of one peer twice")]
    ToldTwice,
    #[error("a message with {0} bounds: one for each side is possible")]
    WrongBounds(usize),
    /// Its size is not that of this collection, or only one node can have it.
    #[error("a profile that the ranking has no place for")]
    ImpossibleProfile,
}

/// What the node around it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The nearest on some side are others than before, or have other profiles:
    /// [`neighbours`](TMan::neighbours) has them.
    Nearest,
}

/// One of the kept peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour<'a, P> {
    pub handle: Handle,
    pub profile: &'a P,
    /// It has spoken to this node itself. What others said of it may be wrong.
    pub is_proven: bool,
}

/// An exchange that this node began.
#[derive(Clone, Debug)]
struct Open {
    peer: Handle,
    seq: u16,
    due: Instant,
    tries: u8,
    /// What it was told; nothing, when it was asked again.
    told: Vec<Handle>,
}

/// One member's part of one structure.
#[derive(Clone, Debug)]
pub struct TMan<R: Ranking> {
    ranking: R,
    me: Handle,
    profile: R::Profile,
    rng: Rng,
    view: View<R::Profile>,
    lost: Lost,
    /// At most [`EXCHANGES_MAX`]; the oldest makes room.
    open: Vec<Open>,
    seq: u16,
    next_exchange: Instant,
    /// Exchanges begun in this round.
    begun: u8,
    /// The side that is asked next.
    turn: u8,
    /// The last exchange that ended brought nobody who is kept.
    is_idle: bool,
    /// Rounds for which the nearest are asked first, because somebody was silent.
    alarm: u8,
    /// The nearest of each side as they were told last.
    nearest: Vec<(Handle, R::Profile)>,
    /// When a change that came without a sink is told; `FAR` without one.
    tell_at: Instant,
}

impl<R: Ranking> TMan<R> {
    /// A member that knows nobody. Its first exchange is at a random point before the first pace ends.
    pub fn new(
        config: &Config,
        ranking: R,
        me: Handle,
        profile: R::Profile,
        mut rng: Rng,
        now: Instant,
    ) -> Self {
        let next_exchange = now + Duration::from_micros(rng.between(0, config.pace().as_micros()));
        TMan {
            ranking,
            me,
            profile,
            view: View::new(),
            lost: Lost::default(),
            open: Vec::new(),
            seq: rng.next_u32() as u16,
            rng,
            next_exchange,
            begun: 0,
            turn: 0,
            is_idle: false,
            alarm: 0,
            nearest: Vec::new(),
            tell_at: Instant::FAR,
        }
    }

    pub fn ranking(&self) -> &R {
        &self.ranking
    }

    pub fn profile(&self) -> &R::Profile {
        &self.profile
    }

    /// Puts in a peer that was heard of elsewhere. False if there is no place for it, or it is known already.
    pub fn learn(&mut self, call: Call<'_, Config>, peer: Handle, profile: R::Profile) -> bool {
        let is_possible =
            peer != self.me && peer != Handle::NONE && self.ranking.is_possible(&self.profile, &profile);
        let is_news = is_possible && self.hear(call.config, peer, &profile, 1);
        if is_news {
            self.tell_at = call.now;
        }
        is_news
    }

    /// This node is something else from now on. Others learn it with the next exchanges.
    pub fn set_profile(&mut self, call: Call<'_, Config>, profile: R::Profile) {
        self.profile = profile;
        self.view.rank(&Owner { ranking: &self.ranking, profile: &self.profile });
        self.tell_at = call.now;
    }

    /// The kept peers of a side, nearest first: at least `view_size / 2` of the nearest that were heard of,
    /// for rankings with two sides. A peer may be on both.
    pub fn neighbours(&self, side: Side) -> impl ExactSizeIterator<Item = Neighbour<'_, R::Profile>> {
        self.view.side(side).map(|entry| Neighbour {
            handle: entry.handle,
            profile: &entry.profile,
            is_proven: entry.waited < NEVER,
        })
    }

    pub fn len(&self) -> usize {
        self.view.len()
    }

    pub fn is_empty(&self) -> bool {
        self.view.len() == 0
    }

    /// Takes in what somebody says of a peer. True if it is kept and was not.
    fn hear(&mut self, config: &Config, peer: Handle, profile: &R::Profile, age: u16) -> bool {
        if age >= TOLD_AGE_MAX || self.lost.is_lost(peer, age) {
            return false;
        }
        let owner = Owner { ranking: &self.ranking, profile: &self.profile };
        let room = Room { limit: config.view_limit(), share: config.share(R::SIDES.len()) };
        self.view.put(&owner, room, peer, profile, age)
    }

    fn check(&self, from: Handle, message: &Message<R::Profile>) -> Result<(), Fault> {
        if from == self.me || from == Handle::NONE {
            return Err(Fault::FromMyself);
        }
        let peers = &message.peers;
        if peers.len() > PEERS_MAX {
            return Err(Fault::TooManyPeers(peers.len()));
        }
        if peers.iter().any(|peer| [from, self.me, Handle::NONE].contains(&peer.handle)) {
            return Err(Fault::NoNews);
        }
        let is_repeated =
            |(at, peer): (usize, &Descriptor<_>)| peers[..at].iter().any(|other| other.handle == peer.handle);
        if peers.iter().enumerate().any(is_repeated) {
            return Err(Fault::ToldTwice);
        }
        if !message.bounds.is_empty() && message.bounds.len() != R::SIDES.len() {
            return Err(Fault::WrongBounds(message.bounds.len()));
        }
        let mut profiles = peers.iter().map(|peer| &peer.profile).chain([&message.profile]);
        if !profiles.all(|profile| self.ranking.is_possible(&self.profile, profile)) {
            return Err(Fault::ImpossibleProfile);
        }
        Ok(())
    }

    /// The sender's own word, and what it tells of others. True if anybody came into the view.
    fn take_in(&mut self, config: &Config, from: Handle, message: &Message<R::Profile>) -> bool {
        self.lost.remove(from);
        let mut is_news = self.hear(config, from, &message.profile, 0);
        for peer in &message.peers {
            is_news |= self.hear(config, peer.handle, &peer.profile, peer.age.max(1));
        }
        self.view.note_known(from, message.peers.iter().map(|peer| peer.handle));
        is_news
    }

    /// What `to` lacks, with `profile`, besides what it just sent and within its bounds.
    fn lacking(
        &self,
        config: &Config,
        to: Handle,
        profile: &R::Profile,
        sent: &[Descriptor<R::Profile>],
        bounds: Option<&[R::Profile]>,
    ) -> Vec<Descriptor<R::Profile>> {
        let owner = Owner { ranking: &self.ranking, profile };
        let sent = sent.iter().map(|peer| peer.handle);
        let (share, count) = (config.share(R::SIDES.len()), config.message_limit());
        let lacking = self.view.lacking(&owner, to, sent, bounds, share, count);
        let descriptor = |entry: &view::Entry<R::Profile>| Descriptor {
            handle: entry.handle,
            profile: entry.profile.clone(),
            age: entry.age.max(1),
        };
        lacking.into_iter().map(descriptor).collect()
    }

    fn on_ask(
        &mut self,
        config: &Config,
        from: Handle,
        message: &Message<R::Profile>,
        out: &mut impl Sink<Message<R::Profile>>,
    ) {
        let is_news = self.take_in(config, from, message);
        self.is_idle &= !is_news;
        if message.kind == Kind::AskAgain {
            self.view.forget_what_it_knows(from);
        }
        let peers = self.lacking(config, from, &message.profile, &message.peers, Some(&message.bounds));
        self.view.note_known(from, peers.iter().map(|peer| peer.handle));
        let profile = self.profile.clone();
        let answer = Message { kind: Kind::Answer, seq: message.seq, profile, bounds: Vec::new(), peers };
        out.send(from, answer);
    }

    fn on_answer(
        &mut self,
        config: &Config,
        from: Handle,
        message: &Message<R::Profile>,
        out: &mut impl Sink<Message<R::Profile>>,
    ) -> Result<(), Fault> {
        let is_open = |open: &Open| open.peer == from && open.seq == message.seq;
        let at = self.open.iter().position(is_open).ok_or(Fault::Unsolicited)?;
        let open = self.open.remove(at);
        self.is_idle = !self.take_in(config, from, message);
        self.view.note_known(from, open.told.into_iter());
        out.contact_answered(from);
        Ok(())
    }

    fn begin_exchange(
        &mut self,
        call: Call<'_, Config>,
        out: &mut (impl Sink<Message<R::Profile>> + Sampler),
    ) {
        if self.begun >= call.config.exchange_limit() {
            self.begun = 0;
        }
        if self.begun == 0 {
            self.view.grow_older();
            self.lost.grow_older();
            self.alarm = self.alarm.saturating_sub(1);
        }
        self.begun += 1;
        let Some(peer) = self.choose(call.config, out) else { return };
        self.ask(call, peer, out);
    }

    fn ask(&mut self, call: Call<'_, Config>, peer: Handle, out: &mut impl Sink<Message<R::Profile>>) {
        // What a stranger is, and so what it lacks, is not known.
        let peers = match self.view.profile_of(peer) {
            Some(profile) => self.lacking(call.config, peer, profile, &[], None),
            None if self.view.len() < FEW => self.lacking(call.config, peer, &self.profile, &[], None),
            None => Vec::new(),
        };
        if self.open.len() >= usize::from(EXCHANGES_MAX) {
            self.open.remove(0);
        }
        self.seq = self.seq.wrapping_add(1);
        self.open.push(Open {
            peer,
            seq: self.seq,
            due: call.now + call.config.answer_timeout,
            tries: 1,
            told: peers.iter().map(|peer| peer.handle).collect(),
        });
        out.send(peer, self.question(call.config, Kind::Ask, self.seq, peers));
    }

    fn question(
        &self,
        config: &Config,
        kind: Kind,
        seq: u16,
        peers: Vec<Descriptor<R::Profile>>,
    ) -> Message<R::Profile> {
        let bounds = self.view.bounds(R::SIDES, config.share(R::SIDES.len()));
        Message { kind, seq, profile: self.profile.clone(), bounds, peers }
    }

    /// Asks again what was not answered, and gives up who was asked often enough.
    fn chase(&mut self, call: Call<'_, Config>, out: &mut impl Sink<Message<R::Profile>>) {
        for mut open in core::mem::take(&mut self.open) {
            if open.due > call.now {
                self.open.push(open);
            } else if open.tries < call.config.tries {
                out.send(open.peer, self.question(call.config, Kind::AskAgain, open.seq, Vec::new()));
                open.tries += 1;
                open.due = call.now + call.config.answer_timeout;
                open.told.clear();
                self.open.push(open);
            } else {
                self.drop_silent(open.peer);
                out.contact_silent(open.peer);
            }
        }
    }

    fn drop_silent(&mut self, peer: Handle) {
        self.open.retain(|open| open.peer != peer);
        if self.view.remove(peer) {
            self.alarm = ALARM_ROUNDS;
        }
        self.lost.add(peer);
    }

    /// Compares the nearest with what was told last.
    fn tell_changes(&mut self, config: &Config, out: &mut impl Events<Event>) {
        self.tell_at = Instant::FAR;
        let count = usize::from(config.nearest);
        let nearest = || R::SIDES.iter().flat_map(|&side| self.view.side(side).take(count));
        let is_same = |(entry, (handle, profile)): (&view::Entry<_>, &(Handle, _))| {
            entry.handle == *handle && entry.profile == *profile
        };
        if nearest().count() != self.nearest.len() || !nearest().zip(&self.nearest).all(is_same) {
            self.nearest = nearest().map(|entry| (entry.handle, entry.profile.clone())).collect();
            out.event(Event::Nearest);
        }
    }
}

impl<R: Ranking> Core for TMan<R> {
    type Config = Config;
    type Message = Message<R::Profile>;
    type Fault = Fault;

    fn next_timeout(&self, _: &Config) -> Wake {
        let answers = self.open.iter().map(|open| Wake::new(open.due, "exchange unanswered"));
        let others = [Wake::new(self.next_exchange, "exchange"), Wake::new(self.tell_at, "nearest changed")];
        answers.chain(others).collect()
    }

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.drop_silent(peer);
        self.lost.remove(peer);
        self.tell_at = call.now;
    }

    /// It is taken again when it speaks, or when somebody heard it later than now.
    fn handle_silent(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.drop_silent(peer);
        self.tell_at = call.now;
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        f(self.me);
        let open = self.open.iter().flat_map(|open| open.told.iter().copied().chain([open.peer]));
        let nearest = self.nearest.iter().map(|(handle, _)| *handle);
        self.view.handles().chain(self.lost.handles()).chain(open).chain(nearest).for_each(f);
    }
}

impl<R: Ranking, S: Sink<Message<R::Profile>> + Sampler + Events<Event>> Driven<S> for TMan<R> {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message<R::Profile>,
        out: &mut S,
    ) -> Result<(), Fault> {
        self.check(from, &message)?;
        match message.kind {
            Kind::Ask | Kind::AskAgain => self.on_ask(call.config, from, &message, out),
            Kind::Answer => self.on_answer(call.config, from, &message, out)?,
        }
        self.tell_changes(call.config, out);
        Ok(())
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        self.chase(call, out);
        if self.next_exchange <= call.now {
            self.next_exchange = call.now + self.rng.jitter(call.config.pace(), 5);
            self.begin_exchange(call, out);
        }
        self.tell_changes(call.config, out);
    }
}
