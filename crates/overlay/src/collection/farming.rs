//! The farm of a collection at one member: who the farmer is, what its table on the ring does, and who waits
//! for what of it.

use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Duration, Handle, Instant, Rng, Wake};

use super::config::Config;
use super::event::{Host, QuestionId, Refusal, TaskState};
use super::lent::Lent;
use super::message::{Ask, OUTCOMES_MAX, Told};
use super::table::Table;
use super::task::{self, TaskName};
use crate::farm::{self, AddError, CollectError, Farm, Outcome, Role, State, TaskId};
use crate::ranks::Standing;

/// Questions to a farmer that wait until their task is on the ring; the oldest makes room and is asked again.
pub const ADDING_MAX: usize = 1_024;
/// Members that are told of news once; the oldest makes room and asks again by itself.
pub const LISTENERS_MAX: usize = 256;
/// News of so long travel together. Our guess: shorter than programs notice.
pub(super) const NEWS_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub(super) struct Farming {
    pub(super) farm: Farm,
    pub(super) table: Table,
    me: Handle,
    role: Role,
    /// It was known once who there is, or it took too long.
    is_known: bool,
    expected: Option<u32>,
    patience: Instant,
    /// Whoever meets all others so soon after its start has seen no split.
    young_until: Instant,
    /// From when on the ring is one, as far as is known.
    one_from: Option<Instant>,
    /// Whom a task was added for that is not on the ring yet.
    adding: Vec<(Handle, QuestionId, TaskId)>,
    listeners: Vec<Handle>,
    pub(super) news_due: Instant,
    /// What the program is at.
    pub(super) at_hand: Option<TaskName>,
}

impl Farming {
    pub(super) fn new(
        config: &Config,
        me: Handle,
        copies: u8,
        expected: Option<u32>,
        rng: Rng,
        now: Instant,
    ) -> Farming {
        Farming {
            farm: Farm::new(me, rng),
            table: Table::new(copies),
            me,
            role: Role::Unknown,
            is_known: false,
            expected,
            patience: now + config.patience,
            young_until: now + config.patience,
            one_from: None,
            adding: Vec::new(),
            listeners: Vec::new(),
            news_due: Instant::FAR,
            at_hand: None,
        }
    }

    /// Who hands out the tasks, as far as this member knows; itself, too.
    pub(super) fn farmer(&self) -> Option<Handle> {
        match self.role {
            Role::Farmer => Some(self.me),
            Role::WorkerOf(farmer) => Some(farmer),
            Role::Unknown => None,
        }
    }

    /// What the ranks say; whether the farmer is another one than before. Who has just come knows only
    /// itself: it waits until it knows all that there shall be, or there is nobody new.
    pub(super) fn note_ranks(
        &mut self,
        now: Instant,
        standing: Option<&Standing>,
        lowest: Option<Handle>,
    ) -> bool {
        let are_all_there = standing.is_some_and(|standing| {
            standing.is_settled || standing.epoch.number == 0 && Some(standing.members) == self.expected
        });
        if are_all_there || self.patience <= now {
            (self.is_known, self.patience) = (true, Instant::FAR);
        }
        let role = match lowest.filter(|_| self.is_known) {
            None => Role::Unknown,
            Some(lowest) if lowest == self.me => Role::Farmer,
            Some(lowest) => Role::WorkerOf(lowest),
        };
        core::mem::replace(&mut self.role, role) != role
    }

    /// The farm hears of the role.
    pub(super) fn take_role<H: Host>(&mut self, call: Call<'_, farm::Config>, out: &mut Lent<'_, H>) {
        if self.role != Role::Farmer {
            self.adding.clear();
            self.listeners.clear();
            self.news_due = Instant::FAR;
        }
        self.farm.handle_role(call, self.role, out);
    }

    /// The farm hears whether all members are there.
    pub(super) fn take_settled<H: Host>(
        &mut self,
        call: Call<'_, farm::Config>,
        is_settled: bool,
        out: &mut Lent<'_, H>,
    ) {
        if !is_settled {
            self.one_from = None;
        } else if self.one_from.is_none() {
            let was_together = call.now <= self.young_until;
            self.one_from = Some(if was_together { call.now } else { call.now + call.config.merge });
            self.young_until = Instant::ZERO;
        }
        self.farm.handle_one(call, self.one_from, out);
    }

    pub(super) fn next_timeout(&self, config: &farm::Config) -> Wake {
        let patience = Wake::new(self.patience, "a farm whose members are not all there");
        let news = Wake::new(self.news_due, "news of tasks");
        self.farm.next_timeout(config).or(patience).or(news)
    }

    pub(super) fn handle_timeout<H: Host>(&mut self, call: Call<'_, farm::Config>, out: &mut Lent<'_, H>) {
        self.farm.handle_timeout(call, out);
    }

    /// Those that are to be told of news now.
    pub(super) fn take_listeners(&mut self, now: Instant) -> Vec<Handle> {
        if self.news_due > now {
            return Vec::new();
        }
        self.news_due = Instant::FAR;
        core::mem::take(&mut self.listeners)
    }

    pub(super) fn handle_gone(&mut self, call: Call<'_, farm::Config>, peer: Handle) {
        self.farm.handle_gone(call, peer);
        self.adding.retain(|(from, ..)| *from != peer);
        self.listeners.retain(|listener| *listener != peer);
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.farm.for_each_handle(f);
        self.farmer().into_iter().for_each(&mut *f);
        self.adding.iter().for_each(|(from, ..)| f(*from));
        self.listeners.iter().copied().for_each(f);
    }

    /// Answers a question to the farmer. None: later, when the task is on the ring.
    pub(super) fn serve<H: Host>(
        &mut self,
        call: Call<'_, farm::Config>,
        from: Handle,
        question: QuestionId,
        ask: &Ask,
        out: &mut Lent<'_, H>,
    ) -> Option<Told> {
        if !self.farm.farmer().is_ready() {
            return Some(Told::NotMe);
        }
        Some(match ask {
            Ask::Add(body) => {
                let Some((name, _)) = task::split(body.as_bytes()) else { return Some(Told::NotMe) };
                return self.add(call, (from, question, name.id()), body.as_bytes(), out);
            }
            Ask::Collect(name) => match self.farm.collect(call, name.id(), out) {
                Ok(_) => Told::Task(TaskState::Collected),
                Err(CollectError::NotSettled) => Told::Refused(Refusal::NotSettled),
                Err(CollectError::NotFarmer) => Told::NotMe,
                Err(CollectError::Unknown) => match self.farm.farmer().state(name.id()) {
                    Some(_) => Told::Task(TaskState::Collected),
                    None => Told::Refused(self.unknown()),
                },
            },
            Ask::Task(name) => match self.state(name.id()) {
                None => Told::Refused(self.unknown()),
                Some(state) => {
                    if state == TaskState::Open {
                        self.listen(from);
                    }
                    Told::Task(state)
                }
            },
            Ask::Outcomes => {
                self.listen(from);
                let farmer = self.farm.farmer();
                let settled = farmer.tasks().filter(|(task, state)| {
                    matches!(state, State::Done { .. } | State::GivenUp { .. })
                        && farmer.outcome(*task).is_some()
                });
                let names = settled.filter_map(|(task, state)| task::name_in(task, state));
                let names = names.take(OUTCOMES_MAX).collect();
                Told::Outcomes(names, farmer.progress(call.now).open, farmer.is_whole())
            }
            Ask::Progress => Told::Progress(self.farm.farmer().progress(call.now)),
            Ask::Holder(..) => Told::NotMe,
        })
    }

    fn add<H: Host>(
        &mut self,
        call: Call<'_, farm::Config>,
        waiter: (Handle, QuestionId, TaskId),
        body: &[u8],
        out: &mut Lent<'_, H>,
    ) -> Option<Told> {
        let (from, question, task) = waiter;
        self.adding.retain(|(peer, id, _)| (*peer, *id) != (from, question));
        match self.farm.add(call, task, body, out) {
            Err(AddError::NotFarmer) => return Some(Told::NotMe),
            Err(AddError::Full | AddError::TooLong(_)) => return Some(Told::Refused(Refusal::Full)),
            Ok(()) => {}
        }
        if self.adding.len() >= ADDING_MAX {
            self.adding.remove(0);
        }
        self.adding.push(waiter);
        None
    }

    fn state(&self, task: TaskId) -> Option<TaskState> {
        let farmer = self.farm.farmer();
        Some(match (farmer.state(task)?, farmer.outcome(task)) {
            (State::Collected { .. }, _) => TaskState::Collected,
            (_, Some(Outcome::Done(result))) => TaskState::Done(result),
            (_, Some(Outcome::Failed(why))) => TaskState::GivenUp(why),
            (_, None) => TaskState::Open,
        })
    }

    /// Of a task that is not in the table.
    fn unknown(&self) -> Refusal {
        if self.farm.farmer().is_whole() { Refusal::NoSuchTask } else { Refusal::NotSure }
    }

    fn listen(&mut self, from: Handle) {
        if from == self.me || self.listeners.contains(&from) {
            return;
        }
        if self.listeners.len() >= LISTENERS_MAX {
            self.listeners.remove(0);
        }
        self.listeners.push(from);
    }

    /// Those that wait for a task which is on the ring now.
    pub(super) fn added(&mut self, task: TaskId) -> Vec<(Handle, QuestionId)> {
        let (done, waiting) = core::mem::take(&mut self.adding).into_iter().partition(|(.., it)| *it == task);
        self.adding = waiting;
        let done: Vec<(Handle, QuestionId, TaskId)> = done;
        done.into_iter().map(|(from, question, _)| (from, question)).collect()
    }
}

/// Whether a result begins with the name of its task, as members make them. An input that does not is
/// answered as a failure, so that its task comes to an end.
pub(super) fn is_named(message: &farm::Message) -> bool {
    match message {
        farm::Message::Report { task, outcome: Outcome::Done(body), .. } => {
            task::split(body.as_bytes()).is_some_and(|(name, _)| name.id() == *task)
        }
        _ => true,
    }
}
