//! The one who sees all: who was promised what, which ways events went, and what broke a promise.

use std::collections::{BTreeMap, BTreeSet};

use xtreem_base::{Duration, Handle, Instant};
use xtreem_pubsub::relay;

use super::Report;
use crate::arena::slot_of;

/// Broken promises that are told in words.
const WORDS_MAX: usize = 10;
/// Who subscribed no more may be told events so long: its item lives, then a list that has it, then what
/// waits for it.
const ENDED: Duration = Duration::from_secs(relay::LEASE.as_secs() + 25 + 30);
/// A server that was paused is told of news within so long, and looks by itself within so long.
const UNAWARE: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(15));
/// What a server has published when it dies is on its way for so long, and so is what comes to one whose
/// subscription ends: it waits for a list, then for servers that cannot be reached.
const UNDER_WAY: Duration = Duration::from_secs(60 + 30 + 10);
const UNKNOWN: u8 = u8::MAX;

/// One subscription, from its beginning to its end.
struct Term {
    handle: Handle,
    asked: Instant,
    /// From then on it hears everything.
    acknowledged: Option<Instant>,
    /// It was cancelled, or its server died.
    ended: Option<Instant>,
}

struct Event {
    publisher: Handle,
    at: Instant,
    /// By slot: steps from the publisher, and the incarnation that heard, plus one.
    depth: Vec<u8>,
    heard: Vec<u16>,
    fan_out: BTreeMap<u32, Vec<Handle>>,
}

/// Who did not hear, and since when it should have.
type Missed = (Handle, Option<Instant>);

#[derive(Default)]
pub(super) struct Watch {
    nodes: usize,
    terms: Vec<Term>,
    events: Vec<Event>,
    /// The last event of a publisher that came to a subscriber.
    last: BTreeMap<(Handle, Handle), u32>,
    bystanders: BTreeSet<u32>,
    latencies: Vec<u32>,
    dead: BTreeMap<Handle, Instant>,
    /// While the network is split, and until everybody has written anew, nothing is promised across it.
    splits: Vec<(Instant, Instant)>,
    pauses: Vec<(Handle, Instant, Instant)>,
    pub(super) killed: Option<Instant>,
    pub(super) count: Count,
    wrong: Vec<String>,
}

/// What was sent, and what came.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) payloads: u64,
    pub(super) control: u64,
    pub(super) store: u64,
    pub(super) parts: u64,
    pub(super) numbers: u64,
    redundant: u64,
    duplicates: u64,
    out_of_order: u64,
    pub(super) told_lost: u64,
    after_the_end: u64,
}

impl Watch {
    pub(super) fn new(nodes: u32) -> Watch {
        Watch { nodes: nodes as usize, ..Watch::default() }
    }

    fn complain(&mut self, at: Instant, words: &str) {
        if self.wrong.len() < WORDS_MAX {
            self.wrong.push(format!("{} ms: {words}", at.as_micros() / 1_000));
        }
    }

    pub(super) fn asked(&mut self, now: Instant, handle: Handle) {
        self.terms.push(Term { handle, asked: now, acknowledged: None, ended: None });
    }

    /// `since`: from when on everything is promised.
    pub(super) fn answered(&mut self, since: Instant, handle: Handle) {
        let open = |term: &&mut Term| term.handle == handle && term.ended.is_none();
        if let Some(term) = self.terms.iter_mut().rev().find(open) {
            term.acknowledged.get_or_insert(since);
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.terms.iter().filter(|term| term.acknowledged.is_none() && term.ended.is_none()).count()
    }

    pub(super) fn cancelled(&mut self, now: Instant, handle: Handle) {
        let all = self.terms.iter_mut().filter(|term| term.handle == handle);
        all.for_each(|term| term.ended = term.ended.or(Some(now)));
    }

    pub(super) fn died(&mut self, now: Instant, handle: Handle) {
        self.cancelled(now, handle);
        self.dead.insert(handle, now);
    }

    pub(super) fn split(&mut self, from: Instant, to: Instant) {
        self.splits.push((from, to));
    }

    pub(super) fn paused(&mut self, handle: Handle, from: Instant, to: Instant) {
        self.pauses.push((handle, from, to));
    }

    /// Who subscribes while a publisher cannot be reached is not promised what it publishes soon afterwards.
    fn is_told(&self, event: &Event, since: Instant) -> bool {
        !self.pauses.iter().any(|(handle, from, to)| {
            let is_unaware = *from <= since && since <= *to + UNAWARE.0 && event.at <= *to + UNAWARE.1;
            *handle == event.publisher && is_unaware
        })
    }

    /// The number of a new event.
    pub(super) fn published(&mut self, at: Instant, publisher: Handle) -> u32 {
        let mut depth = vec![UNKNOWN; self.nodes];
        depth[slot_of(publisher) as usize] = 0;
        self.events.push(Event {
            publisher,
            at,
            depth,
            heard: vec![0; self.nodes],
            fan_out: BTreeMap::new(),
        });
        self.events.len() as u32 - 1
    }

    /// A copy of an event has come. `is_wanted`: the node has, or had until lately, somebody who wants it.
    pub(super) fn came(&mut self, event: u32, from: Handle, to: Handle, is_wanted: bool) {
        let Some(event) = self.events.get_mut(event as usize) else { return };
        let (from, slot, receiver) = (slot_of(from), slot_of(to), to);
        if !is_wanted && slot != slot_of(event.publisher) {
            self.bystanders.insert(slot);
        }
        let before = event.depth[from as usize];
        let depth = &mut event.depth[slot as usize];
        if *depth == UNKNOWN {
            *depth = before.saturating_add(1);
            event.fan_out.entry(from).or_default().push(receiver);
        } else {
            self.count.redundant += 1;
        }
    }

    /// A subscriber hears an event.
    pub(super) fn heard(&mut self, now: Instant, number: u32, to: Handle) {
        let Some(event) = self.events.get_mut(number as usize) else { return };
        let (publisher, mark) = (event.publisher, (to.as_u32() >> 24) as u16 + 1);
        let heard = &mut event.heard[slot_of(to) as usize];
        if *heard == mark {
            self.count.duplicates += 1;
            return self.complain(now, &format!("{to:?} hears event {number} twice"));
        }
        *heard = mark;
        self.latencies.push((now.since(event.at).as_micros() / 1_000) as u32);
        let last = self.last.entry((to, publisher)).or_default();
        if number < *last {
            let last = *last;
            self.count.out_of_order += 1;
            return self.complain(now, &format!("{to:?} hears event {number} of {publisher:?} after {last}"));
        }
        *last = number;
    }

    /// An event came where nobody wants it, or a stream is begun.
    pub(super) fn sent_to(&mut self, now: Instant, to: Handle, is_cancelled_since: Option<Instant>) {
        let ended = self.dead.get(&to).copied().or(is_cancelled_since);
        if ended.is_some_and(|ended| now > ended + ENDED) {
            self.count.after_the_end += 1;
            self.complain(now, &format!("{to:?} is still served, though it ended at {ended:?}"));
        }
    }

    fn is_promised(&self, at: Instant) -> bool {
        !self.splits.iter().any(|(from, to)| *from <= at && at < *to)
    }

    /// Those who must have heard an event, and how many of them have.
    fn audience(&self, event: &Event) -> (u64, u64, Option<Missed>) {
        let (mut expected, mut delivered, mut missed) = (0, 0, None);
        for term in &self.terms {
            let slot = slot_of(term.handle);
            let is_due = |since| since <= event.at && self.is_told(event, since);
            let is_over = term.ended.is_some_and(|ended| ended < event.at + UNDER_WAY);
            if is_over || !term.acknowledged.is_some_and(is_due) || slot == slot_of(event.publisher) {
                continue;
            }
            expected += 1;
            // Or a later start of it has.
            if event.heard[slot as usize] > (term.handle.as_u32() >> 24) as u16 {
                delivered += 1;
            } else {
                missed = missed.or(Some((term.handle, term.acknowledged)));
            }
        }
        (expected, delivered, missed)
    }

    pub(super) fn report(mut self, rounds_to_right_ring: Option<u32>, must_all_hear: bool) -> Report {
        let (mut expected, mut delivered) = (0, 0);
        let (mut resumed, mut mostly) = (None, None);
        let (mut depth_max, mut steps, mut reached) = (0, 0, 0);
        let mut wrong = Vec::new();
        for (number, event) in self.events.iter().enumerate() {
            let all = event.depth.iter().filter(|depth| **depth != UNKNOWN);
            let publisher = slot_of(event.publisher) as usize;
            for (_, depth) in event.depth.iter().enumerate().filter(|(slot, _)| *slot != publisher) {
                if *depth != UNKNOWN {
                    steps += u64::from(*depth);
                    reached += 1;
                }
            }
            depth_max = depth_max.max(all.copied().max().unwrap_or_default());
            let died = self.dead.get(&event.publisher);
            if died.is_some_and(|died| *died < event.at + UNDER_WAY) || !self.is_promised(event.at) {
                continue;
            }
            let (of, got, missed) = self.audience(event);
            expected += of;
            delivered += got;
            if must_all_hear && let Some((handle, Some(since))) = missed {
                wrong.push((event.at, {
                    let words =
                        format!("{handle:?}, subscribed since {since:?}, never heard event {number} of");
                    format!("{words} {:?}", event.publisher)
                }));
            }
            let Some(killed) = self.killed.filter(|killed| *killed <= event.at) else { continue };
            let after = event.at.since(killed).as_micros() / 1_000;
            resumed = if got == of { resumed.or(Some(after)) } else { None };
            mostly = if got * 1_000 >= of * 999 { mostly.or(Some(after)) } else { None };
        }
        wrong.iter().for_each(|(at, words)| self.complain(*at, words));
        let mut waits: Vec<u64> = self
            .terms
            .iter()
            .filter_map(|term| {
                let since =
                    term.acknowledged.filter(|at| *at <= self.events.first().map_or(*at, |it| it.at))?;
                Some(since.since(term.asked).as_micros() / 1_000)
            })
            .collect();
        waits.sort_unstable();
        self.latencies.sort_unstable();
        let of = |share: f64, len: usize| (len.saturating_sub(1) as f64 * share) as usize;
        let wait = |share| waits.get(of(share, waits.len())).copied().unwrap_or_default();
        let latency = |share| {
            let at = of(share, self.latencies.len());
            self.latencies.get(at).copied().unwrap_or_default().into()
        };
        let count = self.count;
        // Who stands in for a head that died does not count beside it.
        let live = |all: &Vec<Handle>| all.iter().filter(|one| !self.dead.contains_key(one)).count();
        let fan_outs = self.events.iter().flat_map(|it| it.fan_out.values()).map(live);
        let per_event = |sum: u64| (10.0 * sum as f64 / self.events.len().max(1) as f64).round() / 10.0;
        Report {
            rounds_to_right_ring,
            acknowledged: waits.len() as u64,
            acknowledged_90_ms: wait(0.9),
            acknowledged_all_ms: wait(1.0),
            events: self.events.len() as u64,
            expected,
            delivered,
            fan_out_max: fan_outs.max().unwrap_or(0) as u32,
            depth_max: depth_max.into(),
            depth_mean: (100.0 * steps as f64 / f64::max(1.0, reached as f64)).round() / 100.0,
            bystanders_touched: self.bystanders.len() as u64,
            latency_half_ms: latency(0.5),
            latency_99_ms: latency(0.99),
            latency_max_ms: latency(1.0),
            payloads_per_event: per_event(count.payloads),
            control_messages_per_event: per_event(count.control),
            store_messages_per_event: per_event(count.store),
            parts_per_event: per_event(count.parts),
            numbers_per_event: per_event(count.numbers),
            resumed_after_ms: resumed,
            mostly_resumed_after_ms: mostly,
            redundant: count.redundant,
            duplicates: count.duplicates,
            out_of_order: count.out_of_order,
            told_lost: count.told_lost,
            after_the_end: count.after_the_end,
            ok: self.wrong.is_empty(),
            wrong: self.wrong,
        }
    }
}

impl Count {
    /// What was sent later does not count.
    pub(super) fn only_until(&mut self, sent: &Count) {
        let Count { payloads, control, store, parts, numbers, .. } = *sent;
        *self = Count { payloads, control, store, parts, numbers, ..*self };
    }
}
