//! One run: a publisher and its subscribers in one thread, and so with one clock.
//!
//! A message's payload begins with its number and its time. A loop over the ready connections costs less
//! than threads would: the server has the other core, and should be what is measured.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::histogram::Histogram;
use super::link::{Buffer, Came, Link};
use super::proto::{Proto, Step, Template};

/// What is published to and subscribed to.
pub const TOPIC: &str = "bench";
/// Bytes at the front of a payload: the message's number, and its time.
pub const STAMP_LEN: usize = 16;
/// A run ends when nothing came for so long although something should (our guess for a loaded machine).
const QUIET_MAX: Duration = Duration::from_secs(5);
/// The same when everybody has got the last message, and some one before it did not come.
const LATE_MAX: Duration = Duration::from_millis(500);
/// Between two looks whether the run should end, while nothing happens.
const LOOK_MILLIS: u8 = 100;
/// Writes before what came is read again.
const TURN: usize = 16;
/// Connections that are heard of at one time.
const EVENTS: usize = 256;

/// Tell the publisher and the clock from subscribers, which are numbered from 0.
const PUBLISHER: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

/// What is asked of each run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub subscribers: usize,
    /// Bytes of a payload, [`STAMP_LEN`] at least.
    pub size: usize,
    /// Messages in one write.
    pub batch: u64,
    /// Messages a second, whatever the server does; none: as many as the window lets.
    pub rate: Option<u64>,
    pub count: u64,
    /// Messages that the slowest subscriber may be behind, when there is no rate.
    pub window: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// From the first write to the last delivery.
    pub span: Duration,
    pub published: u64,
    pub deliveries: u64,
    pub lost: u64,
    pub reordered: u64,
    /// From when a message was due to when it was read, in nanoseconds; with a rate only.
    pub latency: Histogram,
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("a connection cannot be made or used: {0}")]
    Io(#[from] io::Error),
    #[error("the server closes the publisher's connection")]
    Closed,
    #[error("the server says no: {0}")]
    Refused(String),
    #[error("ended by a signal")]
    Interrupted,
}

impl From<nix::Error> for LoadError {
    fn from(error: nix::Error) -> LoadError {
        LoadError::Io(error.into())
    }
}

struct Subscriber {
    /// None once the server has closed it.
    link: Option<Link>,
    /// The number that should come next.
    next: u64,
    received: u64,
    reordered: u64,
}

pub struct Load<'a> {
    plan: &'a Plan,
    publisher: Link,
    subscribers: Vec<Subscriber>,
    epoll: Epoll,
    timer: TimerFd,
    buffer: Buffer,
    /// A batch of messages, written over again and again, and what of it is still to be written.
    batch: Vec<u8>,
    unwritten: Range<usize>,
    /// There was no room to write: the publisher is heard of when there is.
    is_full: bool,
    /// Pings of the server that the publisher has not answered yet.
    pings: usize,
    frame_len: usize,
    payload: usize,
    published: u64,
    /// Since the last pass something came.
    last_came: Instant,
    latency: Histogram,
    refused: Option<String>,
}

impl<'a> Load<'a> {
    /// On return all subscriptions stand. The publisher is at the first of the servers, subscribers at the
    /// others in turn, if there are others.
    pub fn connect(plan: &'a Plan, proto: Proto, addrs: &[SocketAddr]) -> Result<Load<'a>, LoadError> {
        let first = *addrs.first().ok_or_else(|| io::Error::other("there is no server"))?;
        let at = if addrs.len() > 1 { &addrs[1..] } else { addrs };
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let mut subscribers = Vec::with_capacity(plan.subscribers);
        for number in 0..plan.subscribers {
            let link = Link::open(proto, at[number % at.len()], Some(TOPIC), plan.size)?;
            epoll.add(link.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
            subscribers.push(Subscriber { link: Some(link), next: 0, received: 0, reordered: 0 });
        }
        let publisher = Link::open(proto, first, None, plan.size)?;
        epoll.add(publisher.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, PUBLISHER))?;
        let Template { bytes, payload } = proto.publish(TOPIC, plan.size).map_err(io::Error::other)?;
        Ok(Load {
            plan,
            buffer: Buffer::new(publisher.frame_len()),
            publisher,
            subscribers,
            epoll,
            timer,
            batch: bytes.repeat(usize::try_from(plan.batch).map_err(io::Error::other)?),
            unwritten: 0..0,
            is_full: false,
            pings: 0,
            frame_len: bytes.len(),
            payload,
            published: 0,
            last_came: Instant::now(),
            latency: Histogram::new(),
            refused: None,
        })
    }

    /// Publishes all, and returns when all came, or nothing more comes.
    pub fn run(mut self, is_stopped: &AtomicBool) -> Result<Outcome, LoadError> {
        let begun = Instant::now();
        self.last_came = begun;
        let mut events = [EpollEvent::empty(); EVENTS];
        while !self.is_done() {
            if is_stopped.load(Ordering::Relaxed) {
                return Err(LoadError::Interrupted);
            }
            let is_ready = self.publish(begun)?;
            let timeout = if is_ready { 0 } else { LOOK_MILLIS };
            let count = match self.epoll.wait(&mut events, timeout) {
                Err(nix::Error::EINTR) => 0,
                count => count?,
            };
            for event in &events[..count] {
                match event.data() {
                    TIMER => self.timer.wait()?,
                    PUBLISHER => self.read_publisher()?,
                    number => self.read_subscriber(number as usize, begun)?,
                }
            }
            if let Some(words) = self.refused.take() {
                return Err(LoadError::Refused(words));
            }
            if count == 0 && self.is_awaiting() && self.last_came.elapsed() > self.quiet_max() {
                break;
            }
        }
        let deliveries = self.subscribers.iter().map(|one| one.received).sum();
        let all = self.published * self.subscribers.len() as u64;
        Ok(Outcome {
            span: self.last_came - begun,
            published: self.published,
            deliveries,
            lost: all.saturating_sub(deliveries),
            reordered: self.subscribers.iter().map(|one| one.reordered).sum(),
            latency: self.latency,
        })
    }

    fn is_done(&self) -> bool {
        let has_all = |one: &Subscriber| one.link.is_none() || one.received >= self.plan.count;
        self.published == self.plan.count && self.unwritten.is_empty() && self.subscribers.iter().all(has_all)
    }

    /// Whether something is under way.
    fn is_awaiting(&self) -> bool {
        let is_behind = |one: &Subscriber| one.link.is_some() && one.received < self.published;
        !self.unwritten.is_empty() || self.subscribers.iter().any(is_behind)
    }

    fn quiet_max(&self) -> Duration {
        let has_last = |one: &Subscriber| one.link.is_none() || one.next >= self.plan.count;
        if self.subscribers.iter().all(has_last) { LATE_MAX } else { QUIET_MAX }
    }

    /// Writes what may be written now, for one turn. Whether more may be written at once.
    fn publish(&mut self, begun: Instant) -> Result<bool, LoadError> {
        if self.is_full {
            return Ok(false);
        }
        let slowest = self.subscribers.iter().filter(|one| one.link.is_some()).map(|one| one.next).min();
        // Nobody hears: nothing holds it back.
        let slowest = slowest.unwrap_or(self.published);
        for _ in 0..TURN {
            if !self.unwritten.is_empty() && !self.write()? {
                self.listen(EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT)?;
                self.is_full = true;
                return Ok(false);
            }
            self.publisher.answer(std::mem::take(&mut self.pings))?;
            let left = self.plan.batch.min(self.plan.count - self.published);
            let now = begun.elapsed();
            let ready = match self.plan.rate {
                Some(rate) => left.min(due(now, rate).saturating_sub(self.published)),
                None if self.published.saturating_sub(slowest) + left <= self.plan.window.max(left) => left,
                None => 0,
            };
            if ready == 0 {
                if let Some(rate) = self.plan.rate.filter(|_| left > 0) {
                    let wait = due_at(self.published, rate).saturating_sub(begun.elapsed());
                    if wait.is_zero() {
                        continue;
                    }
                    let expiration = Expiration::OneShot(TimeSpec::from_duration(wait));
                    self.timer.set(expiration, TimerSetTimeFlags::empty())?;
                }
                return Ok(false);
            }
            self.stamp(ready, now);
        }
        Ok(true)
    }

    /// Makes a batch of the next messages.
    fn stamp(&mut self, count: u64, now: Duration) {
        for frame in self.batch.chunks_exact_mut(self.frame_len).take(count as usize) {
            let time = self.plan.rate.map_or(now, |rate| due_at(self.published, rate));
            let stamp = &mut frame[self.payload..self.payload + STAMP_LEN];
            stamp[..8].copy_from_slice(&self.published.to_le_bytes());
            stamp[8..].copy_from_slice(&(time.as_nanos() as u64).to_le_bytes());
            self.published += 1;
        }
        self.unwritten = 0..self.frame_len * count as usize;
    }

    /// Writes what there is room for. Whether that is all.
    fn write(&mut self) -> Result<bool, LoadError> {
        self.unwritten.start += self.publisher.write(&self.batch[self.unwritten.clone()])?;
        Ok(self.unwritten.is_empty())
    }

    fn listen(&self, to: EpollFlags) -> Result<(), LoadError> {
        Ok(self.epoll.modify(self.publisher.as_fd(), &mut EpollEvent::new(to, PUBLISHER))?)
    }

    /// There may be room to write again, and the server may have answered.
    fn read_publisher(&mut self) -> Result<(), LoadError> {
        if self.is_full && self.write()? {
            self.listen(EpollFlags::EPOLLIN)?;
            self.is_full = false;
        }
        match self.publisher.fill(&mut self.buffer)? {
            Came::End => Err(LoadError::Closed),
            Came::Nothing => Ok(()),
            Came::Bytes(len) => {
                let refused = &mut self.refused;
                self.pings += self.publisher.walk(&self.buffer, len, |step| {
                    if let Step::Refused(words) = step {
                        *refused = Some(words);
                    }
                })?;
                Ok(())
            }
        }
    }

    fn read_subscriber(&mut self, number: usize, begun: Instant) -> Result<(), LoadError> {
        let Some(subscriber) = self.subscribers.get_mut(number) else { return Ok(()) };
        let Subscriber { link, next, received, reordered } = subscriber;
        let Some(open) = link else { return Ok(()) };
        let len = match open.fill(&mut self.buffer)? {
            Came::Bytes(len) => len,
            Came::Nothing => return Ok(()),
            Came::End => {
                // What it did not get is lost; the others go on.
                *link = None;
                return Ok(());
            }
        };
        let at = Instant::now();
        let now = (at - begun).as_nanos() as u64;
        self.last_came = at;
        let is_timed = self.plan.rate.is_some();
        let (latency, refused) = (&mut self.latency, &mut self.refused);
        let published = self.published;
        let pings = open.walk(&self.buffer, len, |step| match step {
            Step::Message(payload) => {
                let Some((sequence, time)) = stamped(payload).filter(|(sequence, _)| *sequence < published)
                else {
                    *refused = Some("a message that nobody here published".to_owned());
                    return;
                };
                *received += 1;
                if sequence < *next {
                    *reordered += 1;
                }
                *next = (*next).max(sequence + 1);
                if is_timed {
                    latency.add(now.saturating_sub(time));
                }
            }
            // A subscriber that is cut off is told why; the end comes next.
            Step::Refused(words) => eprintln!("note: subscriber {number} is told: {words}"),
            _ => {}
        })?;
        Ok(open.answer(pings)?)
    }
}

/// The number and the time of a message.
fn stamped(payload: &[u8]) -> Option<(u64, u64)> {
    let (sequence, rest) = payload.split_first_chunk::<8>()?;
    let (time, _) = rest.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*sequence), u64::from_le_bytes(*time)))
}

/// Messages that are due after so long, at so many a second: the first at once.
fn due(after: Duration, rate: u64) -> u64 {
    (after.as_nanos() * u128::from(rate) / 1_000_000_000) as u64 + 1
}

/// When the message with this number is due.
fn due_at(number: u64, rate: u64) -> Duration {
    let nanos = (u128::from(number) * 1_000_000_000).div_ceil(u128::from(rate));
    Duration::from_nanos(nanos as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_due_when_its_time_has_come_and_not_before() {
        for rate in [1, 3, 1_000, 7_777, 2_000_000_000] {
            for number in [0, 1, 2, 1_000, 123_457] {
                let at = due_at(number, rate);
                assert!(due(at, rate) > number, "{number} at {rate}");
                let before = at.saturating_sub(Duration::from_nanos(1));
                assert!(
                    before == at || rate > 1_000_000_000 || due(before, rate) <= number,
                    "{number} at {rate}"
                );
            }
        }
    }
}
