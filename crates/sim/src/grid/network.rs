//! Who reaches whom: cuts and splits, above the links' latency and loss.

use xtreem_base::Instant;

use super::host::HostNo;
use crate::link::{Latency, Link};

pub(super) struct Network {
    link: Link,
    /// Messages sent so far: tells the fates of two of one instant apart.
    sent: u32,
    cut: Vec<bool>,
    /// The part of each host, when the network is split.
    parts: Option<Vec<u8>>,
}

impl Network {
    pub fn new(seed: u64, hosts: u32, latency: Latency) -> Self {
        let link = Link::new(seed, latency, 0);
        Network { link, sent: 0, cut: vec![false; hosts as usize], parts: None }
    }

    #[cfg(test)]
    pub fn round_trip(&self, a: HostNo, b: HostNo) -> xtreem_base::Duration {
        self.link.round_trip(a, b)
    }

    pub fn set_loss(&mut self, percent: u32) {
        self.link.set_loss(percent * 10_000);
    }

    pub fn set_cut(&mut self, host: HostNo, is_cut: bool) {
        self.cut[host as usize] = is_cut;
    }

    pub fn is_cut(&self, host: HostNo) -> bool {
        self.cut[host as usize]
    }

    /// Splits the network by the part of each host, or makes it whole.
    pub fn set_parts(&mut self, parts: Option<Vec<u8>>) {
        self.parts = parts;
    }

    pub fn can_reach(&self, a: HostNo, b: HostNo) -> bool {
        let (a, b) = (a as usize, b as usize);
        let is_one_part = || self.parts.as_ref().is_none_or(|parts| parts[a] == parts[b]);
        a == b || !self.cut[a] && !self.cut[b] && is_one_part()
    }

    /// When a message sent now arrives, unless it is lost. The world asks [`Self::can_reach`] again on arrival.
    pub fn arrival(&mut self, now: Instant, from: HostNo, to: HostNo) -> Option<Instant> {
        self.sent = self.sent.wrapping_add(1);
        if self.can_reach(from, to) { self.link.carry(now, from, to, self.sent) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_splits_separate_and_heal_each_on_its_own() {
        let mut network = Network::new(1, 4, Latency::WORLD);
        assert!(network.can_reach(0, 1));
        network.set_cut(1, true);
        assert!(!network.can_reach(0, 1) && !network.can_reach(1, 0) && network.can_reach(0, 2));
        assert!(network.can_reach(1, 1), "a cut host reaches itself");
        network.set_parts(Some(vec![0, 0, 1, 1]));
        network.set_cut(1, false);
        assert!(network.can_reach(0, 1) && network.can_reach(2, 3) && !network.can_reach(1, 2));
        assert_eq!(network.arrival(Instant::ZERO, 1, 2), None);
        network.set_parts(None);
        assert!(network.arrival(Instant::ZERO, 1, 2).is_some());
    }
}
