use super::*;

const LIFE: Duration = Duration::from_secs(10);

fn ask(app: u8, cores_milli: u32) -> Ask {
    let resources = Resources { cores_milli, memory_bytes: 1 << 20, disk_bytes: 0 };
    Ask { app: AppId::from_bytes([app; 16]), resources, colocate: false }
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
    let id = ledger.hold(now, LIFE, ALICE, ask(1, 1_000), &mut rng).expect("the node is empty");
    let app = AppId::from_bytes([1; 16]);
    assert!(!ledger.renew(now, LIFE, BOB, id));
    ledger.release(BOB, id);
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
    assert!(ledger.hold(now, LIFE, ALICE, ask(1, 100), &mut rng).is_ok());
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
