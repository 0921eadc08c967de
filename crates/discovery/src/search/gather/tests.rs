//! Queries for all on a grid whose tries are right, with nodes that die, overtake and lie.

mod visits;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Events, Sink};

use super::*;
use crate::discovery::Discovery;
use crate::schema::{Dimension, Dynamic, Scale, Schema};
use crate::search::course::SMALL_GRID;
use crate::search::spec::SearchSpec;
use crate::visit::application::{AppFilter, AppSummary};
use crate::visit::hold::{HoldAnswer, HoldAsk, HoldRefusal};
use crate::visit::host::Hosted;
use crate::{Attributes, Number};

struct Node {
    attributes: Attributes,
    trie: Trie,
    discovery: Discovery,
    is_dead: bool,
}

struct Lent<'a>(&'a Attributes, &'a Trie);

impl Host for Lent<'_> {
    fn attributes(&self) -> &Attributes {
        self.0
    }

    fn trie(&self, version: Option<u32>) -> Option<&Trie> {
        version.is_none_or(|version| version == 1).then_some(self.1)
    }

    fn contacts(&mut self, _: usize) -> Vec<Handle> {
        Vec::new()
    }

    fn hold(&mut self, _: Instant, _: Handle, _: &HoldAsk) -> HoldAnswer {
        HoldAnswer::Refused(HoldRefusal::Busy)
    }

    fn applications(&self, _: &AppFilter, _: usize) -> (Vec<AppSummary>, u32) {
        (Vec::new(), 0)
    }
}

#[derive(Default)]
struct Outbox {
    sent: Vec<(Handle, Message)>,
    events: Vec<SearchEvent>,
}

impl Sink<Message> for Outbox {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push((to, message));
    }
}

impl Events<SearchEvent> for Outbox {
    fn event(&mut self, event: SearchEvent) {
        self.events.push(event);
    }
}

const NODES: u32 = 600;

struct Grid {
    nodes: Vec<Node>,
    now: Instant,
    queue: BTreeMap<(Instant, u64), (Handle, Handle, Message)>,
    number: u64,
    events: Vec<SearchEvent>,
    delegates: BTreeMap<Handle, u32>,
    rng: Rng,
}

fn handle(at: u32) -> Handle {
    Handle::from_u32(at)
}

impl Grid {
    /// Node i has i % 20 cores. Those with 5, 9 or 14 are idle; `unknown.load` is their load too, but not in
    /// the schema. Their tries have settled, and each knows some of every subtree.
    fn new() -> Self {
        let scale = Scale::Linear { low: Number::default(), high: Number::from_whole(20) };
        let dimension = |name: &str| Dimension { name: name.into(), scale };
        let dimensions = [dimension("cpu.cores"), dimension("rank")].into();
        let load = Dynamic { name: "load.1m".into(), scale: Scale::Logarithmic, first: 7_000, width: 1_024 };
        let schema = Arc::new(Schema::new(1, dimensions, [load].into()).unwrap());
        let config = crate::trie::Config::default();
        let mut rng = Rng::new(5);
        let mut nodes = Vec::new();
        for i in 0..NODES {
            let mut attributes = Attributes::new();
            attributes.set("cpu.cores", u64::from(i) % 20).unwrap();
            attributes.set("rank", u64::from(rng.below(20))).unwrap();
            let load = if [5, 9, 14].contains(&(i % 20)) { 100 } else { 4_000 };
            attributes.set("load.1m", Number::from_thousandths(load)).unwrap();
            attributes.set("unknown.load", Number::from_thousandths(load)).unwrap();
            let codes = schema.codes(&attributes);
            let trie = Trie::new(
                Call::new(&config, Instant::ZERO),
                schema.clone(),
                handle(i),
                codes,
                rng.next_u32(),
                Rng::new(i.into()),
            );
            let discovery = Discovery::new(handle(i), Rng::new(i.into()));
            nodes.push(Node { attributes, trie, discovery, is_dead: false });
        }
        let known =
            |node: &Node| (node.trie.table().me(), *node.trie.key(), schema.present(&node.attributes));
        let mut all: Vec<_> = nodes.iter().map(known).collect();
        for node in &mut nodes {
            rng.shuffle(&mut all);
            node.trie.settle(Instant::from_millis(1_000), &all);
        }
        Grid {
            nodes,
            now: Instant::from_millis(90_000),
            queue: BTreeMap::new(),
            number: 0,
            events: Vec::new(),
            delegates: BTreeMap::new(),
            rng,
        }
    }

    fn with(
        &mut self,
        at: Handle,
        f: impl FnOnce(&mut Discovery, Call<'_, ()>, &mut Hosted<Lent<'_>, Outbox>),
    ) {
        let Node { attributes, trie, discovery, is_dead } = &mut self.nodes[at.as_u32() as usize];
        if *is_dead {
            return;
        }
        let mut lent = Hosted { host: Lent(attributes, trie), out: Outbox::default() };
        f(discovery, Call::new(&(), self.now), &mut lent);
        let Outbox { sent, events } = lent.out;
        for (to, message) in sent {
            // They overtake one another.
            let latency = Duration::from_millis(self.rng.between(5, 165));
            self.number += 1;
            self.queue.insert((self.now + latency, self.number), (at, to, message));
        }
        self.events.extend(events);
    }

    fn ask(&mut self, spec: SearchSpec) {
        self.with(handle(0), |discovery, call, to| {
            discovery.start(call, spec, &[], to).unwrap();
        });
    }

    /// Until the query is done; `spoil` sees each message before it arrives.
    fn run(&mut self, spoil: &mut dyn FnMut(&mut Grid, Handle, &mut Message)) -> Report {
        loop {
            let done = self.events.iter().find_map(|event| match event {
                SearchEvent::Done { report, .. } => Some(report.clone()),
                _ => None,
            });
            if let Some(report) = done {
                return report;
            }
            let arrival = self.queue.first_key_value().map(|((at, _), _)| *at).unwrap_or(Instant::FAR);
            let timeouts = self.nodes.iter().map(|node| node.discovery.next_timeout(&()).at);
            let timeout = timeouts.min().unwrap_or(Instant::FAR);
            self.now = arrival.min(timeout);
            assert!(self.now < Instant::FAR, "nothing happens any more");
            if timeout <= arrival {
                for at in 0..NODES {
                    self.with(handle(at), |discovery, call, to| {
                        if discovery.next_timeout(&()).at <= call.now {
                            discovery.handle_timeout(call, to);
                        }
                    });
                    if self.nodes[at as usize].is_dead {
                        self.nodes[at as usize].discovery = Discovery::new(handle(at), Rng::new(0));
                    }
                }
            } else if let Some((_, (from, to, mut message))) = self.queue.pop_first() {
                spoil(self, to, &mut message);
                if matches!(message, Message::Delegate(_)) {
                    *self.delegates.entry(to).or_default() += 1;
                }
                self.with(to, |discovery, call, to| {
                    let _ = discovery.handle_message(call, from, message, to);
                });
            }
        }
    }

    fn matches(&self) -> Vec<u32> {
        let matched = |event: &SearchEvent| match event {
            SearchEvent::Match { peer, .. } => Some(peer.as_u32()),
            _ => None,
        };
        self.events.iter().filter_map(matched).collect()
    }

    fn expected(&self, cores: impl Fn(u32) -> bool) -> BTreeSet<u32> {
        let lives = |i: &u32| !self.nodes[*i as usize].is_dead;
        (0..NODES).filter(|i| cores(i % 20)).filter(lives).collect()
    }
}

fn all(requirement: &str) -> SearchSpec {
    SearchSpec::all(Requirement::parse(requirement).unwrap(), true)
}

#[test]
fn every_match_is_told_once_and_no_node_is_asked_twice() {
    const { assert!(NODES > SMALL_GRID) };
    let mut grid = Grid::new();
    grid.ask(SearchSpec { attributes: true, ..all("cpu.cores >= 10") });
    let report = grid.run(&mut |_, _, _| {});
    let matches = grid.matches();
    assert_eq!(matches.iter().copied().collect::<BTreeSet<_>>(), grid.expected(|cores| cores >= 10));
    assert_eq!((matches.len(), report.matched, report.ended), (300, 300, Ended::Exhausted));
    assert_eq!((report.lost, report.unopened, report.silent), (0, 0, 0));
    assert!(grid.delegates.values().all(|times| *times == 1), "a node was asked twice");
    assert!(report.visited < 400, "{report:?}");
    assert!(grid.now.since(Instant::from_millis(90_000)) < Duration::from_secs(4), "{:?}", grid.now);
}

#[test]
fn counting_brings_a_histogram_and_no_names() {
    let mut grid = Grid::new();
    let requirement = Requirement::parse("cpu.cores < 4").unwrap();
    let histogram = Some("cpu.cores".into());
    grid.ask(SearchSpec { histogram, ..SearchSpec::all(requirement, false) });
    let report = grid.run(&mut |_, _, _| {});
    assert_eq!((report.matched, grid.matches().len()), (120, 0));
    let histogram = report.histogram.unwrap();
    let numbers: Vec<(i64, u32)> = histogram.numbers().map(|(n, count)| (n.whole(), count)).collect();
    assert_eq!(numbers, [(0, 30), (1, 30), (2, 30), (3, 30)]);
}

#[test]
fn dead_nodes_are_gone_round_and_half_a_grid_killed_on_the_way_is_told_truthfully() {
    let mut grid = Grid::new();
    for i in (1..NODES).step_by(10) {
        grid.nodes[i as usize].is_dead = true;
    }
    grid.ask(all("cpu.cores >= 10"));
    let report = grid.run(&mut |_, _, _| {});
    let found: BTreeSet<u32> = grid.matches().into_iter().collect();
    let expected = grid.expected(|cores| cores >= 10);
    assert!(found.len() >= expected.len() * 97 / 100, "{} of {}", found.len(), expected.len());
    assert!(report.silent > 0, "{report:?}");

    let mut grid = Grid::new();
    grid.ask(SearchSpec { deadline: Duration::from_secs(30), ..all("cpu.cores >= 10") });
    let mut messages = 0;
    let report = grid.run(&mut |grid, _, _| {
        messages += 1;
        if messages == 60 {
            grid.nodes.iter_mut().skip(1).step_by(2).for_each(|node| node.is_dead = true);
        }
    });
    let (told, expected) = (grid.matches().len(), grid.expected(|cores| cores >= 10).len());
    let missed = report.lost + report.unopened;
    assert!(told < expected + 60 && missed > 0, "{told} of {expected}: {report:?}");
    assert!(told >= expected * 8 / 10, "{told} of {expected}: {report:?}");
}

#[test]
fn a_word_that_makes_no_sense_is_not_taken() {
    for lie in [u32::MAX, 0] {
        let mut grid = Grid::new();
        grid.ask(SearchSpec::all(Requirement::parse("cpu.cores >= 10").unwrap(), false));
        let mut liars = 0;
        let report = grid.run(&mut |_, to, message| {
            if let (Message::Gathered { gathered, .. }, true) = (message, to == handle(0) && liars < 2) {
                gathered.tally.visited = lie;
                liars += 1;
            }
        });
        assert_eq!(liars, 2);
        // Others of the same subtrees were asked instead.
        assert!((290..=300).contains(&report.matched), "{report:?}");
    }
}

#[test]
fn sums_of_lies_stay_what_a_node_can_say() {
    let query =
        Gather { requirement: Requirement::default(), list: false, attributes: false, histogram: None };
    let whole = crate::trie::COUNT_MAX;
    let lie = Tally {
        visited: whole,
        silent: whole,
        lost: whole.into(),
        unopened: whole.into(),
        ..Tally::default()
    };
    assert!(lie.is_sound(&query));
    assert!(!Tally { lost: u64::MAX, ..lie.clone() }.is_sound(&query));
    assert!(!Tally { unopened: u64::MAX, ..lie.clone() }.is_sound(&query));
    let mut sum = Tally { visited: 1, ..Tally::default() };
    for _ in 0..20 {
        sum.add(lie.clone());
        sum.miss(whole);
        sum.leave(whole);
        assert!(sum.is_sound(&query), "{sum:?}");
    }
    let report = sum.report(&query.requirement, Ended::Exhausted);
    assert_eq!(report.visited, 2 * whole);
}

#[test]
fn words_from_those_not_asked_change_nothing() {
    let mut grid = Grid::new();
    grid.ask(all("cpu.cores >= 10"));
    let asked = grid.queue.values().map(|(_, to, _)| *to).next().unwrap();
    let stranger = (1..NODES).map(handle).find(|peer| *peer != asked).unwrap();
    for task in 0..40 {
        let found = [Found { peer: handle(9_999), attributes: None }].to_vec();
        let messages = [
            Message::Working { task, found },
            Message::Declined { task },
            Message::Gathered {
                task,
                gathered: Gathered { tally: Tally::default(), parts: 0, found: Vec::new() },
            },
        ];
        for message in messages {
            let not_asked = grid.queue.values().all(|(_, to, _)| *to != stranger);
            grid.with(handle(0), |discovery, call, to| {
                if not_asked {
                    discovery.handle_message(call, stranger, message, to).unwrap();
                }
            });
        }
    }
    let report = grid.run(&mut |_, _, _| {});
    assert_eq!((report.matched, grid.matches().len()), (300, 300));
}

#[test]
fn beyond_its_limit_a_node_declines() {
    let mut grid = Grid::new();
    let (key, peer) = (*grid.nodes[1].trie.key(), handle(1));
    let gather =
        Gather { requirement: Requirement::default(), list: false, attributes: false, histogram: None };
    let delegate = |task, schema, len| Delegate {
        task,
        gather: gather.clone(),
        schema,
        len,
        key,
        time_ms: 5_000,
        last: false,
    };
    let declined_to = |grid: &mut Grid, parent, delegate| {
        grid.queue.clear();
        grid.with(peer, |discovery, call, to| {
            discovery.handle_message(call, handle(parent), Message::Delegate(delegate), to).unwrap();
        });
        grid.queue.values().any(|(.., message)| matches!(message, Message::Declined { .. }))
    };
    let declined = |grid: &mut Grid, delegate| declined_to(grid, 7, delegate);
    assert!(declined(&mut grid, delegate(0, 2, 0)), "a schema that does not run here");
    for task in 0..TASKS_PER_PARENT_MAX as u32 {
        assert!(!declined(&mut grid, delegate(task, 1, 0)));
    }
    assert!(declined(&mut grid, delegate(0, 1, 0)), "nobody alone fills the table");
    for task in TASKS_PER_PARENT_MAX as u32..TASKS_MAX as u32 {
        assert!(!declined_to(&mut grid, 8 + task / 16, delegate(task, 1, 0)));
    }
    assert!(declined_to(&mut grid, 400, delegate(0, 1, 0)));
    let elsewhere = Delegate { key: key.sibling(0), ..delegate(0, 1, 1) };
    let mut other = Grid::new();
    assert!(declined(&mut other, elsewhere), "not its subtree");
}

#[test]
fn states_that_like_machines_share_are_found_with_fewer_visits_by_what_links_say_of_them() {
    let visits = |requirement: &str| {
        let mut grid = Grid::new();
        grid.ask(SearchSpec::nodes(Requirement::parse(requirement).unwrap(), 30));
        let report = grid.run(&mut |_, _, _| {});
        assert_eq!((report.ended, grid.matches().len()), (Ended::Enough, 30), "{requirement}");
        report.visited
    };
    let (guided, unguided) = (visits("load.1m < 0.5"), visits("unknown.load < 0.5"));
    assert!(guided * 2 < unguided, "{guided} against {unguided}");
}
