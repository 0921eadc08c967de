//! What members of a structure say to each other.

use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable, Travel};

use super::ranking::Profile;

/// Descriptors in one message at most.
pub const PEERS_MAX: usize = 20;

/// Longest message in a datagram of 1,200 bytes, whatever its envelope is.
const DATAGRAM_BYTES_MAX: usize = 736;
/// Longest answer in a datagram: about what the shortest question takes, so that nobody is sent much more than
/// it asked for by whoever asks in its name.
const ANSWER_BYTES_MAX: usize = 128;
/// Longest hint, the wire's form of a handle, with an age.
const HINT_BYTES_MAX: usize = 56;

/// A peer as told to others: who, what the ranking knows of it, and when it was last known to be alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor<P> {
    pub handle: Handle,
    pub profile: P,
    /// Rounds since it spoke to somebody; not less than 1, as only a node itself knows what it is now.
    pub age: u16,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// "Take me and these, tell me what I lack."
    Ask,
    /// The same question once more, without peers: what was answered did not arrive.
    AskAgain,
    /// The answer to either, with its number.
    Answer,
}

/// Everything that one [`TMan`](super::TMan) says to another. The sender is in the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<P> {
    pub kind: Kind,
    pub seq: u16,
    /// The sender's own.
    pub profile: P,
    /// The last of the nearest that the sender keeps, by side: it lacks nobody beyond. Empty while it has room,
    /// and in answers.
    pub bounds: Vec<P>,
    /// What the receiver lacks, as far as the sender knows; at most [`PEERS_MAX`].
    pub peers: Vec<Descriptor<P>>,
}

impl<P: Profile> Message<P> {
    /// A question is a datagram if it fits one. So is an answer without news: it is no longer than a question.
    pub fn travel(&self) -> Travel {
        let most = if self.kind == Kind::Answer { ANSWER_BYTES_MAX } else { DATAGRAM_BYTES_MAX };
        Travel::sized(self.wire_bytes() <= most)
    }

    /// Bytes on the wire at most.
    pub fn wire_bytes(&self) -> usize {
        let peers = self.peers.iter().map(|peer| 1 + HINT_BYTES_MAX + peer.profile.wire_bytes());
        let bounds = self.bounds.iter().map(P::wire_bytes);
        9 + self.profile.wire_bytes() + bounds.sum::<usize>() + peers.sum::<usize>()
    }
}

impl<C: HandleTable, P: Encode<C>> Encode<C> for Descriptor<P> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, table: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(3)?;
        self.handle.encode(e, table)?;
        e.u16(self.age)?;
        self.profile.encode(e, table)
    }
}

impl<'b, C: HandleTable, P: Decode<'b, C>> Decode<'b, C> for Descriptor<P> {
    fn decode(d: &mut Decoder<'b>, table: &mut C) -> Result<Self, decode::Error> {
        of_length(d, 3, "a descriptor of three")?;
        Ok(Descriptor { handle: Handle::decode(d, table)?, age: d.u16()?, profile: P::decode(d, table)? })
    }
}

impl<C: HandleTable, P: Encode<C>> Encode<C> for Message<P> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, table: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(5)?.u8(self.kind as u8)?.u16(self.seq)?;
        self.profile.encode(e, table)?;
        e.array(self.bounds.len() as u64)?;
        self.bounds.iter().try_for_each(|bound| bound.encode(e, table))?;
        e.array(self.peers.len() as u64)?;
        self.peers.iter().try_for_each(|peer| peer.encode(e, table))
    }
}

impl<'b, C: HandleTable, P: Decode<'b, C>> Decode<'b, C> for Message<P> {
    /// The number of peers is checked before any is read, so that a hostile one makes no handles.
    fn decode(d: &mut Decoder<'b>, table: &mut C) -> Result<Self, decode::Error> {
        of_length(d, 5, "a message of five")?;
        let at = d.position();
        let kind = match d.u8()? {
            0 => Kind::Ask,
            1 => Kind::AskAgain,
            2 => Kind::Answer,
            _ => return Err(decode::Error::message("an unknown kind of message").at(at)),
        };
        let (seq, profile) = (d.u16()?, P::decode(d, table)?);
        let len = at_most(d, 2, "more than two bounds")?;
        let bounds = (0..len).map(|_| P::decode(d, table)).collect::<Result<_, _>>()?;
        let len = at_most(d, PEERS_MAX as u64, "more than 20 peers")?;
        let peers = (0..len).map(|_| Descriptor::decode(d, table)).collect::<Result<_, _>>()?;
        Ok(Message { kind, seq, profile, bounds, peers })
    }
}

fn of_length(d: &mut Decoder<'_>, len: u64, expected: &'static str) -> Result<(), decode::Error> {
    let at = d.position();
    if d.array()? == Some(len) { Ok(()) } else { Err(decode::Error::message(expected).at(at)) }
}

fn at_most(d: &mut Decoder<'_>, most: u64, refused: &'static str) -> Result<u64, decode::Error> {
    let at = d.position();
    d.array()?.filter(|&len| len <= most).ok_or_else(|| decode::Error::message(refused).at(at))
}
