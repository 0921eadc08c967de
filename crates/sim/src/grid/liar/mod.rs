//! Members that lie. A liar's node does what every node does, so that it is a holder, a guardian and a
//! neighbour like others; but what it says is twisted on its way out, and beside that it says what nobody
//! asked for: messages of every kind that was ever seen in this grid, to nodes of its choice, changed in
//! some places or repeated as they were.
//!
//! It cannot say what another signed: such statements it has only as they were made. It cannot write
//! another's name below a message. All else that the codec lets through it may say.

mod tree;

use std::collections::BTreeMap;

use xtreem_allocation::{Application, Record, Statement};
use xtreem_base::{AppId, Duration, Handle, Rng};
use xtreem_membership::{Message as Shuffling, Peer, Peers, SHUFFLE_PEERS_MAX};
use xtreem_node::Message;

use super::host::{HostNo, handle_of, node_id};
use super::notary::token;
use tree::{Item, Words};

/// Of so many members one lies, and one at least where there are three.
const ONE_IN: u32 = 50;
const GRID_MIN: u32 = 3;
/// Between two things that a liar says unasked.
const PAUSE_MILLIS: (u64, u64) = (20, 400);
/// Said unasked at once, now and then.
const BURST: u32 = 40;
/// Messages of one kind that are kept to be changed or repeated.
const KEPT_MAX: usize = 12;
/// One message of so many is kept, once some of its kind are.
const KEPT_ONE_IN: u32 = 64;
/// Attempts to change a message so that it still is one.
const TWISTS: u32 = 8;
/// Hosts that are named and are not there.
const INVENTED: u32 = 64;
/// Those that views are filled with.
const CROWD: u32 = 100_000;
/// Nodes that are told of them at once.
pub(super) const CROWDED: u32 = 40;

/// The liars of a run, and what they know: everything that was ever said.
#[derive(Default)]
pub(super) struct Liars {
    seed: u64,
    hosts: Vec<HostNo>,
    nodes: u32,
    rng: Option<Rng>,
    /// Trees of messages, by their kind.
    said: BTreeMap<(i128, i128), Vec<Item>>,
    /// True applications, and every record that its owner signed.
    applications: BTreeMap<AppId, (Application, Vec<Record>)>,
    ids: Vec<[u8; 16]>,
    /// Messages twisted or invented.
    pub lies: u64,
}

impl Liars {
    /// One in 50, drawn from a stream of their own.
    pub fn draw(seed: u64, nodes: u32) -> Self {
        let mut rng = Rng::derive(seed, 0, "liars");
        let count = if nodes < GRID_MIN { 0 } else { (nodes / ONE_IN).max(1) };
        let mut all: Vec<HostNo> = (0..nodes).collect();
        rng.shuffle(&mut all);
        all.truncate(count as usize);
        all.sort_unstable();
        let ids = (0..nodes.min(64)).map(|host| *node_id(seed, host).as_bytes()).collect();
        Liars { seed, hosts: all, nodes, rng: Some(rng), ids, ..Liars::default() }
    }

    pub fn hosts(&self) -> &[HostNo] {
        &self.hosts
    }

    pub fn has(&self, host: HostNo) -> bool {
        self.hosts.binary_search(&host).is_ok()
    }

    /// Liars know every true application: its record and specification travel to whoever is asked to run it.
    pub fn learn(&mut self, application: &Application, records: Vec<Record>) {
        let id = application.record.id;
        if !self.hosts.is_empty() {
            self.ids.push(*id.as_bytes());
            self.applications.insert(id, (application.clone(), records));
        }
    }

    /// Hears something that was said to somebody.
    pub fn overhear(&mut self, message: &Message) {
        let Some(rng) = &mut self.rng else { return };
        // Rare kinds are all kept; what kind it is costs too much to ask each time.
        let is_rare = matches!(message, Message::Allocation(_) | Message::Policy(_)) && rng.chance(1, 8);
        if !is_rare && !rng.chance(1, KEPT_ONE_IN) {
            return;
        }
        let Some((tree, kind)) =
            tree::tree(message).and_then(|tree| tree::kind(&tree).map(|kind| (tree, kind)))
        else {
            return;
        };
        let kept = self.said.entry(kind).or_default();
        if kept.len() < KEPT_MAX {
            kept.push(tree);
        } else {
            kept[rng.below(KEPT_MAX as u32) as usize] = tree;
        }
    }

    /// When a liar speaks next without being asked.
    pub fn pause(&mut self) -> Duration {
        let (low, high) = PAUSE_MILLIS;
        self.rng.as_mut().map_or(Duration::from_secs(1), |rng| Duration::from_millis(rng.between(low, high)))
    }

    /// What becomes of a message of a liar's node: said as it is, twisted, or not at all. `holders` are
    /// handles of nodes that matter.
    pub fn utter(&mut self, me: HostNo, message: Message, holders: &[Handle]) -> Option<Message> {
        let Some(rng) = &mut self.rng else { return Some(message) };
        match rng.below(16) {
            0 => None,
            1..=4 => Some(
                tree::tree(&message).and_then(|tree| self.twisted(me, &tree, holders)).unwrap_or(message),
            ),
            _ => Some(message),
        }
    }

    /// Something that nobody asked for, as often as that.
    pub fn invent(&mut self, me: HostNo, about: Option<AppId>, holders: &[Handle]) -> Option<(Message, u32)> {
        let rng = self.rng.as_mut()?;
        let kinds = self.said.len() as u32;
        let (_, kept) = self.said.iter().nth(rng.below(kinds.max(1)) as usize)?;
        let mut tree = rng.pick(kept)?.clone();
        if let Some(app) = about.filter(|_| rng.chance(2, 3)) {
            tree.turn_to(&self.ids, *app.as_bytes());
        }
        let times = if rng.chance(1, 50) { BURST } else { 1 };
        let is_repeated = rng.chance(1, 6);
        let said = if is_repeated {
            tree::message(&tree).filter(|message| self.is_sayable(message))
        } else {
            self.twisted(me, &tree, holders)
        };
        self.lies += u64::from(said.is_some()) * u64::from(times);
        said.map(|message| (message, times))
    }

    /// A crowd of contacts that are not there, for views: as an exchange of neighbours, or as newcomers whose
    /// walks end here. Another one each time.
    pub fn crowd(&mut self) -> Option<Message> {
        let nodes = self.nodes;
        let rng = self.rng.as_mut()?;
        let mut somebody = || handle_of(nodes + rng.below(CROWD), 0);
        let peers: Peers = (0..SHUFFLE_PEERS_MAX).map(|_| Peer { handle: somebody(), age: 0 }).collect();
        let joiner = somebody();
        self.lies += 1;
        Some(Message::Grid(match rng.below(4) {
            0 => Shuffling::Walk { joiner, ttl: 0 },
            1 => Shuffling::Welcome { replaced: Some(Peer { handle: joiner, age: 0 }) },
            _ => Shuffling::Shuffle { seq: rng.next_u32() as u16, peers },
        }))
    }

    /// One of these, drawn from the liars' stream.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        self.rng.as_mut()?.pick(list).copied()
    }

    pub fn chance(&mut self, numerator: u32, denominator: u32) -> bool {
        self.rng.as_mut().is_some_and(|rng| rng.chance(numerator, denominator))
    }

    /// What it says in its own name it signs, as every node can.
    fn signed(&self, me: HostNo, mut lie: Item) -> Option<Message> {
        let mine = node_id(self.seed, me);
        let mut signatures: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let message = tree::message(&lie)?;
        message.for_each_statement(&mut |statement| {
            if let Statement::Claim(claim, proof) = statement
                && claim.signer() == mine
            {
                signatures.push((proof.to_vec(), token(mine, claim).to_vec()));
            }
        });
        if signatures.is_empty() {
            return Some(message);
        }
        signatures.iter().for_each(|(old, new)| lie.put(old, new));
        tree::message(&lie)
    }

    /// The same, in the liar's own name: every claim that another signed becomes its own.
    fn in_the_name_of(&self, me: HostNo, tree: &Item) -> Item {
        let mut own = tree.clone();
        if let Some(message) = tree::message(tree) {
            let mine = node_id(self.seed, me);
            message.for_each_statement(&mut |statement| {
                if let Statement::Claim(claim, _) = statement {
                    own.put(claim.signer().as_bytes(), mine.as_bytes());
                }
            });
        }
        own
    }

    fn twisted(&mut self, me: HostNo, tree: &Item, holders: &[Handle]) -> Option<Message> {
        let rng = self.rng.as_mut()?;
        let mut peers = holders.to_vec();
        for _ in 0..4 {
            peers.push(handle_of(rng.below(self.nodes), 0));
            peers.push(handle_of(rng.below(self.nodes), rng.below(256) as u8));
            peers.push(handle_of(self.nodes + rng.below(INVENTED), 0));
        }
        peers.extend(self.hosts.iter().map(|host| handle_of(*host, 0)));
        for _ in 0..TWISTS {
            let is_own = self.chance(1, 3);
            let mut lie = if is_own { self.in_the_name_of(me, tree) } else { tree.clone() };
            let rng = self.rng.as_mut()?;
            lie.twist(rng, &Words { peers: &peers, ids: &self.ids });
            if let Some(message) = self.signed(me, lie).filter(|message| self.is_sayable(message)) {
                self.lies += 1;
                return Some(message);
            }
        }
        None
    }

    /// Whether every driver would let it through: what it says in another's name was said by that other.
    fn is_sayable(&self, message: &Message) -> bool {
        let mut is_true = true;
        message.for_each_statement(&mut |statement| is_true &= self.is_true(&statement));
        is_true
    }

    fn is_true(&self, statement: &Statement<'_>) -> bool {
        match statement {
            Statement::Record(record) => {
                self.applications.get(&record.id).is_some_and(|(_, records)| records.contains(record))
            }
            Statement::Application(application) => {
                let known = self.applications.get(&application.record.id);
                known.is_some_and(|(known, _)| known.spec == application.spec)
            }
            // The world looks at these on arrival, as every driver does.
            Statement::Claim(..) => true,
            // The root signs none here.
            Statement::Policy(_) => false,
            // Nobody announces anything here, and nobody is an administrator.
            Statement::Announcement(..) | Statement::Overwrite { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_in_a_hundred_lie_and_one_at_least_among_three() {
        for (nodes, liars) in [(1, 0), (2, 0), (3, 1), (10, 1), (99, 1), (100, 2), (1_000, 20)] {
            let drawn = Liars::draw(7, nodes);
            assert_eq!(drawn.hosts().len(), liars, "{nodes}");
            assert!(drawn.hosts().iter().all(|host| *host < nodes && drawn.has(*host)));
        }
        assert_ne!(Liars::draw(1, 1_000).hosts(), Liars::draw(2, 1_000).hosts());
    }
}
