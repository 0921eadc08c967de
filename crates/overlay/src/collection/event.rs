//! What a collection tells the driver, what it asks of it, and what is answered to questions.

use alloc::sync::Arc;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_base::{Events, Handle, NodeId, Sink};

use super::message::Message;
use super::task::TaskName;
use crate::farm::{Body, Why};
use crate::ranks::Epoch;
use crate::ring::{LookupId, Owner};
use crate::store::{Failed, RequestId, Success, Value, Version, Winner};
use crate::tman::{Items, Number};

pub use crate::farm::Progress;

/// Who a peer is, as the transport has proven it: a slot of the application under one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The slot's number.
    pub slot: u16,
    /// Grows with each replacement of the slot.
    pub epoch: u64,
}

impl Member {
    /// The id by which the ring knows it: a replacement has that of the one before it.
    pub fn id(&self) -> NodeId {
        let mut bytes = [0; 16];
        bytes[14..].copy_from_slice(&self.slot.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    /// The slot behind an id of this collection's ring: of a writer, of an owner. None for another id.
    pub fn slot_of(id: &NodeId) -> Option<u16> {
        let (head, slot) = id.as_bytes().split_at(14);
        let slot = u16::from_be_bytes(slot.try_into().ok()?);
        head.iter().all(|byte| *byte == 0).then_some(slot)
    }
}

/// What a collection asks of its driver, beside a way out for messages and events.
pub trait Host: Sink<Message> + Events<Event> {
    /// Who is behind a handle. The driver makes a handle of slot and epoch, so it knows it of each one that
    /// it has given to the collection. None for one that it does not know.
    fn member_of(&self, peer: Handle) -> Option<Member>;
    /// At which site it is, as far as that is known: copies prefer other sites.
    fn site_of(&self, peer: Handle) -> Option<u64>;
    /// Whether a member of epoch `told` may be the one that is known by `known`, which is lower: a driver
    /// that does not know a part of it yet says so. Otherwise the one would have replaced the other.
    fn may_be(&self, known: u64, told: u64) -> bool;
}

/// Names a question of this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct QuestionId(#[n(0)] pub u32);

/// What a collection tells its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// [`Collection::standing`](super::Collection::standing) says something else, or
    /// [`Collection::trouble`](super::Collection::trouble) does.
    Standing,
    /// Others stand beside this member in the mesh, or are nearest to it.
    Neighbours,
    /// This member owns another part of the ring, or nothing.
    Range,
    /// Another member hands out the tasks, or this one does and knows its table now.
    Farmer,
    /// Tasks have an outcome, or another one: ask for it.
    Outcomes,
    /// Do this task; [`Collection::finish`](super::Collection::finish) says what came of it.
    Start {
        /// Its name.
        task: TaskName,
        /// Its input.
        input: Arc<[u8]>,
    },
    /// Leave the task: it is done elsewhere, or not wanted any more.
    Stop(TaskName),
    /// What [`Collection::begin`](super::Collection::begin) has come to.
    Item {
        /// Which operation.
        request: RequestId,
        /// Its result.
        result: Result<Success, Failed>,
    },
    /// What this member wrote has lost against what another one wrote on the other side of a split.
    Lost {
        /// Of what was lost.
        version: Version,
        /// Against this.
        winner: Winner,
    },
    /// What [`Collection::lookup`](super::Collection::lookup) has come to. None: nobody answered as the owner
    /// in time.
    Owner {
        /// Which one.
        lookup: LookupId,
        /// Who owns the key.
        owner: Option<Owner>,
    },
    /// What [`Collection::tell_owners`](super::Collection::tell_owners) has come to.
    Begun {
        /// Which one.
        part: LookupId,
        /// The owner of the first key sees to the rest. Else no owner took it in time; some may have been
        /// told.
        is_begun: bool,
    },
    /// A member, perhaps this one, told all members something, or the owners of some keys.
    Told {
        /// The slot in whose name: no more than its word, as it comes by others.
        slot: u16,
        /// What.
        content: Value,
    },
    /// What a question has come to.
    Answer {
        /// Which one.
        question: QuestionId,
        /// Its answer.
        result: Result<Answer, AskError>,
    },
    /// Others say that this slot runs under a higher epoch than the one that has spoken here. It is believed
    /// when it speaks itself, or when the driver says it by [`Collection::learn`](super::Collection::learn).
    Hearsay {
        /// Of another member.
        slot: u16,
    },
    /// Another member runs for this slot under a higher epoch: this one has no part in the collection any
    /// more, and says nothing from now on.
    Displaced,
    /// [`Collection::leave`](super::Collection::leave) is over: what this member owned is another's.
    Left,
}

impl Event {
    /// Shows every peer that the event names.
    pub fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        match self {
            Event::Owner { owner: Some(owner), .. } => f(owner.contact.handle),
            Event::Answer { result: Ok(Answer::Holder(holder)), .. } => f(holder.handle),
            _ => {}
        }
    }
}

/// What is answered to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The task is on the ring: it is not lost any more.
    Added,
    /// Where the task stands.
    Task(TaskState),
    /// Tasks that have an outcome which was not collected; at most
    /// [`OUTCOMES_MAX`](super::OUTCOMES_MAX).
    Outcomes {
        /// Their names.
        tasks: Vec<TaskName>,
        /// Tasks that have no outcome yet.
        open: u32,
        /// Whether these are all tasks that there are: not while members are missing, as on one side of a
        /// split.
        whole: bool,
    },
    /// How far the work is.
    Progress(Progress),
    /// Who has the rank.
    Holder(Holder),
}

/// Why a question was not answered as it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It may have been done.
    #[error("nobody answered in time: it may have been done; ask again, which does no harm")]
    Unanswered,
    /// Definite: nothing was done.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why a member does not do or know what it was asked. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Encode, Decode)]
#[cbor(index_only)]
pub enum Refusal {
    /// Of tasks or of bytes.
    #[n(0)]
    #[error("the farm's table is full: collect tasks that are done")]
    Full,
    #[n(1)]
    #[error("there is no such task: it was not added, or was collected long ago")]
    NoSuchTask,
    #[n(2)]
    #[error("the task has no outcome yet: wait until it is settled")]
    NotSettled,
    #[n(3)]
    #[error("nobody has this rank: there are fewer members")]
    NoSuchRank,
    /// The task may be one of those that are not seen from here.
    #[n(4)]
    #[error("no such task is known, but not all members are there, so the table may not be whole: ask again")]
    NotSure,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TaskState {
    /// It is not done, or what came of it is not safe yet.
    #[n(0)]
    Open,
    /// Its result; [`TaskState::result`] takes the name off it.
    #[n(1)]
    Done(#[n(0)] Body),
    /// It failed as often as it may; why it failed the last time.
    #[n(2)]
    GivenUp(#[n(0)] Why),
    /// Its outcome was taken out of the table.
    #[n(3)]
    Collected,
}

impl TaskState {
    /// The result of a task that is done.
    pub fn result(&self) -> Option<&[u8]> {
        match self {
            TaskState::Done(body) => super::task::split(body.as_bytes()).map(|(_, bytes)| bytes),
            TaskState::Open | TaskState::GivenUp(_) | TaskState::Collected => None,
        }
    }
}

/// Who has a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The rank that was asked for.
    pub rank: u32,
    /// Whom to send to.
    pub handle: Handle,
    /// Under which numbering.
    pub numbering: Epoch,
    /// As in [`Standing`](crate::ranks::Standing): not on either side of a split.
    pub is_settled: bool,
}

/// What is known of a rank without asking anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It may be dead.
    Holder(Holder),
    /// Definite: there are fewer members.
    Nobody,
    /// [`Collection::hold`](super::Collection::hold) asks for it.
    NotNow,
}

/// By what a member is near to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// What it has.
    Items(Items),
    /// Its number.
    Number(Number),
}

/// Why nothing was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// The kind of the collection has no such thing.
    #[error("this collection has no {0}: it is of another kind")]
    Kind(&'static str),
    /// It has no place on the ring yet.
    #[error("this member is not on the ring of the collection yet: try again in a second")]
    NotOnTheRing,
    /// Too much is under way.
    #[error("{0} are under way: wait for some of them")]
    TooMany(&'static str),
    /// Another member runs for this slot, or this one has left or is about to.
    #[error(
        "this member has no part in the collection any more: it has left, or another one runs for its slot"
    )]
    Over,
    /// The key is not one of those that programs may use.
    #[error("a key outside the part of the ring that is for programs")]
    Namespace,
    /// A part of the ring that holds no key.
    #[error("no key lies between these: the first one is to come before the other")]
    NoKeys,
    /// Too long.
    #[error(transparent)]
    TooLong(#[from] super::task::TaskTooLong),
}

/// Why an outcome of a task was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinishError {
    /// It was stopped, or is reported already.
    #[error("this is not the task at hand: it was stopped, or is reported already")]
    NotAtHand,
    /// The task is still at hand.
    #[error(transparent)]
    TooLong(#[from] super::task::TaskTooLong),
}
