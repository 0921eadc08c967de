//! The figures of a world, beside those of a random graph with as many links.

use xtreem_base::Rng;

use super::graph::Graph;
use super::report::RoundFigures;
use super::world::World;

/// Breadth-first searches for the mean path: its error at 100,000 nodes is then below 0.01.
const SOURCES: usize = 100;

/// Of the figures in between.
const SOURCES_BETWEEN: usize = 64;
const CLUSTERED_BETWEEN: usize = 2_000;

pub(super) struct Figures {
    pub(super) in_degree_mean: f64,
    pub(super) in_degree_sd: f64,
    pub(super) mean_path: f64,
    pub(super) clustering: f64,
    pub(super) random_mean_path: f64,
    pub(super) random_clustering: f64,
}

pub(super) fn figures(world: &World, seed: u64) -> Figures {
    let links = world.live_links();
    let mut rng = Rng::derive(seed, 0, "analysis");
    let (in_degree_mean, in_degree_sd) = in_degree(&links);
    let graph = Graph::undirected(&links);
    let (mean_path, clustering) = (graph.mean_path(SOURCES, &mut rng), graph.clustering(1));
    let random = Graph::undirected(&random_links(&links, &mut rng));
    let (random_mean_path, random_clustering) = (random.mean_path(SOURCES, &mut rng), random.clustering(1));
    Figures { in_degree_mean, in_degree_sd, mean_path, clustering, random_mean_path, random_clustering }
}

/// Share of the live nodes outside the largest component.
pub(super) fn share_cut_off(world: &World) -> f64 {
    let graph = Graph::undirected(&world.live_links());
    (graph.len() - graph.largest_component()) as f64 / graph.len().max(1) as f64
}

pub(super) fn at_round(world: &World, round: u32) -> RoundFigures {
    let graph = Graph::undirected(&world.live_links());
    let mut rng = Rng::derive(u64::from(round), 0, "figures");
    let step = graph.len().div_ceil(CLUSTERED_BETWEEN).max(1);
    let (mean_path, clustering) = (graph.mean_path(SOURCES_BETWEEN, &mut rng), graph.clustering(step));
    RoundFigures { round, mean_path, clustering }
}

/// How many live nodes have 0, 1, 2 … links to them.
pub(super) fn in_degrees(world: &World) -> Vec<u32> {
    let mut nodes = Vec::new();
    for degree in degrees(&world.live_links()) {
        nodes.resize(nodes.len().max(degree as usize + 1), 0);
        nodes[degree as usize] += 1;
    }
    nodes
}

fn degrees(links: &[Vec<u32>]) -> Vec<u32> {
    let mut degrees = vec![0u32; links.len()];
    links.iter().flatten().for_each(|&to| degrees[to as usize] += 1);
    degrees
}

fn in_degree(links: &[Vec<u32>]) -> (f64, f64) {
    let degree = degrees(links);
    let count = links.len().max(1) as f64;
    let mean = degree.iter().map(|&d| f64::from(d)).sum::<f64>() / count;
    let variance = degree.iter().map(|&d| (f64::from(d) - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

/// Every node links to as many distinct others as in `links`, all drawn at random.
fn random_links(links: &[Vec<u32>], rng: &mut Rng) -> Vec<Vec<u32>> {
    let draw = |(v, out): (usize, &Vec<u32>)| {
        let mut drawn: Vec<u32> = Vec::with_capacity(out.len());
        while drawn.len() < out.len() {
            let to = rng.below(links.len() as u32);
            if to as usize != v && !drawn.contains(&to) {
                drawn.push(to);
            }
        }
        drawn
    };
    links.iter().enumerate().map(draw).collect()
}
