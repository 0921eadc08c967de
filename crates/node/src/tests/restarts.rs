//! A node that takes up its roles again: what it says of them, and what it believes of others that restarted.

use xtreem_allocation::{
    Confirm, Epoch, Evidence, Final, Found, GuardianSet, Holds, Kept, Known, Link, Message as Allocation,
    Offer, Older, Role, SetVersion, Signed, SlotReport, Standing, Versions,
};

use super::*;
use crate::Saved;

/// Who is who: this node and its partner restarted once, and have two handles each.
const SUBMITTER: usize = 0;
const ME: usize = 2;
const PARTNER_BEFORE: usize = 3;
const PARTNER: usize = 4;

const OWN: u16 = 0;
const OTHER: u16 = 1;
const DONE: SlotState = SlotState::Done(Exit::Code(0));

struct Bench {
    node: Node,
    ids: Vec<NodeId>,
    now: Instant,
}

/// The epoch of each slot that the submitter gave it.
fn epoch(ids: &[NodeId], slot: u16) -> Epoch {
    Epoch { counter: 1, recruiter: ids[SUBMITTER], incarnation: 1, attempt: 1 + u32::from(slot) }
}

fn app() -> Application {
    let mut application = application(2, Wanted::Running);
    application.record.submitter = NodeId::from_bytes([SUBMITTER as u8 + 1; 16]);
    application
}

fn no_guardians() -> GuardianSet {
    GuardianSet { version: SetVersion { number: 0, by: Epoch::NONE }, members: Vec::new(), claim: None }
}

/// This node held slot 0 and its partner slot 1 when both agents ended; of its own slot it knew that `holder`
/// has it.
fn role(ids: &[NodeId], holder: Option<usize>) -> Role {
    let signed = |slot, holder: usize| {
        let link =
            Link { app: app().record.id, slot, epoch: epoch(ids, slot), holder: ids[holder], after: 0 };
        Signed::by(&Outbox::new(ids[SUBMITTER], ids), link)
    };
    let known = |slot, holder| {
        let holder = Some(handle(holder));
        Known { slot, epoch: epoch(ids, slot), holder, state: SlotState::Starting }
    };
    let own = holder.into_iter().map(|holder| known(OWN, holder));
    let links = vec![signed(OWN, ME), signed(OTHER, PARTNER)];
    Role {
        application: app(),
        guardians: no_guardians(),
        is_guardian: false,
        slots: vec![SlotReport {
            slot: OWN,
            epoch: epoch(ids, OWN),
            state: SlotState::Starting,
            done_run: 0,
        }],
        known: own.chain([known(OTHER, PARTNER_BEFORE)]).collect(),
        is_finished: false,
        evidence: Evidence { links, ..Evidence::default() },
        older: Vec::new(),
        suppliers: Vec::new(),
    }
}

fn be_guardian(role: &mut Role, ids: &[NodeId]) {
    let by = Epoch { counter: 0, recruiter: ids[SUBMITTER], incarnation: 1, attempt: 0 };
    let submitter = Outbox::new(ids[SUBMITTER], ids);
    let signer = (app().record.id, OWN, ids[SUBMITTER]);
    role.guardians = GuardianSet::signed(&submitter, signer, SetVersion { number: 3, by }, vec![handle(ME)]);
    role.is_guardian = true;
}

fn ids() -> Vec<NodeId> {
    [1, 2, 2, 3, 3].map(|host: u8| NodeId::from_bytes([host; 16])).into()
}

impl Bench {
    fn new(holder: Option<usize>) -> Bench {
        Bench::of(role(&ids(), holder))
    }

    /// This node just after its start.
    fn of(role: Role) -> Bench {
        Bench::with_reference(role, &[])
    }

    /// ... and these are the contacts of which half have to answer.
    fn with_reference(role: Role, reference: &[usize]) -> Bench {
        let ids = ids();
        let me = Me { handle: handle(ME), id: ids[ME], incarnation: 2 };
        let now = Instant::from_secs(100);
        let mut node = Node::new(Arc::new(Config::emulated()), me, 1, now);
        node.set_offer(Resources { cores_milli: 4_000, memory_bytes: 4 << 30, disk_bytes: 1 << 30 });
        let found = vec![Found { kept: Kept::Role(role.into()), age: SECS(1) }];
        let reference = reference.iter().map(|at| handle(*at)).collect();
        let saved = Saved { found, reference, away: SECS(1) };
        let mut bench = Bench { node, ids, now };
        bench.call(|node, now, out| node.restore(now, saved, out));
        bench
    }

    fn call(&mut self, f: impl FnOnce(&mut Node, Instant, &mut Outbox)) -> Outbox {
        let mut out = Outbox::new(self.ids[ME], &self.ids);
        self.now += Duration::from_millis(1);
        f(&mut self.node, self.now, &mut out);
        out
    }

    fn hear(&mut self, from: usize, message: Allocation) -> Outbox {
        self.call(|node, now, out| {
            node.handle_message(now, handle(from), Message::Allocation(message), out);
        })
    }

    fn tick(&mut self) -> Outbox {
        self.call(|node, now, out| node.handle_timeout(now, out))
    }

    /// The partner recruits this node anew, for its own slot.
    fn confirm(&mut self, hold: u64, neighbours: Vec<Known>) -> (Epoch, Outbox) {
        self.confirm_with_sources(hold, neighbours, Vec::new())
    }

    /// ... and says who else may have the files.
    fn confirm_with_sources(
        &mut self,
        hold: u64,
        neighbours: Vec<Known>,
        sources: Vec<Handle>,
    ) -> (Epoch, Outbox) {
        let recruiter = Outbox::new(self.ids[PARTNER], &self.ids);
        let epoch = self.second_epoch();
        let link = Link { app: app().record.id, slot: OWN, epoch, holder: self.ids[ME], after: 1 };
        let confirm = Confirm {
            application: app(),
            slot: OWN,
            epoch,
            hold,
            guardians: no_guardians(),
            neighbours,
            older: Vec::new(),
            peers: Vec::new(),
            evidence: Evidence { links: vec![Signed::by(&recruiter, link)], ..Evidence::default() },
            failures: Vec::new(),
            failing: Vec::new(),
            sources,
        };
        (epoch, self.hear(PARTNER, Allocation::Confirm(confirm.into())))
    }

    /// This node, which holds its slot again.
    fn awake() -> Bench {
        Bench::awake_with_reference(&[])
    }

    fn awake_with_reference(reference: &[usize]) -> Bench {
        let mut bench = Bench::with_reference(role(&ids(), None), reference);
        let hold = offers(&bench.tick())[0].hold;
        bench.confirm(hold, Vec::new());
        bench
    }

    /// The partner's next one.
    fn second_epoch(&self) -> Epoch {
        Epoch { counter: 2, recruiter: self.ids[PARTNER], incarnation: 1, attempt: 1 }
    }

    fn epoch(&self, slot: u16) -> Epoch {
        epoch(&self.ids, slot)
    }
}

fn versions() -> Versions {
    Versions { record: app().record.version(), guardians: no_guardians().version }
}

fn sent(out: &Outbox) -> impl Iterator<Item = &Allocation> {
    out.sent.iter().filter_map(|(_, message)| match message {
        Message::Allocation(message) => Some(message),
        _ => None,
    })
}

fn offers(out: &Outbox) -> Vec<Offer> {
    let offered = sent(out).filter_map(|message| match message {
        Allocation::Return { offer, .. } => *offer,
        _ => None,
    });
    offered.collect()
}

/// What is written.
fn kept(out: &Outbox) -> Vec<&Role> {
    let kept = out.events.iter().filter_map(|event| match event {
        Event::Allocation(Notice::Store { what: Some(what), .. }) => Some(&**what),
        _ => None,
    });
    kept.map(|kept| match kept {
        Kept::Role(role) => &**role,
        Kept::Stopped { .. } => panic!("it goes on"),
    })
    .collect()
}

fn changes(out: &Outbox) -> Vec<Known> {
    let changed = out.events.iter().filter_map(|event| match event {
        Event::Allocation(Notice::SlotChanged { slot, .. }) => Some(*slot),
        _ => None,
    });
    changed.collect()
}

#[test]
fn nobody_is_told_that_a_restarted_node_holds_what_it_held_before() {
    // While it was asleep the last time, others had told it who held its slot; the host reads that as itself.
    for before in [None, Some(ME)] {
        let mut bench = Bench::new(before);
        let out = bench.hear(PARTNER, Allocation::Locate { app: app().record.id, slot: OTHER });
        let told: Vec<Known> = sent(&out)
            .flat_map(|message| match message {
                Allocation::Tell { slots, .. } => slots.clone(),
                _ => Vec::new(),
            })
            .collect();
        assert!(told.iter().any(|known| known.slot == OTHER), "it tells what it knows");
        assert!(told.iter().all(|known| known.holder != Some(handle(ME))), "{before:?}: {told:?}");
    }
}

#[test]
fn a_slot_that_is_confirmed_again_is_kept_on_disk_once() {
    let mut bench = Bench::new(None);
    let out = bench.tick();
    let offer = *offers(&out).first().expect("its partner is offered the slot");
    let (higher, out) = bench.confirm(offer.hold, Vec::new());
    let kept: Vec<Vec<Epoch>> =
        kept(&out).iter().map(|role| role.slots.iter().map(|own| own.epoch).collect()).collect();
    assert_eq!(kept, [[higher]], "the power may go after any write");
}

/// What this node answers to its partner, which restarted as well.
fn standing(bench: &mut Bench) -> Vec<Standing> {
    let (app, versions) = (app().record.id, versions());
    let out = bench.hear(PARTNER, Allocation::Return { app, versions, offer: None });
    let answers = sent(&out).filter_map(|message| match message {
        Allocation::Returned { standing, .. } => Some(*standing),
        _ => None,
    });
    answers.collect()
}

#[test]
fn a_role_that_is_asleep_passes_on_what_it_was_told_by_one_that_is_awake() {
    use Standing::{Asleep, Awake, Led};
    for (heard, answer) in [(None, Asleep), (Some(Asleep), Asleep), (Some(Awake), Led), (Some(Led), Asleep)] {
        let mut bench = Bench::new(None);
        let (app, versions) = (app().record.id, versions());
        if let Some(standing) = heard {
            bench.hear(PARTNER, Allocation::Returned { app, versions: Some(versions), standing });
        }
        assert_eq!(standing(&mut bench), [answer], "after {heard:?}");
    }
}

#[test]
fn nobody_waits_for_a_holder_that_is_cut_off_and_recruits_nobody() {
    // None of the three contacts answers.
    for (reference, answer) in [(&[][..], Standing::Awake), (&[10, 11, 12], Standing::Asleep)] {
        let mut bench = Bench::awake_with_reference(reference);
        assert_eq!(standing(&mut bench), [answer], "{reference:?}");
    }
}

#[test]
fn who_restarted_after_its_slot_had_ended_is_not_taken_for_one_that_runs_it() {
    let mut bench = Bench::new(None);
    let (app, epoch) = (app().record.id, bench.epoch(OTHER));
    let mine = vec![SlotReport { slot: OTHER, epoch, state: DONE, done_run: 1 }];
    let about = Known { slot: OTHER, epoch, holder: Some(handle(PARTNER)), state: DONE };
    for message in [
        Allocation::Report { app, versions: versions(), mine: mine.clone() },
        Allocation::Probe { app, versions: Some(versions()), about, mine: Vec::new() },
    ] {
        bench.now += SECS(1);
        let out = bench.hear(PARTNER, message);
        assert_eq!(changes(&out), [], "an end that is only named changes nothing");
        assert!(sent(&out).any(|message| matches!(message, Allocation::AskProof { slot: OTHER, .. })));
    }
    let holder = bench.ids[PARTNER];
    let ended = Final { app, slot: OTHER, epoch, state: DONE, holder };
    let finals = vec![Signed::by(&Outbox::new(holder, &bench.ids), ended)];
    let evidence = Evidence { finals, ..Evidence::default() }.into();
    let slots = vec![about];
    let out = bench.hear(PARTNER, Allocation::Tell { app, versions: versions(), slots, evidence });
    assert!(changes(&out).iter().all(|known| known.state == DONE) && !changes(&out).is_empty());
    assert!(bench.node.is_over(app, OTHER));
}

/// What is sent to `to` until then, while the partner that restarted as well answers every question.
fn sent_until(bench: &mut Bench, end: Instant, offer: Option<Offer>) -> Vec<(Handle, Allocation)> {
    let (app, versions) = (app().record.id, versions());
    let mut all = Vec::new();
    while bench.now < end {
        bench.hear(
            PARTNER,
            Allocation::Returned { app, versions: Some(versions), standing: Standing::Asleep },
        );
        let mut outs = vec![bench.hear(PARTNER, Allocation::Return { app, versions, offer })];
        let next = bench.now + SECS(1);
        while bench.node.next_timeout().at < next && bench.now < next {
            bench.now = bench.now.max(bench.node.next_timeout().at);
            outs.push(bench.tick());
        }
        bench.now = bench.now.max(next);
        all.extend(outs.into_iter().flat_map(|out| out.sent).filter_map(|(to, message)| match message {
            Message::Allocation(message) => Some((to, message)),
            _ => None,
        }));
    }
    all
}

#[test]
fn old_holders_are_looked_for_over_a_restart() {
    let older = Older { slot: OWN, peer: handle(SUBMITTER) };
    let mut bench = Bench::of(Role { older: vec![older], ..role(&ids(), None) });
    let end = bench.now + SECS(10);
    let probes = |sent: &[(Handle, Allocation)]| {
        let is_probe = |(to, message): &&(Handle, Allocation)| {
            *to == older.peer && matches!(message, Allocation::Probe { about: Known { slot: OWN, .. }, .. })
        };
        sent.iter().filter(is_probe).count()
    };
    assert!(probes(&sent_until(&mut bench, end, None)) >= 10, "once a second");
    // It restarted in the same moment, and may run the slot again: it is asked for as long as it offers it.
    for (slot, holds) in [(OWN, Holds::Planned), (OTHER, Holds::No)] {
        let mut other = Bench::new(None);
        let about = Known { slot, epoch: other.epoch(slot), holder: None, state: SlotState::Starting };
        let (app, versions) = (app().record.id, Some(versions()));
        let out = other.hear(PARTNER, Allocation::Probe { app, versions, about, mine: Vec::new() });
        let answers = sent(&out).filter_map(|message| match message {
            Allocation::ProbeAck { holds, .. } => Some(*holds),
            _ => None,
        });
        assert_eq!(answers.collect::<Vec<_>>(), [holds], "of slot {slot}");
    }
}

#[test]
fn a_guardian_takes_the_slots_that_are_offered_beside_the_lowest_one() {
    [true, false].into_iter().for_each(check_that_a_guardian_takes_an_offer);
}

fn check_that_a_guardian_takes_an_offer(knows_holder: bool) {
    // The holder of slot 0 is gone for good; that of slot 1 keeps room for it, and grants no second hold.
    let ids = ids();
    let mut role = role(&ids, Some(SUBMITTER));
    // A role that is asleep tells under which epoch its slot was held, and not where.
    for known in role.known.iter_mut().filter(|known| known.slot == OTHER && !knows_holder) {
        known.holder = None;
    }
    role.slots = Vec::new();
    be_guardian(&mut role, &ids);
    let mut bench = Bench::of(role);
    bench.call(|node, now, out| node.handle_gone(now, handle(PARTNER_BEFORE), Some(handle(PARTNER)), out));
    let offer = Offer { slot: OTHER, epoch: bench.epoch(OTHER), hold: 77 };
    let end = bench.now + SECS(45);
    let sent = sent_until(&mut bench, end, Some(offer));
    let confirms = sent.iter().filter_map(|(to, message)| match message {
        Allocation::Confirm(confirm) => Some((*to, confirm.slot, confirm.hold)),
        _ => None,
    });
    let confirms: BTreeSet<_> = confirms.collect();
    assert_eq!(confirms, [(handle(PARTNER), OTHER, 77)].into());
}

#[test]
fn a_new_holder_speaks_to_those_that_were_chosen_with_it_whatever_it_knows_of_their_slots() {
    // That the partner holds the other slot is proven here. Its successor is only planned, and does not know
    // this node either.
    let mut bench = Bench::new(None);
    let hold = offers(&bench.tick())[0].hold;
    let holder = Some(handle(SUBMITTER));
    let planned = Known { slot: OTHER, epoch: bench.second_epoch(), holder, state: SlotState::Planned };
    let (_, out) = bench.confirm(hold, vec![planned]);
    let to_successor = out.sent.iter().filter(|(to, _)| *to == handle(SUBMITTER));
    let told: Vec<_> = to_successor.map(|(_, message)| message).collect();
    let is_announced =
        |message: &&&Message| matches!(message, Message::Allocation(Allocation::Announce { slot: OWN, .. }));
    let is_proven = |message: &&&Message| matches!(message, Message::Allocation(Allocation::Tell { slots, .. }) if slots[0].slot == OWN);
    assert_eq!(told.iter().filter(is_announced).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(is_proven).count(), 1, "{told:?}");
}

#[test]
fn who_recruits_a_slot_that_runs_is_told_so() {
    let mut bench = Bench::awake();
    let (app, versions, epoch) = (app().record.id, versions(), bench.epoch(OTHER));
    let claims = |bench: &mut Bench, slot| {
        let out = bench.hear(SUBMITTER, Allocation::Claim { app, slot, order: 0 });
        let told = sent(&out).filter_map(|message| match message {
            Allocation::Tell { slots, .. } => Some(slots.iter().map(|known| known.slot).collect()),
            _ => None,
        });
        told.collect::<Vec<Vec<u16>>>()
    };
    assert_eq!(claims(&mut bench, OWN), [[OWN]], "it is held here");
    assert_eq!(claims(&mut bench, OTHER), [[0; 0]; 0], "nobody has spoken for it");
    let mine = vec![SlotReport { slot: OTHER, epoch, state: SlotState::Running, done_run: 0 }];
    bench.hear(PARTNER, Allocation::Report { app, versions, mine });
    assert_eq!(claims(&mut bench, OTHER), [[OTHER]], "its holder is heard");
    assert_eq!(claims(&mut bench, OTHER), [[0; 0]; 0], "it was told just now");
    bench.now += SECS(3);
    assert_eq!(claims(&mut bench, OTHER), [[0; 0]; 0], "its holder may be lost");
}

#[test]
fn an_offer_under_an_epoch_that_is_not_known_has_to_be_proven() {
    let mut bench = Bench::awake();
    let (app, versions) = (app().record.id, versions());
    let asked = |bench: &mut Bench, epoch| {
        let offer = Some(Offer { slot: OTHER, epoch, hold: 77 });
        let out = bench.hear(PARTNER, Allocation::Return { app, versions, offer });
        sent(&out).filter(|message| matches!(message, Allocation::AskProof { slot: OTHER, .. })).count()
    };
    let (first, second) = (bench.epoch(OTHER), bench.second_epoch());
    assert_eq!(asked(&mut bench, first), 0, "that one is proven");
    assert_eq!(asked(&mut bench, second), 1);
}

#[test]
fn whom_a_slot_was_yielded_to_is_on_disk_before_its_program_has_ended() {
    let ids = ids();
    let mut role = role(&ids, None);
    be_guardian(&mut role, &ids);
    let mut bench = Bench::of(role);
    let hold = offers(&bench.tick())[0].hold;
    bench.confirm(hold, Vec::new());
    bench.now += SECS(2);
    let out = bench.tick();
    let starts = |event: &Event| matches!(event, Event::Allocation(Notice::Start { .. }));
    assert!(out.events.iter().any(starts), "{:?}", out.events);
    let epoch = Epoch { counter: 3, ..bench.second_epoch() };
    let link = Link { app: app().record.id, slot: OWN, epoch, holder: ids[PARTNER], after: 2 };
    let links = vec![Signed::by(&Outbox::new(ids[PARTNER], &ids), link)];
    let winner = Known { slot: OWN, epoch, holder: Some(handle(PARTNER)), state: SlotState::Starting };
    let evidence = Evidence { links, ..Evidence::default() }.into();
    let (app, versions) = (app().record.id, versions());
    let out = bench.hear(PARTNER, Allocation::Tell { app, versions, slots: vec![winner], evidence });
    let stops = |event: &Event| matches!(event, Event::Allocation(Notice::Stop { .. }));
    assert!(out.events.iter().any(stops), "{:?}", out.events);
    let kept = kept(&out);
    let role = kept.last().expect("it is written");
    assert!(role.slots.is_empty() && role.known.contains(&winner), "{role:?}");
}

#[test]
fn who_may_have_the_files_is_asked_for_them_over_a_restart() {
    // The submitter holds and guards nothing, and nobody has fetched the files from it yet.
    let mut before = Bench::new(None);
    let hold = offers(&before.tick())[0].hold;
    let (_, out) = before.confirm_with_sources(hold, Vec::new(), vec![handle(SUBMITTER)]);
    let role = (*kept(&out).last().expect("it is written")).clone();
    let mut bench = Bench::of(role);
    let hold = offers(&bench.tick())[0].hold;
    bench.confirm(hold, Vec::new());
    bench.now += SECS(2);
    let out = bench.tick();
    let asked = out.events.iter().find_map(|event| match event {
        Event::Allocation(Notice::Start { sources, .. }) => Some(sources),
        _ => None,
    });
    assert!(asked.is_some_and(|sources| sources.contains(&handle(SUBMITTER))), "{asked:?}");
}
