//! Values of random nodes, passed on with every exchange: where between two bounds nodes are.
//!
//! After Adam2 (§5), whose first bounds are the values of neighbours.

use alloc::vec::Vec;

use xtreem_base::Rng;

use super::message::SAMPLES;

/// Sampled nodes that a proposal rests on: with 256, a code that 2 % of all nodes share comes five times.
pub(super) const COLLECTED_MAX: usize = 256;

/// The codes of some nodes in the attributes of one part.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    /// Up to `SAMPLES - 1` nodes.
    heard: Vec<u16>,
}

impl Samples {
    /// What a message brings: the own codes first.
    pub fn with(&self, own: &[u16]) -> Vec<u16> {
        let mut all = Vec::with_capacity(own.len() + self.heard.len());
        all.extend(own);
        all.extend(&self.heard);
        all
    }

    /// Keeps the peer itself, and some of those that it or this node has heard of.
    pub fn take(&mut self, rng: &mut Rng, width: usize, received: &[u16]) {
        let mut received = received.chunks_exact(width);
        let Some(peer) = received.next() else { return };
        for (nth, heard) in core::iter::once(peer).chain(received.take(SAMPLES - 1)).enumerate() {
            if self.heard.len() < (SAMPLES - 1) * width {
                if self.heard.capacity() == 0 {
                    self.heard.reserve_exact((SAMPLES - 1) * width);
                }
                self.heard.extend(heard);
            } else if nth == 0 || rng.chance(1, 2) {
                let at = rng.below(SAMPLES as u32 - 1) as usize * width;
                self.heard[at..at + width].copy_from_slice(heard);
            }
        }
    }

    pub fn clear(&mut self) {
        self.heard.clear();
    }

    pub fn heap_bytes(&self) -> usize {
        self.heard.capacity() * size_of::<u16>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_itself_is_always_kept_and_no_more_than_fit() {
        let mut rng = Rng::new(3);
        let mut samples = Samples::default();
        for peer in 0..50u16 {
            let received: Vec<u16> = (0..20).flat_map(|i| [peer * 100 + i, 9]).collect();
            samples.take(&mut rng, 2, &received);
            let all = samples.with(&[1, 2]);
            assert!(all.len() <= 2 * SAMPLES && all[..2] == [1, 2]);
            assert!(all.chunks(2).any(|node| node[0] / 100 == peer), "{all:?}");
        }
    }
}
