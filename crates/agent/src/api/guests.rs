//! Who is connected to a socket, and who of them asks something: the longest idle makes room for others.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Longest wait for the head of a connection's first request: whoever connects and is silent must not keep
/// the room from others (our guess; a request is a few hundred bytes on one machine).
pub(super) const HEAD_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the next request on a connection that was answered (our guess: a script that asks twice
/// a minute keeps its connection).
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);

/// The connections of one socket, at most so many.
#[derive(Debug)]
pub(super) struct Guests {
    max: usize,
    all: Mutex<All>,
    /// A connection ended or became idle.
    changed: Notify,
}

#[derive(Debug, Default)]
struct All {
    stays: BTreeMap<u64, Stay>,
    next: u64,
}

/// One connection.
#[derive(Debug)]
struct Stay {
    /// Requests that came and whose answers are not written yet: a stream of events is one of them.
    requests: usize,
    idle_since: Instant,
    was_answered: bool,
    is_sent_away: bool,
    /// It speaks another protocol by now, and counts no more.
    has_left: bool,
    /// Wakes whoever serves it.
    waker: Option<Waker>,
}

/// What becomes of a connection that has nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A request of it is served: it may be silent for as long as that takes.
    Busy,
    /// It goes at this time, unless it asks something before.
    IdleUntil(Instant),
    SentAway,
}

impl Guests {
    pub(super) fn new(max: usize) -> Arc<Guests> {
        Arc::new(Guests { max, all: Mutex::default(), changed: Notify::new() })
    }

    /// Returns once one more may come in; the longest idle is sent away for it. When all of them wait for
    /// answers the newcomer waits, too.
    pub(super) async fn make_room(&self) {
        loop {
            let is_full = {
                let mut all = self.lock();
                let is_full = all.stays.values().filter(|stay| !stay.has_left).count() >= self.max;
                if is_full {
                    all.send_longest_idle_away();
                }
                is_full
            };
            if !is_full {
                return;
            }
            self.changed.notified().await;
        }
    }

    pub(super) fn enter(self: &Arc<Self>) -> Guest {
        let mut all = self.lock();
        let number = all.next;
        all.next += 1;
        let stay = Stay {
            requests: 0,
            idle_since: Instant::now(),
            was_answered: false,
            is_sent_away: false,
            has_left: false,
            waker: None,
        };
        all.stays.insert(number, stay);
        drop(all);
        Guest { guests: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        // Each change is one call that leaves the map whole.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn send_longest_idle_away(&mut self) {
        let idle = self.stays.values_mut().filter(|stay| stay.requests == 0 && !stay.has_left);
        if let Some(longest) = idle.min_by_key(|stay| stay.idle_since) {
            longest.is_sent_away = true;
            longest.waker.take().inspect(Waker::wake_by_ref);
        }
    }
}

/// A connection's place; dropping it makes room.
#[derive(Debug)]
pub(super) struct Guest {
    guests: Arc<Guests>,
    number: u64,
}

impl Guest {
    /// For a connection that has nothing to read now. Its task is woken when this changes.
    pub(super) fn verdict(&self, context: &Context<'_>) -> Verdict {
        let mut all = self.guests.lock();
        // It is there until this guest is dropped.
        let Some(stay) = all.stays.get_mut(&self.number) else { return Verdict::SentAway };
        stay.waker = Some(context.waker().clone());
        if stay.requests > 0 || stay.has_left {
            Verdict::Busy
        } else if stay.is_sent_away {
            Verdict::SentAway
        } else {
            Verdict::IdleUntil(stay.idle_since + if stay.was_answered { IDLE_MAX } else { HEAD_MAX })
        }
    }

    pub(super) fn visitor(&self) -> Visitor {
        Visitor { guests: self.guests.clone(), number: self.number }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.lock().stays.remove(&self.number);
        self.guests.changed.notify_one();
    }
}

/// A connection as its requests know it.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    guests: Arc<Guests>,
    number: u64,
}

impl Visitor {
    fn ask(self) -> Asking {
        if let Some(stay) = self.guests.lock().stays.get_mut(&self.number) {
            stay.requests += 1;
            // It has asked before it was gone: it gets its answer.
            stay.is_sent_away = false;
        }
        Asking(self)
    }
}

impl Visitor {
    /// The connection goes over to another protocol: it makes room, and may be silent. Whoever lets it do so
    /// has a limit of its own.
    pub(super) fn leave(&self) {
        if let Some(stay) = self.guests.lock().stays.get_mut(&self.number) {
            stay.has_left = true;
            stay.waker.take().inspect(Waker::wake_by_ref);
        }
        self.guests.changed.notify_one();
    }
}

/// One request, until its answer is written.
struct Asking(Visitor);

impl Drop for Asking {
    fn drop(&mut self) {
        let Visitor { guests, number } = &self.0;
        if let Some(stay) = guests.lock().stays.get_mut(number) {
            stay.requests -= 1;
            stay.was_answered = true;
            stay.idle_since = Instant::now();
            stay.waker.take().inspect(Waker::wake_by_ref);
        }
        guests.changed.notify_one();
    }
}

/// Notes that a connection asks something, until the last byte of the answer.
pub(super) async fn attend(
    ConnectInfo(visitor): ConnectInfo<Visitor>,
    request: Request,
    next: Next,
) -> Response {
    let asking = visitor.ask();
    until_answered(next.run(request).await, asking)
}

/// Keeps something until the last byte of the answer.
pub(super) fn until_answered(answer: Response, kept: impl Send + Unpin + 'static) -> Response {
    answer.map(|answer| Body::new(Answer { answer, _kept: kept }))
}

/// A body that is an answer to somebody.
struct Answer<T> {
    answer: Body,
    _kept: T,
}

impl<T: Unpin> HttpBody for Answer<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.answer).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}
