//! Agents, their clients, and a ring that is a table.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use xtreem_base::{Duration, Instant, NodeId, Rng};

use super::super::record::{Intent, Record, id_of};
use super::super::*;
use super::{change, topic};
use crate::keeper::Asker;
use crate::{EventHeaders, EventWriter, Stem, Topic};

pub(super) const ACCOUNTS: [&str; 4] = ["bank/a", "bank/b", "bank/c", "bank/d"];
pub(super) const START: u64 = 100;
const LEASE: Duration = Duration::from_secs(86_400);

type Key = (Place, Vec<u8>);

/// What a client was told.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Updated(Result<Vec<Option<HashId>>, Failed>),
    Value(Option<Bytes>),
    Put,
    Nothing,
}

/// One operation of a client, from its first beginning to its answer.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub begun: Instant,
    /// None: it was never answered.
    pub ended: Option<Instant>,
    pub what: Operation,
}

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Update { operation: String, changes: Vec<Change>, result: Option<Result<Vec<Option<HashId>>, Failed>> },
    Read(Topic<'static>, Option<HashId>),
    Put(Topic<'static>, HashId),
}

impl Past {
    pub fn is_made(&self) -> bool {
        matches!(&self.what, Operation::Update { result: Some(Ok(_)), .. })
    }

    pub fn sets(&self) -> usize {
        let Operation::Update { changes, .. } = &self.what else { return 0 };
        changes.iter().filter(|it| it.what != What::Keep).count()
    }
}

enum Event {
    Apply(usize, u64, u64, Ask, bool),
    Answer(usize, u64, u64, Done),
    Wake(usize, u64, u64),
}

pub(super) struct World {
    pub rng: Rng,
    pub now: Instant,
    /// Of a hundred questions so many are lost, and as many answers, and as many come late.
    pub losses: u64,
    pub may_die: bool,
    agents: Vec<(u64, Updates)>,
    items: BTreeMap<Key, (Bytes, Version, Instant)>,
    numbers: BTreeMap<Key, u64>,
    /// Of each topic the names of its values, one after the other.
    pub chains: BTreeMap<Vec<u8>, Vec<Option<HashId>>>,
    pub published: BTreeMap<HashId, usize>,
    events: BTreeMap<(Instant, u64), Event>,
    count: u64,
    answers: BTreeMap<u64, Said>,
    /// Questions until the agent dies that asks.
    pub dies_in: Option<u64>,
    /// And that question is not heard.
    pub is_last_lost: bool,
    pub asked: u64,
    history: Vec<Past>,
}

impl World {
    pub fn new(seed: u64, agents: u64) -> World {
        World {
            rng: Rng::derive(seed, 0, "updates"),
            now: Instant::from_millis(1),
            losses: 0,
            may_die: false,
            agents: (0..agents).map(|nth| (nth, Updates::new(nth << 32, LEASE))).collect(),
            items: BTreeMap::new(),
            numbers: BTreeMap::new(),
            chains: BTreeMap::new(),
            published: BTreeMap::new(),
            events: BTreeMap::new(),
            count: 0,
            answers: BTreeMap::new(),
            dies_in: None,
            is_last_lost: false,
            asked: 0,
            history: Vec::new(),
        }
    }

    pub fn agent(&mut self, at: usize) -> &mut Updates {
        &mut self.agents[at].1
    }

    fn at(&mut self, millis: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.now + Duration::from_millis(millis), self.count), event);
    }

    pub fn kill(&mut self, at: usize) {
        self.count += 1;
        let incarnation = 1_000 + self.count;
        self.agents[at] = (incarnation, Updates::new(incarnation << 32, LEASE));
    }

    fn act(&mut self, at: usize) {
        while let Some(task) = self.agents[at].1.next_task() {
            let incarnation = self.agents[at].0;
            match task {
                Task::Ring(number, ask) => {
                    self.asked += 1;
                    let is_last = self.dies_in == Some(self.asked);
                    if !is_last || !self.is_last_lost {
                        self.ring(at, incarnation, number, ask);
                    }
                    if is_last {
                        self.kill(at);
                    }
                }
                Task::Wake(number, after) => {
                    self.at(after.as_millis(), Event::Wake(at, incarnation, number));
                }
                Task::Publish(arrival) => {
                    *self.published.entry(id_of(Some(&arrival.full)).expect("an event")).or_default() += 1;
                }
                Task::Updated(asker, result) => {
                    drop(self.answers.insert(asker.number, Said::Updated(result)))
                }
                Task::Value(asker, _, value) => {
                    if let Ok(value) = value {
                        self.answers.insert(asker.number, Said::Value(value));
                    }
                }
                Task::Put(request, result) => {
                    if result.is_ok() {
                        self.answers.insert(request, Said::Put);
                    }
                }
                Task::Overtaken(..) | Task::Page(..) => {}
            }
        }
    }

    fn ring(&mut self, at: usize, incarnation: u64, number: u64, ask: Ask) {
        let way = 1 + u64::from(self.rng.below(20));
        let fate = u64::from(self.rng.below(100));
        let late = 100 + u64::from(self.rng.below(2_000));
        let answer = |done| Event::Answer(at, incarnation, number, done);
        if fate < self.losses {
            self.at(late, answer(Done::Unsure));
        } else if fate < 2 * self.losses {
            self.at(way, Event::Apply(at, incarnation, number, ask, false));
            self.at(late, answer(Done::Unsure));
        } else if fate < 3 * self.losses {
            // It is done long after nobody waits for it any more.
            self.at(late, answer(Done::Unsure));
            self.at(4 * late, Event::Apply(at, incarnation, number, ask, false));
        } else {
            self.at(way, Event::Apply(at, incarnation, number, ask, true));
        }
    }

    fn apply(&mut self, ask: Ask) -> Done {
        let (place, key) = match &ask {
            Ask::Get(place, key) | Ask::Write { place, key, .. } => (*place, key.clone()),
        };
        let now = self.now;
        let key = (place, key);
        self.items.retain(|_, (.., until)| *until > now);
        let there = self.items.get(&key);
        let (value, expected, lease) = match ask {
            Ask::Get(..) => {
                return Done::Got(there.map(|(value, version, until)| Found {
                    value: value.clone(),
                    version: *version,
                    left: until.since(now),
                }));
            }
            Ask::Write { value, expected, lease, .. } => (value, expected, lease),
        };
        if there.map_or(Version::default(), |(_, version, _)| *version) != expected {
            return Done::Differs;
        }
        if value.is_none() && there.is_none() {
            return Done::Differs;
        }
        let number = self.numbers.entry(key.clone()).or_default();
        *number += 1;
        let version = Version { epoch: 1, number: *number };
        if place == Place::Values && value.as_ref().is_none_or(|value| Intent::read(value).is_none()) {
            let chain = self.chains.entry(key.1.clone()).or_default();
            let id = id_of(value.as_ref());
            if chain.last().copied().unwrap_or_default() != id {
                chain.push(id);
            }
        }
        match value {
            Some(value) => drop(self.items.insert(key, (value, version, now + lease))),
            None => drop(self.items.remove(&key)),
        }
        Done::Written(version)
    }

    /// One thing happens; false: nothing is left.
    pub fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.now = at;
        match event {
            Event::Apply(agent, incarnation, number, ask, is_answered) => {
                let done = self.apply(ask);
                if is_answered {
                    let way = 1 + u64::from(self.rng.below(20));
                    self.at(way, Event::Answer(agent, incarnation, number, done));
                }
            }
            Event::Answer(agent, incarnation, number, done) if self.agents[agent].0 == incarnation => {
                self.agents[agent].1.handle_done(at, number, done);
                self.act(agent);
            }
            Event::Wake(agent, incarnation, number) if self.agents[agent].0 == incarnation => {
                self.agents[agent].1.wake(number);
                self.act(agent);
            }
            Event::Answer(..) | Event::Wake(..) => {}
        }
        true
    }

    fn asker(&mut self, operation: &str) -> Asker {
        self.count += 1;
        Asker { connection: 1, number: self.count, ack: Some(operation.into()) }
    }

    pub fn begin_update(&mut self, at: usize, operation: &str, changes: Vec<Change>) -> u64 {
        let asker = self.asker(operation);
        let number = asker.number;
        let now = self.now;
        self.agents[at].1.update(now, asker, "me", Update::new(changes).expect("possible"));
        self.act(at);
        number
    }

    fn begin_read(&mut self, at: usize, of: &Topic<'static>) -> u64 {
        let asker = self.asker("");
        let number = asker.number;
        let now = self.now;
        self.agents[at].1.read(now, asker, &Arc::new(Pattern::Topic(of.clone())));
        self.act(at);
        number
    }

    fn begin_put(&mut self, at: usize, of: &Topic<'static>, payload: &str) -> (u64, HashId) {
        self.count += 1;
        let request = self.count;
        let id = Stem::new(NodeId::from_bytes([9; 16]), b"put", 1, of.as_str()).event(request);
        let pattern = Pattern::Topic(of.clone());
        let headers = EventHeaders { is_retained: true, ..EventHeaders::default() };
        let mut out = BytesMut::new();
        EventWriter::new(&pattern).write(&mut out, id, Some(&headers), payload.as_bytes());
        let now = self.now;
        self.agents[at].1.put(now, request, &pattern, Some(out.freeze()));
        self.act(at);
        (request, id)
    }

    /// What is said by then.
    pub fn await_answer(&mut self, number: u64, until: Instant) -> Said {
        while self.now < until && !self.answers.contains_key(&number) && self.step() {}
        self.answers.remove(&number).unwrap_or(Said::Nothing)
    }

    /// An update by itself.
    pub fn make(&mut self, at: usize, operation: &str, changes: Vec<Change>) -> Said {
        let number = self.begin_update(at, operation, changes);
        let until = self.now + Duration::from_secs(60);
        let said = self.await_answer(number, until);
        while self.step() {}
        said
    }

    pub fn read_value(&mut self, at: usize, of: &str) -> (Option<HashId>, String) {
        let number = self.begin_read(at, &topic(of));
        let until = self.now + Duration::from_secs(60);
        let Said::Value(value) = self.await_answer(number, until) else { panic!("{of} is not read") };
        (id_of(value.as_ref()), payload(value.as_ref()))
    }

    pub fn versions(&self, key: &[u8]) -> Vec<Version> {
        let last = self.numbers.get(&(Place::Values, key.to_vec())).copied().unwrap_or_default();
        (1..=last).map(|number| Version { epoch: 1, number }).collect()
    }

    /// Records that lie there are found by their owners.
    pub fn sweep(&mut self) {
        let now = self.now;
        let records: Vec<_> = self
            .items
            .iter()
            .filter(|((place, _), _)| *place == Place::Records)
            .map(|(key, item)| {
                let (value, version, until) = item.clone();
                (key.1.clone(), Found { value, version, left: until.since(now) })
            })
            .collect();
        for (key, found) in records {
            let at = self.rng.below(self.agents.len() as u32) as usize;
            self.agents[at].1.look_after(now, &key, &found);
            self.act(at);
        }
    }

    pub fn records(&self) -> Vec<(Vec<u8>, Record)> {
        let records = self.items.iter().filter(|((place, _), _)| *place == Place::Records);
        records.map(|((_, key), (value, ..))| (key.clone(), Record::read(value).expect("one"))).collect()
    }

    fn lay(&mut self, place: Place, key: Vec<u8>, value: Bytes) {
        let there = self.items.get(&(place, key.clone())).map(|(_, version, _)| *version);
        let lease = Duration::from_secs(60);
        let ask = Ask::Write { place, key, value: Some(value), expected: there.unwrap_or_default(), lease };
        assert!(matches!(self.apply(ask), Done::Written(_)));
    }

    pub fn put_record(&mut self, key: &[u8], record: &Record) {
        self.lay(Place::Records, key.into(), record.write());
    }

    pub fn put_intent(&mut self, of: &str, intent: &Intent) {
        self.lay(Place::Values, topic(of).order_key(), intent.write());
    }

    pub fn pass(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= until) && self.step() {}
        self.now = until;
    }

    pub fn has_intents(&self) -> bool {
        self.items.values().any(|(value, ..)| Intent::read(value).is_some())
    }
}

pub(super) fn payload(event: Option<&Bytes>) -> String {
    let text = event.map(|event| String::from_utf8(event.to_vec()).expect("text")).unwrap_or_default();
    text.trim_end().rsplit('\n').next().unwrap_or_default().to_string()
}

/// One of the clients, which does one thing after another.
struct Client {
    todo: usize,
    doing: Option<(u64, Instant, usize)>,
    /// What it has read of two accounts and a third one.
    chosen: Vec<&'static str>,
    read: Vec<(Option<HashId>, u64)>,
}

impl World {
    /// So many clients, each with so many transfers.
    pub fn work(&mut self, clients: usize, todo: usize) {
        let first = ACCOUNTS.map(|of| change(of, None, &START.to_string()));
        let losses = core::mem::take(&mut self.losses);
        let begun = self.now;
        let said = self.make(0, "first", first.to_vec());
        self.losses = losses;
        let Said::Updated(result) = said else { panic!("{said:?}") };
        let what =
            Operation::Update { operation: "first".into(), changes: first.into(), result: Some(result) };
        let mut history = [Past { begun, ended: Some(self.now), what }].to_vec();
        let none = || Client { todo, doing: None, chosen: Vec::new(), read: Vec::new() };
        let mut all: Vec<Client> = (0..clients).map(|_| none()).collect();
        while all.iter().any(|client| client.todo > 0) {
            for (nth, client) in all.iter_mut().enumerate() {
                self.go_on(nth, client, &mut history);
            }
            if self.may_die && self.rng.below(300) == 0 {
                let at = self.rng.below(self.agents.len() as u32) as usize;
                self.kill(at);
            }
            if self.rng.below(500) == 0 {
                self.sweep();
            }
            if !self.step() {
                self.pass(50);
            }
        }
        self.history = history;
    }

    fn go_on(&mut self, nth: usize, client: &mut Client, history: &mut Vec<Past>) {
        let at = self.rng.below(self.agents.len() as u32) as usize;
        if client.todo == 0 {
            return;
        }
        let Some((number, since, place)) = client.doing else {
            let (what, number) = if client.chosen.len() < 3 {
                // Three accounts, each once; a fourth thing is a topic that anybody writes.
                let left: Vec<_> = ACCOUNTS.into_iter().filter(|it| !client.chosen.contains(it)).collect();
                let of = left[self.rng.below(left.len() as u32) as usize];
                client.chosen.push(of);
                (Operation::Read(topic(of), None), self.begin_read(at, &topic(of)))
            } else if nth % 3 == 2 && self.rng.below(3) > 0 {
                client.todo -= 1;
                let (number, id) = self.begin_put(at, &topic("free"), &format!("{nth}"));
                (Operation::Put(topic("free"), id), number)
            } else {
                let operation = format!("{nth}-{}", client.todo);
                let changes = self.transfer(client);
                let number = self.begin_update(at, &operation, changes.clone());
                (Operation::Update { operation, changes, result: None }, number)
            };
            history.push(Past { begun: self.now, ended: None, what });
            client.doing = Some((number, self.now, history.len() - 1));
            return;
        };
        let patience = Duration::from_secs(15);
        let said = self.answers.remove(&number).unwrap_or(Said::Nothing);
        let past = &mut history[place];
        match (&mut past.what, said) {
            (Operation::Read(_, id), Said::Value(value)) => {
                *id = id_of(value.as_ref());
                client.read.push((*id, payload(value.as_ref()).parse().expect("money")));
            }
            (Operation::Put(..), Said::Put) => {}
            (Operation::Update { result, .. }, Said::Updated(done)) if done != Err(Failed::Indefinite) => {
                *result = Some(done);
                client.todo -= 1;
                (client.chosen, client.read) = Default::default();
            }
            (Operation::Put(..), Said::Nothing) if self.now.since(since) > patience => {
                client.doing = None;
                return;
            }
            // The agent may be dead: again, at another one.
            (Operation::Read(of, _), Said::Nothing) if self.now.since(since) > patience => {
                let of = of.clone();
                client.doing = Some((self.begin_read(at, &of), self.now, place));
                return;
            }
            (Operation::Update { operation, changes, .. }, said) => {
                let is_over = matches!(said, Said::Updated(_)) || self.now.since(since) > patience;
                // Some are impatient, and both servers are at it.
                if is_over || self.rng.below(3_000) == 0 {
                    let (operation, changes) = (operation.clone(), changes.clone());
                    client.doing = Some((self.begin_update(at, &operation, changes), self.now, place));
                }
                return;
            }
            _ => return,
        }
        past.ended = Some(self.now);
        client.doing = None;
    }

    /// From the first account to the second, if the third is as it was; and a value that is only written.
    fn transfer(&mut self, client: &Client) -> Vec<Change> {
        let [(from, had), (to, has), (third, _)] = client.read[..] else { panic!("three were read") };
        let amount = u64::from(self.rng.below(20)).min(had);
        let mut changes = [
            change(client.chosen[0], from, &(had - amount).to_string()),
            change(client.chosen[1], to, &(has + amount).to_string()),
        ]
        .to_vec();
        if self.rng.below(2) == 0 {
            let expected = third.map_or(Expected::Absent, Expected::Is);
            changes.push(Change { topic: topic(client.chosen[2]), expected, what: What::Keep });
        }
        if self.rng.below(3) == 0 {
            let what = What::Set(Bytes::from_static(b"moved"));
            changes.push(Change { topic: topic("free"), expected: Expected::Any, what });
        }
        changes
    }

    /// No more is lost, owners look after what was left, and everything is read.
    pub fn settle(&mut self) -> Vec<Past> {
        (self.losses, self.may_die) = (0, false);
        for _ in 0..3 {
            self.pass(60_000);
            self.sweep();
        }
        self.pass(60_000);
        assert!(self.agents.iter().all(|(_, agent)| agent.is_idle()));
        let mut history = core::mem::take(&mut self.history);
        for of in ACCOUNTS.into_iter().chain(["free"]) {
            let begun = self.now;
            let (id, _) = self.read_value(0, of);
            let what = Operation::Read(topic(of), id);
            history.push(Past { begun, ended: Some(self.now), what });
        }
        // One that came late does not count, and goes when somebody meets it.
        self.pass(1_000);
        assert!(!self.has_intents(), "an intent is left");
        history
    }

    /// Of all accounts, as they lie there.
    pub fn total(&self) -> u64 {
        let value = |of: &&str| self.items.get(&(Place::Values, topic(of).order_key()));
        ACCOUNTS
            .iter()
            .filter_map(value)
            .map(|(it, ..)| payload(Some(it)).parse::<u64>().expect("money"))
            .sum()
    }
}
