use super::*;
use crate::VoKey;
use proptest::prelude::*;
use xtreem_base::{Digest, Duration};

const WALL_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;

fn vo() -> VoKey {
    VoKey::create("test").expect("a VO")
}

fn issue(vo: &VoKey, name: &str) -> Identity {
    vo.issue(name, Roles::NODE, WALL_MS / 1_000, 1).expect("an identity")
}

fn plane(identity: &Identity, incarnation: u32) -> DatagramPlane {
    let addr = "127.0.0.1:4000".parse().expect("a literal address");
    DatagramPlane::new(
        identity.clone(),
        NodeRecord { addr, incarnation, attributes: Digest::from_bytes([0; 32]) },
    )
}

fn contact(plane: &DatagramPlane) -> Contact {
    let addr = "127.0.0.1:4000".parse().expect("a literal address");
    Contact { id: plane.identity.id(), addr, incarnation: plane.incarnation }
}

/// Two nodes of one VO.
fn pair() -> (DatagramPlane, DatagramPlane) {
    let vo = vo();
    (plane(&issue(&vo, "a"), 1), plane(&issue(&vo, "b"), 1))
}

fn at(wall_ms: u64) -> Now {
    Now { at: Instant::ZERO + Duration::from_secs(1), wall_ms }
}

fn send(from: &mut DatagramPlane, to: &DatagramPlane, wall_ms: u64) -> Vec<u8> {
    from.seal(at(wall_ms), contact(to), b"hello", Padding::Least).expect("it fits")
}

fn why(result: Result<Opened, Refused>) -> Result<Vec<u8>, Count> {
    result.map(|opened| opened.payload).map_err(|refused| refused.why)
}

#[test]
fn a_datagram_arrives_once_and_at_its_destination_only() {
    let (mut a, mut b) = pair();
    let bytes = send(&mut a, &b, WALL_MS);
    assert_eq!(why(b.open(at(WALL_MS), &bytes)), Ok(b"hello".to_vec()));
    assert_eq!(why(b.open(at(WALL_MS), &bytes)), Err(Count::Replayed));
    assert_eq!(why(a.open(at(WALL_MS), &bytes)), Err(Count::Misaddressed));
}

#[test]
fn strangers_expired_members_and_users_are_told_apart() {
    let vo = vo();
    let mut b = plane(&issue(&vo, "b"), 1);
    let stranger = issue(&self::vo(), "s");
    let expired = vo.issue("old", Roles::NODE, WALL_MS / 1_000 - 3 * 86_400, 1).expect("an identity");
    let user = vo.issue("u", Roles::SUBMIT, WALL_MS / 1_000, 1).expect("an identity");
    for (identity, expected) in
        [(stranger, Count::Stranger), (expired, Count::Expired), (user, Count::NotANode)]
    {
        let bytes = send(&mut plane(&identity, 1), &b, WALL_MS);
        assert_eq!(why(b.open(at(WALL_MS), &bytes)), Err(expected));
    }
}

#[test]
fn a_credential_that_expires_is_forgotten_though_its_signature_is_remembered() {
    let (mut a, mut b) = pair();
    let bytes = send(&mut a, &b, WALL_MS);
    assert!(b.open(at(WALL_MS), &bytes).is_ok());
    assert!(b.told_over.is_empty());
    let later = WALL_MS + 2 * 24 * HOUR_MS;
    for _ in 0..2 {
        let bytes = send(&mut a, &b, later);
        assert_eq!(why(b.open(at(later), &bytes)), Err(Count::Expired));
        assert_eq!(b.told_over.len(), 1, "said once");
    }
}

#[test]
fn a_member_cannot_speak_for_another() {
    let vo = vo();
    let (a, mut b, c) = (issue(&vo, "a"), plane(&issue(&vo, "b"), 1), issue(&vo, "c"));
    // c shows the record of a beside its own credential.
    let mut forger = plane(&c, 1);
    forger.record = plane(&a, 1).record;
    let bytes = send(&mut forger, &b, WALL_MS);
    assert_eq!(why(b.open(at(WALL_MS), &bytes)), Err(Count::Forged));
    // c shows both, but has only its own key to sign the datagram with.
    let header = Header {
        kind: Kind::Message,
        destination: b.identity.id(),
        destination_incarnation: 1,
        sequence: 1,
        stamp_ms: WALL_MS,
        nonce: 1,
        echo: 0,
    };
    let bytes = header.seal(c.key(), a.credential(), &forger.record, b"hello", Padding::Least);
    assert_eq!(why(b.open(at(WALL_MS), &bytes.expect("it fits"))), Err(Count::Forged));
}

#[test]
fn a_message_to_an_old_incarnation_is_answered_no_longer_than_it_was() {
    let vo = vo();
    let (a, b) = (issue(&vo, "a"), issue(&vo, "a node with a very long name: forty-eight bytes"));
    let (mut a, old_b, mut b) = (plane(&a, 1), plane(&b, 1), plane(&b, 2));
    let bytes = send(&mut a, &old_b, WALL_MS);
    let refused = b.open(at(WALL_MS), &bytes).expect_err("an old incarnation");
    assert_eq!(refused.why, Count::Reborn);
    let (to, answer) = refused.answer.expect("an answer");
    assert_eq!(to, contact(&a));
    assert!(answer.len() <= bytes.len());
    let opened = a.open(at(WALL_MS), &answer).expect("the answer to our question");
    assert_eq!((opened.kind, opened.peer.record.incarnation), (Kind::Reborn, 2));
    let mut other = plane(&issue(&vo, "c"), 1);
    other.identity = a.identity.clone();
    assert_eq!(why(other.open(at(WALL_MS), &answer)), Err(Count::Unsolicited), "asked nothing");
}

#[test]
fn a_node_an_hour_off_is_told_and_then_understood() {
    let (mut late, mut b) = pair();
    let now = WALL_MS + HOUR_MS;
    let bytes = send(&mut late, &b, WALL_MS);
    let refused = b.open(at(now), &bytes).expect_err("an old stamp");
    assert_eq!(refused.why, Count::Stale);
    let (_, answer) = refused.answer.expect("an answer");
    assert_eq!(late.open(at(WALL_MS), &answer).expect("the answer").kind, Kind::Skewed);
    let bytes = send(&mut late, &b, WALL_MS + 10);
    assert!(b.open(at(now + 10), &bytes).is_ok());
    let reply = send(&mut b, &late, now + 20);
    assert!(late.open(at(WALL_MS + 20), &reply).is_ok(), "an echoed nonce is fresh whatever the stamp");
}

#[test]
fn three_peers_correct_the_clock_and_it_is_said_once() {
    let vo = vo();
    let mut late = plane(&issue(&vo, "late"), 1);
    let mut said = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let mut peer = plane(&issue(&vo, name), 1);
        let bytes = send(&mut late, &peer, WALL_MS);
        match peer.open(at(WALL_MS + HOUR_MS), &bytes) {
            Ok(_) => assert_eq!(name, "d", "the fourth understands the corrected stamp"),
            Err(refused) => {
                let (_, answer) = refused.answer.expect("an answer");
                said.extend(late.open(at(WALL_MS), &answer).expect("the answer").clock);
            }
        }
    }
    assert_eq!(said, [ClockReport::Corrected { offset_ms: HOUR_MS as i64 }]);
}

#[test]
fn peers_that_know_how_late_a_clock_is_go_on_telling_it_their_own_time() {
    let vo = vo();
    let mut late = plane(&issue(&vo, "late"), 1);
    let mut peers = ["a", "b", "c", "d", "e"].map(|name| plane(&issue(&vo, name), 1));
    let mut said = Vec::new();
    // The others ask, the late one answers what it understands.
    for round in 0..20 {
        let (early, now) = (WALL_MS + 1_000 * round, WALL_MS + 1_000 * round + HOUR_MS);
        for peer in &mut peers {
            let question = send(peer, &late, now);
            let answer = match late.open(at(early), &question) {
                Ok(opened) => {
                    said.extend(opened.clock);
                    send(&mut late, peer, early)
                }
                Err(refused) => refused.answer.expect("it is told").1,
            };
            assert!(peer.open(at(now), &answer).is_ok(), "round {round}");
        }
    }
    assert_eq!(said, [ClockReport::Corrected { offset_ms: HOUR_MS as i64 }]);
}

#[test]
fn what_was_vouched_for_stays_bounded() {
    let vo = vo();
    let mut b = plane(&issue(&vo, "b"), 1);
    for i in 0..VOUCHED_MAX {
        let peer = Arc::new(Peer {
            member: b.identity.member().clone(),
            record: NodeRecord::verify(&b.identity.key().verifying_key(), &b.record).expect("own"),
            signed_record: b.record.clone().into(),
        });
        let mut key = [0; 32];
        key[..8].copy_from_slice(&i.to_be_bytes());
        b.vouched.insert(key, peer);
    }
    let mut a = plane(&issue(&vo, "a"), 1);
    let bytes = send(&mut a, &b, WALL_MS);
    assert!(b.open(at(WALL_MS), &bytes).is_ok());
    assert_eq!(b.vouched.len(), VOUCHED_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_datagrams_are_dropped_and_change_nothing(cut in 0usize..464, flip in 0usize..3712) {
        let (mut a, mut b) = pair();
        let bytes = send(&mut a, &b, WALL_MS);
        prop_assert!(b.open(at(WALL_MS), &bytes[..cut]).is_err());
        let mut flipped = bytes.clone();
        flipped[flip / 8] ^= 1 << (flip % 8);
        prop_assert!(b.open(at(WALL_MS), &flipped).is_err());
        prop_assert!(b.open(at(WALL_MS), &bytes).is_ok());
    }
}

#[test]
fn an_older_run_is_told_of_the_newest_record_when_its_question_was_long_enough() {
    let vo = vo();
    let (key, mut b) = (issue(&vo, "a"), plane(&issue(&vo, "b"), 1));
    let (mut lost, mut higher) = (plane(&key, 3), plane(&key, 9));
    let bytes = send(&mut higher, &b, WALL_MS);
    assert!(b.open(at(WALL_MS), &bytes).is_ok());
    for (padding, is_told) in [(Padding::Least, false), (Padding::Full, true)] {
        let bytes = lost.seal(at(WALL_MS), contact(&b), b"hello", padding).expect("it fits");
        let refused = b.open(at(WALL_MS), &bytes).expect_err("an older run");
        assert_eq!((refused.why, refused.answer.is_some()), (Count::OldIncarnation, is_told));
        let Some((_, answer)) = refused.answer else { continue };
        assert!(answer.len() <= bytes.len());
        let opened = lost.open(at(WALL_MS), &answer).expect("an answer to its question");
        let record = lost.own_record(&opened.payload).expect("its own key signed it");
        assert_eq!((opened.kind, record.incarnation), (Kind::Namesake, 9));
        assert_eq!(b.own_record(&opened.payload), None, "of another key it says nothing");
    }
}
