//! Tries against each other, on a network without latency; and against peers that lie.

mod repair;

use alloc::collections::VecDeque;
use alloc::vec;

use xtreem_base::{HandleTable, Travel};

use super::*;
use crate::area::Area;
use crate::key::KEY_BITS;
use crate::schema::{Dimension, Dynamic, Scale};
use crate::{Attributes, Number};

struct Out<'a> {
    from: Handle,
    sent: &'a mut VecDeque<(Handle, Handle, Message)>,
    fresh: Option<Handle>,
    silent: Vec<Handle>,
}

impl Sink<Message> for Out<'_> {
    fn send(&mut self, to: Handle, message: Message) {
        self.sent.push_back((self.from, to, message));
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.silent.push(peer);
    }
}

impl Sampler for Out<'_> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.fresh
    }
}

struct Grid {
    config: Config,
    tries: Vec<Option<Trie>>,
    sent: VecDeque<(Handle, Handle, Message)>,
    now: Instant,
    rng: Rng,
    /// Even and odd nodes do not hear each other.
    is_split: bool,
}

fn handle(i: usize) -> Handle {
    Handle::from_u32(i as u32)
}

/// When an answer to what is asked in `call` is overdue.
fn later(call: Call<'_>) -> Call<'_> {
    Call { now: call.now + call.config.reply_timeout, ..call }
}

fn schema() -> Arc<Schema> {
    let scale = Scale::Linear { low: Number::default(), high: Number::from_whole(65_535) };
    let dimension = |name: &str| Dimension { name: name.into(), scale };
    Arc::new(Schema::new(1, [dimension("a0"), dimension("a1")].into(), Vec::new()).expect("a sound schema"))
}

impl Grid {
    /// Every third node is the same machine as the one before.
    fn new(nodes: usize) -> Self {
        let mut rng = Rng::new(9);
        let (config, schema) = (Config::default(), schema());
        let mut codes = [0; 8];
        let mut tries = Vec::new();
        for i in 0..nodes {
            if i % 3 != 2 {
                let mut attributes = Attributes::new();
                attributes.set("a0", u64::from(rng.below(65_536))).expect("a name");
                attributes.set("a1", u64::from(rng.below(65_536))).expect("a name");
                codes = schema.codes(&attributes);
            }
            let stream = Rng::derive(1, i as u64, "trie");
            let hash = rng.next_u32();
            tries.push(Some(Trie::new(
                Call::new(&config, Instant::ZERO),
                schema.clone(),
                handle(i),
                codes,
                hash,
                stream,
            )));
        }
        Grid { config, tries, sent: VecDeque::new(), now: Instant::ZERO, rng, is_split: false }
    }

    fn call(&self) -> Call<'_> {
        Call::new(&self.config, self.now)
    }

    fn with(&mut self, i: usize, f: impl FnOnce(&mut Trie, Call<'_>, &mut Out<'_>)) {
        let is_near = |j: usize| !self.is_split || (i ^ j) & 1 == 0;
        let others: Vec<usize> =
            (0..self.tries.len()).filter(|&j| j != i && self.tries[j].is_some() && is_near(j)).collect();
        let fresh = self.rng.pick(&others).map(|&j| handle(j));
        let mut out = Out { from: handle(i), sent: &mut self.sent, fresh, silent: Vec::new() };
        if let Some(trie) = &mut self.tries[i] {
            f(trie, Call::new(&self.config, self.now), &mut out);
        }
    }

    fn run(&mut self, rounds: u64) {
        let end = self.now + Duration::from_secs(10 * rounds);
        while self.now < end {
            while let Some((from, to, message)) = self.sent.pop_front() {
                if self.is_split && (from.as_u32() ^ to.as_u32()) & 1 == 1 {
                    continue;
                }
                self.with(to.as_u32() as usize, |trie, call, out| {
                    // Answers to those who were given up meanwhile are faults by design.
                    let _ = trie.handle_message(call, from, message, out);
                });
            }
            for i in 0..self.tries.len() {
                self.with(i, |trie, call, out| trie.handle_timeout(call, out));
            }
            self.now += Duration::from_millis(250);
        }
    }

    fn keys(&self) -> Vec<Key> {
        self.tries.iter().flatten().map(|trie| *trie.key()).collect()
    }

    /// Every subtree beside a node's own that has nodes has a link to one that lives.
    fn missing_links(&self) -> usize {
        let keys = self.keys();
        let mut missing = 0;
        for trie in self.tries.iter().flatten() {
            let mut levels: Vec<usize> = keys.iter().map(|key| key.common_prefix(trie.key())).collect();
            levels.sort_unstable();
            levels.dedup();
            for level in levels.into_iter().filter(|&level| level < KEY_BITS) {
                let lives = |known: &Alternate| self.tries[known.handle.as_u32() as usize].is_some();
                let linked =
                    trie.table().bucket(level).is_some_and(|bucket| bucket.alternates().iter().any(lives));
                missing += usize::from(!linked);
            }
        }
        missing
    }
}

#[test]
fn links_fill_from_nothing_and_summaries_count_everybody() {
    let mut grid = Grid::new(60);
    grid.run(12);
    assert_eq!(grid.missing_links(), 0);
    let mut everything: Option<Area> = None;
    for trie in grid.tries.iter().flatten() {
        let codes = Area::of(&trie.key().codes(2));
        everything.get_or_insert(codes).join(&codes);
    }
    for trie in grid.tries.iter().flatten() {
        let summary = trie.summary(grid.call(), 0);
        assert_eq!(trie.table().count(), 60);
        assert_eq!(summary.count, 60, "{:?}", trie.table().me());
        assert_eq!(Some(summary.area), everything);
    }
}

#[test]
fn the_dead_leave_all_tables_and_a_newcomer_is_known_where_it_stands() {
    let mut grid = Grid::new(60);
    grid.run(12);
    let newcomer = grid.tries[59].take();
    let key = newcomer.as_ref().map(|trie| *trie.key()).expect("it was there");
    for dead in [3, 14, 25, 36] {
        grid.tries[dead] = None;
    }
    grid.run(12);
    assert_eq!(grid.missing_links(), 0);
    let trie = Trie::new(grid.call(), schema(), handle(59), key.codes(2), 77, Rng::new(4));
    grid.tries[59] = Some(trie);
    grid.with(59, |trie, call, out| trie.join(call, handle(0), out));
    // Less than one round: the walk alone.
    for _ in 0..200 {
        let Some((from, to, message)) = grid.sent.pop_front() else { break };
        grid.with(to.as_u32() as usize, |trie, call, out| {
            let _ = trie.handle_message(call, from, message, out);
        });
    }
    let place = *grid.tries[59].as_ref().map(Trie::key).expect("it is there");
    let closest = grid.tries.iter().take(59).flatten().max_by_key(|trie| trie.key().common_prefix(&place));
    assert!(closest.is_some_and(|trie| trie.table().contains(handle(59))));
    grid.run(1);
    assert_eq!(grid.tries[59].as_ref().map(|_| grid.missing_links()), Some(0));
}

#[test]
fn lies_are_refused_and_leave_the_table_as_it_was() {
    let mut grid = Grid::new(2);
    let their_key = *grid.tries[1].as_ref().map(Trie::key).expect("it is there");
    grid.with(0, |trie, call, out| {
        let lack = Lack { key: their_key, wants: Levels::ALL, stale: Levels::ALL };
        let give = |part| Message::Give { seq: 1, lack, part };
        let peer = handle(1);
        let unasked = trie.handle_message(call, peer, give(Part::default()), out);
        assert_eq!(unasked, Err(Fault::Unsolicited));
        let myself = trie.handle_message(call, handle(0), give(Part::default()), out);
        assert_eq!(myself, Err(Fault::FromMyself));
        let send_back = |part| Message::Return { key: their_key, part };
        let mut everywhere = Summary::NOTHING;
        everywhere.count = 5;
        let part = Part { own: Some(everywhere), is_settled: true, ..Part::default() };
        let unsound = trie.handle_message(call, peer, send_back(part), out);
        assert_eq!(unsound, Err(Fault::Unsound));
        let level = trie.key().common_prefix(&their_key);
        assert!(trie.table().bucket(level).is_some_and(|bucket| bucket.summary().is_none()));
        let descriptor = Descriptor { handle: handle(7), key: their_key, age: 0 };
        let part = Part { descriptors: vec![descriptor; DESCRIPTORS_MAX + 1], ..Part::default() };
        let crowd = trie.handle_message(call, peer, send_back(part), out);
        assert_eq!(crowd, Err(Fault::TooMany));
        assert!(!trie.table().contains(handle(7)));
        let old = Descriptor { age: u16::MAX, ..descriptor };
        let part = Part { descriptors: vec![old], ..Part::default() };
        assert_eq!(trie.handle_message(call, peer, send_back(part), out), Ok(()));
        assert!(!trie.table().contains(handle(7)), "nobody has heard of it for too long");
    });
}

#[test]
fn a_silent_peer_is_dropped_and_not_taken_from_others_again() {
    let mut grid = Grid::new(3);
    grid.tries[1] = None;
    let keys: Vec<Key> = Grid::new(3).keys();
    grid.with(0, |trie, call, out| {
        trie.join(call, handle(1), out);
        trie.handle_timeout(later(call), out);
        assert_eq!(out.silent, [handle(1)]);
        let descriptor = Descriptor { handle: handle(1), key: keys[1], age: 0 };
        let part = Part { descriptors: vec![descriptor], ..Part::default() };
        let message = Message::Return { key: keys[2], part };
        assert_eq!(trie.handle_message(call, handle(2), message, out), Ok(()));
        assert!(!trie.table().contains(handle(1)));
    });
}

#[test]
fn a_trie_says_when_it_wakes_and_why() {
    let mut grid = Grid::new(3);
    grid.with(0, |trie, call, out| {
        trie.next_round = call.now + Duration::from_secs(9);
        assert_eq!(trie.next_timeout(call.config), Wake::new(trie.next_round, "round"));
        trie.join(call, handle(1), out);
        assert_eq!(trie.next_timeout(call.config), Wake::new(later(call).now, "answer overdue"));
        trie.meet(call.now, handle(2), Key::new(&[9; 8], 2, 9));
        trie.handle_silent(call, handle(2));
        assert_eq!(trie.next_timeout(call.config), Wake::new(call.now, "check"));
        assert_eq!(out.sent.pop_back().map(|(.., message)| message.travel()), Some(Travel::STREAM));
    });
}

/// The simulator's form of a handle.
struct Numbers;

impl HandleTable for Numbers {
    fn encode_handle<W: minicbor::encode::Write>(
        &mut self,
        handle: Handle,
        e: &mut minicbor::Encoder<W>,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u32(handle.as_u32())?.ok()
    }

    fn decode_handle(&mut self, d: &mut minicbor::Decoder<'_>) -> Result<Handle, minicbor::decode::Error> {
        d.u32().map(Handle::from_u32)
    }
}

/// A grid whose nodes have free memory, the more the higher their number, after some rounds.
fn grid_with_memory(nodes: usize, rounds: u64) -> Grid {
    let mut grid = Grid::new(nodes);
    let dynamic = Dynamic { name: "mem.free".into(), scale: Scale::Logarithmic, first: 6_000, width: 1_024 };
    let dimensions = schema().dimensions().to_vec();
    let with_memory = Arc::new(Schema::new(1, dimensions, [dynamic].into()).expect("a sound schema"));
    for (i, trie) in grid.tries.iter_mut().flatten().enumerate() {
        trie.schema = with_memory.clone();
        trie.set_present([1_000 + i as u16, 0, 0, 0]);
    }
    grid.run(rounds);
    grid
}

#[test]
fn holders_of_the_largest_values_are_told_with_where_they_stand() {
    let grid = grid_with_memory(40, 20);
    let keys: Vec<Key> = grid.keys();
    let mut told = 0;
    for trie in grid.tries.iter().flatten() {
        for bucket in trie.table().buckets() {
            for top in bucket.summary().expect("twenty rounds are enough").tops(0) {
                let holder = top.holder.as_u32();
                assert_eq!(u32::from(top.code), 1_000 + holder);
                let level = usize::from(bucket.level);
                assert_eq!(keys[holder as usize].common_prefix(trie.key()), level);
                assert_eq!(top.place, keys[holder as usize].window(level + 1));
                told += 1;
            }
        }
        let summary = trie.summary(grid.call(), 0);
        let best: Vec<u32> = summary.tops(0).map(|top| top.holder.as_u32()).collect();
        assert_eq!(best, [39, 38]);
    }
    assert!(told > 200, "{told}");
}

impl Grid {
    /// Nodes whose links say that `of` has one of the largest values of its subtree.
    fn aware(&self, of: usize, code: u16) -> usize {
        let key = *self.tries[of].as_ref().map(Trie::key).expect("it is there");
        let is_aware = |trie: &&Trie| {
            let bucket = trie.table().bucket(trie.key().common_prefix(&key));
            let mut tops = bucket.and_then(Bucket::summary).into_iter().flat_map(|summary| summary.tops(0));
            tops.any(|top| (top.holder, top.code) == (handle(of), code))
        };
        self.tries.iter().flatten().filter(is_aware).count()
    }
}

/// Each round triples those who know of it at best. Were it to climb from subtree to subtree, each of which
/// must know it as a whole before, it would take two to three times as long.
#[test]
fn a_large_value_spreads_like_a_rumour_that_of_a_newcomer_too() {
    let mut grid = grid_with_memory(400, 20);
    if let Some(trie) = &mut grid.tries[7] {
        trie.set_present([5_000, 0, 0, 0]);
    }
    let twin = grid.tries[8].take().expect("it was there");
    let schema = twin.schema().clone();
    let mut trie = Trie::new(grid.call(), schema, handle(8), *twin.codes(), 99, Rng::new(4));
    trie.set_present([4_000, 0, 0, 0]);
    grid.tries[8] = Some(trie);
    grid.with(8, |trie, call, out| trie.join(call, handle(0), out));
    let aware: Vec<(usize, usize)> = (0..6)
        .map(|_| {
            grid.run(1);
            (grid.aware(7, 5_000), grid.aware(8, 4_000))
        })
        .collect();
    assert!(aware[5].0 > 380, "{aware:?}");
    assert!(aware[5].1 > 100, "{aware:?}");
}

#[test]
fn of_each_holder_the_youngest_word_counts_and_none_from_long_ago_or_of_the_dead() {
    let mut grid = grid_with_memory(3, 0);
    grid.now += Duration::from_secs(1_000);
    let key = grid.keys()[1];
    grid.with(0, |trie, call, _| {
        let schema = trie.schema().clone();
        let codes = key.codes(schema.dimensions().len());
        trie.meet(call.now, handle(1), key);
        let holder = handle(2);
        let word = |code, age: u32| {
            let mut own = Summary::of(&schema, handle(1), &codes, &[0; DYNAMICS_MAX]);
            own.hear_of(&Summary::of(&schema, holder, &codes, &[code, 0, 0, 0]), age, Some);
            Part { own: Some(own), is_settled: true, ..Part::default() }
        };
        let level = trie.key().common_prefix(&key);
        let held = |trie: &Trie| {
            let mut tops = trie.table().bucket(level).and_then(Bucket::summary).expect("a summary").tops(0);
            tops.find(|top| top.holder == holder).map(|top| top.code)
        };
        let long = call.config.age_max_seconds();
        for (code, age, expected) in [
            (9_000, 100, 9_000),
            (3_000, 10, 3_000),
            (9_000, 50, 3_000),
            (9_500, 9, 9_500),
            (9_900, long, 9_500),
        ] {
            assert_eq!(trie.take(call, &key, &word(code, age)), Ok(()));
            assert_eq!(held(trie), Some(expected), "{code} of {age} s ago");
        }
        trie.handle_silent(call, holder);
        assert_eq!(held(trie), None);
        assert_eq!(trie.take(call, &key, &word(9_900, 0)), Ok(()));
        assert_eq!(held(trie), None);
    });
}

#[test]
fn messages_survive_the_wire_and_every_cut_one_is_an_error() {
    let mut grid = Grid::new(12);
    grid.run(6);
    let mut messages = Vec::new();
    grid.with(0, |trie, call, out| {
        let lack = trie.lack(call);
        messages.push(Message::Ask { seq: 7, lack });
        let part = Part {
            own: Some(trie.summary(call, 1)),
            is_settled: true,
            descriptors: trie.table().useful(trie.key(), &Levels::ALL, 60, DESCRIPTORS_MAX),
            reports: vec![Report { level: 3, age: 9, summary: trie.summary(call, 0) }],
        };
        messages.push(Message::Give { seq: 7, lack, part: part.clone() });
        messages.push(Message::Return { key: *trie.key(), part });
        assert!(out.silent.is_empty());
    });
    for message in messages {
        let bytes = minicbor::to_vec_with(&message, &mut Numbers).expect("a Vec takes all bytes");
        let back: Message = minicbor::decode_with(&bytes, &mut Numbers).expect("it was encoded");
        assert_eq!(back, message);
        for len in 0..bytes.len() {
            assert!(minicbor::decode_with::<_, Message>(&bytes[..len], &mut Numbers).is_err(), "{len}");
        }
    }
}
