//! One server as others reach it, and what it writes into the ring about a pattern.

use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use xtreem_base::NodeId;

use super::{Interest, place};

/// Where a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    pub id: NodeId,
    /// Grows with each of its starts.
    pub incarnation: u32,
    pub addr: SocketAddr,
}

impl Server {
    /// Its length on the wire: id, incarnation, address as IPv6, port.
    pub(super) const BYTES: usize = 16 + 4 + 16 + 2;

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.id.as_bytes());
        out.extend(self.incarnation.to_be_bytes());
        let ip = match self.addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        out.extend(ip.octets());
        out.extend(self.addr.port().to_be_bytes());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<(Server, &[u8])> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (incarnation, rest) = rest.split_first_chunk::<4>()?;
        let (ip, rest) = rest.split_first_chunk::<16>()?;
        let (port, rest) = rest.split_first_chunk::<2>()?;
        let ip = IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical();
        let addr = SocketAddr::new(ip, u16::from_be_bytes(*port));
        let incarnation = u32::from_be_bytes(*incarnation);
        Some((Server { id: NodeId::from_bytes(*id), incarnation, addr }, rest))
    }
}

/// One item of the ring, as somebody found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Without its namespace.
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// Who wrote it, as the ring says.
    pub writer: NodeId,
}

impl Item {
    /// What `server` says that it wants, or publishes.
    pub fn new(interest: &Interest, server: &Server) -> Item {
        let mut value = Vec::new();
        server.write(&mut value);
        value.extend(interest.to_string().as_bytes());
        Item { key: place::key_of(interest, server.id), value, writer: server.id }
    }

    /// What it says, if it was written by the node in its key, about itself.
    pub fn read(&self) -> Option<(Interest, Server)> {
        let (server, interest) = Server::read(&self.value)?;
        let interest = Interest::read(interest).ok()?;
        let is_its_own = server.id == self.writer && self.key == place::key_of(&interest, self.writer);
        is_its_own.then_some((interest, server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pattern;

    #[test]
    fn an_item_is_believed_only_if_its_writer_speaks_of_itself() {
        let server = |id: u8, addr: &str| {
            let addr = addr.parse().expect("an address");
            Server { id: NodeId::from_bytes([id; 16]), incarnation: 3, addr }
        };
        for addr in ["127.0.0.1:7227", "[2001:db8::1]:9"] {
            for (pattern, group) in [
                (Pattern::new("a/b/*"), None),
                (Pattern::range("a", "b\"c"), None),
                (Pattern::new("a/b/*"), Some("g".into())),
            ] {
                let (pattern, server) = (pattern.expect("a pattern"), server(1, addr));
                let interest = Interest { pattern, group };
                let item = Item::new(&interest, &server);
                assert_eq!(item.read(), Some((interest.clone(), server)));
                let writer = NodeId::from_bytes([2; 16]);
                assert_eq!(Item { writer, ..item.clone() }.read(), None);
                let key = place::key_of(&Pattern::All.into(), server.id);
                assert_eq!(Item { key, ..item.clone() }.read(), None);
                assert_eq!(Item { value: item.value[..40].to_vec(), ..item }.read(), None);
            }
        }
    }
}
