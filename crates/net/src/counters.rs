//! Everything that was shrugged off, by reason.

use std::sync::atomic::{AtomicU64, Ordering};

use strum::{EnumCount, EnumIter, IntoEnumIterator as _, IntoStaticStr};

/// Why something was dropped, or what else is worth counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumCount, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[repr(usize)]
pub enum Count {
    /// Datagrams received and handed over.
    Received,
    /// Datagrams sent.
    Sent,
    /// Messages sent on streams.
    StreamSent,
    /// Messages received on streams and handed over.
    StreamReceived,
    /// A credential of another VO, one that no root of ours signed, or a handshake without either.
    Stranger,
    /// A credential that expired or is not valid yet.
    Expired,
    /// A member without the role of a node.
    NotANode,
    /// A signature that is not the sender's.
    Forged,
    /// A sequence seen before.
    Replayed,
    /// An incarnation of a sender that ended.
    OldIncarnation,
    /// A stamp outside the window; the sender was told.
    Stale,
    /// An answer to no question of ours.
    Unsolicited,
    /// For another node, or for an incarnation of this one that never was.
    Misaddressed,
    /// For an incarnation of this node that ended; the sender was told.
    Reborn,
    /// Bytes that are no envelope or no message.
    Malformed,
    /// A datagram shorter or longer than allowed.
    WrongLength,
    /// Another protocol version.
    UnknownVersion,
    /// An application record whose proof does not hold.
    BadRecord,
    /// A link, a final state or an appointment that the node that it names has not signed.
    BadClaim,
    /// A message with more claims to verify than its sender may have verified in that time.
    TooManyClaims,
    /// A policy that the VO's root has not signed.
    BadPolicy,
    /// An announcement that its origin has not signed just now, or may not make.
    BadAnnouncement,
    /// An item to be written over on the word of somebody who has not signed it just now, or is no
    /// administrator.
    BadOverwrite,
    /// More came in than the node could take: the newest is dropped.
    ReceiveQueueFull,
    /// More goes out to one peer than its connection takes: the newest is dropped.
    SendQueueFull,
    /// A message longer than its plane allows: not sent, or not taken.
    TooLong,
    /// A message to a handle that the table does not know (any more).
    UnknownPeer,
    /// The operating system did not take a datagram.
    SendFailed,
    /// A connection could not be made, or broke with messages waiting.
    Unreachable,
    /// More incoming connections or service streams than allowed.
    Refused,
    /// Datagrams that came or were to go while an emulated host's cable was out.
    Cut,
    /// Events that the host did not take in time: the newest are dropped.
    EventsLost,
}

/// Counters that all tasks of a node share.
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU64; Count::COUNT]);

impl Tally {
    pub(crate) fn add(&self, count: Count) {
        // Counters order nothing: each stands for itself.
        self.0[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counters {
        Counters(std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed)))
    }
}

/// The counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters([u64; Count::COUNT]);

impl Counters {
    pub fn of(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// Every counter with its name, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Count::iter().map(|count| (count.into(), self.of(count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_stands_at_its_own_place() {
        for (place, count) in Count::iter().enumerate() {
            assert_eq!(count as usize, place, "{count:?}");
        }
        let tally = Tally::default();
        tally.add(Count::EventsLost);
        assert_eq!(tally.read().iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>(), [("events_lost", 1)]);
    }
}
