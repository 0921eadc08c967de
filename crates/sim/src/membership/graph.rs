//! Undirected graphs of up to millions of nodes: components, clustering, path lengths.

use xtreem_base::Rng;

/// Neighbour lists one after the other (compressed sparse rows), sorted, without repetitions.
pub(super) struct Graph {
    starts: Vec<usize>,
    neighbours: Vec<u32>,
}

impl Graph {
    /// `links[v]` are the directed links of node `v`; both ends come to know each other.
    pub(super) fn undirected(links: &[Vec<u32>]) -> Self {
        let mut degree = vec![0usize; links.len() + 1];
        let pairs = || {
            links
                .iter()
                .enumerate()
                .flat_map(|(v, out)| out.iter().map(move |&u| (v as u32, u)))
                .filter(|(v, u)| v != u)
        };
        for (v, u) in pairs() {
            degree[v as usize] += 1;
            degree[u as usize] += 1;
        }
        let mut starts = vec![0; links.len() + 1];
        for v in 0..links.len() {
            starts[v + 1] = starts[v] + degree[v];
        }
        let mut fill = starts.clone();
        let mut doubled = vec![0u32; starts[links.len()]];
        for (v, u) in pairs() {
            for (a, b) in [(v, u), (u, v)] {
                doubled[fill[a as usize]] = b;
                fill[a as usize] += 1;
            }
        }
        let mut graph = Graph { starts: vec![0], neighbours: Vec::with_capacity(doubled.len()) };
        for v in 0..links.len() {
            let row = &mut doubled[starts[v]..starts[v + 1]];
            row.sort_unstable();
            let from = graph.neighbours.len();
            for &u in row.iter() {
                if graph.neighbours.len() == from || graph.neighbours.last() != Some(&u) {
                    graph.neighbours.push(u);
                }
            }
            graph.starts.push(graph.neighbours.len());
        }
        graph
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn neighbours(&self, v: u32) -> &[u32] {
        &self.neighbours[self.starts[v as usize]..self.starts[v as usize + 1]]
    }

    /// Nodes in the largest component.
    pub(super) fn largest_component(&self) -> usize {
        let mut seen = vec![false; self.len()];
        let (mut largest, mut open) = (0, Vec::new());
        for start in 0..self.len() as u32 {
            let mut size = 0;
            open.push(start);
            while let Some(v) = open.pop() {
                if !std::mem::replace(&mut seen[v as usize], true) {
                    size += 1;
                    open.extend(self.neighbours(v).iter().filter(|&&u| !seen[u as usize]));
                }
            }
            largest = largest.max(size);
        }
        largest
    }

    /// Mean over every `step`th node of the share of a node's pairs of neighbours that are neighbours
    /// themselves (Watts and Strogatz 1998); nodes with fewer than two neighbours count as 0.
    pub(super) fn clustering(&self, step: usize) -> f64 {
        let mut marked_for = vec![u32::MAX; self.len()];
        let (mut sum, mut count) = (0.0, 0);
        for v in (0..self.len() as u32).step_by(step) {
            count += 1;
            let around = self.neighbours(v);
            around.iter().for_each(|&u| marked_for[u as usize] = v);
            let linked = around
                .iter()
                .map(|&u| self.neighbours(u).iter().filter(|&&w| marked_for[w as usize] == v).count())
                .sum::<usize>();
            let pairs = around.len() * around.len().saturating_sub(1);
            sum += linked as f64 / pairs.max(1) as f64;
        }
        sum / f64::from(count.max(1))
    }

    /// Mean hops from `sources` random nodes (all, when there are no more) to all that they reach.
    ///
    /// 64 searches go at once, one bit each (MS-BFS: Then et al., VLDB 2014): they share their way through
    /// memory.
    pub(super) fn mean_path(&self, sources: usize, rng: &mut Rng) -> f64 {
        let mut from: Vec<u32> = (0..self.len() as u32).collect();
        if from.len() > sources {
            from = (0..sources).filter_map(|_| rng.pick(&from).copied()).collect();
        }
        let (mut hops, mut reached) = (0u64, 0u64);
        for batch in from.chunks(64) {
            let mut seen = vec![0u64; self.len()];
            batch.iter().enumerate().for_each(|(search, &v)| seen[v as usize] |= 1 << search);
            let mut now = seen.clone();
            for distance in 1.. {
                let mut next = vec![0u64; self.len()];
                let mut found = 0;
                for v in 0..self.len() {
                    let fresh =
                        self.neighbours(v as u32).iter().fold(0, |all, &u| all | now[u as usize]) & !seen[v];
                    (next[v], found) = (fresh, found + u64::from(fresh.count_ones()));
                }
                if found == 0 {
                    break;
                }
                seen.iter_mut().zip(&next).for_each(|(seen, next)| *seen |= next);
                hops += distance * found;
                reached += found;
                now = next;
            }
        }
        hops as f64 / reached.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_small_graphs_are_those_of_paper_and_pencil() {
        // Links, largest component, clustering, mean path.
        let cases: [(&[&[u32]], usize, f64, f64); 5] = [
            (&[&[1], &[2], &[0]], 3, 1.0, 1.0),
            (&[&[1, 1], &[0, 2], &[]], 3, 0.0, 4.0 / 3.0),
            (&[&[1, 2, 3], &[2], &[], &[]], 4, (1.0 / 3.0 + 1.0 + 1.0) / 4.0, 16.0 / 12.0),
            (&[&[1], &[], &[3], &[4], &[]], 3, 0.0, 10.0 / 8.0),
            (&[&[], &[1]], 1, 0.0, 0.0),
        ];
        for (links, largest, clustering, path) in cases {
            let links: Vec<Vec<u32>> = links.iter().map(|out| out.to_vec()).collect();
            let graph = Graph::undirected(&links);
            assert_eq!(graph.largest_component(), largest, "{links:?}");
            assert!((graph.clustering(1) - clustering).abs() < 1e-9, "{links:?}: {}", graph.clustering(1));
            let mean_path = graph.mean_path(100, &mut Rng::new(1));
            assert!((mean_path - path).abs() < 1e-9, "{links:?}: {mean_path}");
        }
    }
}
