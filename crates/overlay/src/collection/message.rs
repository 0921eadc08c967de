//! What members of a collection say to each other.

use alloc::boxed::Box;

use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable, Travel};

use super::event::{Progress, QuestionId, Refusal, TaskState};
use super::task::TaskName;
use crate::farm::{self, Body};
use crate::overlay;
use crate::ranks::{Epoch, all, sums};
use crate::store::List;
use crate::tman::{self, Items, Number};

/// Names of tasks in one answer at most.
pub const OUTCOMES_MAX: usize = 1_024;
/// Bytes of a body that a datagram of 1,200 bytes has room for beside its envelope.
const DATAGRAM_BODY_MAX: usize = 512;

/// Everything that one [`Collection`](super::Collection) says to another. The sender is in the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Message {
    /// Of the partial view.
    #[n(0)]
    View(#[n(0)] xtreem_membership::Message),
    /// Of the ring and what lies on it.
    #[n(1)]
    Overlay(#[n(0)] overlay::Message),
    /// Of ranks where everyone knows everyone.
    #[n(2)]
    All(#[n(0)] Box<all::Message>),
    /// Of ranks that are counted along the ring.
    #[n(3)]
    Sums(#[n(0)] sums::Message),
    /// Of farmer and workers.
    #[n(4)]
    Farm(#[n(0)] Box<farm::Message>),
    /// Of the nearest by items.
    #[n(5)]
    Items(#[n(0)] Box<tman::Message<Items>>),
    /// Of the nearest by a number.
    #[n(6)]
    Number(#[n(0)] Box<tman::Message<Number>>),
    /// A question; the same number when it is repeated.
    #[n(7)]
    Ask(#[n(0)] QuestionId, #[n(1)] Box<Ask>),
    /// The answer to a question.
    #[n(8)]
    Told(#[n(0)] QuestionId, #[n(1)] Box<Told>),
    /// The farmer to those that asked for what is not there yet: tasks have their outcomes, ask again.
    #[n(9)]
    News,
}

/// What a member asks another one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Ask {
    /// The farmer: add this task. The body begins with its name.
    #[n(0)]
    Add(#[n(0)] Body),
    /// The farmer: take the outcome out of the table.
    #[n(1)]
    Collect(#[n(0)] TaskName),
    /// The farmer: where does it stand?
    #[n(2)]
    Task(#[n(0)] TaskName),
    /// The farmer: which tasks have an outcome?
    #[n(3)]
    Outcomes,
    /// The farmer: how far is the work?
    #[n(4)]
    Progress,
    /// Anybody, where ranks are counted along the ring: who has this rank under this numbering?
    #[n(5)]
    Holder(#[n(0)] u32, #[n(1)] Epoch),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub enum Told {
    /// It is on the ring.
    #[n(0)]
    Added,
    /// It is not done, and why not.
    #[n(1)]
    Refused(#[n(0)] Refusal),
    /// Where the task stands.
    #[n(2)]
    Task(#[n(0)] TaskState),
    /// Tasks that have an outcome, how many have none yet, and whether these are all that there are.
    #[n(3)]
    Outcomes(#[n(0)] List<TaskName, OUTCOMES_MAX>, #[n(1)] u32, #[n(2)] bool),
    /// How far the work is.
    #[n(4)]
    Progress(#[n(0)] Progress),
    /// This member is not the farmer, or does not know its table yet; it does not have the rank and knows
    /// nobody who is nearer to it.
    #[n(5)]
    NotMe,
    /// This member has the rank.
    #[n(6)]
    Mine,
    /// This one is nearer to the rank.
    #[n(7)]
    Nearer(#[n(0)] Handle),
}

impl Message {
    /// How it travels.
    pub fn travel(&self) -> Travel {
        match self {
            Message::View(_) => Travel::DATAGRAM,
            Message::Overlay(message) => message.travel(),
            Message::All(message) => message.travel(),
            Message::Sums(message) => message.travel(),
            Message::Farm(message) => message.travel(),
            Message::Items(message) => message.travel(),
            Message::Number(message) => message.travel(),
            Message::Ask(_, ask) => match &**ask {
                Ask::Add(body) => Travel::sized(body.as_bytes().len() <= DATAGRAM_BODY_MAX),
                _ => Travel::DATAGRAM.padded(true),
            },
            Message::Told(_, told) => match &**told {
                Told::Task(TaskState::Done(body)) => {
                    Travel::sized(body.as_bytes().len() <= DATAGRAM_BODY_MAX)
                }
                Told::Outcomes(tasks, ..) => Travel::sized(tasks.as_slice().len() <= DATAGRAM_BODY_MAX / 64),
                _ => Travel::DATAGRAM,
            },
            Message::News => Travel::DATAGRAM,
        }
    }
}
