//! What waits to be written to one connection: bounded, and honest about what it let go.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::{Pattern, Slow, write_lost};

/// Topics of which lost events are counted one by one; what was lost of others stands under `**`.
const LOST_TOPICS_MAX: usize = 32;

/// One piece that is written as it is.
#[derive(Clone, Debug)]
struct Chunk {
    bytes: Bytes,
    /// Events in it, and their topic; none in answers, which are never let go.
    events: Option<(Arc<Pattern<'static>>, u32)>,
}

/// Chunks to write, the oldest first.
#[derive(Debug)]
pub struct Queue {
    chunks: VecDeque<Chunk>,
    /// Bytes of all chunks.
    len: usize,
    /// Whether some bytes of the first chunk are written.
    is_begun: bool,
    /// What was let go and not told yet.
    lost: Vec<(Arc<Pattern<'static>>, u64)>,
    lost_total: u64,
}

/// The queue is full and its policy says that the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSlow;

impl Queue {
    pub(super) fn new() -> Queue {
        Queue { chunks: VecDeque::new(), len: 0, is_begun: false, lost: Vec::new(), lost_total: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Events that were let go since the connection began.
    pub fn lost_total(&self) -> u64 {
        self.lost_total
    }

    /// The chunks to write next, at most so many.
    pub fn front(&self, max: usize) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().take(max).map(|chunk| &chunk.bytes[..])
    }

    /// So many bytes are written.
    pub fn advance(&mut self, mut written: usize) {
        self.len -= written;
        while written > 0 {
            let Some(first) = self.chunks.front_mut() else { return };
            if first.bytes.len() > written {
                first.bytes.advance(written);
                self.is_begun = true;
                return;
            }
            written -= first.bytes.len();
            self.chunks.pop_front();
            self.is_begun = false;
        }
    }

    /// An answer: it is small, and comes whatever else waits. Who asks more than it reads is stopped by
    /// [`Broker::is_reading`](super::Broker::is_reading).
    pub(super) fn push_answer(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        self.chunks.push_back(Chunk { bytes, events: None });
    }

    /// So many events of one topic.
    pub(super) fn push_events(
        &mut self,
        bytes: Bytes,
        topic: &Arc<Pattern<'static>>,
        count: u32,
        limit: usize,
        slow: Slow,
        tell_lost: bool,
    ) -> Result<(), TooSlow> {
        if self.len + bytes.len() > limit && !self.is_empty() {
            match slow {
                Slow::End => return Err(TooSlow),
                Slow::Newest => {
                    self.lose(topic.clone(), count);
                    return Ok(());
                }
                Slow::Oldest => self.make_room(limit.saturating_sub(bytes.len())),
            }
        }
        if !self.lost.is_empty() {
            self.tell(tell_lost);
        }
        self.len += bytes.len();
        self.chunks.push_back(Chunk { bytes, events: Some((topic.clone(), count)) });
        Ok(())
    }

    /// So many events did not even come here.
    pub(super) fn lose_elsewhere(&mut self, count: u64) {
        self.lost_total = self.lost_total.saturating_add(count);
    }

    /// Lets the oldest events go until no more bytes than this wait, as far as it can: what is begun is
    /// written to its end, and answers stay.
    fn make_room(&mut self, len: usize) {
        let mut at = usize::from(self.is_begun);
        while self.len > len && at < self.chunks.len() {
            if self.chunks[at].events.is_none() {
                at += 1;
                continue;
            }
            if let Some(Chunk { bytes, events: Some((topic, count)) }) = self.chunks.remove(at) {
                self.len -= bytes.len();
                self.lose(topic, count);
            }
        }
    }

    pub(super) fn lose(&mut self, topic: Arc<Pattern<'static>>, count: u32) {
        self.lost_total += u64::from(count);
        if let Some((_, lost)) = self.lost.iter_mut().find(|(known, _)| *known == topic) {
            *lost += u64::from(count);
        } else if self.lost.len() < LOST_TOPICS_MAX {
            self.lost.push((topic, count.into()));
        } else {
            let last = LOST_TOPICS_MAX - 1;
            if *self.lost[last].0 != Pattern::All {
                self.lost[last].0 = Arc::new(Pattern::All);
            }
            self.lost[last].1 += u64::from(count);
        }
    }

    /// What was let go is told where it would have come: before all that came later.
    fn tell(&mut self, is_wanted: bool) {
        let lost = core::mem::take(&mut self.lost);
        if !is_wanted {
            return;
        }
        let mut out = BytesMut::new();
        for (topic, count) in lost {
            write_lost(&mut out, &topic, count);
        }
        self.len += out.len();
        let at = usize::from(self.is_begun).min(self.chunks.len());
        self.chunks.insert(at, Chunk { bytes: out.freeze(), events: None });
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    fn text(queue: &Queue) -> String {
        queue.front(99).map(|chunk| core::str::from_utf8(chunk).expect("text")).collect()
    }

    fn push(queue: &mut Queue, text: &'static str, topic: &str, slow: Slow) -> Result<(), TooSlow> {
        let topic = Arc::new(Pattern::new(topic).expect("a topic").into_owned());
        queue.push_events(Bytes::from_static(text.as_bytes()), &topic, 1, 8, slow, true)
    }

    #[test]
    fn the_oldest_go_and_are_told_where_they_would_have_come() {
        let mut queue = Queue::new();
        for text in ["aaaa", "bbbb"] {
            push(&mut queue, text, "t", Slow::Oldest).expect("room");
        }
        queue.advance(1);
        queue.push_answer(Bytes::from_static(b"!"));
        push(&mut queue, "cccc", "t", Slow::Oldest).expect("room");
        // What was begun is written to its end.
        assert_eq!(text(&queue), "aaaLOST \"t\" 1\r\n!cccc");
        assert_eq!(queue.lost_total(), 1);
        assert_eq!(queue.len(), text(&queue).len());
    }

    #[test]
    fn the_newest_go_or_the_connection_does() {
        let mut queue = Queue::new();
        for text in ["aaaa", "bbbb"] {
            push(&mut queue, text, "t", Slow::Newest).expect("room");
        }
        push(&mut queue, "cccc", "u", Slow::Newest).expect("let go");
        assert_eq!(text(&queue), "aaaabbbb");
        assert_eq!(push(&mut queue, "dddd", "t", Slow::End), Err(TooSlow));
        queue.advance(8);
        push(&mut queue, "eeee", "t", Slow::Newest).expect("room");
        assert_eq!(text(&queue), "LOST \"u\" 1\r\neeee");
    }

    #[test]
    fn what_is_lost_of_many_topics_is_counted_in_few_lines() {
        let mut queue = Queue::new();
        push(&mut queue, "12345678", "t", Slow::Newest).expect("room");
        for topic in 0..100 {
            let topic = Arc::new(Pattern::new(alloc::format!("t/{topic}")).expect("a topic"));
            let bytes = Bytes::from_static(b"x");
            queue.push_events(bytes, &topic, 2, 8, Slow::Newest, true).expect("let go");
        }
        assert_eq!(queue.lost.len(), LOST_TOPICS_MAX);
        assert_eq!(queue.lost.iter().map(|(_, count)| count).sum::<u64>(), 200);
        assert_eq!(queue.lost_total(), 200);
    }

    #[test]
    fn one_event_longer_than_the_limit_comes_when_nothing_else_waits() {
        let mut queue = Queue::new();
        push(&mut queue, "123456789", "t", Slow::End).expect("alone");
        assert_eq!(push(&mut queue, "1", "t", Slow::End), Err(TooSlow));
    }
}
