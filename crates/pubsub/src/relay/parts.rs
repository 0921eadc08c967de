//! Lists that were told on one stream: both sides forget the same ones.

use alloc::collections::VecDeque;

use super::frame::Version;

/// Lists that are remembered, and servers in them; of more the oldest are forgotten, and told again. Our
/// guess: 7 MiB.
const LISTS_MAX: usize = 1_024;
const SERVERS_MAX: usize = 131_072;

/// The oldest first, with the count of servers of each.
#[derive(Clone, Debug)]
pub(super) struct Parts<T> {
    lists: VecDeque<(Version, usize, T)>,
    servers: usize,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Parts { lists: VecDeque::new(), servers: 0 }
    }
}

impl<T> Parts<T> {
    pub fn find(&self, version: Version) -> Option<&T> {
        self.lists.iter().find(|(known, ..)| *known == version).map(|(_, _, what)| what)
    }

    pub fn push(&mut self, version: Version, servers: usize, what: T) {
        self.lists.push_back((version, servers, what));
        self.servers += servers;
        while self.lists.len() > LISTS_MAX || self.servers > SERVERS_MAX && self.lists.len() > 1 {
            let Some((_, servers, _)) = self.lists.pop_front() else { return };
            self.servers -= servers;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut parts = Parts::default();
        for version in 0..2 * LISTS_MAX as u64 {
            parts.push(version, 1, ());
        }
        assert!(parts.find(LISTS_MAX as u64).is_some() && parts.find(LISTS_MAX as u64 - 1).is_none());
        parts.push(9, SERVERS_MAX + 1, ());
        assert!(parts.find(9).is_some());
        assert_eq!((parts.lists.len(), parts.servers), (1, SERVERS_MAX + 1));
    }
}
