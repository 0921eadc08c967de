//! What is possible at most, on every connection.

/// Bytes of a topic: with all that stands around it it fits a key of the ring (our guess).
pub const TOPIC_MAX_BYTES: usize = 255;

/// Levels of a topic: each is one more place where subscribers of a subtree may be.
pub const LEVELS_MAX: usize = 16;

/// Bytes of one line with its end: two topics in which every byte is escaped, and options.
pub const LINE_MAX_BYTES: usize = 2_048;

/// Header lines of one `PUBLISH` or `EVENT`, the length included: all that there are, twice.
pub const HEADERS_MAX: usize = 16;

/// Bytes of a payload: as much as NATS takes by default.
pub const PAYLOAD_MAX_BYTES: usize = 1 << 20;

/// Bytes of a payload that is kept: with its topic and all headers it fits a value of the ring.
pub const RETAINED_MAX_BYTES: usize = 60 << 10;

/// A payload longer than possible is read and thrown away up to this length, so that the stream stays in
/// step; one that says it is longer ends the connection. Our guess: what a mistake in a unit makes.
pub const SKIPPED_MAX_BYTES: u64 = 64 << 20;

/// Bytes of a group's name, of an `Ack` and of a publisher's name.
pub const WORD_MAX_BYTES: usize = 64;

/// Events of a replay: beyond it the newest come. Our guess.
pub const REPLAY_MAX: u32 = 10_000;

/// A lease that a subscriber may ask for at most; without one a subscription lasts as long as its connection.
pub const LEASE_MAX_SECONDS: u32 = 86_400;

/// Topics of one update. Our guess: each is four questions to the ring.
pub const UPDATE_TOPICS_MAX: usize = 16;

/// Bytes of an update's topics and values: its record fits a value of the ring, and so does each event.
pub const UPDATE_MAX_BYTES: usize = 48 << 10;
