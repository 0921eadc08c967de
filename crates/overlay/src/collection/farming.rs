//! The farm of a collection at one member: who the farmer is, what its table on the ring does, and who waits
//! for what of it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Duration, Handle, Instant, Rng, Wake};

use super::Collection;
use super::config::Config;
use super::event::{BeginError, Event, FinishError, Host, QuestionId, Refusal, TaskState};
use super::lent::Lent;
use super::message::{Ask, Message, OUTCOMES_MAX, Told};
use super::table::Table;
use super::task::{self, TaskName};
use crate::farm::{self, AddError, CollectError, Farm, Outcome, Role, State, TaskId, Why};
use crate::ranks::Standing;

/// Questions to a farmer that wait until their task is on the ring; the oldest makes room and is asked again.
pub const ADDING_MAX: usize = 1_024;
/// Members that are told of news once; the oldest makes room and asks again by itself.
pub const WATCHERS_MAX: usize = 256;
/// News of so long travel together. Our guess: shorter than programs notice.
const NEWS_PAUSE: Duration = Duration::from_millis(50);

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
    /// Whom a task was added for that is not on the ring yet.
    adding: Vec<(Handle, QuestionId, TaskId)>,
    watchers: Vec<Handle>,
    news_due: Instant,
    at_hand: Option<TaskName>,
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
            adding: Vec::new(),
            watchers: Vec::new(),
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
            self.watchers.clear();
            self.news_due = Instant::FAR;
        }
        self.farm.handle_role(call, self.role, out);
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
    pub(super) fn take_watchers(&mut self, now: Instant) -> Vec<Handle> {
        if self.news_due > now {
            return Vec::new();
        }
        self.news_due = Instant::FAR;
        core::mem::take(&mut self.watchers)
    }

    pub(super) fn handle_gone(&mut self, call: Call<'_, farm::Config>, peer: Handle) {
        self.farm.handle_gone(call, peer);
        self.adding.retain(|(from, ..)| *from != peer);
        self.watchers.retain(|watcher| *watcher != peer);
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.farm.for_each_handle(f);
        self.farmer().into_iter().for_each(&mut *f);
        self.adding.iter().for_each(|(from, ..)| f(*from));
        self.watchers.iter().copied().for_each(f);
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
                    None => Told::Refused(Refusal::NoSuchTask),
                },
            },
            Ask::Task(name) => match self.state(name.id()) {
                None => Told::Refused(Refusal::NoSuchTask),
                Some(state) => {
                    if state == TaskState::Open {
                        self.watch(from);
                    }
                    Told::Task(state)
                }
            },
            Ask::Outcomes => {
                self.watch(from);
                let farmer = self.farm.farmer();
                let settled = farmer.tasks().filter(|(task, state)| {
                    matches!(state, State::Done { .. } | State::GivenUp { .. })
                        && farmer.outcome(*task).is_some()
                });
                let names = settled.filter_map(|(task, state)| task::name_in(task, state));
                Message::outcomes(names.take(OUTCOMES_MAX).collect(), farmer.progress().open)
            }
            Ask::Progress => Told::Progress(self.farm.farmer().progress()),
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

    fn watch(&mut self, from: Handle) {
        if from == self.me || self.watchers.contains(&from) {
            return;
        }
        if self.watchers.len() >= WATCHERS_MAX {
            self.watchers.remove(0);
        }
        self.watchers.push(from);
    }

    /// Those that wait for a task which is on the ring now.
    fn added(&mut self, task: TaskId) -> Vec<(Handle, QuestionId)> {
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

impl Collection {
    /// The slot's member that hands out the tasks, as far as it is known here.
    pub fn farmer(&self) -> Option<Handle> {
        self.farming.as_ref()?.farmer()
    }

    /// Whether this member hands out the tasks and knows its table.
    pub fn is_farmer(&self) -> bool {
        self.farming.as_ref().is_some_and(|farming| farming.farm.farmer().is_ready())
    }

    /// How far the work is, at the farmer that knows its table.
    pub fn own_progress(&self) -> Option<super::Progress> {
        let farmer = self.farming.as_ref()?.farm.farmer();
        farmer.is_ready().then(|| farmer.progress())
    }

    /// The task that this member is at.
    pub fn at_hand(&self) -> Option<&TaskName> {
        self.farming.as_ref()?.at_hand.as_ref()
    }

    /// Whether what came of the last task is not kept by a farmer yet.
    pub fn is_reporting(&self) -> bool {
        self.farming.as_ref().is_some_and(|farming| farming.farm.worker().is_reporting())
    }

    /// Adds a task, at any member: [`Answer::Added`](super::Answer::Added) says when it is safe. One that is
    /// known under this name is the same task, so that this may be repeated.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn add_task<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        task: &TaskName,
        input: &[u8],
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        let body = task.head(input)?;
        self.ask_farmer(call, Ask::Add(body), out)
    }

    /// Takes the outcome of a task out of the table, which then only remembers that it was done; whoever
    /// wants the outcome asks for it before. May be repeated.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn collect<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        task: &TaskName,
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        self.ask_farmer(call, Ask::Collect(task.clone()), out)
    }

    /// Asks where a task stands: [`Answer::Task`](super::Answer::Task). While it is open
    /// [`Event::Outcomes`] says when to ask again; a word may be lost, so ask from time to time.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn outcome<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        task: &TaskName,
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        self.ask_farmer(call, Ask::Task(task.clone()), out)
    }

    /// Asks which tasks have an outcome: [`Answer::Outcomes`](super::Answer::Outcomes).
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn outcomes<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        self.ask_farmer(call, Ask::Outcomes, out)
    }

    /// Asks how far the work is: [`Answer::Progress`](super::Answer::Progress).
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn progress<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        out: &mut H,
    ) -> Result<QuestionId, BeginError> {
        self.ask_farmer(call, Ask::Progress, out)
    }

    /// Whether the program of this member wants a task; it does in the beginning. One that was asked for
    /// before still comes.
    pub fn want_task<H: Host>(&mut self, call: Call<'_, Config>, wants: bool, out: &mut H) {
        self.with_farm(call, out, |farming, call, out| farming.farm.set_wants(call, wants, out));
    }

    /// The program is done with the task at hand, or failed at it and says why.
    ///
    /// # Errors
    /// See [`FinishError`].
    pub fn finish<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        task: &TaskName,
        outcome: Result<&[u8], &str>,
        out: &mut H,
    ) -> Result<(), FinishError> {
        if self.at_hand() != Some(task) {
            return Err(FinishError::NotAtHand);
        }
        let outcome = match outcome {
            Ok(result) => Outcome::Done(task.head(result)?),
            Err(why) => Outcome::Failed(Why::new(why)),
        };
        self.finish_with(call, task.id(), outcome, out)
    }

    fn finish_with<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        task: TaskId,
        outcome: Outcome,
        out: &mut H,
    ) -> Result<(), FinishError> {
        let finished = self.with_farm(call, out, |farming, call, out| {
            farming.at_hand = None;
            farming.farm.finish(call, task, outcome, out)
        });
        finished.and_then(Result::ok).ok_or(FinishError::NotAtHand)
    }

    pub(super) fn on_farm<H: Host>(&mut self, call: Call<'_, Config>, event: farm::Event, out: &mut H) {
        let Some(farming) = &mut self.farming else { return };
        match event {
            farm::Event::Ready => {
                self.questions.ask_farmer_now(call.now);
                out.event(Event::Farmer);
            }
            farm::Event::Added(task) => {
                for (from, question) in farming.added(task) {
                    self.tell(call, from, question, Told::Added, out);
                }
            }
            farm::Event::Settled(_) | farm::Event::Replaced(_) => {
                farming.news_due = farming.news_due.min(call.now + NEWS_PAUSE);
                out.event(Event::Outcomes);
            }
            farm::Event::Start { task, input } => match task::split(&input).filter(|(it, _)| it.id() == task)
            {
                Some((name, bytes)) => {
                    farming.at_hand = Some(name.clone());
                    out.event(Event::Start { task: name, input: Arc::from(bytes) });
                }
                None => {
                    let failed = Outcome::Failed(Why::new("its input does not begin with its name"));
                    let _ = self.finish_with(call, task, failed, out);
                }
            },
            farm::Event::Stop(task) => {
                if let Some(name) = farming.at_hand.take_if(|name| name.id() == task) {
                    out.event(Event::Stop(name));
                }
            }
        }
    }

    pub(super) fn tell_news<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let watchers = self.farming.as_mut().map(|farming| farming.take_watchers(call.now));
        watchers.into_iter().flatten().for_each(|watcher| out.send(watcher, Message::News));
    }
}
