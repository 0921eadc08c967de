//! What each member of an application may take of another one. Agents' limits on connections and idle time do
//! not concern these: they are on sockets of their own.

use std::time::Duration;

/// Longest message that is kept as a whole. What is longer goes by a stream (our guess: longer things are
/// files).
pub const MESSAGE_MAX_BYTES: usize = 1 << 20;

/// Longest address of a message (see `Address`): the longest key with the longest name, and some bytes more.
pub const ADDRESS_MAX_BYTES: usize = 640;

/// Longest name of a collection in an address; as the local API has it.
pub const COLLECTION_MAX_BYTES: usize = 64;

/// Coordinates of a place in an address; as meshes have sides.
pub const SIDES_MAX: usize = 8;

/// Longest key in an address; as rings have it.
pub const KEY_MAX_BYTES: usize = 511;

/// A message whose receiver says that it is not the one that is meant is sent so often at most, each time to
/// whom the sender finds then. With the pauses between: 3.5 s, in which ranks become settled (our guess).
pub const TRIES_MAX: u32 = 8;

/// The pause after so many tries, from 1 on, doubled up to a second; none: it was tried often enough.
pub fn pause_after(tries: u32) -> Option<Duration> {
    (tries < TRIES_MAX).then(|| PAUSE.1.min(PAUSE.0 * 2u32.saturating_pow(tries.saturating_sub(1))))
}

/// Messages that were refused and whose senders are not told yet; beyond it the connection is read no
/// further.
pub(crate) const REFUSALS_MAX: usize = 64;

/// What a message costs beside its bytes in the limits below: so they bound the number of messages, too.
pub const MESSAGE_COST_BYTES: usize = 64;

/// Messages to one peer that are not acknowledged yet; beyond it a send waits. 65,536 of no length.
pub const IN_FLIGHT_MAX_BYTES: usize = 4 << 20;

/// Messages of one peer that the program has not taken yet; beyond it the peer is read no further.
pub const UNREAD_PER_PEER_MAX_BYTES: usize = 4 << 20;

/// The same of all peers.
pub const UNREAD_MAX_BYTES: usize = 32 << 20;

/// What QUIC takes of one connection before it is read (our guess: 20 MB/s at 100 ms).
pub(crate) const WINDOW_BYTES: u32 = 2 << 20;

/// Peers that are sent to at one time; the longest unused one with nothing in flight makes room for another.
pub const LINKS_MAX: usize = 256;

/// Connections of members that are served; beyond it the newest is refused.
pub const INCOMING_MAX: usize = 256;

/// Connections that have not said who they are; from the half of it on their addresses are proven first, and
/// beyond it the newest is refused.
pub const MEETINGS_MAX: usize = 64;

/// Of them, those from one address: strangers must not keep members out.
pub const MEETINGS_PER_ADDRESS_MAX: usize = 32;

/// Streams of one connection beside its messages.
pub const STREAMS_MAX: usize = 8;

/// Streams that the program has not accepted yet; beyond it connections wait with theirs.
pub const STREAMS_WAITING_MAX: usize = 16;

/// From dialling to the peer's credential: three round trips anywhere (our guess).
pub(crate) const MEET_MAX: Duration = Duration::from_secs(3);

/// How long a peer is looked for before a message to it fails: a lost slot runs again within ten seconds.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Between two tries to reach a peer: from the first, doubled up to the last.
pub(crate) const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A peer that acknowledges nothing for so long is given up: its program takes no messages.
pub const STALL_MAX: Duration = Duration::from_secs(30);

/// A send that waits for its acknowledgement has failed so long after it was called, whatever it waits for.
pub const SEND_MAX: Duration = Duration::from_secs(30);

/// A connection without messages and streams is closed.
pub const IDLE_MAX: Duration = Duration::from_secs(60);

/// A connection of which nothing is heard has ended: so fast a dead peer is noticed.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(6);

/// A sign of life on a connection without messages.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The credential is renewed after so long: half its time.
pub(crate) const RENEWAL: Duration = Duration::from_secs(60);

/// A renewal that failed is tried again.
pub(crate) const RENEWAL_AGAIN: Duration = Duration::from_secs(5);

/// What the own agent believes is asked for so often at most because of what others show.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Renewed credentials that a peer may show at once, and one more each second: each may cost some
/// milliseconds to judge.
pub(crate) const RENEWALS_MAX: u64 = 8;
