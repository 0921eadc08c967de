//! By what a message was addressed, when it was not by a slot: a rank, a place or a key of a collection. It
//! travels with the message, so that whoever gets it sees it, and can say that it is another one by now.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use crate::limits::{ADDRESS_MAX_BYTES, COLLECTION_MAX_BYTES, KEY_MAX_BYTES, SIDES_MAX};

/// Which numbering of a collection: whoever names the same one means the same ranks (`ranks::Epoch`). As text
/// it is what the local API has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Numbering {
    #[n(0)]
    pub number: u32,
    #[n(1)]
    pub digest: u64,
}

impl fmt::Display for Numbering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}", self.number, self.digest)
    }
}

/// A text that is no numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a numbering is written as 1.00000000000000ff")]
pub struct NotNumbering;

impl FromStr for Numbering {
    type Err = NotNumbering;

    fn from_str(text: &str) -> Result<Numbering, NotNumbering> {
        let (number, digest) = text.split_once('.').ok_or(NotNumbering)?;
        let digest = u64::from_str_radix(digest, 16).map_err(|_| NotNumbering)?;
        Ok(Numbering { number: number.parse().map_err(|_| NotNumbering)?, digest })
    }
}

/// Which member of a collection is meant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum By {
    /// Who has this rank under this numbering.
    #[n(0)]
    Rank {
        #[n(0)]
        rank: u32,
        #[n(1)]
        numbering: Numbering,
    },
    /// Who stands at this place of a mesh under this numbering.
    #[n(1)]
    Place {
        #[n(0)]
        at: Vec<u32>,
        #[n(1)]
        numbering: Numbering,
    },
    /// Who owns this key.
    #[n(2)]
    Key {
        #[n(0)]
        key: String,
    },
}

/// By what a message was addressed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Address {
    #[n(0)]
    pub collection: String,
    #[n(1)]
    pub by: By,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let collection = &self.collection;
        match &self.by {
            By::Rank { rank, numbering } => {
                write!(f, "rank {rank} of {collection:?} under numbering {numbering}")
            }
            By::Place { at, numbering } => {
                write!(f, "place {at:?} of {collection:?} under numbering {numbering}")
            }
            By::Key { key } => write!(f, "the owner of {key:?} in {collection:?}"),
        }
    }
}

/// An address that no message can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error("COLLECTION_MAX_BYTES: a collection's name has 1 to {COLLECTION_MAX_BYTES} bytes, not {0}")]
    Collection(usize),
    #[error("SIDES_MAX: a place has 1 to {SIDES_MAX} coordinates, not {0}")]
    Place(usize),
    #[error("KEY_MAX_BYTES: a key has {KEY_MAX_BYTES} bytes at most, not {0}")]
    Key(usize),
    #[error("ADDRESS_MAX_BYTES: an address has {ADDRESS_MAX_BYTES} bytes at most, not {0}")]
    TooLong(usize),
    #[error("an address that is malformed")]
    Malformed,
}

impl Address {
    fn check(&self) -> Result<(), BadAddress> {
        let name = self.collection.len();
        if name == 0 || name > COLLECTION_MAX_BYTES {
            return Err(BadAddress::Collection(name));
        }
        match &self.by {
            By::Rank { .. } => Ok(()),
            By::Place { at, .. } if at.is_empty() || at.len() > SIDES_MAX => Err(BadAddress::Place(at.len())),
            By::Place { .. } => Ok(()),
            By::Key { key } if key.len() > KEY_MAX_BYTES => Err(BadAddress::Key(key.len())),
            By::Key { .. } => Ok(()),
        }
    }

    /// As it travels; nothing longer than [`ADDRESS_MAX_BYTES`].
    pub(crate) fn write(&self) -> Result<Vec<u8>, BadAddress> {
        self.check()?;
        // Writing to a vector cannot fail.
        Ok(minicbor::to_vec(self).unwrap_or_default())
    }

    /// What another member wrote.
    pub(crate) fn read(bytes: &[u8]) -> Result<Address, BadAddress> {
        if bytes.len() > ADDRESS_MAX_BYTES {
            return Err(BadAddress::TooLong(bytes.len()));
        }
        let address: Address = whole(bytes).ok_or(BadAddress::Malformed)?;
        address.check()?;
        Ok(address)
    }
}

/// Where the member stands to which a message by rank or place came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stands<'a> {
    /// None for one that the numbering leaves out.
    pub rank: Option<u32>,
    pub numbering: Numbering,
    /// Its place, if the collection is a mesh.
    pub at: Option<&'a [u32]>,
}

/// Why a member does not take a message by its address: what it knows itself. It does not have the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Misaddressed {
    #[n(0)]
    #[error("it is no member of that collection")]
    NoMember,
    /// As one that has just been started.
    #[n(1)]
    #[error("it does not know yet where it stands")]
    NotKnown,
    #[n(2)]
    #[error("{} under numbering {numbering}", told(rank))]
    Stands {
        #[n(0)]
        rank: Option<u32>,
        #[n(1)]
        numbering: Numbering,
    },
}

fn told(rank: &Option<u32>) -> String {
    rank.map_or_else(|| "it has no rank".to_owned(), |rank| format!("it is rank {rank}"))
}

impl Misaddressed {
    /// Longest as it travels.
    pub(crate) const MAX_BYTES: usize = 32;

    pub(crate) fn write(&self) -> Vec<u8> {
        minicbor::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Misaddressed> {
        whole(bytes)
    }
}

impl Address {
    /// Whether a message by this address is for a member that stands there; none: it does not know where.
    ///
    /// Under one numbering all mean the same ranks, so there it is only whether the rank is the right one.
    /// Under different ones nobody knows who is behind: whoever sent it asks again who it is.
    ///
    /// # Errors
    /// What the member says of itself instead.
    pub fn is_for(&self, stands: Option<Stands<'_>>) -> Result<(), Misaddressed> {
        let is_it = |stands: &Stands<'_>| match &self.by {
            By::Rank { rank, numbering } => stands.numbering == *numbering && stands.rank == Some(*rank),
            By::Place { at, numbering } => {
                stands.numbering == *numbering && stands.rank.is_some() && stands.at == Some(&at[..])
            }
            // Keys move from owner to owner without a numbering.
            By::Key { .. } => true,
        };
        match stands {
            None if matches!(self.by, By::Key { .. }) => Ok(()),
            None => Err(Misaddressed::NotKnown),
            Some(stands) if is_it(&stands) => Ok(()),
            Some(Stands { rank, numbering, .. }) => Err(Misaddressed::Stands { rank, numbering }),
        }
    }
}

/// A value that has all of the bytes.
fn whole<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Option<T> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().ok()?;
    (decoder.position() == bytes.len()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERING: Numbering = Numbering { number: 1, digest: 0xab };

    fn address(by: By) -> Address {
        Address { collection: "row".to_owned(), by }
    }

    #[test]
    fn addresses_round_trip_and_the_longest_have_room() {
        let last = Numbering { number: u32::MAX, digest: u64::MAX };
        let longest = [
            By::Rank { rank: u32::MAX, numbering: last },
            By::Place { at: vec![u32::MAX; SIDES_MAX], numbering: last },
            By::Key { key: "k".repeat(KEY_MAX_BYTES) },
        ];
        for by in longest {
            let address = Address { collection: "c".repeat(COLLECTION_MAX_BYTES), by };
            let bytes = address.write().expect("within limits");
            assert!(bytes.len() <= ADDRESS_MAX_BYTES, "{}", bytes.len());
            assert_eq!(Address::read(&bytes), Ok(address));
            assert_eq!(Address::read(&[&bytes[..], &[0]].concat()).err(), Some(BadAddress::Malformed));
            assert_eq!(Address::read(&bytes[..bytes.len() - 1]), Err(BadAddress::Malformed));
        }
    }

    #[test]
    fn addresses_beyond_a_limit_are_refused_by_its_name_on_both_sides() {
        let key = |len: usize| By::Key { key: "k".repeat(len) };
        let place = |sides| address(By::Place { at: vec![0; sides], numbering: NUMBERING });
        let table = [
            (Address { collection: String::new(), by: key(1) }, BadAddress::Collection(0)),
            (Address { collection: "c".repeat(65), by: key(1) }, BadAddress::Collection(65)),
            (place(0), BadAddress::Place(0)),
            (place(9), BadAddress::Place(9)),
            (address(key(512)), BadAddress::Key(512)),
        ];
        for (address, expected) in table {
            assert_eq!(address.write(), Err(expected));
            let bytes = minicbor::to_vec(&address).expect("encoded");
            assert_eq!(Address::read(&bytes), Err(expected));
        }
        assert_eq!(Address::read(&[0; 700]), Err(BadAddress::TooLong(700)));
    }

    #[test]
    fn who_takes_a_message_by_rank_place_and_key() {
        let later = Numbering { number: 2, ..NUMBERING };
        let stands = |rank, numbering, at| Some(Stands { rank, numbering, at });
        let rank = address(By::Rank { rank: 3, numbering: NUMBERING });
        let place = address(By::Place { at: vec![1, 2], numbering: NUMBERING });
        let key = address(By::Key { key: "k".to_owned() });
        let is = |rank, numbering| Err(Misaddressed::Stands { rank, numbering });
        let here: Option<&[u32]> = Some(&[1, 2]);
        let there: Option<&[u32]> = Some(&[2, 1]);
        let table = [
            ("its rank", &rank, stands(Some(3), NUMBERING, None), Ok(())),
            ("another rank", &rank, stands(Some(4), NUMBERING, None), is(Some(4), NUMBERING)),
            ("none", &rank, stands(None, NUMBERING, None), is(None, NUMBERING)),
            ("another numbering", &rank, stands(Some(3), later, None), is(Some(3), later)),
            ("not known", &rank, None, Err(Misaddressed::NotKnown)),
            ("its place", &place, stands(Some(5), NUMBERING, here), Ok(())),
            ("another place", &place, stands(Some(5), NUMBERING, there), is(Some(5), NUMBERING)),
            ("no mesh", &place, stands(Some(5), NUMBERING, None), is(Some(5), NUMBERING)),
            ("another numbering", &place, stands(Some(5), later, here), is(Some(5), later)),
            ("a key", &key, None, Ok(())),
            ("a key", &key, stands(None, later, None), Ok(())),
        ];
        for (what, address, stands, expected) in table {
            assert_eq!(address.is_for(stands), expected, "{what}");
        }
    }

    #[test]
    fn refusals_round_trip_within_their_limit_and_say_what_is_so() {
        let numbering = Numbering { number: u32::MAX, digest: u64::MAX };
        let longest = Misaddressed::Stands { rank: Some(u32::MAX), numbering };
        for why in [Misaddressed::NoMember, Misaddressed::NotKnown, longest] {
            let bytes = why.write();
            assert!(bytes.len() <= Misaddressed::MAX_BYTES);
            assert_eq!(Misaddressed::read(&bytes), Some(why));
        }
        let four = Misaddressed::Stands { rank: Some(4), numbering: NUMBERING };
        assert_eq!(four.to_string(), "it is rank 4 under numbering 1.00000000000000ab");
    }

    #[test]
    fn numberings_are_read_as_they_are_written() {
        assert_eq!(NUMBERING.to_string().parse(), Ok(NUMBERING));
        for wrong in ["", "1", "1.", ".a", "1.g", "4294967296.a", "1.10000000000000000"] {
            assert_eq!(wrong.parse::<Numbering>(), Err(NotNumbering), "{wrong}");
        }
    }
}
