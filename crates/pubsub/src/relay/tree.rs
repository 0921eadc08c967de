//! How events come to many servers: each server passes them on to a few heads, and each head to the rest of
//! its part.

use alloc::vec::Vec;

use super::Server;
use super::frame::Version;

/// Servers that a publishing server tells itself; of more only the heads of their parts.
pub const DIRECT_MAX: usize = 16;
/// Parts that a list is cut into: what one server sends of each event.
pub const FAN_OUT: usize = 8;

/// Cuts a list into parts of which none is longer than another by more than one: the head of each, and the
/// rest of it.
pub fn split(servers: &[Server]) -> impl Iterator<Item = (Server, &[Server])> {
    let parts = FAN_OUT.min(servers.len());
    (0..parts).filter_map(move |part| {
        let at = |part: usize| part * servers.len() / parts;
        let (head, rest) = servers.get(at(part)..at(part + 1))?.split_first()?;
        Some((*head, rest))
    })
}

/// What a list is called; zero for the empty one.
pub fn version(servers: &[Server]) -> Version {
    if servers.is_empty() {
        return 0;
    }
    let mut bytes = Vec::with_capacity(servers.len() * Server::BYTES);
    servers.iter().for_each(|server| server.write(&mut bytes));
    let hash = blake3::hash(&bytes);
    let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first).max(1)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use xtreem_base::NodeId;

    use super::*;

    fn visit(servers: &[Server], depth: usize, reached: &mut BTreeMap<Server, usize>) {
        assert!(split(servers).count() <= FAN_OUT);
        for (head, rest) in split(servers) {
            assert_eq!(reached.insert(head, depth), None, "twice");
            visit(rest, depth + 1, reached);
        }
    }

    #[test]
    fn everybody_is_reached_once_and_a_thousand_within_four_steps() {
        for (len, depth_max) in [(0, 0), (1, 1), (8, 1), (9, 2), (72, 2), (100, 3), (1_000, 4)] {
            let server = |number: u32| {
                let id = NodeId::from_bytes(u128::from(number).to_be_bytes());
                Server { id, incarnation: 1, addr: "127.0.0.1:1".parse().expect("an address") }
            };
            let servers: Vec<_> = (0..len).map(server).collect();
            let mut reached = BTreeMap::new();
            visit(&servers, 1, &mut reached);
            assert_eq!(reached.len(), servers.len());
            assert_eq!(reached.values().copied().max().unwrap_or_default(), depth_max, "{len}");
        }
    }

    #[test]
    fn lists_have_names_of_their_own() {
        let server = Server {
            id: NodeId::from_bytes([1; 16]),
            incarnation: 1,
            addr: "127.0.0.1:1".parse().expect("an address"),
        };
        assert_eq!(version(&[]), 0);
        assert_ne!(version(&[server]), version(&[server, server]));
        assert_ne!(version(&[server]), version(&[Server { incarnation: 2, ..server }]));
    }
}
