//! What a run is asked for, checked once.

use std::fmt;
use std::str::FromStr;

use crate::membership::Kill;

/// Nodes of one world at most: each takes some kilobytes, and each event a few bytes of each.
pub const NODES_MAX: u32 = 1 << 17;
/// Events of one run at most.
const EVENTS_MAX: u32 = 10_000;

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub nodes: u32,
    /// Servers with a subscriber, on random nodes.
    pub subscribers: u32,
    /// Servers that publish one event in each round, all to one topic.
    pub publishers: u32,
    pub tree: Tree,
    /// Nodes that die in each round. Publishers do not.
    pub kill_per_round: u32,
    /// Counted from the first event. Publishers do not die.
    pub kill: Option<Kill>,
    /// Rounds of two seconds.
    pub rounds: u32,
    /// Share of the datagrams that get lost, 0 to 0.5.
    pub loss: f64,
    /// What goes wrong besides; anybody is met, publishers too.
    pub faults: Faults,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            nodes: 1_000,
            subscribers: 100,
            publishers: 1,
            tree: Tree::List,
            kill_per_round: 0,
            kill: None,
            rounds: 30,
            loss: 0.0,
            faults: Faults::default(),
            seed: 1,
        }
    }
}

/// By which ways events come to many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tree {
    /// As in the product: the list on the ring, cut into parts.
    #[default]
    List,
    /// Each subscriber's way over the ring to the topic's owner, backwards (Scribe).
    Reverse,
    /// A tree that the first copies of an event leave in a random graph (Plumtree).
    Gossip,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: expected list, reverse or gossip")]
pub struct ParseTreeError(String);

impl FromStr for Tree {
    type Err = ParseTreeError;

    fn from_str(text: &str) -> Result<Self, ParseTreeError> {
        match text {
            "list" => Ok(Tree::List),
            "reverse" => Ok(Tree::Reverse),
            "gossip" => Ok(Tree::Gossip),
            _ => Err(ParseTreeError(text.to_owned())),
        }
    }
}

/// What goes wrong while events are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A fiftieth of all datagrams gets lost.
    pub loss: bool,
    /// Nodes die, and others come in their places.
    pub death: bool,
    /// Nodes stop for 1 to 12 s and go on.
    pub pause: bool,
    /// The network falls into two parts for 20 s, and is one again.
    pub split: bool,
    /// Servers start anew, and their clients subscribe again.
    pub restart: bool,
    /// Subscribers cancel, and others come.
    pub cancel: bool,
}

const NAMES: [&str; 6] = ["loss", "death", "pause", "split", "restart", "cancel"];

impl Faults {
    pub const ALL: Faults =
        Faults { loss: true, death: true, pause: true, split: true, restart: true, cancel: true };

    fn fields(&mut self) -> [&mut bool; 6] {
        let Faults { loss, death, pause, split, restart, cancel } = self;
        [loss, death, pause, split, restart, cancel]
    }

    pub fn any(self) -> bool {
        self != Faults::default()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut faults = *self;
        let names = NAMES.iter().zip(faults.fields()).filter(|(_, is)| **is).map(|(name, _)| *name);
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: expected some of loss, death, pause, split, restart, cancel, with commas between them")]
pub struct ParseFaultsError(String);

impl FromStr for Faults {
    type Err = ParseFaultsError;

    fn from_str(text: &str) -> Result<Self, ParseFaultsError> {
        let mut faults = Faults::default();
        for name in text.split(',').filter(|name| !name.is_empty()) {
            let at = NAMES.iter().position(|known| *known == name);
            let at = at.ok_or_else(|| ParseFaultsError(name.to_owned()))?;
            *faults.fields()[at] = true;
        }
        Ok(faults)
    }
}

/// Options that no run can follow. Nothing has been done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionError {
    #[error("{0} nodes: expected 2 to {NODES_MAX}")]
    Nodes(u32),
    #[error(
        "{subscribers} subscribers and {publishers} publishers: expected one of each at least, and no more \
             than the {nodes} nodes in all"
    )]
    Servers { subscribers: u32, publishers: u32, nodes: u32 },
    #[error("{0} events: expected 1 to {EVENTS_MAX}, publishers times rounds")]
    Events(u64),
    #[error("kill after round {at_round}: events end after round {rounds}")]
    KillTooLate { at_round: u32, rounds: u32 },
    #[error("loss {0}: expected a share from 0 to 0.5")]
    Loss(f64),
    #[error("faults are for the tree of the product: --tree list")]
    FaultsOfAnotherTree,
}

impl Options {
    pub(super) fn check(&self) -> Result<(), OptionError> {
        let Options { nodes, subscribers, publishers, rounds, .. } = *self;
        if !(2..=NODES_MAX).contains(&nodes) {
            return Err(OptionError::Nodes(nodes));
        }
        let servers = u64::from(subscribers) + u64::from(publishers);
        if subscribers == 0 || publishers == 0 || servers > nodes.into() {
            return Err(OptionError::Servers { subscribers, publishers, nodes });
        }
        let events = u64::from(publishers) * u64::from(rounds);
        if !(1..=EVENTS_MAX.into()).contains(&events) {
            return Err(OptionError::Events(events));
        }
        match self.kill {
            Some(Kill { at_round, .. }) if at_round >= rounds => {
                return Err(OptionError::KillTooLate { at_round, rounds });
            }
            _ => {}
        }
        if !(0.0..=0.5).contains(&self.loss) {
            return Err(OptionError::Loss(self.loss));
        }
        if self.faults.any() && self.tree != Tree::List {
            return Err(OptionError::FaultsOfAnotherTree);
        }
        Ok(())
    }
}
