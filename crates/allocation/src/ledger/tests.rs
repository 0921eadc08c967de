use super::*;

const LIFE: Duration = Duration::from_secs(10);

fn ask(app: u8, cores_milli: u32) -> Ask {
    let resources = Resources { cores_milli, memory_bytes: 1 << 20, disk_bytes: 0 };
    let (colocate, patience, is_spare, ports) = (false, 0, false, FixedPorts::NONE);
    Ask { app: AppId::from_bytes([app; 16]), resources, colocate, patience, is_spare, ports }
}

fn with_ports(app: u8, ports: &[u16]) -> Ask {
    Ask { ports: FixedPorts::new(ports.iter().copied()).expect("good ones"), ..ask(app, 100) }
}

#[test]
fn a_port_is_booked_once_whether_held_or_allocated_and_given_back() {
    let (mut ledger, mut rng) = ledger();
    let now = Instant::ZERO;
    let mut hold = |ledger: &mut Ledger, ask| ledger.hold(now, LIFE, BOB, ask, &mut rng);
    let id = hold(&mut ledger, with_ports(1, &[80, 443])).expect("free").id;
    assert_eq!(hold(&mut ledger, with_ports(2, &[443])), Err(HoldRefusal::PortTaken));
    let second = Ask { colocate: true, ..with_ports(1, &[80]) };
    assert_eq!(hold(&mut ledger, second), Err(HoldRefusal::PortTaken), "not even its own application");
    assert!(hold(&mut ledger, with_ports(3, &[81])).is_ok());
    assert!(ledger.confirm(now, BOB, id, AppId::from_bytes([1; 16]), 0));
    assert_eq!(hold(&mut ledger, with_ports(2, &[443])), Err(HoldRefusal::PortTaken));
    ledger.free(AppId::from_bytes([1; 16]), 0);
    assert!(hold(&mut ledger, with_ports(2, &[443])).is_ok());
}

#[test]
fn a_hold_whose_turn_is_earlier_takes_the_port_and_only_whoever_has_it_goes() {
    let (mut ledger, mut rng) = ledger();
    let now = Instant::ZERO;
    let mut hold = |ledger: &mut Ledger, ask| ledger.hold(now, LIFE, BOB, ask, &mut rng);
    let other = hold(&mut ledger, ask(8, 100)).expect("free").id;
    let later = hold(&mut ledger, with_ports(9, &[80])).expect("free").id;
    let earlier = hold(&mut ledger, with_ports(1, &[80])).expect("its turn is earlier");
    assert_eq!(earlier.revoked, [(BOB, later)]);
    assert!(ledger.holds().any(|(id, _, _)| id == other));
}

fn ledger() -> (Ledger, Rng) {
    let mut ledger = Ledger::default();
    ledger.set_offer(Resources { cores_milli: 2_000, memory_bytes: 1 << 30, disk_bytes: 0 });
    (ledger, Rng::new(1))
}

const ALICE: Handle = Handle::from_u32(1);
const BOB: Handle = Handle::from_u32(2);

#[test]
fn holds_never_exceed_the_offer_and_lapse_by_themselves() {
    let (mut ledger, mut rng) = ledger();
    let now = Instant::ZERO;
    assert!(ledger.hold(now, LIFE, ALICE, ask(1, 1_500), &mut rng).is_ok());
    assert_eq!(ledger.hold(now, LIFE, BOB, ask(2, 501), &mut rng), Err(HoldRefusal::Busy));
    assert!(ledger.hold(now, LIFE, BOB, ask(2, 500), &mut rng).is_ok());
    assert!(ledger.hold(now + LIFE, LIFE, BOB, ask(3, 2_000), &mut rng).is_ok(), "both have lapsed");
}

#[test]
fn only_the_requester_renews_releases_or_confirms() {
    let (mut ledger, mut rng) = ledger();
    let now = Instant::ZERO;
    let id = ledger.hold(now, LIFE, ALICE, ask(1, 1_000), &mut rng).expect("the node is empty").id;
    let app = AppId::from_bytes([1; 16]);
    assert!(!ledger.renew(now, LIFE, BOB, id, false));
    ledger.release(now, BOB, id);
    assert!(!ledger.confirm(now, BOB, id, app, 0));
    assert!(!ledger.confirm(now, ALICE, id, AppId::from_bytes([2; 16]), 0), "a hold is for one application");
    assert!(ledger.confirm(now, ALICE, id, app, 0));
    assert!(!ledger.confirm(now, ALICE, id, app, 0), "a hold becomes one allocation");
    ledger.expire(Instant::FAR);
    assert_eq!(ledger.used().cores_milli, 1_000, "nothing renews an allocation and nothing lapses it here");
    ledger.free(app, 0);
    assert_eq!(ledger.used(), Resources::default());
}

#[test]
fn one_application_gets_one_slot_a_node_unless_it_colocates() {
    let (mut ledger, mut rng) = ledger();
    let now = Instant::ZERO;
    let held = ledger.hold(now, LIFE, ALICE, ask(1, 100), &mut rng).expect("free").id;
    assert_eq!(ledger.hold(now, LIFE, ALICE, ask(1, 100), &mut rng), Err(HoldRefusal::SameApp));
    assert!(ledger.confirm(now, ALICE, held, AppId::from_bytes([1; 16]), 0));
    assert_eq!(ledger.hold(now, LIFE, BOB, ask(1, 100), &mut rng), Err(HoldRefusal::SameApp));
    assert!(ledger.hold(now, LIFE, BOB, Ask { colocate: true, ..ask(1, 100) }, &mut rng).is_ok());
}

#[test]
fn a_requester_has_at_most_64_open_holds() {
    let (mut ledger, mut rng) = ledger();
    for app in 0..64 {
        assert!(ledger.hold(Instant::ZERO, LIFE, ALICE, ask(app, 1), &mut rng).is_ok());
    }
    assert_eq!(ledger.hold(Instant::ZERO, LIFE, ALICE, ask(64, 1), &mut rng), Err(HoldRefusal::TooMany));
    assert!(ledger.hold(Instant::ZERO, LIFE, BOB, ask(64, 1), &mut rng).is_ok());
}

#[test]
fn a_hold_ends_however_often_it_is_renewed() {
    let (mut ledger, mut rng) = ledger();
    let mut now = Instant::ZERO;
    let hold = ledger.hold(now, LIFE, ALICE, ask(1, 100), &mut rng).expect("room").id;
    while now < Instant::ZERO + HOLD_LIFE_MAX {
        assert!(ledger.renew(now, LIFE, ALICE, hold, true), "{now:?}");
        now += Duration::from_secs(3);
    }
    assert!(!ledger.renew(now, LIFE, ALICE, hold, true));
    assert_eq!((ledger.open_holds(), ledger.lapsed_holds()), (0, 1));
}

#[test]
fn a_few_who_hold_nothing_often_do_not_fill_the_table() {
    let (mut ledger, mut rng) = ledger();
    ledger.set_offer(Resources { memory_bytes: 4 << 30, ..ledger.offer() });
    let many = HOLDS_MAX / HOLDS_PER_REQUESTER_MAX;
    for requester in 0..many as u32 {
        for _ in 0..HOLDS_PER_REQUESTER_MAX {
            let nothing = Ask { patience: Ask::FIRST_OF_ALL, colocate: true, ..ask(7, 0) };
            let peer = Handle::from_u32(1_000 + requester);
            assert!(ledger.hold(Instant::ZERO, LIFE, peer, nothing, &mut rng).is_ok());
        }
    }
    let granted = ledger.hold(Instant::ZERO, LIFE, BOB, ask(1, 100), &mut rng).expect("somebody gives way");
    assert_eq!((granted.revoked.len(), ledger.open_holds()), (1, HOLDS_MAX));
    assert!(granted.revoked[0].0.as_u32() >= 1_000);
}

/// An ask for the whole node.
fn whole(app: u8, patience: u8) -> Ask {
    Ask { patience, ..ask(app, 2_000) }
}

#[test]
fn whose_turn_is_earlier_gets_the_node_unless_it_is_locked() {
    let table = [
        // Held by, wanted by, locked, who ends up with it.
        (whole(2, 0), whole(1, 0), false, 1),
        (whole(1, 0), whole(2, 0), false, 1),
        (whole(1, 0), whole(2, 1), false, 2),
        (whole(2, 0), whole(1, 0), true, 2),
        (whole(1, 0), whole(2, Ask::FIRST_OF_ALL), true, 1),
        (whole(1, 0), whole(2, Ask::FIRST_OF_ALL), false, 2),
        // A recruiter's hold is locked from the start.
        (whole(2, Ask::FIRST_OF_ALL), whole(1, Ask::FIRST_OF_ALL), false, 2),
    ];
    for (held, wanted, locked, winner) in table {
        let (mut ledger, mut rng) = ledger();
        let now = Instant::ZERO;
        let first = ledger.hold(now, LIFE, ALICE, held, &mut rng).expect("the node is empty").id;
        assert!(ledger.renew(now, LIFE, ALICE, first, locked));
        let second = ledger.hold(now, LIFE, BOB, wanted, &mut rng);
        let owner: Vec<AppId> = ledger.holds().map(|(_, _, app)| app).collect();
        assert_eq!(owner, [AppId::from_bytes([winner; 16])], "{held:?} {wanted:?}");
        match second {
            Ok(granted) => assert_eq!(granted.revoked, [(ALICE, first)]),
            Err(refusal) => assert_eq!(refusal, HoldRefusal::Busy),
        }
    }
}

#[test]
fn a_spare_hold_takes_nothing_from_anybody_and_gives_way_until_its_asker_needs_it() {
    let spare = |app| Ask { is_spare: true, ..whole(app, 3) };
    let table = [
        // Held by, renewed, wanted by, who ends up with it.
        (whole(9, 0), false, spare(1), 9),
        (spare(1), false, whole(9, 0), 9),
        (spare(2), false, spare(1), 2),
        (spare(1), true, whole(9, 0), 1),
        (spare(1), true, whole(9, 4), 9),
        // A recruiter's spare hold is not locked either.
        (Ask { is_spare: true, ..whole(1, Ask::FIRST_OF_ALL) }, false, whole(9, 0), 9),
    ];
    for (held, renewed, wanted, winner) in table {
        let (mut ledger, mut rng) = ledger();
        let now = Instant::ZERO;
        let first = ledger.hold(now, LIFE, ALICE, held, &mut rng).expect("the node is empty").id;
        assert!(!renewed || ledger.renew(now, LIFE, ALICE, first, false));
        let _ = ledger.hold(now, LIFE, BOB, wanted, &mut rng);
        let owner: Vec<AppId> = ledger.holds().map(|(_, _, app)| app).collect();
        assert_eq!(owner, [AppId::from_bytes([winner; 16])], "{held:?} {renewed} {wanted:?}");
    }
}

#[test]
fn nobody_is_put_out_in_vain_and_the_last_in_turn_goes_first() {
    let (mut ledger, mut rng) = ledger();
    let now = Instant::ZERO;
    for app in [5, 7, 9] {
        assert!(ledger.hold(now, LIFE, ALICE, ask(app, 600), &mut rng).is_ok());
    }
    let too_large = Ask { resources: Resources { cores_milli: 2_001, ..ask(1, 0).resources }, ..ask(1, 0) };
    assert_eq!(ledger.hold(now, LIFE, BOB, too_large, &mut rng), Err(HoldRefusal::Busy));
    assert_eq!(ledger.open_holds(), 3, "that would not have helped");
    assert_eq!(
        ledger.hold(now, LIFE, BOB, ask(1, 700), &mut rng).map(|granted| granted.revoked.len()),
        Ok(1)
    );
    let apps: Vec<AppId> = ledger.holds().map(|(_, _, app)| app).collect();
    assert_eq!(apps, [5, 7, 1].map(|app| AppId::from_bytes([app; 16])));
}

#[test]
fn only_holds_that_nobody_ended_count_as_lapsed() {
    let (mut ledger, mut rng) = ledger();
    let mut hold = |app| ledger.hold(Instant::ZERO, LIFE, ALICE, ask(app, 100), &mut rng).expect("room").id;
    let (released, confirmed, _) = (hold(1), hold(2), hold(3));
    ledger.release(Instant::ZERO, ALICE, released);
    assert!(ledger.confirm(Instant::ZERO, ALICE, confirmed, AppId::from_bytes([2; 16]), 0));
    ledger.expire(Instant::ZERO + LIFE);
    assert_eq!((ledger.lapsed_holds(), ledger.open_holds()), (1, 0));
}

/// Asks for all that there is, as often as it may, for so many seconds.
fn hoard(ledger: &mut Ledger, rng: &mut Rng, seconds: core::ops::Range<u64>) {
    let mut held = None;
    for second in seconds {
        let now = Instant::from_secs(second);
        let is_kept = held.is_some_and(|id| ledger.renew(now, LIFE, ALICE, id, true));
        if !is_kept {
            let all = Ask { patience: Ask::FIRST_OF_ALL, ..ask(1, 2_000) };
            held = ledger.hold(now, LIFE, ALICE, all, rng).ok().map(|granted| granted.id);
        }
    }
}

#[test]
fn who_holds_all_and_confirms_nothing_gives_way_after_some_minutes_and_for_as_many() {
    let (mut ledger, mut rng) = ledger();
    let at = Instant::from_secs;
    hoard(&mut ledger, &mut rng, 0..200);
    assert_eq!(ledger.hold(at(200), LIFE, BOB, ask(2, 500), &mut rng), Err(HoldRefusal::Busy));
    hoard(&mut ledger, &mut rng, 200..242);
    let bobs = ledger.hold(at(242), LIFE, BOB, ask(2, 500), &mut rng).expect("it goes for others");
    assert_eq!(bobs.revoked.len(), 1);
    // For itself no other goes, whatever it says of its turn.
    let first = Ask { patience: Ask::FIRST_OF_ALL, ..ask(1, 2_000) };
    assert_eq!(ledger.hold(at(243), LIFE, ALICE, first, &mut rng), Err(HoldRefusal::Busy));
    assert!(ledger.confirm(at(244), BOB, bobs.id, AppId::from_bytes([2; 16]), 0));
    // What is left it may hold, and it goes again for whoever wants it, and pays nothing back meanwhile.
    let rest = Ask { patience: Ask::FIRST_OF_ALL, ..ask(1, 1_500) };
    let rest = ledger.hold(at(245), LIFE, ALICE, rest, &mut rng).expect("it is free").id;
    ledger.rename(ALICE, Handle::from_u32(9));
    ledger.rename(Handle::from_u32(9), ALICE);
    let again = ledger.hold(at(246), LIFE, BOB, ask(3, 100), &mut rng).expect("it goes for others");
    assert_eq!(again.revoked, [(ALICE, rest)]);
    ledger.release(at(247), BOB, again.id);
    ledger.expire(at(247 + 250));
    assert!(ledger.hold(at(500), LIFE, ALICE, ask(1, 1_500), &mut rng).is_ok());
    assert_eq!(ledger.hold(at(501), LIFE, BOB, ask(3, 100), &mut rng), Err(HoldRefusal::Busy));
}

#[test]
fn who_holds_for_seconds_and_pauses_as_long_or_confirms_its_own_is_never_overdrawn() {
    for confirms in [false, true] {
        let (mut ledger, mut rng) = ledger();
        for round in 0..200 {
            let (begin, end) = (Instant::from_secs(round * 20), Instant::from_secs(round * 20 + 9));
            let held = ledger.hold(begin, LIFE, ALICE, ask(1, 2_000), &mut rng).expect("free");
            let other = Ask { patience: 7, ..ask(2, 2_000) };
            assert!(ledger.renew(end, LIFE, ALICE, held.id, true));
            assert_eq!(ledger.hold(end, LIFE, BOB, other, &mut rng), Err(HoldRefusal::Busy), "{round}");
            ledger.release(end, ALICE, held.id);
        }
        hoard(&mut ledger, &mut rng, 4_000..4_238);
        if confirms {
            ledger.forgive(ALICE);
        }
        hoard(&mut ledger, &mut rng, 4_238..4_250);
        let bobs = ledger.hold(Instant::from_secs(4_250), LIFE, BOB, ask(2, 100), &mut rng);
        assert_eq!(bobs.is_ok(), !confirms);
    }
}

#[test]
fn what_somebody_else_holds_for_an_application_keeps_it_from_no_node() {
    let (mut ledger, mut rng) = ledger();
    let now = Instant::ZERO;
    let app = AppId::from_bytes([1; 16]);
    let first = ledger.hold(now, LIFE, ALICE, ask(1, 1), &mut rng).expect("free").id;
    assert_eq!(ledger.hold(now, LIFE, ALICE, ask(1, 1), &mut rng), Err(HoldRefusal::SameApp));
    let second = ledger.hold(now, LIFE, BOB, ask(1, 500), &mut rng).expect("it is its own").id;
    assert!(ledger.confirm(now, BOB, second, app, 0));
    assert!(!ledger.confirm(now, ALICE, first, app, 1), "one node runs one slot");
    assert_eq!(ledger.open_holds(), 0);
    assert_eq!(ledger.hold(now, LIFE, ALICE, ask(1, 1), &mut rng), Err(HoldRefusal::SameApp));
}
