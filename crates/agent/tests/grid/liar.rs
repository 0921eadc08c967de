//! A member of the VO that says what is not so: links to nobody, values that nobody has, answers that nobody
//! asked for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xtreem_allocation::{
    Application, Claim, Epoch, Evidence, Exit, Final, Known, LINKS_MAX, Link, Message as Allocation, Notary,
    SetVersion, Signed, SlotState, Versions,
};
use xtreem_base::Sink as _;
use xtreem_base::{Digest, Handle, NodeId};
use xtreem_client::api::{Plan, SearchReport, SearchRequest};
use xtreem_discovery::key::Key;
use xtreem_discovery::schema::{DYNAMICS_MAX, Schema};
use xtreem_discovery::trie::{self, DESCRIPTORS_MAX, Descriptor, Lack, Levels, Part, Report, Summary};
use xtreem_discovery::{Answer, Place};
use xtreem_net::{Contact, Count, Identity, Net, NetConfig, Service, sign_claim};
use xtreem_node::Message;

use crate::lab::{Lab, PATIENCE, until};
use crate::{all_run, shell};

/// Descriptors of nodes that do not exist, told to each agent.
const LINKS: usize = 20_000;
/// Nodes that do not exist and are said to have more of everything than any other.
const GIANTS: usize = 40;

/// Rounds of lies that have more claims than one member may have verified.
const ROUNDS: u32 = 24;
/// Messages with as much as one takes, signed before the first is said.
const BURST: u32 = 12;

const WORKERS: &str = "role == \"worker\"";

/// Nobody is there.
fn nowhere(number: usize) -> Contact {
    let mut id = [0xee; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    // Port 9 discards (RFC 863): nothing answers.
    Contact { id: NodeId::from_bytes(id), addr: SocketAddr::from(([127, 0, 0, 1], 9)), incarnation: 1 }
}

pub struct Liar {
    net: Net,
    pen: Pen,
    schema: Schema,
    victims: Vec<Contact>,
}

impl Liar {
    /// A node of the grid like any other, so far.
    pub async fn joins(lab: &Lab) -> Liar {
        let first = lab.agents[0].client.node().await.expect("it lives");
        let (services, _) = tokio::sync::mpsc::channel(1);
        let identity = lab.member("liar");
        let pen = Pen(identity.clone());
        let config = NetConfig {
            identity,
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            incarnation: 1,
            join: vec![first.address],
            kept: Vec::new(),
            hints: Vec::new(),
            attributes: Digest::from_bytes([0; 32]),
            node: xtreem_node::Config::emulated().into(),
            seed: 1,
            services,
            cable: Default::default(),
        };
        let (net, mut events) = Net::start(config).expect("it starts");
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        let mut liar = Liar { net, pen, schema: Schema::standard(), victims: Vec::new() };
        for agent in &lab.agents {
            let node = agent.client.node().await.expect("it lives");
            let (id, addr) = (node.id.parse().expect("an id"), node.address.parse().expect("an address"));
            liar.victims.push(Contact { id, addr, incarnation: node.incarnation });
        }
        liar
    }

    pub fn net(&self) -> &Net {
        &self.net
    }

    pub fn identity(&self) -> &Identity {
        &self.pen.0
    }

    /// The agent of that number.
    pub fn victim(&self, at: usize) -> Contact {
        self.victims[at]
    }

    /// Handles in no use are swept: they are asked for right before.
    async fn meets(&self, contact: Contact) -> Handle {
        self.net.handle_of(contact).await.expect("it runs, and has room")
    }

    /// To every agent, and waits until it has gone: queues drop what is too much.
    async fn says(&self, message: Message) {
        let sent = || self.net.counters().of(Count::StreamSent);
        let enough = sent() + self.victims.len() as u64;
        let mut victims = Vec::new();
        for victim in &self.victims {
            victims.push(self.meets(*victim).await);
        }
        let say = move |_: &mut xtreem_node::Node, _, out: &mut xtreem_net::Outbox| {
            victims.iter().for_each(|victim| out.send(*victim, message.clone()));
        };
        self.net.call(say).await.expect("it runs");
        let end = Instant::now() + PATIENCE;
        while sent() < enough {
            assert!(Instant::now() < end, "not sent");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn key(&self, hash: usize) -> Key {
        let codes = std::array::from_fn(|i| (hash.wrapping_mul(0x9e37_79b9 + 2 * i) >> 7) as u16);
        Key::new(&codes, self.schema.dimensions().len(), hash as u32)
    }

    async fn says_of_links(&self, part: Part, key: Key) {
        let version = self.schema.version();
        self.says(Message::Trie(version, trie::Message::Return { key, part })).await;
    }

    /// Wherever one looks there is somebody who has more than all others, and who does not exist.
    async fn names_giants(&self) {
        for number in 0..GIANTS {
            let giant = self.meets(nowhere(number)).await;
            let key = self.key(number);
            let codes = key.codes(self.schema.dimensions().len());
            let mut own = Summary::of(&self.schema, giant, &codes, &[u16::MAX - 1; DYNAMICS_MAX]);
            own.count = 1_000;
            self.says_of_links(Part { own: Some(own), is_settled: true, ..Part::default() }, key).await;
        }
    }

    async fn tells_nonsense(&self) {
        let key = self.key(7);
        let mut summary = Summary::NOTHING;
        summary.count = u32::MAX;
        let report = Report { level: 200, age: u16::MAX, summary };
        let part = Part { own: Some(summary), reports: vec![report; 40], ..Part::default() };
        self.says_of_links(part.clone(), key).await;
        let lack = Lack { key, wants: Levels::ALL, stale: Levels::ALL };
        let give = trie::Message::Give { seq: 1, lack, part };
        self.says(Message::Trie(self.schema.version(), give)).await;
        self.says(Message::Trie(999, trie::Message::Return { key, part: Part::default() })).await;
        let somebody = self.meets(nowhere(0)).await;
        for search in 0..20 {
            let place = Place { key, is_settled: true, links: Vec::new() };
            let answer = Answer {
                matched: true,
                failing: 0,
                hold: None,
                attributes: Some(Default::default()),
                applications: Vec::new(),
                contacts: vec![somebody],
                place: Some(place),
                only: false,
                facts: None,
                left_out: 0,
            };
            self.says(Message::Discovery(xtreem_discovery::Message::Answer { search, answer })).await;
        }
    }

    async fn names_links_without_end(&self) {
        let mut named = 0;
        while named < LINKS {
            let mut descriptors = Vec::new();
            for number in named..named + DESCRIPTORS_MAX {
                let handle = self.meets(nowhere(GIANTS + number)).await;
                descriptors.push(Descriptor { handle, key: self.key(number), age: 0 });
            }
            named += DESCRIPTORS_MAX;
            self.says_of_links(Part { descriptors, ..Part::default() }, self.key(named)).await;
        }
    }
}

async fn search(lab: &Lab, agent: usize, requirement: &str, all: bool) -> (Vec<String>, SearchReport) {
    let requirement = requirement.to_owned();
    let request =
        SearchRequest { requirement, limit: 10, all, timeout_ms: Some(20_000), ..SearchRequest::default() };
    let reply = lab.agents[agent].client.search(&request).await.expect("an answer");
    let mut found: Vec<String> = reply.matches.into_iter().map(|node| node.id).collect();
    found.sort_unstable();
    (found, reply.report)
}

pub async fn a_member_that_lies_hides_nobody_for_long_and_is_counted() {
    let lab = Lab::with(4, |_| "trie_period = \"200ms\"".into()).await;
    let mut workers: Vec<String> = lab.agents[1..].iter().map(|agent| agent.id.clone()).collect();
    workers.sort_unstable();
    let liar = Liar::joins(&lab).await;
    let follows_links = async |agent| search(&lab, agent, WORKERS, false).await.1.plan != Plan::Contacts;
    for agent in 0..lab.agents.len() {
        until("it knows links", async || follows_links(agent).await).await;
    }
    liar.tells_nonsense().await;
    liar.names_links_without_end().await;
    liar.names_giants().await;
    for agent in 0..lab.agents.len() {
        let counters = lab.agents[agent].client.node().await.expect("it lives").counters;
        assert!(counters["faults.trie"] > 0, "{counters:?}");
        // Whoever follows such a link misses what is behind it, says so, and has it no more.
        let (found, report) = search(&lab, agent, WORKERS, true).await;
        assert!(found == workers || report.lost > 0, "{found:?} {report:?}");
        until("all are found again", async || {
            search(&lab, agent, WORKERS, false).await.0 == workers
                && search(&lab, agent, WORKERS, true).await.0 == workers
        })
        .await;
        // None of the giants is in the set, though all are said to have more.
        let set = format!("2..2 nodes with sum(mem.free) >= 1MiB where {WORKERS}");
        let (found, report) = search(&lab, agent, &set, false).await;
        assert!(found.len() == 2 && found.iter().all(|id| workers.contains(id)), "{found:?} {report:?}");
    }
    lab.place(&lab.application("calm", 2, &shell("exec sleep 600"))).await;
}

/// Signs what it is told to.
struct Pen(Identity);

impl Notary for Pen {
    fn id_of(&self, _: Handle) -> Option<NodeId> {
        None
    }

    fn sign(&self, claim: Claim<'_>) -> Arc<[u8]> {
        sign_claim(&self.0, claim)
    }
}

const DONE: SlotState = SlotState::Done(Exit::Code(0));

impl Liar {
    /// What it says about every slot of an application in which it has no part: as it would if it wanted all
    /// of them to end, with everything that it can sign itself.
    fn lies_about(&self, app: &Application) -> Vec<Allocation> {
        let me = self.pen.0.id();
        let id = app.record.id;
        let mut record = app.record.version();
        record.generation = u32::MAX;
        let mut said = Vec::new();
        for slot in 0..app.record.slots {
            for counter in [2, 1_000, u32::MAX] {
                let epoch = Epoch { counter, recruiter: me, incarnation: 1, attempt: 1 };
                let versions = Versions { record, guardians: SetVersion { number: u32::MAX, by: epoch } };
                let link = Link { app: id, slot, epoch, holder: me, after: counter - 1 };
                let ended = Final { app: id, slot, epoch, state: DONE, holder: me };
                let evidence = Evidence {
                    links: vec![Signed::by(&self.pen, link)],
                    finals: vec![Signed::by(&self.pen, ended)],
                    ..Evidence::default()
                };
                for (state, evidence) in [
                    (DONE, Evidence::default()),
                    (SlotState::Running, Evidence::default()),
                    (DONE, evidence.clone()),
                    (SlotState::Running, evidence),
                ] {
                    let slots = vec![Known { slot, epoch, holder: None, state }];
                    let evidence = Box::new(evidence);
                    said.push(Allocation::Tell { app: id, versions, slots, evidence });
                }
            }
        }
        said
    }

    /// As much as one message takes, all of it new and signed: whoever gets it has to verify each.
    fn says_much_about(&self, app: &Application, round: u32) -> Allocation {
        let (me, id, record) = (self.pen.0.id(), app.record.id, app.record.version());
        let link = |attempt: u32| {
            let epoch = Epoch { counter: 2, recruiter: me, incarnation: round, attempt };
            Arc::new(Signed::new(&self.pen, Link { app: id, slot: 0, epoch, holder: me, after: 1 }))
        };
        let links = (0..LINKS_MAX as u32).map(link).collect();
        let guardians = SetVersion { number: 0, by: Epoch::NONE };
        let evidence = Box::new(Evidence { links, ..Evidence::default() });
        Allocation::Tell { app: id, versions: Versions { record, guardians }, slots: Vec::new(), evidence }
    }
}

pub async fn a_member_without_a_part_in_an_application_cannot_end_it() {
    // Enough of them that the application needs no guardian more: the liar would be one.
    let lab = Lab::of(6).await;
    let app = lab.application("target", 2, &shell("exec sleep 600"));
    lab.place(&app).await;
    let id = app.record.id.to_string();
    let shown = async || lab.agents[0].client.app(&id).await.expect("an answer");
    until("both slots run", async || all_run(&shown().await)).await;
    // A grid that has just met appoints one after the other.
    until("it needs no guardian more", async || shown().await.guardians.len() >= 3).await;
    let before: Vec<_> = shown().await.slots.into_iter().map(|slot| (slot.node, slot.epoch)).collect();
    let liar = Liar::joins(&lab).await;
    let end = Instant::now() + Duration::from_secs(4);
    let mut round = 0;
    while Instant::now() < end || round < ROUNDS {
        for message in liar.lies_about(&app) {
            liar.says(Message::Allocation(message)).await;
        }
        liar.says(Message::Allocation(liar.says_much_about(&app, round))).await;
        round += 1;
    }
    // On a slow machine it takes longer to sign than to be judged: all at once is more than it may say.
    let much: Vec<_> = (0..BURST).map(|number| liar.says_much_about(&app, round + number)).collect();
    for message in much {
        liar.says(Message::Allocation(message)).await;
    }
    for counter in ["faults.not_entitled", "net.too_many_claims"] {
        until("what it proved was judged, as far as it may have", async || {
            let mut counted = 0;
            for agent in &lab.agents {
                counted += agent.client.node().await.expect("it lives").counters.get(counter).unwrap_or(&0);
            }
            counted > 0
        })
        .await;
    }
    let after: Vec<_> = shown().await.slots.into_iter().map(|slot| (slot.node, slot.epoch)).collect();
    assert_eq!(before, after);
    assert!(all_run(&shown().await));
}

/// It asks for something on each of them and ends none.
pub async fn a_member_that_opens_streams_without_end_is_refused_the_seventeenth() {
    let lab = Lab::of(1).await;
    let liar = Liar::joins(&lab).await;
    let victim = liar.victims[0];
    let ask = async || {
        let (mut send, mut receive) = liar.net.open(victim, Service::PIECES).await.expect("a stream");
        // What it has of a content that nobody has: nothing.
        let question = [&[1][..], &[0xee; 32], &[0; 4]].concat();
        let _ = send.write_all(&question).await;
        let mut answer = [1; 4];
        let is_answered = receive.read_exact(&mut answer).await.is_ok() && answer == [0; 4];
        (is_answered, send, receive)
    };
    let mut open = Vec::new();
    for _ in 0..17 {
        open.push(ask().await);
    }
    let answered: Vec<bool> = open.iter().map(|(is_answered, ..)| *is_answered).collect();
    assert_eq!((answered[..16].iter().all(|is_answered| *is_answered), answered[16]), (true, false));
    open.clear();
    until("it is served again", async || ask().await.0).await;
}
