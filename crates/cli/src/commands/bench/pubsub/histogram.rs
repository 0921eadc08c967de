//! Times in buckets, as many as there are: each bucket is a thirty-second of its size wide.

/// Buckets to a doubling.
const STEPS: u64 = 32;

#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; bucket(u64::MAX) + 1], total: 0 }
    }

    pub fn add(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
    }

    /// The value that `percent` of all do not exceed, to a sixty-fourth; none when there are none.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let wanted = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        at.map(|at| middle(at as u64))
    }
}

fn bucket(value: u64) -> usize {
    let shift = value.max(STEPS).ilog2() - STEPS.ilog2();
    (u64::from(shift) * STEPS + (value >> shift)) as usize
}

fn middle(bucket: u64) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    let width = 1 << shift;
    (bucket - shift * STEPS) * width + (width - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_nearly_as_it_was() {
        for value in [0, 1, 31, 32, 33, 63, 64, 1_000, 123_456_789, u64::MAX / 2, u64::MAX] {
            let back = middle(bucket(value) as u64);
            assert!(back.abs_diff(value) <= value / 64 + 1, "{value}: {back}");
        }
    }

    #[test]
    fn percentiles_count_from_below() {
        let mut times = Histogram::new();
        assert_eq!(times.percentile(50), None);
        (1..=20).for_each(|value| times.add(value));
        let table = [(50, 10), (99, 20), (100, 20), (1, 1)];
        table.into_iter().for_each(|(percent, value)| assert_eq!(times.percentile(percent), Some(value)));
    }
}
