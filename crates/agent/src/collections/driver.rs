//! One collection of one slot: its core, and the task that drives it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant as Moment, sleep_until};
use xtreem_base::{Call, Core as _, Driven as _, Handle, Instant, Rng};
use xtreem_client::api::{BROADCAST_MAX_BYTES, Blob, CollectionChange, CollectionEvent, ToldView};
use xtreem_messages::Member as Sender;
use xtreem_overlay::collection::{
    Answer, AskError, Collection, Config, Event, Kind, Member, Message, QuestionId, TaskName,
};
use xtreem_overlay::ring::{LookupId, Owner};
use xtreem_overlay::store::{Failed, RequestId, Success};

use super::Said;
use super::feed::{Input, Runs};
use super::frame::Head;
use super::handles::Handles;
use super::host::Out;
use super::life::Life;
use super::post::Post;
use crate::agent::random_u64;

/// A later life of one slot, of which others tell, is looked for so often at most (our guess: as the list of
/// all has two rounds in it).
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the API asks of the task.
pub(super) type Command = Box<dyn FnOnce(&mut Driver) + Send>;

/// Something that the core answers later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Question {
    Item(RequestId),
    Owner(LookupId),
    Other(QuestionId),
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Item(Result<Success, Failed>),
    Owner(Option<Owner>),
    /// Whether a part of the ring is being told.
    Begun(bool),
    /// With the slot of the holder, if it is about one.
    Other(Result<Answer, AskError>, Option<u16>),
}

/// A task that the program of this slot is to do.
#[derive(Clone, Debug)]
pub(crate) struct AtHand {
    pub task: TaskName,
    pub input: Arc<[u8]>,
    /// The program has asked for it and was told.
    pub is_taken: bool,
}

/// What a driver is made of, beside its core.
pub(super) struct Parts {
    pub name: String,
    pub mark: [u8; 8],
    pub own: Life,
    pub post: Post,
    pub events: broadcast::Sender<Said>,
    pub changed: watch::Sender<u64>,
}

/// The core with all that it needs for its calls.
pub(crate) struct Driver {
    core: Collection,
    config: Config,
    handles: Handles,
    me: Handle,
    parts: Parts,
    /// A number of the node of each slot.
    sites: BTreeMap<u16, u64>,
    origin: Moment,
    /// When a later life of a slot was looked for.
    looked: BTreeMap<u16, Moment>,
    waiting: BTreeMap<Question, oneshot::Sender<Outcome>>,
    at_hand: Option<AtHand>,
    /// Requests for work that wait.
    wanting: usize,
    /// The program does no tasks any more.
    has_ended: bool,
    has_left: bool,
}

impl Driver {
    pub(super) fn new(kind: Kind, expected: Option<u32>, parts: Parts) -> Driver {
        let (handles, me) = Handles::of(parts.own);
        let config = Config::of(&kind);
        let own = Member { slot: parts.own.slot, epoch: parts.own.incarnation() };
        let rng = Rng::new(random_u64());
        let core = Collection::new(&config, kind, me, own, expected, rng, Instant::ZERO);
        let mut driver = Driver {
            core,
            config,
            handles,
            me,
            parts,
            sites: BTreeMap::new(),
            origin: Moment::now(),
            looked: BTreeMap::new(),
            waiting: BTreeMap::new(),
            at_hand: None,
            wanting: 0,
            has_ended: false,
            has_left: false,
        };
        // Until the program asks for work.
        driver.with(|core, call, out| core.want_task(call, false, out));
        driver
    }

    pub(crate) fn core(&self) -> &Collection {
        &self.core
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn now(&self) -> Instant {
        let micros = self.origin.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    pub(crate) fn slot_of(&self, peer: Handle) -> Option<u16> {
        self.handles.life(peer).map(|life| life.slot)
    }

    /// What the program is to do, which it is told now.
    pub(crate) fn take_work(&mut self) -> Option<AtHand> {
        let at_hand = self.at_hand.as_mut()?;
        at_hand.is_taken = true;
        Some(at_hand.clone())
    }

    /// The program does nothing any more. What it has in hand goes back to the farm: as a failure when it
    /// ended by itself, as `why` says; otherwise, and when it has not seen it yet, it counts for nothing.
    pub(super) fn lay_down(&mut self, why: Option<&str>) {
        self.has_ended = true;
        if self.core.is_over() {
            return;
        }
        self.with(|core, call, out| core.want_task(call, false, out));
        let taken = self.at_hand.take().filter(|at_hand| at_hand.is_taken);
        match taken.zip(why) {
            // What is not at hand any more was stopped: somebody else did it.
            Some((AtHand { task, .. }, why)) => {
                let _ = self.with(|core, call, out| core.finish(call, &task, Err(why), out));
            }
            None => self.with(|core, call, out| core.give_back(call, out)),
        }
    }

    /// One more of the program's requests waits for work, or one less.
    pub(crate) fn want_task(&mut self, wants: bool) {
        self.wanting = if wants { self.wanting + 1 } else { self.wanting.saturating_sub(1) };
        let wants = self.wanting > 0 && !self.has_ended;
        self.with(|core, call, out| core.want_task(call, wants, out));
    }

    /// The program is done with it.
    pub(crate) fn take_at_hand(&mut self) {
        self.at_hand = None;
    }

    /// Whether a farmer has to hear yet what came of a task.
    pub(super) fn is_reporting(&self) -> bool {
        self.core.is_reporting() && !self.core.is_over()
    }

    /// What this member owned is another's.
    pub(crate) fn has_left(&self) -> bool {
        self.has_left
    }

    /// Asks the core something that it answers at once.
    pub(crate) fn with<R>(
        &mut self,
        f: impl FnOnce(&mut Collection, Call<'_, Config>, &mut Out<'_>) -> R,
    ) -> R {
        let (result, sent, told) = self.lend(f);
        self.follow_up(sent, told);
        result
    }

    /// Asks the core something that it answers later: nobody answers when the collection ends before.
    pub(crate) fn ask<E>(
        &mut self,
        f: impl FnOnce(&mut Collection, Call<'_, Config>, &mut Out<'_>) -> Result<Question, E>,
    ) -> Result<oneshot::Receiver<Outcome>, E> {
        let (result, sent, told) = self.lend(f);
        let (waiter, answer) = oneshot::channel();
        let result = result.map(|question| {
            self.waiting.insert(question, waiter);
            answer
        });
        // It may have been answered already.
        self.follow_up(sent, told);
        result
    }

    fn lend<R>(
        &mut self,
        f: impl FnOnce(&mut Collection, Call<'_, Config>, &mut Out<'_>) -> R,
    ) -> (R, Vec<(Handle, Message)>, Vec<Event>) {
        let call_at = self.now();
        let was_reporting = self.core.is_reporting();
        let mut out = Out { handles: &self.handles, sites: &self.sites, sent: Vec::new(), told: Vec::new() };
        let result = f(&mut self.core, Call::new(&self.config, call_at), &mut out);
        if was_reporting && !self.core.is_reporting() {
            self.parts.changed.send_modify(|count| *count += 1);
        }
        (result, out.sent, out.told)
    }

    fn follow_up(&mut self, sent: Vec<(Handle, Message)>, told: Vec<Event>) {
        sent.into_iter().for_each(|(to, message)| self.send(to, &message));
        told.into_iter().for_each(|event| self.tell(event));
    }

    fn send(&mut self, to: Handle, message: &Message) {
        let (Some(life), Some(mark)) = (self.handles.life(to), self.handles.mark(to)) else { return };
        let mut frame = self.head(mark).write();
        match minicbor::encode_with(message, &mut frame, &mut self.handles) {
            // What has no room is lost, as a datagram would be.
            Ok(()) => drop(self.parts.post.send(life.slot, frame)),
            Err(error) => tracing::error!(collection = %self.parts.name, %error, "a message has no encoding"),
        }
    }

    fn head(&self, to: [u8; 8]) -> Head {
        Head { collection: self.parts.mark, to, start: self.parts.own.start }
    }

    fn handle_input(&mut self, input: Input) {
        match input {
            Input::Frame { from, frame } => self.handle_frame(from, &frame),
            Input::Runs(Runs { slot, epoch, node }) => {
                if let Some(node) = node {
                    let mut site = [0; 8];
                    site.copy_from_slice(&node.as_bytes()[..8]);
                    self.sites.insert(slot, u64::from_be_bytes(site));
                }
                let life = Life { slot, epoch, start: Life::UNKNOWN };
                if !self.handles.is_over(life)
                    && let Some(peer) = self.handles.intern(life)
                {
                    self.with(|core, call, out| core.learn(call, peer, out));
                }
            }
            Input::Over(slot) => {
                for peer in self.handles.of_slot(slot) {
                    self.with(|core, call, _| core.handle_gone(call, peer));
                }
            }
        }
        let (core, me) = (&self.core, self.me);
        self.handles.sweep(|f| {
            f(me);
            core.for_each_handle(f);
        });
    }

    fn handle_frame(&mut self, from: Sender, frame: &[u8]) {
        let Some((head, message)) = Head::read(frame) else { return };
        let life = Life { slot: from.slot, epoch: from.epoch, start: head.start };
        if head.start == Life::UNKNOWN || from.slot == self.parts.own.slot {
            return;
        }
        // Of a life that is over, or there is no room.
        let Some(peer) = self.handles.intern_proven(life) else { return };
        for earlier in self.handles.earlier_starts(life) {
            self.with(|core, call, out| core.handle_ended(call, earlier, out));
        }
        if !head.is_for(&self.parts.own) {
            // It was for an earlier life; this is the one to talk to.
            let frame = self.head(life.mark()).write();
            self.parts.post.send(life.slot, frame);
            return;
        }
        if message.is_empty() {
            self.with(|core, call, out| core.learn(call, peer, out));
            return;
        }
        let decoded = minicbor::decode_with::<_, Message>(message, &mut self.handles);
        let message = match decoded {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(collection = %self.parts.name, slot = from.slot, %error, "not a message");
                return;
            }
        };
        if let Err(fault) = self.with(|core, call, out| core.handle_message(call, peer, message, out)) {
            // Not a reproach: much of it is only late.
            tracing::trace!(collection = %self.parts.name, slot = from.slot, %fault, "a message is refused");
        }
    }

    fn handle_timeout(&mut self) {
        self.with(|core, call, out| core.handle_timeout(call, out));
    }

    fn due(&self) -> Moment {
        let wake = self.core.next_timeout(&self.config);
        // Far in the future is never; a day is looked at again.
        let micros = wake.at.as_micros().min(self.now().as_micros() + 86_400_000_000);
        self.origin + Duration::from_micros(micros)
    }

    fn tell(&mut self, event: Event) {
        let change = match event {
            Event::Standing => Some(CollectionChange::Standing),
            Event::Neighbours => Some(CollectionChange::Neighbours),
            Event::Range => Some(CollectionChange::Range),
            Event::Farmer => Some(CollectionChange::Farmer),
            Event::Outcomes => Some(CollectionChange::Outcomes),
            Event::Start { task, input } => {
                self.at_hand = Some(AtHand { task, input, is_taken: false });
                None
            }
            Event::Stop(task) => {
                self.at_hand.take_if(|it| it.task == task);
                Some(CollectionChange::Stop)
            }
            Event::Item { request, result } => {
                return self.answer(Question::Item(request), Outcome::Item(result));
            }
            Event::Owner { lookup, owner } => {
                return self.answer(Question::Owner(lookup), Outcome::Owner(owner));
            }
            Event::Begun { part, is_begun } => {
                return self.answer(Question::Owner(part), Outcome::Begun(is_begun));
            }
            Event::Answer { question, result } => {
                let slot = match &result {
                    Ok(Answer::Holder(holder)) => self.slot_of(holder.handle),
                    _ => None,
                };
                return self.answer(Question::Other(question), Outcome::Other(result, slot));
            }
            Event::Lost { version, .. } => {
                tracing::info!(collection = %self.parts.name, ?version, "written on both sides of a split");
                return;
            }
            // What is longer no agent lets a program say.
            Event::Told { content, .. } if content.as_bytes().len() > BROADCAST_MAX_BYTES => return,
            Event::Told { slot, content } => {
                let (name, body) = (self.parts.name.clone(), Blob(content.as_bytes().to_vec()));
                return self.say(Said::Told(ToldView { name, slot, body }));
            }
            Event::Hearsay { slot } => return self.look_for(slot),
            Event::Displaced => {
                let (name, slot) = (&self.parts.name, self.parts.own.slot);
                tracing::warn!(collection = %name, slot, "another member runs for this slot");
                Some(CollectionChange::Standing)
            }
            Event::Left => {
                self.has_left = true;
                None
            }
        };
        if let Some(change) = change {
            self.say(Said::Changed(CollectionEvent { name: self.parts.name.clone(), change }));
        }
        self.parts.changed.send_modify(|count| *count += 1);
    }

    /// Others say that a later life of a slot runs: it answers what is meant for the one that has spoken.
    fn look_for(&mut self, slot: u16) {
        let now = Moment::now();
        if self.looked.get(&slot).is_some_and(|last| now.duration_since(*last) < LOOK_AGAIN) {
            return;
        }
        let Some(mark) = self.handles.spoken(slot) else { return };
        self.looked.insert(slot, now);
        // A frame without a message.
        self.parts.post.send(slot, self.head(mark).write());
    }

    fn say(&self, said: Said) {
        // Nobody may listen.
        let _ = self.parts.events.send(said);
    }

    fn answer(&mut self, question: Question, outcome: Outcome) {
        if let Some(waiter) = self.waiting.remove(&question) {
            // Who asked may have gone.
            let _ = waiter.send(outcome);
        }
    }
}

/// Drives it until nobody can ask anything of it any more.
pub(super) async fn run(
    mut driver: Driver,
    mut inbox: mpsc::Receiver<Input>,
    mut commands: mpsc::Receiver<Command>,
) {
    loop {
        let due = driver.due();
        tokio::select! {
            input = inbox.recv() => match input {
                Some(input) => driver.handle_input(input),
                None => return,
            },
            command = commands.recv() => match command {
                Some(command) => command(&mut driver),
                None => return,
            },
            () = sleep_until(due) => driver.handle_timeout(),
            () = driver.parts.post.settle() => {}
        }
    }
}
