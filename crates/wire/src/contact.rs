//! Where a node is said to be: the part of a hint that a handle stands for.

use core::net::{IpAddr, SocketAddr};

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::NodeId;

/// One incarnation of a node and the address where somebody saw it.
///
/// Good only for being contacted: the contacted node proves its id. With an age beside it (which its protocol
/// writes, as ages differ between collections) it is a *hint* (`docs/design/membership.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    pub id: NodeId,
    pub addr: SocketAddr,
    pub incarnation: u32,
}

impl<C> Encode<C> for Contact {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?;
        self.id.encode(e, ctx)?;
        encode_addr(&self.addr, e)?;
        e.u32(self.incarnation)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Contact {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 4)?;
        Ok(Contact { id: NodeId::decode(d, ctx)?, addr: decode_addr(d)?, incarnation: d.u32()? })
    }
}

/// Reads the head of an array of exactly `len` items.
pub(crate) fn expect_array(d: &mut Decoder<'_>, len: u64) -> Result<(), decode::Error> {
    let at = d.position();
    if d.array()? == Some(len) {
        Ok(())
    } else {
        Err(decode::Error::message("array of another length").at(at))
    }
}

/// Writes an address as two items: 4 or 16 bytes, and the port.
pub(crate) fn encode_addr<W: Write>(
    addr: &SocketAddr,
    e: &mut Encoder<W>,
) -> Result<(), encode::Error<W::Error>> {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => e.bytes(&ip.octets())?,
        IpAddr::V6(ip) => e.bytes(&ip.octets())?,
    };
    e.u16(addr.port())?;
    Ok(())
}

pub(crate) fn decode_addr(d: &mut Decoder<'_>) -> Result<SocketAddr, decode::Error> {
    let at = d.position();
    let bytes = d.bytes()?;
    let ip = if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        IpAddr::from(octets)
    } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        IpAddr::from(octets)
    } else {
        return Err(decode::Error::message("address of neither 4 nor 16 bytes").at(at));
    };
    let port = d.u16()?;
    if port == 0 || ip.is_unspecified() || ip.is_multicast() {
        return Err(decode::Error::message("address that nobody can be reached at").at(at));
    }
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HINT_MAX_BYTES;
    use proptest::prelude::*;

    #[test]
    fn the_longest_hint_keeps_its_limit() {
        let id = NodeId::from_bytes([0xff; 16]);
        let addr = "[2001:db8:ffff::1]:65535".parse().expect("a literal address");
        let contact = Contact { id, addr, incarnation: u32::MAX };
        let age_bytes = minicbor::to_vec(u16::MAX).expect("a Vec takes all bytes").len();
        let bytes = minicbor::to_vec(contact).expect("a Vec takes all bytes");
        assert!(bytes.len() + age_bytes <= HINT_MAX_BYTES, "{}", bytes.len());
    }

    #[test]
    fn unreachable_addresses_are_refused() {
        for addr in ["0.0.0.0:1", "127.0.0.1:0", "[::]:9", "224.0.0.1:9", "[ff02::1]:9"] {
            let addr = addr.parse().expect("a literal address");
            let contact = Contact { id: NodeId::from_bytes([1; 16]), addr, incarnation: 1 };
            let bytes = minicbor::to_vec(contact).expect("a Vec takes all bytes");
            assert!(minicbor::decode::<Contact>(&bytes).is_err(), "{addr}");
        }
    }

    proptest! {
        #[test]
        fn contacts_round_trip(id: [u8; 16], ip: core::net::IpAddr, port in 1u16.., incarnation: u32) {
            prop_assume!(!ip.is_unspecified() && !ip.is_multicast());
            let ip = ip.to_canonical();
            prop_assume!(!ip.is_unspecified() && !ip.is_multicast());
            let (id, addr) = (NodeId::from_bytes(id), SocketAddr::new(ip, port));
            let contact = Contact { id, addr, incarnation };
            let bytes = minicbor::to_vec(contact).expect("a Vec takes all bytes");
            prop_assert_eq!(minicbor::decode::<Contact>(&bytes).ok(), Some(contact));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: alloc::vec::Vec<u8>) {
            let _ = minicbor::decode::<Contact>(&bytes);
        }
    }
}
