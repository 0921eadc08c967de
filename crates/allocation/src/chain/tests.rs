extern crate std;

use std::format;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::Exit;
use crate::proof::LINKS_MAX;

const APP: AppId = AppId::from_bytes([7; 16]);
const SUBMITTER: u8 = 1;
const STRANGER: u8 = 250;

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

fn epoch(counter: u32, recruiter: u8) -> Epoch {
    Epoch { counter, recruiter: id(recruiter), incarnation: 1, attempt: counter }
}

fn signed<T>(body: T) -> Arc<Signed<T>> {
    Arc::new(Signed { body, proof: Arc::from([]) })
}

fn link(slot: u16, (after, counter): (u32, u32), recruiter: u8, holder: u8) -> Arc<Signed<Link>> {
    signed(Link { app: APP, slot, epoch: epoch(counter, recruiter), holder: id(holder), after })
}

fn set(slot: u16, number: u32, by: Epoch, signer: u8, members: &[u8]) -> Arc<Signed<Appointment>> {
    let members = members.iter().map(|member| id(*member)).collect();
    signed(Appointment { app: APP, slot, version: SetVersion { number, by }, members, signer: id(signer) })
}

fn ended(slot: u16, epoch: Epoch, holder: u8) -> Arc<Signed<Final>> {
    signed(Final { app: APP, slot, epoch, state: SlotState::Done(Exit::Code(0)), holder: id(holder) })
}

fn links(links: &[Arc<Signed<Link>>]) -> Evidence {
    Evidence { links: links.to_vec(), ..Evidence::default() }
}

fn fresh() -> Chain {
    Chain::new(APP, id(SUBMITTER))
}

/// Slot 0 at node 10 and slot 1 at node 11, both recruited by the submitter; 20 to 22 guard.
fn running() -> Chain {
    let mut chain = fresh();
    let first = Epoch { counter: 0, ..epoch(0, SUBMITTER) };
    let mut evidence = links(&[link(0, (0, 1), SUBMITTER, 10), link(1, (0, 1), SUBMITTER, 11)]);
    evidence.sets.push(set(0, 1, first, SUBMITTER, &[20, 21, 22]));
    assert_eq!(chain.admit(&evidence), 0);
    chain
}

#[test]
fn the_submitter_holders_and_guardians_recruit_and_nobody_else() {
    for (recruiter, may) in
        [(SUBMITTER, true), (10, true), (11, true), (20, true), (12, false), (STRANGER, false)]
    {
        let mut chain = running();
        let news = link(1, (1, 2), recruiter, 12);
        assert_eq!(chain.admit(&links(std::slice::from_ref(&news))) == 0, may, "recruiter {recruiter}");
        assert_eq!(chain.holder(1, news.body.epoch).is_some(), may, "recruiter {recruiter}");
    }
}

#[test]
fn a_counter_rises_by_a_thousand_at_most_and_never_wraps() {
    let last = u32::MAX;
    let table = [
        ((1, 2), true),
        ((1, 1_001), true),
        ((5, 6), true),
        ((1, 1_002), false),
        ((2, 2), false),
        ((3, 2), false),
        ((1_500, 1_501), false),
        ((last - 1, last), false),
        ((last, 0), false),
    ];
    for (counters, is_legal) in table {
        let mut chain = running();
        let news = link(1, counters, 10, 12);
        chain.admit(&links(std::slice::from_ref(&news)));
        assert_eq!(chain.holder(1, news.body.epoch).is_some(), is_legal, "{counters:?}");
    }
    let mut chain = running();
    chain.top = last;
    assert_eq!(chain.admit(&links(&[link(1, (last - 1, last), 10, 12)])), 0, "the end is no overflow");
}

#[test]
fn a_link_of_another_application_is_nothing() {
    let mut chain = running();
    let other = Link { app: AppId::from_bytes([8; 16]), ..link(1, (1, 2), 10, 12).body.clone() };
    assert_eq!(chain.admit(&links(&[signed(other.clone())])), 1);
    assert_eq!(chain.holder(1, other.epoch), None);
}

#[test]
fn an_epoch_names_one_holder_whatever_its_recruiter_signs() {
    let mut chain = running();
    let (one, other) = (link(1, (1, 2), 10, 12), link(1, (1, 2), 10, 13));
    assert_eq!(chain.admit(&links(&[one.clone(), other.clone()])), 1);
    assert_eq!(chain.holder(1, one.body.epoch), Some(id(12)));
    assert!(!chain.is_entitled(id(13)));
}

#[test]
fn guardians_are_appointed_by_the_holder_of_the_epoch_that_they_name() {
    let held = epoch(1, SUBMITTER);
    let none = Epoch { counter: 0, ..held };
    let table = [
        (set(0, 2, held, 10, &[30]), true),
        (set(1, 2, held, 10, &[30]), false),
        (set(0, 2, held, 11, &[30]), false),
        (set(0, 2, epoch(9, SUBMITTER), 10, &[30]), false),
        (set(0, u32::MAX, none, SUBMITTER, &[30]), true),
        (set(0, 2, Epoch { recruiter: id(STRANGER), ..none }, STRANGER, &[30]), false),
        (set(0, 2, none, STRANGER, &[30]), false),
        (set(0, 2, held, 20, &[30]), false),
    ];
    for (set, is_believed) in table {
        let mut chain = running();
        chain.admit(&Evidence { sets: vec![set.clone()], ..Evidence::default() });
        assert_eq!(chain.is_entitled(id(30)), is_believed, "{set:?}");
        assert_eq!(chain.has_set(set.body.version, &set.body.members), is_believed, "{set:?}");
    }
}

#[test]
fn an_end_is_told_by_the_holder_of_the_epoch_that_ended() {
    let held = epoch(1, SUBMITTER);
    let running_state =
        |ended: Arc<Signed<Final>>| signed(Final { state: SlotState::Running, ..ended.body.clone() });
    let table = [
        (ended(0, held, 10), true),
        (ended(0, held, 11), false),
        (ended(0, held, STRANGER), false),
        (ended(0, epoch(2, SUBMITTER), 10), false),
        (running_state(ended(0, held, 10)), false),
    ];
    for (ended, is_believed) in table {
        let mut chain = running();
        let evidence = Evidence { finals: vec![ended.clone()], ..Evidence::default() };
        assert_eq!(chain.admit(&evidence) == 0, is_believed, "{ended:?}");
        assert_eq!(chain.final_state(0).is_some(), is_believed, "{ended:?}");
    }
}

#[test]
fn a_guardian_that_became_a_holder_proves_what_it_did_before() {
    let mut chain = running();
    let story = links(&[link(0, (1, 2), 20, 30), link(1, (1, 2), 30, 20), link(0, (2, 3), 20, 31)]);
    assert_eq!(chain.admit(&story), 0);
    let told = story.links[2].body.epoch;
    let mut other = fresh();
    assert_eq!(other.admit(&chain.evidence([(0, told)], id(31))), 0);
    assert_eq!(other.holder(0, told), Some(id(31)));
}

#[test]
fn a_newcomer_believes_its_start_and_what_hangs_on_it_and_no_more() {
    let start = links(&[link(5, (70, 71), 40, 41), link(6, (71, 72), 41, 42)]);
    let mut chain = fresh();
    chain.begin_with(&start);
    assert_eq!(chain.holder(6, start.links[1].body.epoch), Some(id(42)));
    assert_eq!(chain.top(), 72);
    assert_eq!(chain.admit(&links(&[link(5, (72, 73), 40, 43), link(5, (73, 74), 43, 44)])), 0);
    assert_eq!(chain.admit(&links(&[link(5, (74, 75), STRANGER, 45)])), 1);
}

#[test]
fn what_two_guardians_vouch_for_is_taken_with_all_that_hangs_on_it() {
    let mut chain = running();
    let far = link(1, (8_000, 8_001), 50, 51);
    assert_eq!(chain.admit(&links(std::slice::from_ref(&far))), 1);
    chain.take_on_word(&far);
    assert_eq!(chain.admit(&links(&[link(0, (8_001, 8_002), 51, 52)])), 0);
}

#[test]
fn a_long_history_stays_within_its_limit_and_its_current_links_stay() {
    let mut chain = running();
    let mut before = 10;
    for counter in 2..2_000u32 {
        let holder = 10 + (counter % 100) as u8;
        assert_eq!(chain.admit(&links(&[link(0, (counter - 1, counter), before, holder)])), 0);
        before = holder;
        chain.trim(
            LINKS_MAX,
            [(1, epoch(1, SUBMITTER)), (0, epoch(counter, 10 + ((counter - 1) % 100) as u8))],
        );
        assert!(chain.links.len() <= LINKS_MAX);
    }
    assert_eq!(chain.holder(1, epoch(1, SUBMITTER)), Some(id(11)));
    assert_eq!(chain.top(), 1_999);
}

/// A random honest history: who recruits or appoints next is entitled at that time.
#[derive(Clone, Debug)]
struct History {
    chain: Chain,
    /// The newest epoch and holder of each slot.
    now: Vec<(Epoch, u8)>,
    /// Every link in its order.
    links: Vec<Arc<Signed<Link>>>,
}

fn history(slots: u16, steps: &[(u8, u8)]) -> History {
    let mut chain = fresh();
    let mut guardians = vec![2, 3, 4];
    let first = Epoch { counter: 0, ..epoch(0, SUBMITTER) };
    chain.admit(&Evidence { sets: vec![set(0, 1, first, SUBMITTER, &guardians)], ..Evidence::default() });
    let (mut now, mut all) = (Vec::new(), Vec::new());
    let (mut next, mut sets) = (5u8, 1);
    for slot in 0..slots {
        let link = link(slot, (0, 1), SUBMITTER, next);
        now.push((link.body.epoch, next));
        all.push(link);
        next += 1;
    }
    chain.admit(&links(&all));
    for (number, (what, who)) in steps.iter().enumerate() {
        let slot = u16::from(*who) % slots;
        let other = usize::from(*who / 16) % usize::from(slots);
        if what % 6 == 0 && sets < SETS_MAX {
            sets += 1;
            let (by, signer) = now[other];
            guardians = vec![next, guardians[0], guardians[1]];
            next += 1;
            let set = set(other as u16, number as u32 + 2, by, signer, &guardians);
            assert_eq!(chain.admit(&Evidence { sets: vec![set], ..Evidence::default() }), 0);
            continue;
        }
        let recruiter = if what % 6 == 1 { guardians[usize::from(*who) % 3] } else { now[other].1 };
        let before = now[usize::from(slot)].0.counter;
        let holder = if what % 5 == 4 { guardians[2] } else { next };
        next += u8::from(what % 5 != 4);
        let mut link = (*link(slot, (before, before + 1), recruiter, holder)).clone();
        link.body.epoch.attempt = 1_000 + number as u32;
        let link = Arc::new(link);
        now[usize::from(slot)] = (link.body.epoch, holder);
        assert_eq!(chain.admit(&links(std::slice::from_ref(&link))), 0, "an honest history");
        all.push(link);
    }
    History { chain, now, links: all }
}

/// Somebody who was told of so much of it, each time with its evidence.
fn somebody(history: &History, told: &[u8]) -> Chain {
    let mut chain = fresh();
    for at in told {
        let link = &history.links[usize::from(*at) % history.links.len()].body;
        chain.admit(&history.chain.evidence([(link.slot, link.epoch)], link.holder));
    }
    chain
}

proptest! {
    #[test]
    fn an_honest_chain_is_believed_whatever_part_of_it_is_known(
        slots in 1u16..6,
        steps in prop::collection::vec((any::<u8>(), any::<u8>()), 0..40),
        told in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let history = history(slots, &steps);
        let mut chain = somebody(&history, &told);
        for (slot, (epoch, holder)) in history.now.iter().enumerate() {
            let evidence = history.chain.evidence([(slot as u16, *epoch)], id(*holder));
            prop_assert!(evidence.links.len() <= LINKS_SENT_MAX);
            chain.admit(&evidence);
            prop_assert_eq!(chain.holder(slot as u16, *epoch), Some(id(*holder)));
        }
    }

    #[test]
    fn a_forged_link_is_never_believed_nor_what_hangs_on_it(
        steps in prop::collection::vec((any::<u8>(), any::<u8>()), 0..30),
        told in prop::collection::vec(any::<u8>(), 0..4),
        place in any::<u8>(),
        counter in 1u32..3_000,
        shuffled in any::<u64>(),
    ) {
        let history = history(4, &steps);
        let mut chain = somebody(&history, &told);
        // A stranger recruits a friend, and the friend another one, a guardian and a final state.
        let forged = link(2, (counter - 1, counter), STRANGER, 251);
        let hangs = link(3, (counter, counter + 1), 251, 252);
        let mut evidence = history.chain.evidence(
            history.now.iter().enumerate().map(|(slot, (epoch, _))| (slot as u16, *epoch)), id(STRANGER));
        evidence.links.insert(usize::from(place) % (evidence.links.len() + 1), forged.clone());
        evidence.links.push(hangs.clone());
        evidence.sets.push(set(2, 999, forged.body.epoch, 251, &[253]));
        evidence.finals.push(ended(2, forged.body.epoch, 251));
        evidence.roots.push(id(STRANGER));
        shuffle(&mut evidence.links, shuffled);
        prop_assert_eq!(chain.admit(&evidence), 4, "{}", format!("{:?}", evidence));
        prop_assert_eq!(chain.holder(2, forged.body.epoch), None);
        prop_assert_eq!(chain.holder(3, hangs.body.epoch), None);
        prop_assert_eq!(chain.final_state(2), None);
        prop_assert!([STRANGER, 251, 252, 253].iter().all(|stranger| !chain.is_entitled(id(*stranger))));
    }

    #[test]
    fn a_store_gives_back_the_same_beliefs(
        steps in prop::collection::vec((any::<u8>(), any::<u8>()), 0..40),
    ) {
        let history = history(3, &steps);
        let bytes = minicbor::to_vec(history.chain.all()).expect("a Vec takes all bytes");
        let read: Evidence = minicbor::decode(&bytes).expect("own bytes");
        let mut chain = fresh();
        chain.begin_with(&read);
        let (one, other) = (chain.all(), history.chain.all());
        prop_assert_eq!(one.links.len(), other.links.len());
        prop_assert!(other.links.iter().all(|link| one.links.contains(link)));
        prop_assert_eq!(one.sets.len(), other.sets.len());
        prop_assert!(other.sets.iter().all(|set| one.sets.contains(set)));
        prop_assert_eq!((one.roots, one.finals), (other.roots, other.finals));
        prop_assert_eq!(chain.top(), history.chain.top());
    }
}

fn shuffle<T>(list: &mut [T], seed: u64) {
    xtreem_base::Rng::new(seed).shuffle(list);
}
