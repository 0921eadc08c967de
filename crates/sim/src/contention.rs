//! `sim contention`: many submissions at once for the same scarce nodes, on the world of `sim grid`.
//!
//! Every request wants some of the few matching nodes, each of which has room for one slot; its programs end
//! after a few seconds, so that all requests can be granted in turn. Asked is whether they are: without
//! deadlock, without livelock, without a hold that is left over.

mod report;
#[cfg(test)]
mod tests;

use std::fmt;

use xtreem_allocation::{Resources, Restart};
use xtreem_base::{Duration, Instant, Rng};
use xtreem_discovery::Attributes;

use crate::grid::apps::{Shape, parsed};
use crate::grid::schedule::{Action, FAULTS_BEGIN, Schedule};
use crate::grid::seen::Behaviour;
use crate::grid::world::{Machine, Setup, World};
use crate::grid::{FaultKind, Faults, NODES_MAX, Trace};
use crate::link::Latency;

pub use report::Report;

/// A round: the life of a hold. By its end a submission that got nowhere has given back what it held.
pub const ROUND: Duration = Duration::from_secs(10);
/// Requests come within this time. Our guess: people who were told "now".
const REQUESTS_WITHIN: Duration = Duration::from_secs(1);
/// A request tries for so long, and then counts as refused.
const WAIT: Duration = Duration::from_secs(900);
/// After the last request is settled: programs end, and what is held in vain lapses.
const QUIET: Duration = Duration::from_secs(40);
/// Under `split` the network falls into halves so long after the first request ...
const SPLIT_AFTER: Duration = Duration::from_secs(5);
/// ... for so long.
const SPLIT_LASTS: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    pub nodes: u32,
    /// Applications that are submitted at once.
    pub requests: u32,
    /// Nodes that each of them wants.
    pub slots: u16,
    /// Nodes that match, with room for one slot each.
    pub scarce: u32,
    /// Of each request; empty for any node.
    pub placement: String,
    /// None, or some of loss and split.
    pub faults: Faults,
    pub seed: u64,
    pub trace: Trace,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            nodes: 2_000,
            requests: 200,
            slots: 8,
            scarce: 400,
            placement: String::new(),
            faults: Faults::NONE,
            seed: 1,
            trace: Trace::Off,
        }
    }
}

/// Options that make no sense together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    Nodes,
    /// More matching nodes than nodes.
    Scarce,
    /// No request could ever be granted.
    Slots,
    Requests,
    Faults,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Nodes => write!(f, "a world has 1 to {NODES_MAX} nodes"),
            Unfit::Scarce => f.write_str("there are more matching nodes than nodes"),
            Unfit::Slots => f.write_str("a request wants at least one node, and no more than match"),
            Unfit::Requests => f.write_str("at least one request is needed"),
            Unfit::Faults => f.write_str("only the faults loss and split are possible here"),
        }
    }
}

impl std::error::Error for Unfit {}

impl Options {
    /// The command that runs exactly this again.
    pub fn replay(&self) -> String {
        let Options { nodes, requests, slots, scarce, placement, faults, seed, .. } = self;
        let placed = if placement.is_empty() { String::new() } else { format!(" --placement '{placement}'") };
        format!(
            "xtreem sim contention --nodes {nodes} --requests {requests} --slots {slots} --scarce {scarce} --faults \
             {faults}{placed} --seed {seed}"
        )
    }

    fn check(&self) -> Result<(), Unfit> {
        use FaultKind::{Clock, Cut, Kill, Pause, Restart};
        let unfit = [
            (!(1..=NODES_MAX).contains(&self.nodes), Unfit::Nodes),
            (self.scarce > self.nodes, Unfit::Scarce),
            (self.slots == 0 || u32::from(self.slots) > self.scarce, Unfit::Slots),
            (self.requests == 0, Unfit::Requests),
            ([Kill, Cut, Pause, Restart, Clock].iter().any(|kind| self.faults.has(*kind)), Unfit::Faults),
        ];
        unfit.into_iter().find(|(is_unfit, _)| *is_unfit).map_or(Ok(()), |(_, why)| Err(why))
    }

    fn schedule(&self) -> Schedule {
        let mut rng = Rng::derive(self.seed, 0, "contention");
        let shape = |number| Shape {
            name: format!("request{number}"),
            slots: self.slots,
            behaviour: Behaviour::Task,
            requirement: parsed("gpu.count >= 1"),
            resources: Resources::SLOT_DEFAULT,
            colocate: false,
            restart: Restart::OnFailure,
            placement: self.placement.as_str().into(),
            wait: WAIT,
        };
        let within = REQUESTS_WITHIN.as_micros();
        let mut actions: Vec<(Instant, Action)> = (0..self.requests as usize)
            .map(|app| (FAULTS_BEGIN + Duration::from_micros(rng.between(0, within)), Action::Submit { app }))
            .collect();
        if self.faults.has(FaultKind::Split) {
            let split = Action::Split { smaller_percent: 50, lasts: SPLIT_LASTS };
            actions.push((FAULTS_BEGIN + SPLIT_AFTER, split));
        }
        actions.sort_by_key(|(at, _)| *at);
        Schedule {
            apps: (0..self.requests).map(shape).collect(),
            actions,
            loss_percent: u32::from(self.faults.has(FaultKind::Loss)),
            are_clocks_skewed: false,
        }
    }

    /// Every so many of the hosts match, so that their numbers say nothing.
    fn machine(&self, host: u32) -> Machine {
        let share = |host: u32| u64::from(host) * u64::from(self.scarce) / u64::from(self.nodes);
        let is_scarce = share(host + 1) > share(host);
        let mut attributes = Attributes::new();
        let set = attributes.set("gpu.count", u64::from(is_scarce));
        let placed = attributes.set("site", ["north", "south", "east", "west"][host as usize % 4]);
        debug_assert!(set.is_ok() && placed.is_ok(), "two short attributes fit");
        let slots = if is_scarce { 1 } else { 4 };
        let offer = Resources {
            cores_milli: slots * Resources::SLOT_DEFAULT.cores_milli,
            memory_bytes: u64::from(slots) * Resources::SLOT_DEFAULT.memory_bytes,
            disk_bytes: 1 << 30,
        };
        Machine { attributes, offer }
    }
}

/// Runs one seed until every request is granted or refused, and quiet has come.
pub fn run(options: &Options) -> Result<Report, Unfit> {
    options.check()?;
    let Options { nodes, seed, trace, .. } = options.clone();
    let setup = Setup { nodes, seed, schedule: options.schedule(), latency: Latency::WORLD, trace };
    let mut world = World::set_up(setup, |host, _| options.machine(host));
    world.run_until(FAULTS_BEGIN);
    world.lose_messages(true);
    let limit = FAULTS_BEGIN + REQUESTS_WITHIN + WAIT + ROUND;
    let is_settled = |world: &World| {
        let settled = world.apps().iter().filter(|app| app.complete.is_some() || app.refused.is_some());
        settled.count() == options.requests as usize
    };
    while !is_settled(&world) && world.now() < limit {
        world.run_until(world.now() + Duration::from_secs(1));
    }
    world.lose_messages(false);
    world.run_until(world.now() + QUIET);
    Ok(Report::of(options, &world))
}
