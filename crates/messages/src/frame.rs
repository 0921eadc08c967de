//! What stands on the two directions of a stream of messages, beside the messages themselves.
//!
//! Out: four bytes with the length, and the message. With [`ADDRESSED`] in the length two bytes with the
//! length of an address and the address stand before the message, and count in it. Back: eight bytes with the
//! number of messages that were taken. With [`REFUSED`] in it the last of them was not, and one byte with a
//! length and the reason follow.

use crate::address::{Address, BadAddress};
use crate::limits::{ADDRESS_MAX_BYTES, MESSAGE_MAX_BYTES};

/// Before each message.
pub(crate) const HEAD_BYTES: usize = 4;

/// In a message's length: an address stands before it.
pub(crate) const ADDRESSED: u32 = 1 << 31;

/// In a number of messages: the last of them is refused.
pub(crate) const REFUSED: u64 = 1 << 63;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub is_addressed: bool,
    /// Of all that follows.
    pub len: usize,
}

/// A message that breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadMessage {
    #[error("MESSAGE_MAX_BYTES: a message of {0} bytes")]
    TooLong(usize),
    #[error(transparent)]
    Address(#[from] BadAddress),
}

impl Head {
    pub fn read(bytes: [u8; HEAD_BYTES]) -> Result<Head, BadMessage> {
        let head = u32::from_be_bytes(bytes);
        let (is_addressed, len) = (head & ADDRESSED != 0, (head & !ADDRESSED) as usize);
        let most = MESSAGE_MAX_BYTES + if is_addressed { 2 + ADDRESS_MAX_BYTES } else { 0 };
        if len > most { Err(BadMessage::TooLong(len)) } else { Ok(Head { is_addressed, len }) }
    }

    /// The address, if there is one, and the message.
    pub fn split(self, bytes: &[u8]) -> Result<(Option<Box<Address>>, &[u8]), BadMessage> {
        if !self.is_addressed {
            return Ok((None, bytes));
        }
        let (len, rest) = bytes.split_first_chunk::<2>().ok_or(BadAddress::Malformed)?;
        let len = usize::from(u16::from_be_bytes(*len));
        if len > ADDRESS_MAX_BYTES {
            return Err(BadAddress::TooLong(len).into());
        }
        let (address, body) = rest.split_at_checked(len).ok_or(BadAddress::Malformed)?;
        if body.len() > MESSAGE_MAX_BYTES {
            return Err(BadMessage::TooLong(body.len()));
        }
        Ok((Some(Box::new(Address::read(address)?)), body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::By;

    fn head(value: u32) -> Result<Head, BadMessage> {
        Head::read(value.to_be_bytes())
    }

    #[test]
    fn heads_have_limits_and_addresses_room_beside_the_longest_message() {
        let max = MESSAGE_MAX_BYTES as u32;
        let room = 2 + ADDRESS_MAX_BYTES as u32;
        assert_eq!(head(max), Ok(Head { is_addressed: false, len: MESSAGE_MAX_BYTES }));
        assert_eq!(head(max + 1), Err(BadMessage::TooLong(MESSAGE_MAX_BYTES + 1)));
        let len = MESSAGE_MAX_BYTES + 2 + ADDRESS_MAX_BYTES;
        assert_eq!(head(ADDRESSED | (max + room)), Ok(Head { is_addressed: true, len }));
        assert_eq!(head(ADDRESSED | (max + room + 1)), Err(BadMessage::TooLong(len + 1)));
    }

    #[test]
    fn addresses_are_split_off_and_odd_ones_refused() {
        let address = Address { collection: "store".to_owned(), by: By::Key { key: "sky".to_owned() } };
        let bytes = address.write().expect("short");
        let frame = [&(bytes.len() as u16).to_be_bytes()[..], &bytes, b"blue"].concat();
        let addressed = Head { is_addressed: true, len: frame.len() };
        assert_eq!(addressed.split(&frame), Ok((Some(Box::new(address)), &b"blue"[..])));
        let plain = Head { is_addressed: false, len: frame.len() };
        assert_eq!(plain.split(&frame), Ok((None, &frame[..])));
        let malformed = Err(BadMessage::Address(BadAddress::Malformed));
        for end in 0..2 + bytes.len() {
            assert_eq!(addressed.split(&frame[..end]), malformed, "{end}");
        }
        let long = [&[255, 255][..], &[0; 70_000]].concat();
        assert_eq!(addressed.split(&long), Err(BadAddress::TooLong(65_535).into()));
        let much = [&[0, bytes.len() as u8][..], &bytes, &vec![0; MESSAGE_MAX_BYTES + 1]].concat();
        assert_eq!(addressed.split(&much), Err(BadMessage::TooLong(MESSAGE_MAX_BYTES + 1)));
    }
}
