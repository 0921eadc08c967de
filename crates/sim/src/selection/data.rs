//! The machines of a selection world: six integer attributes, uniform or clustered.

use std::fmt;
use std::str::FromStr;

use xtreem_base::Rng;

/// Attributes of a machine, `a0` to `a5`.
pub const ATTRIBUTES: usize = 6;
/// Values, and ranks, go from zero to one below this.
pub const RANGE: u32 = 1 << 16;

/// Share of the nodes in clusters of identical machines, in per cent (docs/design/selection.md, "Model").
const CLUSTERED_PERCENT: u32 = 60;
/// The largest cluster, in per cent of all nodes.
const LARGEST_PERCENT: u32 = 8;

pub type Machine = [u16; ATTRIBUTES];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// Every attribute independent and uniform.
    #[default]
    Uniform,
    /// 60 % of the machines in homogeneous clusters of Zipf sizes, the largest 8 % of all; the rest
    /// correlated and heavy-tailed.
    Clustered,
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Data::Uniform => "uniform",
            Data::Clustered => "clustered",
        })
    }
}

impl FromStr for Data {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "uniform" => Ok(Data::Uniform),
            "clustered" => Ok(Data::Clustered),
            _ => Err(format!("{text:?}: expected uniform or clustered")),
        }
    }
}

impl Data {
    /// `nodes` machines in random order.
    pub fn machines(self, nodes: u32, seed: u64) -> Vec<Machine> {
        let mut rng = Rng::derive(seed, 0, "machines");
        let mut machines = Vec::with_capacity(nodes as usize);
        if self == Data::Clustered {
            let clustered = (u64::from(nodes) * u64::from(CLUSTERED_PERCENT) / 100) as usize;
            let mut rank = 1;
            while machines.len() < clustered {
                let size = (nodes * LARGEST_PERCENT / 100 / rank).max(2) as usize;
                let machine = heavy_tailed(&mut rng);
                machines.extend(std::iter::repeat_n(machine, size.min(clustered - machines.len())));
                rank += 1;
            }
        }
        while machines.len() < nodes as usize {
            machines.push(match self {
                Data::Uniform => std::array::from_fn(|_| rng.next_u32() as u16),
                Data::Clustered => heavy_tailed(&mut rng),
            });
        }
        rng.shuffle(&mut machines);
        machines
    }
}

/// A large machine is large in everything, more or less: log-normal around 1,800, correlated by one half.
fn heavy_tailed(rng: &mut Rng) -> Machine {
    let common = normal(rng);
    std::array::from_fn(|_| {
        let size = 7.5 + 0.9 * (common + normal(rng)) / std::f64::consts::SQRT_2;
        size.exp().min(f64::from(RANGE - 1)) as u16
    })
}

/// About normal, by the sum of twelve uniform numbers.
pub(super) fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| f64::from(rng.next_u32()) / 4_294_967_296.0).sum::<f64>() - 6.0
}

/// The values of each attribute in order: turns a rank (the share of nodes below, of 65,536) into a value.
pub struct Ranks(Vec<Vec<u16>>);

impl Ranks {
    pub fn new(machines: &[Machine]) -> Self {
        let sorted = |i: usize| {
            let mut values: Vec<u16> = machines.iter().map(|machine| machine[i]).collect();
            values.sort_unstable();
            values
        };
        Ranks((0..ATTRIBUTES).map(sorted).collect())
    }

    /// The least value with at least that share of the nodes below it; one above the greatest for 65,536.
    pub fn value(&self, attribute: usize, rank: u32) -> u32 {
        let values = &self.0[attribute];
        let below = u64::from(rank.min(RANGE)) * values.len() as u64 / u64::from(RANGE);
        match values.get(below as usize) {
            Some(&value) => u32::from(value),
            None => values.last().map_or(0, |&greatest| u32::from(greatest) + 1),
        }
    }

    /// Rewrites the ranks in a requirement over `a0` to `a5` as values: each number belongs to the attribute
    /// named last before it.
    pub fn translate(&self, requirement: &str) -> Result<String, String> {
        let mut text = String::with_capacity(requirement.len());
        let mut attribute = None;
        let mut rest = requirement;
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(first.len_utf8());
            let (word, behind) = rest.split_at(len);
            rest = behind;
            if let Some(index) = word.strip_prefix('a').and_then(|index| index.parse::<usize>().ok()) {
                if index >= ATTRIBUTES {
                    return Err(format!("{word}: the machines have a0 to a{}", ATTRIBUTES - 1));
                }
                attribute = Some(index);
                text.push_str(word);
            } else if let Ok(rank) = word.parse::<u32>() {
                let index = attribute.ok_or_else(|| format!("{word}: a rank with no attribute before it"))?;
                text.push_str(&self.value(index, rank).to_string());
            } else {
                text.push_str(word);
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_shares_of_nodes_on_both_data_sets() {
        for data in [Data::Uniform, Data::Clustered] {
            let machines = data.machines(20_000, 1);
            let ranks = Ranks::new(&machines);
            let at = ranks.value(2, RANGE * 3 / 10);
            let below = machines.iter().filter(|machine| u32::from(machine[2]) < at).count();
            // Clusters make steps: the least value with that share below it has at least the share at or
            // below.
            let at_or_below = machines.iter().filter(|machine| u32::from(machine[2]) <= at).count();
            assert!(below <= 6_000 && at_or_below >= 6_000, "{data}: {below} {at_or_below}");
            assert!(machines.iter().all(|machine| u32::from(machine[0]) < ranks.value(0, RANGE)));
        }
    }

    #[test]
    fn requirements_are_translated_number_by_number() {
        let machines: Vec<Machine> = (0..100).map(|i| [i * 10; ATTRIBUTES]).collect();
        let ranks = Ranks::new(&machines);
        let text = ranks.translate("a0 >= 32768 && (a1 in 0..6554 || !(a5 < 65536))");
        assert_eq!(text.as_deref(), Ok("a0 >= 500 && (a1 in 0..100 || !(a5 < 991))"));
        assert!(ranks.translate("a6 < 5").is_err() && ranks.translate("5 < 6").is_err());
    }

    #[test]
    fn clusters_are_as_large_as_said() {
        let machines = Data::Clustered.machines(10_000, 3);
        let mut counts = std::collections::BTreeMap::new();
        machines.iter().for_each(|machine| *counts.entry(machine).or_insert(0u32) += 1);
        assert_eq!(counts.values().max(), Some(&800));
        let in_clusters: u32 = counts.values().filter(|&&count| count > 1).sum();
        assert!((5_800..=6_300).contains(&in_clusters), "{in_clusters}");
    }
}
