//! A node with a valid credential that has no part in an application and says whatever it likes about it.

use xtreem_allocation::{
    Appointment, Body as _, Confirm, Epoch, Evidence, Final, GuardianSet, Holds, Known, Link,
    Message as Allocation, Refused, SetVersion, Signed, SlotReport, Versions,
};

use super::*;
use crate::Relay;

const SLOTS: u16 = 6;
const HOSTS: usize = 24;
const DONE: SlotState = SlotState::Done(Exit::Code(0));

/// Everything that the liar has found out: an application tells everybody who asks.
struct Prey {
    application: Application,
    /// As a holder describes it, each slot with its epoch and holder.
    slots: Vec<Known>,
    guardians: Vec<Handle>,
    me: NodeId,
    ids: Vec<NodeId>,
    liar: Handle,
}

impl Prey {
    fn app(&self) -> AppId {
        self.application.record.id
    }

    fn id(&self, handle: Handle) -> NodeId {
        self.ids[handle.as_u32() as usize]
    }

    /// The liar's own epoch, above what is known or far beyond it.
    fn epoch(&self, counter: u32) -> Epoch {
        Epoch { counter, recruiter: self.me, incarnation: 1, attempt: 1 }
    }

    /// Versions that nobody has.
    fn versions(&self) -> Versions {
        let mut record = self.application.record.version();
        record.generation = u32::MAX;
        Versions { record, guardians: SetVersion { number: u32::MAX, by: self.epoch(u32::MAX) } }
    }

    fn link(&self, out: &Outbox, slot: u16, epoch: Epoch) -> Arc<Signed<Link>> {
        let after = epoch.counter.saturating_sub(1);
        Signed::by(out, Link { app: self.app(), slot, epoch, holder: self.me, after })
    }

    fn set(&self, out: &Outbox, slot: u16, number: u32, by: Epoch) -> GuardianSet {
        let version = SetVersion { number, by };
        let body = Appointment { app: self.app(), slot, version, members: vec![self.me], signer: self.me };
        let claim = Some(Signed::new(out, body).into());
        GuardianSet { version, members: vec![self.liar], claim }
    }

    /// What the liar can sign itself: that it recruited itself, that this slot has ended, who guards.
    fn evidence(&self, out: &Outbox, known: &Known, epoch: Epoch) -> Evidence {
        let (app, slot, holder) = (self.app(), known.slot, self.me);
        let state = DONE;
        let ended = |epoch| Signed::by(out, Final { app, slot, epoch, state, holder });
        let set = self.set(out, slot, u32::MAX, epoch).claim.expect("it was just made");
        Evidence {
            roots: vec![self.me],
            links: vec![self.link(out, slot, epoch)],
            sets: vec![Arc::new(*set)],
            finals: vec![ended(epoch), ended(known.epoch)],
        }
    }
}

type Attack = (&'static str, fn(&Prey, &Outbox, &Known) -> Vec<Allocation>);

/// What it says about one slot, to everybody.
const ATTACKS: &[Attack] = &[
    ("tells that it is done", |prey, _, known| {
        let told = |epoch, state| Known { slot: known.slot, epoch, holder: known.holder, state };
        let slots = vec![told(prey.epoch(1_000), DONE), told(known.epoch, DONE)];
        let (app, versions) = (prey.app(), prey.versions());
        vec![Allocation::Tell { app, versions, slots, evidence: Box::default() }]
    }),
    ("tells that it runs elsewhere under the last epoch of all", |prey, _, known| {
        let holder = Some(handle(HOSTS - 1));
        let epoch = prey.epoch(u32::MAX);
        let slots = vec![Known { slot: known.slot, epoch, holder, state: SlotState::Running }];
        let (app, versions) = (prey.app(), prey.versions());
        vec![Allocation::Tell { app, versions, slots, evidence: Box::default() }]
    }),
    ("proves it with what it signed itself", |prey, out, known| {
        let tell = |epoch: Epoch| {
            let told = |state| Known { slot: known.slot, epoch, holder: Some(prey.liar), state };
            let slots = vec![told(SlotState::Running), told(DONE)];
            let evidence = prey.evidence(out, known, epoch).into();
            Allocation::Tell { app: prey.app(), versions: prey.versions(), slots, evidence }
        };
        vec![tell(prey.epoch(2)), tell(prey.epoch(500)), tell(prey.epoch(u32::MAX))]
    }),
    ("proves it with what the holder would have signed", |prey, out, known| {
        let recruiter = prey.id(known.holder.unwrap_or(handle(0)));
        let epoch = Epoch { recruiter, ..prey.epoch(2) };
        let slots =
            vec![Known { slot: known.slot, epoch, holder: Some(prey.liar), state: SlotState::Running }];
        let evidence =
            Box::new(Evidence { links: vec![prey.link(out, known.slot, epoch)], ..Evidence::default() });
        vec![Allocation::Tell { app: prey.app(), versions: prey.versions(), slots, evidence }]
    }),
    ("reports it as its own", |prey, _, known| {
        let report = |epoch, state| SlotReport { slot: known.slot, epoch, state, done_run: SLOTS };
        let mine = vec![
            report(known.epoch, SlotState::Running),
            report(known.epoch, DONE),
            report(prey.epoch(7), SlotState::Running),
            report(prey.epoch(u32::MAX), DONE),
        ];
        let (app, versions) = (prey.app(), prey.versions());
        let about = Known { epoch: prey.epoch(9), holder: Some(prey.liar), ..*known };
        vec![
            Allocation::Report { app, versions, mine: mine.clone() },
            Allocation::GuardianProbe { app, versions, mine: mine.clone() },
            Allocation::Probe { app, versions: Some(versions), about, mine: mine.clone() },
            Allocation::ProbeAck {
                app,
                versions: Some(versions),
                slot: known.slot,
                holds: Holds::Yes(mine[1]),
                newest: Some(Known { epoch: prey.epoch(8), holder: Some(prey.liar), ..*known }),
            },
        ]
    }),
    ("announces itself, refuses others and claims", |prey, _, known| {
        let (app, slot, versions) = (prey.app(), known.slot, prey.versions());
        let higher = Some(Known { epoch: prey.epoch(77), holder: Some(prey.liar), ..*known });
        let ended = Some(Known { state: DONE, ..*known });
        let evidence = Box::default();
        vec![
            Allocation::Announce { app, versions, slot, epoch: prey.epoch(5) },
            Allocation::Announced { app, slot, epoch: known.epoch, higher },
            Allocation::Announced { app, slot, epoch: known.epoch, higher: ended },
            Allocation::Confirmed { app, slot, epoch: known.epoch },
            Allocation::Refused { app, slot, epoch: known.epoch, why: Refused::NoHold },
            Allocation::Refused { app, slot, epoch: known.epoch, why: Refused::Higher(*known, evidence) },
            Allocation::ProbeAck { app, versions: None, slot, holds: Holds::No, newest: higher },
            Allocation::Claim { app, slot, order: 0 },
            Allocation::GuardianAck { app, versions: None },
            Allocation::RecordTaken { app, version: versions.record },
        ]
    }),
    ("appoints guardians, and confirms", |prey, out, known| {
        let (app, slot, hold) = (prey.app(), known.slot, 1);
        let guardians = prey.set(out, slot, u32::MAX, known.epoch);
        let own = prey.set(out, slot, 5, prey.epoch(3));
        let (application, slots) = (prey.application.clone(), vec![*known]);
        let epoch = prey.epoch(3);
        let evidence = prey.evidence(out, known, epoch);
        let mut named = guardians.clone();
        named.members = prey.guardians.clone();
        let confirm = Confirm {
            application: application.clone(),
            slot,
            epoch,
            hold,
            guardians: own.clone(),
            neighbours: slots.clone(),
            older: vec![],
            peers: vec![],
            failures: vec![],
            failing: vec![],
            sources: vec![],
            evidence: evidence.clone(),
        };
        let appoint = |guardians| Allocation::Appoint {
            application: application.clone().into(),
            guardians,
            slots: slots.clone(),
            older: vec![],
            evidence: evidence.clone().into(),
        };
        vec![
            Allocation::Guardians { app, guardians },
            Allocation::Guardians { app, guardians: own },
            appoint(named),
            Allocation::Confirm(confirm.into()),
        ]
    }),
];

impl Net {
    /// A node that has no part in the application, and all that it can find out.
    fn prey(&self) -> Prey {
        let nodes = || self.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, node.as_ref()?)));
        let app = AppId::from_bytes([7; 16]);
        let (outsider, _) =
            nodes().find(|(at, node)| *at != 3 && node.app(self.now, app).is_none()).expect("somebody");
        let mut slots: BTreeMap<u16, Known> = BTreeMap::new();
        let mut guardians = Vec::new();
        for (_, node) in nodes() {
            let Some(known) = node.app(self.now, app) else { continue };
            // Who remembers an end of another node's slot does not say whose it was.
            for known in known.slots {
                if known.holder.is_some() || !slots.contains_key(&known.slot) {
                    slots.insert(known.slot, known);
                }
            }
            guardians = known.guardians;
        }
        let mut application = application(SLOTS, Wanted::Running);
        application.record.submitter = self.ids[3];
        let (me, liar) = (self.ids[outsider], handle(outsider));
        Prey { application, slots: slots.into_values().collect(), guardians, me, ids: self.ids.clone(), liar }
    }

    /// The liar says this about every slot to everybody.
    fn lie(&mut self, prey: &Prey, attack: fn(&Prey, &Outbox, &Known) -> Vec<Allocation>) {
        let liar = prey.liar.as_u32() as usize;
        self.with(liar, |_, _, out| {
            for known in &prey.slots {
                for message in attack(prey, out, known) {
                    for peer in (0..HOSTS).filter(|at| *at != liar) {
                        out.sent.push((handle(peer), Message::Allocation(message.clone())));
                    }
                }
            }
        });
    }
}

/// What a node knows of an application: its slots, and the guardians.
type Picture = (Vec<Known>, Vec<Handle>);

impl Net {
    /// What everybody but the liar knows of the application.
    fn pictures(&self, prey: &Prey) -> BTreeMap<usize, Picture> {
        let others = self.nodes.iter().enumerate().filter(|(at, _)| handle(*at) != prey.liar);
        let known = others.filter_map(|(at, node)| Some((at, node.as_ref()?.app(self.now, prey.app())?)));
        known.map(|(at, known)| (at, (known.slots, known.guardians))).collect()
    }

    /// One message of anybody to anybody.
    fn says(&mut self, from: Handle, to: Handle, message: Allocation) {
        let at = from.as_u32() as usize;
        self.with(at, |_, _, out| out.sent.push((to, Message::Allocation(message))));
    }
}

fn running_at(seed: u64) -> (Net, Prey) {
    let mut net = Net::new(HOSTS, seed);
    net.submit(3, SLOTS);
    net.run(SECS(5));
    let prey = net.prey();
    assert_eq!((prey.slots.len(), prey.guardians.len()), (usize::from(SLOTS), 3));
    (net, prey)
}

#[test]
fn nothing_that_a_node_without_a_part_says_moves_a_slot() {
    for (name, attack) in ATTACKS {
        let (mut net, prey) = running_at(1);
        net.run(SECS(3));
        let (before, pictures) = (net.running.clone(), net.pictures(&prey));
        for _ in 0..20 {
            net.lie(&prey, *attack);
            net.run(SECS(1));
            assert_eq!(net.running, before, "{name}");
        }
        assert_eq!(net.starts, usize::from(SLOTS), "{name}");
        assert_eq!(net.pictures(&prey), pictures, "{name}");
    }
}

#[test]
fn lost_slots_are_replaced_whatever_a_node_without_a_part_says() {
    for (name, attack) in ATTACKS {
        let mut judged = 0;
        for seed in 2..6 {
            let (mut net, prey) = running_at(seed);
            for victim in [net.holder(2), net.holder(3)] {
                net.kill(victim);
            }
            for _ in 0..20 {
                net.lie(&prey, *attack);
                net.run(Duration::from_millis(500));
            }
            // Where a slot fell to the liar itself it has a part, and may end what it likes.
            let liar = net.nodes[prey.liar.as_u32() as usize].as_ref();
            if liar.is_some_and(|node| node.apps(net.now).is_empty()) {
                assert_eq!(net.slots(), [0, 1, 2, 3, 4, 5], "{name}, seed {seed}");
                judged += 1;
            }
        }
        assert!(judged > 0, "{name}: the liar has a part wherever it lies");
    }
}

#[test]
fn finished_work_stays_finished_and_is_told_with_its_proof() {
    for (name, attack) in ATTACKS {
        let mut net = Net::new(HOSTS, 4);
        net.program = Program::Finishes;
        net.submit(3, SLOTS);
        net.run(SECS(5));
        let prey = net.prey();
        let pictures = net.pictures(&prey);
        for _ in 0..10 {
            net.lie(&prey, *attack);
            net.run(SECS(1));
        }
        assert_eq!((net.starts, net.running.len()), (usize::from(SLOTS), 0), "{name}");
        assert_eq!(net.pictures(&prey), pictures, "{name}");
    }
}

#[test]
fn an_end_that_even_its_holder_only_names_is_asked_for_and_changes_nothing() {
    let (mut net, prey) = running_at(1);
    let known = prey.slots[2];
    let (holder, watcher) = (known.holder.expect("it runs"), prey.slots[1].holder.expect("it runs"));
    let report = SlotReport { slot: 2, epoch: known.epoch, state: DONE, done_run: SLOTS };
    let versions = Versions { guardians: SetVersion { number: 0, by: Epoch::NONE }, ..prey.versions() };
    let mine = vec![report];
    net.says(holder, watcher, Allocation::Report { app: prey.app(), versions, mine });
    net.run(Duration::from_millis(500));
    let pictures = net.pictures(&prey);
    let (slots, _) = &pictures[&(watcher.as_u32() as usize)];
    assert!(slots.iter().all(|known| !known.state.is_final()), "{slots:?}");
    assert_eq!(net.running.len(), usize::from(SLOTS));
}

#[test]
fn who_holds_what_is_proven_to_whoever_asks() {
    let (mut net, prey) = running_at(1);
    let known = prey.slots[2];
    let (app, slot, epoch) = (prey.app(), known.slot, known.epoch);
    let (now, holder) = (net.now, known.holder.expect("it runs"));
    let sent = net.with(holder.as_u32() as usize, |node, _, out| {
        for _ in 0..100 {
            let asked = Message::Allocation(Allocation::AskProof { app, slot, epoch });
            node.handle_message(now, prey.liar, asked, out);
        }
        core::mem::take(&mut out.sent)
    });
    let told = sent.expect("it lives");
    let [(to, Message::Allocation(Allocation::Tell { evidence, .. }))] = &told[..] else {
        panic!("once in half a second: {told:?}")
    };
    assert_eq!(*to, prey.liar);
    let is_it = |link: &Arc<Signed<Link>>| link.body.epoch == epoch && link.body.holder == prey.id(holder);
    assert!(evidence.links.iter().any(is_it), "{evidence:?}");
}

#[test]
fn a_guardian_with_room_takes_no_slot_from_a_node_without_a_part() {
    let (mut net, prey) = running_at(1);
    let (guardian, known) = (prey.guardians[0], prey.slots[2]);
    for counter in [2, 500] {
        let (hold, epoch) = (net.hold_at(guardian, prey.liar, prey.app()), prey.epoch(counter));
        let confirm = net.with(prey.liar.as_u32() as usize, |_, _, out| Confirm {
            application: prey.application.clone(),
            slot: known.slot,
            epoch,
            hold,
            guardians: prey.set(out, known.slot, 7, epoch),
            neighbours: vec![],
            older: vec![],
            peers: vec![],
            failures: vec![],
            failing: vec![],
            sources: vec![],
            evidence: Evidence {
                links: vec![Signed::by(
                    out,
                    Link {
                        app: prey.app(),
                        slot: known.slot,
                        epoch,
                        holder: prey.id(guardian),
                        after: counter - 1,
                    },
                )],
                ..Evidence::default()
            },
        });
        let confirm = confirm.expect("it lives");
        net.says(prey.liar, guardian, Allocation::Confirm(confirm.into()));
        net.run(SECS(3));
        assert_eq!((net.starts, net.running.len()), (usize::from(SLOTS), usize::from(SLOTS)));
    }
}

#[test]
fn helpers_that_lie_keep_no_dead_holder_alive() {
    for seed in 0..3 {
        let (mut net, prey) = running_at(seed);
        let dead = net.holder(2);
        net.kill(dead);
        // Everybody who is asked says that it is there, as far as that can be signed.
        net.liars = (0..HOSTS).collect();
        net.run(SECS(10));
        assert_eq!(net.slots(), [0, 1, 2, 3, 4, 5], "seed {seed}: {:?}", prey.slots);
        assert!(net.lied > 0, "somebody was asked");
    }
}

#[test]
fn a_claim_that_somebody_else_signed_does_not_arrive() {
    let (mut net, prey) = running_at(1);
    let before = net.forged;
    net.lie(&prey, ATTACKS[3].1);
    net.run(SECS(1));
    assert!(net.forged > before);
}

#[test]
fn a_dead_holder_answers_through_nobody() {
    let alive = xtreem_allocation::Alive {
        node: NodeId::from_bytes([1; 16]),
        origin: NodeId::from_bytes([2; 16]),
        nonce: 3,
    };
    let out = Outbox::new(NodeId::from_bytes([9; 16]), &[]);
    let answer = Box::new(Signed::new(&out, alive));
    let message = Message::Relay(Relay::Alive { about: handle(1), answer });
    assert!(!holds(&message), "another node signed it");
    assert_eq!(alive.claim().signer(), alive.node);
}
