//! The sizes that every encoder keeps and every decoder enforces.

/// Longest datagram, envelope included: passes every path that carries IPv6 (RFC 8200 section 5, minimum MTU
/// of 1,280) with room for headers and one tunnel.
pub const DATAGRAM_MAX_BYTES: usize = 1_200;

/// Longest envelope around an empty payload; `envelope::tests` computes it.
pub const ENVELOPE_MAX_BYTES: usize = 464;

/// Shorter datagrams are padded to this, so that an answer without payload is never longer than its question.
pub const DATAGRAM_MIN_BYTES: usize = ENVELOPE_MAX_BYTES;

/// Longest payload that fits a datagram whatever the sender's name and address are.
pub const DATAGRAM_PAYLOAD_MAX_BYTES: usize = DATAGRAM_MAX_BYTES - ENVELOPE_MAX_BYTES;

/// Longest message on a stream. A confirm with its record, guardians and neighbours takes a few kilobytes;
/// the rest is room for large specifications (our guess).
pub const STREAM_MESSAGE_MAX_BYTES: usize = 256 * 1_024;

/// Longest encoded credential.
pub const CREDENTIAL_MAX_BYTES: usize = 200;

/// Longest encoded node record.
pub const RECORD_MAX_BYTES: usize = 132;

/// Longest encoded proof: a credential, a signature and their heads.
pub const PROOF_MAX_BYTES: usize = CREDENTIAL_MAX_BYTES + 70;

/// Longest name of a node or user, in bytes of UTF-8.
pub const NAME_MAX_BYTES: usize = 48;

/// Longest encoded hint, its age included: eight of them, with all else, fit a shuffle's datagram. Tests hold
/// hints to it.
#[cfg(test)]
pub(crate) const HINT_MAX_BYTES: usize = 56;
