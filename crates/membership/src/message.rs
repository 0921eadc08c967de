//! What members of a collection say to each other.

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable};

/// Descriptors in one message at most: eight hints of 56 bytes and a credential fit a datagram of 1,200 bytes.
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
