//! A structured collection of one application, as one of its members sees it: a single core for all kinds.
//!
//! It is composed of the cores that there are: CYCLON knows some of the others, T-Man and the ring order
//! them, the store keeps what lies on the ring, ranks number the members, a mesh and a farm lie on the ranks.
//! A member is a slot of the application under one epoch, as the transport has proven it, and not a node.
//! `docs/protocols/collections.md`. *Absent: how slots reach each other, which of them run, and what programs
//! do in a collection.*

mod asking;
mod config;
mod drive;
mod event;
mod farming;
mod fault;
mod items;
mod kind;
mod lent;
mod mesh;
mod message;
mod near;
mod numbers;
mod questions;
mod table;
mod task;
mod tasks;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Handle, Instant, Rng, Wake};
use xtreem_membership::Cyclon;

pub use config::Config;
pub use event::{
    Answer, AskError, BeginError, Event, FinishError, Holder, Host, Known, Member, Profile, Progress,
    QuestionId, Refusal, TaskState,
};
pub use farming::{ADDING_MAX, LISTENERS_MAX};
pub use fault::Fault;
pub use kind::{
    Copies, FAILURES_MAX, Kind, KindError, Metric, TASK_LEASE_MAX, TASK_LEASE_MIN, TASK_TIME_MAX,
    TASK_TIME_MIN, Terms,
};
pub use lent::TASKS;
pub use mesh::Place;
pub use message::{Ask, Message, OUTCOMES_MAX, Told};
pub use questions::QUESTIONS_MAX;
pub use task::{BadTaskName, TASK_BODY_MAX, TASK_NAME_MAX, TaskName, TaskTooLong};

use crate::mesh::Misfit;
use crate::overlay::Overlay;
use crate::ranks::{Standing, all};
use crate::{Key, Namespace};
use farming::Farming;
use lent::{Me, member_of};
use mesh::Mesh;
use near::Near;
use numbers::Numbers;
use questions::Questions;

/// Messages of a member to itself that wait for the next call; more are lost, as others are on their way.
const LOOPED_MAX: usize = 4_096;
/// Members of a collection in which everyone knows everyone; where more are expected, ranks are counted along
/// a ring.
pub const ALL_MAX: u32 = all::MEMBERS_MAX as u32;

/// Whether a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Member,
    /// It hands on what it owns.
    Leaving,
    /// It has left, or was replaced.
    Over,
}

/// One member's part of one collection.
///
/// Invariant: `epochs` has the highest epoch of each slot that spoke itself or that the driver knows to run;
/// no core keeps a lower one of it, but for the list of all, which orders them itself, and for promises of
/// the ring that have not ended.
#[derive(Clone, Debug)]
pub struct Collection {
    me: Me,
    kind: Kind,
    phase: Phase,
    view: Cyclon,
    overlay: Option<Box<Overlay>>,
    numbers: Option<Numbers>,
    mesh: Option<Mesh>,
    /// Who has which rank beside this member in the mesh, where ranks are counted along the ring.
    beside: BTreeMap<u32, Handle>,
    /// When they are looked for again.
    refresh_due: Instant,
    farming: Option<Box<Farming>>,
    near: Option<Near>,
    questions: Questions,
    epochs: BTreeMap<u16, u64>,
    looped: VecDeque<Message>,
    /// As it was told last.
    standing: Option<Standing>,
    rng: Rng,
}

impl Collection {
    /// A member that knows nobody. `own`: its handle in the driver's table, by which it is found in what
    /// others say. `expected`: how many members there will be, where it is known; ranks are settled as soon
    /// as they are there. Where more than [`Config::count_above`] are expected, ranks are counted along a
    /// ring.
    pub fn new(
        config: &Config,
        kind: Kind,
        own: Handle,
        member: Member,
        expected: Option<u32>,
        mut rng: Rng,
        now: Instant,
    ) -> Self {
        let me = Me { handle: own, member };
        let mut fork = || Rng::new(rng.next_u64());
        let view = Cyclon::new(&config.view, own, fork(), now);
        // A farm hands out to as many as a list has room for.
        let is_counted = !matches!(kind, Kind::Farm { .. })
            && expected.is_some_and(|it| it > config.count_above.min(ALL_MAX));
        let numbers = kind.has_ranks().then(|| Numbers::new(config, me, is_counted, expected, fork(), now));
        let id = member.id();
        let overlay = match &kind {
            Kind::Ring { .. } | Kind::Farm { .. } => {
                Some(Overlay::new(&config.overlay, id, own, fork(), now))
            }
            Kind::Chord { .. } => Some(Overlay::chord(&config.overlay, id, own, fork(), now)),
            Kind::Ranks | Kind::Mesh(_) if is_counted => {
                let key = Key::new(Namespace::USER, &member.slot.to_be_bytes()).unwrap_or_default();
                Some(Overlay::at(&config.overlay, id, own, key, fork(), now))
            }
            Kind::Ranks | Kind::Mesh(_) | Kind::Nearest(_) => None,
        };
        let farming = match &kind {
            Kind::Farm { copies, .. } => {
                Some(Box::new(Farming::new(config, own, copies.get(), expected, fork(), now)))
            }
            _ => None,
        };
        let mesh = if let Kind::Mesh(shape) = &kind { Some(Mesh::new(*shape, expected)) } else { None };
        let near = if let Kind::Nearest(metric) = &kind { Some(Near::new(*metric)) } else { None };
        Collection {
            me,
            kind,
            phase: Phase::Member,
            view,
            overlay: overlay.map(Box::new),
            numbers,
            mesh,
            beside: BTreeMap::new(),
            refresh_due: now,
            farming,
            near,
            questions: Questions::default(),
            epochs: BTreeMap::new(),
            looped: VecDeque::new(),
            standing: None,
            rng,
        }
    }

    /// What the collection is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The driver knows that this member runs: it has proven its epoch, or a slot's holder says it. To be
    /// called once for each news of that kind; it seeds the view, and by the first one this member joins.
    pub fn learn<H: Host>(&mut self, call: Call<'_, Config>, peer: Handle, out: &mut H) {
        if self.phase == Phase::Over || peer == self.me.handle || self.note(call, peer, out).is_err() {
            return;
        }
        let is_first = self.view.contacts().next().is_none();
        self.with_view(call, out, |view, call, out| {
            view.seed(call.config, peer);
            if is_first {
                view.join(call, peer, out);
            }
        });
    }

    /// Other members that this one knows: not all.
    pub fn known(&self, config: &Config) -> usize {
        let listed = self.standing(config).map_or(0, |standing| standing.members.saturating_sub(1) as usize);
        self.view.contacts().count().max(if self.is_counted() { 0 } else { listed })
    }

    /// Where this member stands, where members have ranks and anything is known of them.
    pub fn standing(&self, config: &Config) -> Option<Standing> {
        self.numbers.as_ref()?.standing(config)
    }

    /// Where it stands in the mesh, and who beside it. None without a mesh, without a rank, and while there
    /// is [`trouble`](Self::trouble).
    pub fn place(&self) -> Option<Place> {
        self.mesh.as_ref()?.place()
    }

    /// The rank of a place of the mesh. None outside of it, and without one.
    pub fn rank_at(&self, coordinates: &[u32]) -> Option<u32> {
        self.mesh.as_ref()?.shape().rank(coordinates)
    }

    /// What keeps the collection from being used: a shape that does not fit its members.
    pub fn trouble(&self) -> Option<&Misfit> {
        self.mesh.as_ref()?.trouble()
    }

    /// Who has a rank, as far as it is known here and now.
    pub fn holder(&self, config: &Config, rank: u32) -> Known {
        self.numbers.as_ref().map_or(Known::NotNow, |numbers| numbers.holder(config, self.me, rank))
    }

    /// Asks for the members to be numbered anew, without gaps. Any member may.
    ///
    /// # Errors
    /// Members have no ranks here, or this one was replaced.
    pub fn number_anew<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) -> Result<(), BeginError> {
        self.check_member()?;
        self.with_numbers(call, out, |numbers, call, out| numbers.number_anew(call, out))
            .ok_or(BeginError::Kind("ranks"))
    }

    /// Gives this member a profile, by which it is near to others.
    ///
    /// # Errors
    /// A profile of another metric, or a collection of another kind.
    pub fn set_profile<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        profile: Profile,
        out: &mut H,
    ) -> Result<(), BeginError> {
        self.check_member()?;
        let _ = &out;
        let near = self.near.as_mut().ok_or(BeginError::Kind("profiles"))?;
        near.set_profile(call.narrow(|config| &config.nearest), self.me.handle, &mut self.rng, profile)
    }

    /// The own profile.
    pub fn profile(&self) -> Option<Profile> {
        self.near.as_ref()?.profile()
    }

    /// Other members and their profiles, nearest first.
    pub fn nearest(&self) -> Vec<(Handle, Profile)> {
        self.near.as_ref().map(Near::nearest).unwrap_or_default()
    }

    /// Hands on what it owns and leaves: [`Event::Left`] follows, and it says nothing from then on. Whoever
    /// does not wait for it is as good as dead: others take over what it had.
    pub fn leave<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        if self.phase != Phase::Member {
            return;
        }
        self.phase = Phase::Leaving;
        let has_ring = self.with_overlay(call, out, |overlay, call, out| overlay.leave(call, out)).is_some();
        if !has_ring {
            self.end(out);
            out.event(Event::Left);
        }
    }

    /// Whether it has left or was replaced: it may be dropped.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    fn is_counted(&self) -> bool {
        matches!(self.numbers, Some(Numbers::Sums(_)))
    }

    fn check_member(&self) -> Result<(), BeginError> {
        if self.phase == Phase::Member { Ok(()) } else { Err(BeginError::Over) }
    }

    /// It takes no part from now on; whoever waits for an answer is told.
    fn end<H: Host>(&mut self, out: &mut H) {
        self.phase = Phase::Over;
        for question in self.questions.clear().into_iter().filter(|question| !question.is_own) {
            out.event(Event::Answer { question: question.id, result: Err(AskError::Unanswered) });
        }
    }

    /// Somebody speaks, or is known to run. What was known of its slot under lower epochs is gone.
    fn note<H: Host>(&mut self, call: Call<'_, Config>, peer: Handle, out: &mut H) -> Result<(), Fault> {
        let Member { slot, epoch } = member_of(out, self.me, peer).ok_or(Fault::Stranger)?;
        let own = self.me.member;
        if slot == own.slot {
            if epoch > own.epoch {
                self.end(out);
                out.event(Event::Displaced);
                return Err(Fault::Over);
            }
            return Err(Fault::Replaced);
        }
        match self.epochs.get(&slot).copied() {
            Some(known) if known > epoch => return Err(Fault::Replaced),
            Some(known) if known == epoch => return Ok(()),
            _ => {}
        }
        self.epochs.insert(slot, epoch);
        let mut older = Vec::new();
        self.for_each_handle(&mut |kept| {
            let is_older = out.member_of(kept).is_some_and(|it| it.slot == slot && it.epoch < epoch);
            if is_older && !older.contains(&kept) {
                older.push(kept);
            }
        });
        older.into_iter().for_each(|older| self.forget(call, older));
        Ok(())
    }

    /// In all but the list of all members, where the newer one will stand in its place.
    fn forget(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.view.handle_gone(call.narrow(|config| &config.view), peer);
        if let Some(overlay) = &mut self.overlay {
            overlay.handle_gone(call.narrow(|config| &config.overlay), peer);
        }
        if let Some(Numbers::Sums(sums)) = &mut self.numbers {
            sums.handle_gone(call.narrow(|config| &config.sums), peer);
        }
        if let Some(farming) = &mut self.farming {
            farming.handle_gone(call.narrow(|config| &config.farm), peer);
        }
        if let Some(near) = &mut self.near {
            near.handle_gone(call.narrow(|config| &config.nearest), peer);
        }
        self.questions.handle_gone(call.now, peer);
        self.beside.retain(|_, holder| *holder != peer);
    }
}

impl Core for Collection {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, config: &Config) -> Wake {
        if self.phase == Phase::Over {
            return Wake::NEVER;
        }
        if !self.looped.is_empty() {
            return Wake::new(Instant::ZERO, "a message of this member to itself");
        }
        let overlay = self.overlay.as_ref().map_or(Wake::NEVER, |it| it.next_timeout(&config.overlay));
        let numbers = self.numbers.as_ref().map_or(Wake::NEVER, |it| it.next_timeout(config));
        let farming = self.farming.as_ref().map_or(Wake::NEVER, |it| it.next_timeout(&config.farm));
        let near = self.near.as_ref().map_or(Wake::NEVER, |it| it.next_timeout(&config.nearest));
        let has_counted_mesh = self.mesh.is_some() && self.is_counted();
        let refresh = if has_counted_mesh { self.refresh_due } else { Instant::FAR };
        let refresh = Wake::new(refresh, "neighbours of a mesh");
        let view = self.view.next_timeout(&config.view);
        view.or(overlay).or(numbers).or(farming).or(near).or(self.questions.next_due()).or(refresh)
    }

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.forget(call, peer);
        if let Some(Numbers::All(all)) = &mut self.numbers {
            all.handle_gone(call.narrow(|config| &config.all), peer);
        }
    }

    fn handle_silent(&mut self, call: Call<'_, Config>, peer: Handle) {
        if let Some(overlay) = &mut self.overlay {
            overlay.handle_silent(call.narrow(|config| &config.overlay), peer);
        }
        if let Some(near) = &mut self.near {
            near.handle_silent(call.narrow(|config| &config.nearest), peer);
        }
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        f(self.me.handle);
        self.view.for_each_handle(f);
        self.overlay.iter().for_each(|overlay| overlay.for_each_handle(f));
        self.numbers.iter().for_each(|numbers| numbers.for_each_handle(f));
        self.farming.iter().for_each(|farming| farming.for_each_handle(f));
        self.near.iter().for_each(|near| near.for_each_handle(f));
        self.questions.for_each_handle(f);
        self.beside.values().copied().for_each(&mut *f);
    }
}

impl<H: Host> Driven<H> for Collection {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut H,
    ) -> Result<(), Fault> {
        if self.phase == Phase::Over {
            return Err(Fault::Over);
        }
        if from == self.me.handle {
            return Err(Fault::FromMyself);
        }
        self.note(call, from, out)?;
        self.hear_of(call, from, out);
        self.take(call, from, message, out)
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut H) {
        // Those that come meanwhile wait for the next call, so that no two ends of one member talk for ever.
        for message in core::mem::take(&mut self.looped) {
            // What a member says to itself may be late, as anything else.
            let _ = self.take(call, self.me.handle, message, out);
        }
        self.tick(call, out);
    }
}
