//! What members of a collection say to each other.

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable, Travel};

/// Descriptors in one message at most: eight hints of 56 bytes and a credential fit a datagram of 1,200
/// bytes.
pub const PEERS_MAX: usize = 8;

/// Descriptors in a [`Message::Shuffle`] at most; the sender itself is the eighth and goes without saying.
pub const SHUFFLE_PEERS_MAX: usize = PEERS_MAX - 1;

/// A neighbour as told to others: who, and how many rounds ago it was last known to be alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Peer {
    #[n(0)]
    pub handle: Handle,
    /// Rounds.
    #[n(1)]
    pub age: u16,
}

/// Up to [`PEERS_MAX`] peers inline.
///
/// Handles and ages lie apart, so that look-ups touch handles only. Unused handles are [`Handle::NONE`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Peers {
    handles: [Handle; PEERS_MAX],
    ages: [u16; PEERS_MAX],
    len: u8,
}

impl Peers {
    pub const EMPTY: Peers = Peers { handles: [Handle::NONE; PEERS_MAX], ages: [0; PEERS_MAX], len: 0 };

    /// One peer for each of the first [`PEERS_MAX`] of `list`.
    #[inline]
    pub(crate) fn of<T>(list: &[T], peer: impl Fn(&T) -> Peer) -> Self {
        let mut peers = Peers::EMPTY;
        for ((handle, age), one) in peers.handles.iter_mut().zip(&mut peers.ages).zip(list) {
            Peer { handle: *handle, age: *age } = peer(one);
        }
        peers.len = list.len().min(PEERS_MAX) as u8;
        peers
    }

    /// Those that are not used are `NONE`.
    #[inline]
    pub(crate) fn all_handles(&self) -> &[Handle; PEERS_MAX] {
        &self.handles
    }

    /// False, and nothing changed, when it is full.
    pub fn push(&mut self, peer: Peer) -> bool {
        let at = usize::from(self.len);
        if at == PEERS_MAX {
            return false;
        }
        self.handles[at] = peer.handle;
        self.ages[at] = peer.age;
        self.len += 1;
        true
    }

    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn handles(&self) -> &[Handle] {
        &self.handles[..self.len()]
    }

    pub fn iter(&self) -> impl Iterator<Item = Peer> + '_ {
        self.handles().iter().zip(&self.ages).map(|(&handle, &age)| Peer { handle, age })
    }
}

impl core::fmt::Debug for Peers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_map().entries(self.iter().map(|peer| (peer.handle, peer.age))).finish()
    }
}

impl FromIterator<Peer> for Peers {
    /// Takes the first [`PEERS_MAX`].
    fn from_iter<I: IntoIterator<Item = Peer>>(peers: I) -> Self {
        let mut all = Peers::EMPTY;
        for peer in peers.into_iter().take(PEERS_MAX) {
            all.push(peer);
        }
        all
    }
}

impl<C: HandleTable> Encode<C> for Peers {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, table: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(self.len() as u64)?;
        self.iter().try_for_each(|peer| peer.encode(e, table))
    }
}

impl<'b, C: HandleTable> Decode<'b, C> for Peers {
    /// The length is checked before anything is read, so that a hostile one makes no handles.
    fn decode(d: &mut Decoder<'b>, table: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let len = d.array()?.filter(|&len| len <= PEERS_MAX as u64);
        let len = len.ok_or_else(|| decode::Error::message("more than 8 peers").at(at))?;
        let mut peers = Peers::EMPTY;
        for _ in 0..len {
            peers.push(Peer::decode(d, table)?);
        }
        Ok(peers)
    }
}

/// Everything that one [`Cyclon`](crate::Cyclon) says to another. The sender is in the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
#[cbor(flat)]
pub enum Message {
    /// "Take me and these, give me as many." At most [`SHUFFLE_PEERS_MAX`] peers.
    #[n(0)]
    Shuffle {
        #[n(0)]
        seq: u16,
        #[n(1)]
        peers: Peers,
    },
    /// The answer to [`Message::Shuffle`], with its number.
    #[n(1)]
    ShuffleReply {
        #[n(0)]
        seq: u16,
        #[n(1)]
        peers: Peers,
    },
    /// A newcomer asks its introducer to start walks for it.
    #[n(2)]
    Join,
    /// A join walk on its way; who gets it with `ttl` 0 takes the joiner into its view.
    #[n(3)]
    Walk {
        #[n(0)]
        joiner: Handle,
        /// Hops still to go.
        #[n(1)]
        ttl: u8,
    },
    /// From a walk's end to the joiner: the neighbour that made room for it. None: there was room, take me.
    #[n(4)]
    Welcome {
        #[n(0)]
        replaced: Option<Peer>,
    },
    /// "Are you there?", to a remembered contact.
    #[n(5)]
    Ping {
        #[n(0)]
        seq: u16,
    },
    /// The answer to [`Message::Ping`], with its number.
    #[n(6)]
    Pong {
        #[n(0)]
        seq: u16,
    },
}

impl Message {
    /// A shuffle is padded to the size of its reply.
    pub fn travel(&self) -> Travel {
        Travel::DATAGRAM.padded(matches!(self, Message::Shuffle { .. }))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    /// Writes a handle as its number and counts those it reads.
    #[derive(Default)]
    struct Numbers(usize);

    impl HandleTable for Numbers {
        fn encode_handle<W: Write>(
            &mut self,
            handle: Handle,
            e: &mut Encoder<W>,
        ) -> Result<(), encode::Error<W::Error>> {
            e.u32(handle.as_u32())?.ok()
        }

        fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
            self.0 += 1;
            d.u32().map(Handle::from_u32)
        }
    }

    fn peers(count: u32) -> Peers {
        (0..count).map(|i| Peer { handle: Handle::from_u32(i * 1_000), age: i as u16 }).collect()
    }

    fn samples() -> Vec<Message> {
        let peer = Peer { handle: Handle::from_u32(5), age: 6 };
        [
            &[Message::Join, Message::Ping { seq: 3 }, Message::Pong { seq: u16::MAX }][..],
            &[
                Message::Shuffle { seq: 1, peers: peers(7) },
                Message::ShuffleReply { seq: 1, peers: peers(8) },
            ],
            &[Message::Walk { joiner: Handle::from_u32(9), ttl: 4 }],
            &[Message::Welcome { replaced: None }, Message::Welcome { replaced: Some(peer) }],
        ]
        .concat()
    }

    fn encoded(msg: &Message) -> Vec<u8> {
        // Writing to a vector cannot fail and `Numbers` never refuses.
        minicbor::to_vec_with(msg, &mut Numbers::default()).expect("an infallible writer")
    }

    #[test]
    fn messages_survive_the_wire() {
        for msg in samples() {
            let read = minicbor::decode_with(&encoded(&msg), &mut Numbers::default());
            assert_eq!(read.ok(), Some(msg));
        }
    }

    #[test]
    fn cut_and_flipped_messages_are_refused_or_read_and_never_panic() {
        for msg in samples() {
            let bytes = encoded(&msg);
            for len in 0..bytes.len() {
                let cut = minicbor::decode_with::<_, Message>(&bytes[..len], &mut Numbers::default());
                assert!(cut.is_err(), "{msg:?} cut to {len}");
            }
            for bit in 0..8 * bytes.len() {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let _ = minicbor::decode_with::<_, Message>(&bytes, &mut Numbers::default());
            }
        }
    }

    #[test]
    fn too_many_peers_are_refused_before_any_handle_is_made() {
        for (head, len) in [(&[0x89u8][..], 9), (&[0x9a, 0xff, 0xff, 0xff, 0xff], u32::MAX), (&[0x9f], 1)] {
            let (mut table, mut bytes) = (Numbers::default(), head.to_vec());
            (0..len.min(100)).for_each(|_| bytes.extend([0x82, 0x01, 0x01]));
            assert!(minicbor::decode_with::<_, Peers>(&bytes, &mut table).is_err());
            assert_eq!(table.0, 0);
        }
    }
}
