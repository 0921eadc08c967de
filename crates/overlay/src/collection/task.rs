//! What an application calls its tasks: a text, which stands at the head of every body that the farm keeps.
//!
//! The farm itself knows tasks by 16 bytes. With the text in its bodies any member can say which tasks there
//! are, whoever added them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use crate::farm::{BODY_MAX, Body, State, TaskId};

/// Bytes of a name at most.
pub const TASK_NAME_MAX: usize = 64;
/// Bytes of an input or a result of a named task at most.
pub const TASK_BODY_MAX: usize = BODY_MAX - 1 - TASK_NAME_MAX;

/// The name of a task: 1 to [`TASK_NAME_MAX`] bytes of text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskName(Box<str>);

/// Nothing was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task's name of {0} bytes: 1 to {TASK_NAME_MAX} are possible")]
pub struct BadTaskName(pub usize);

/// Nothing was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} bytes of an input or a result: {TASK_BODY_MAX} are possible; put more into a file and its name here"
)]
pub struct TaskTooLong(pub usize);

impl TaskName {
    /// # Errors
    /// Empty, or longer than [`TASK_NAME_MAX`].
    pub fn new(name: &str) -> Result<TaskName, BadTaskName> {
        if (1..=TASK_NAME_MAX).contains(&name.len()) {
            Ok(TaskName(name.into()))
        } else {
            Err(BadTaskName(name.len()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the farm calls it.
    pub fn id(&self) -> TaskId {
        let hash = blake3::hash(self.0.as_bytes());
        let mut id = [0; 16];
        id.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
        TaskId(id)
    }

    /// A body as the farm keeps it: the name, then the bytes.
    pub(super) fn head(&self, bytes: &[u8]) -> Result<Body, TaskTooLong> {
        if bytes.len() > TASK_BODY_MAX {
            return Err(TaskTooLong(bytes.len()));
        }
        let mut body = Vec::with_capacity(1 + self.0.len() + bytes.len());
        body.push(self.0.len() as u8);
        body.extend_from_slice(self.0.as_bytes());
        body.extend_from_slice(bytes);
        Body::new(&body).map_err(|_| TaskTooLong(bytes.len()))
    }
}

impl fmt::Debug for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<C> Encode<C> for TaskName {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for TaskName {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let refused = |_| decode::Error::message("a task's name of none or more than 64 bytes").at(at);
        TaskName::new(d.str()?).map_err(refused)
    }
}

/// The name at the head of a body and what follows. None for a body that no member made.
pub(super) fn split(body: &[u8]) -> Option<(TaskName, &[u8])> {
    let (len, rest) = body.split_first()?;
    let (name, bytes) = rest.split_at_checked(usize::from(*len))?;
    let name = core::str::from_utf8(name).ok()?;
    Some((TaskName::new(name).ok()?, bytes))
}

/// The name of a task that is in this state. None when it was collected: nobody asks for it any more.
pub(super) fn name_in(task: TaskId, state: &State) -> Option<TaskName> {
    let body = match state {
        State::Open { input, .. } | State::GivenUp { input, .. } => input,
        State::Done { result, .. } => result,
        State::Collected { .. } => return None,
    };
    split(body.as_bytes()).map(|(name, _)| name).filter(|name| name.id() == task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_carries_the_name_of_its_task() {
        let name = TaskName::new("frame 7").expect("short");
        let body = name.head(b"scene").expect("short");
        assert_eq!(split(body.as_bytes()), Some((name.clone(), &b"scene"[..])));
        let done = State::Done { attempt: 1, result: body };
        assert_eq!(name_in(name.id(), &done), Some(name.clone()));
        assert_eq!(name_in(TaskId([0; 16]), &done), None, "another task's");
        let most = [0; TASK_BODY_MAX];
        let long =
            TaskName::new(core::str::from_utf8(&[b'x'; TASK_NAME_MAX]).expect("ascii")).expect("as long");
        assert!(long.head(&most).is_ok());
        assert_eq!(long.head(&[0; TASK_BODY_MAX + 1]), Err(TaskTooLong(TASK_BODY_MAX + 1)));
    }

    #[test]
    fn bodies_that_nobody_made_have_no_name() {
        let bodies: [&[u8]; 5] = [&[], &[0], &[3, b'a', b'b'], &[1, 0xff], &[65; 80]];
        bodies.iter().for_each(|body| assert_eq!(split(body), None, "{body:?}"));
        assert_eq!(TaskName::new(""), Err(BadTaskName(0)));
    }
}
