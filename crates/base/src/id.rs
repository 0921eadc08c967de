//! Identities that mean the same on every node.

use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Encode};

/// A hexadecimal identity could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError {
    /// Hexadecimal digits that were expected.
    pub expected_len: usize,
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} hexadecimal digits", self.expected_len)
    }
}

impl core::error::Error for ParseIdError {}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $short:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(n(0), with = "minicbor::bytes")] [u8; $len]);

        impl $name {
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                $name(bytes)
            }

            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        /// All digits, in hexadecimal.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        /// The first digits: enough for a log line.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0[..$short].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = ParseIdError { expected_len: 2 * $len };
                if text.len() != 2 * $len || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(wrong);
                }
                let mut bytes = [0; $len];
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong)?;
                }
                Ok($name(bytes))
            }
        }
    };
}

bytes_id! {
    /// A node (or a user): the first 16 bytes of the BLAKE3 hash of its public key.
    NodeId, 16, 4
}
bytes_id! {
    /// One submission of an application. Drawn at random by the submitter; never used again.
    AppId, 16, 4
}
bytes_id! {
    /// BLAKE3 hash of some content.
    Digest, 32, 4
}

impl NodeId {
    /// A number that tells nodes apart, for deriving a node's random streams from one seed.
    pub fn as_u64(&self) -> u64 {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(head)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{format, string::ToString};

    #[test]
    fn text_form_round_trips() {
        let id = AppId::from_bytes(core::array::from_fn(|i| (i * 17) as u8));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(format!("{id:?}"), "00112233");
    }

    #[test]
    fn wrong_text_is_refused() {
        for text in ["", "00", "zz112233445566778899aabbccddeeff", "+0112233445566778899aabbccddeeff"] {
            assert_eq!(text.parse::<NodeId>(), Err(ParseIdError { expected_len: 32 }), "{text}");
        }
    }
}
