//! The port numbers that a slot wants to listen on, on whatever node it runs.

use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use crate::bounded;

/// Most ports of one slot.
pub const FIXED_PORTS_MAX: usize = 16;

/// Ports with a number, ascending, each once. A node has each of them once: they are booked like cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FixedPorts {
    numbers: [u16; FIXED_PORTS_MAX],
    count: u8,
}

impl FixedPorts {
    pub const NONE: FixedPorts = FixedPorts { numbers: [0; FIXED_PORTS_MAX], count: 0 };

    /// In any order. Nothing when there are too many, one is zero, or one is given twice.
    pub fn new(numbers: impl IntoIterator<Item = u16>) -> Option<FixedPorts> {
        let mut sorted: Vec<u16> = numbers.into_iter().take(FIXED_PORTS_MAX + 1).collect();
        sorted.sort_unstable();
        let is_good = sorted.first() != Some(&0) && sorted.windows(2).all(|pair| pair[0] != pair[1]);
        if sorted.len() > FIXED_PORTS_MAX || !is_good {
            return None;
        }
        let mut ports = FixedPorts { count: sorted.len() as u8, ..FixedPorts::NONE };
        ports.numbers[..sorted.len()].copy_from_slice(&sorted);
        Some(ports)
    }

    pub fn numbers(&self) -> &[u16] {
        &self.numbers[..usize::from(self.count)]
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether two slots that want these cannot share a node.
    pub fn overlaps(&self, other: &FixedPorts) -> bool {
        self.numbers().iter().any(|number| other.numbers().contains(number))
    }
}

impl<C> Encode<C> for FixedPorts {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(self.numbers().len() as u64)?;
        self.numbers().iter().try_for_each(|number| e.u16(*number).map(|_| ()))
    }
}

impl<'b, C> Decode<'b, C> for FixedPorts {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let numbers = bounded::list::<_, u16, FIXED_PORTS_MAX>(d, ctx)?;
        let ports = FixedPorts::new(numbers.iter().copied()).filter(|ports| ports.numbers() == numbers);
        ports.ok_or_else(|| decode::Error::message("ports are not ascending"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_few_ascending_and_each_once_also_when_others_send_them() {
        let ports = FixedPorts::new([443, 80, 8_080]).expect("good ones");
        assert_eq!(ports.numbers(), [80, 443, 8_080]);
        assert_eq!(
            minicbor::decode::<FixedPorts>(&minicbor::to_vec(ports).expect("bytes")).ok(),
            Some(ports)
        );
        for wrong in [&[0][..], &[80, 80], &(1..=17).collect::<Vec<u16>>()] {
            assert_eq!(FixedPorts::new(wrong.iter().copied()), None, "{wrong:?}");
            let bytes = minicbor::to_vec(wrong).expect("bytes");
            assert!(minicbor::decode::<FixedPorts>(&bytes).is_err(), "{wrong:?}");
        }
        let unordered = minicbor::to_vec([443u16, 80]).expect("bytes");
        assert!(minicbor::decode::<FixedPorts>(&unordered).is_err());
        let overlaps = |other: &[u16]| ports.overlaps(&FixedPorts::new(other.iter().copied()).expect("good"));
        assert_eq!(
            [overlaps(&[80]), overlaps(&[1, 8_080]), overlaps(&[81]), overlaps(&[])],
            [true, true, false, false]
        );
    }
}
