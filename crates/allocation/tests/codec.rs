//! Messages on the wire: they come back as they were, and hostile ones are refused without a panic.

use std::error::Error as _;
use std::sync::Arc;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use proptest::prelude::*;
use xtreem_allocation::{
    Application, Appointment, Confirm, Epoch, Evidence, Exit, Failure, FailureKind, Final, GuardianSet,
    Holds, Known, LINKS_MAX, LINKS_SENT_MAX, Link, Message, ROOTS_MAX, Record, Refused, Resources, Restart,
    SETS_MAX, SetVersion, Signed, Silence, SlotReport, SlotState, Spec, Statement, Trouble, Versions, Wanted,
};
use xtreem_base::{AppId, Digest, Handle, HandleTable, NodeId, Plane};
use xtreem_discovery::{FactsAsk, FixedPorts, Need, ParseError};

/// Writes a handle as its number.
struct Numbers;

impl HandleTable for Numbers {
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        e.u32(handle.as_u32())?.ok()
    }

    fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        d.u32().map(Handle::from_u32)
    }
}

fn bytes(message: &Message) -> Vec<u8> {
    minicbor::to_vec_with(message, &mut Numbers).expect("writing to memory does not fail")
}

fn read(bytes: &[u8]) -> Result<Message, decode::Error> {
    minicbor::decode_with(bytes, &mut Numbers)
}

fn record(wanted: Wanted) -> Record {
    Record {
        id: AppId::from_bytes([7; 16]),
        owner: NodeId::from_bytes([1; 16]),
        name: "web".into(),
        spec_digest: Digest::from_bytes([3; 32]),
        slots: 9,
        generation: 2,
        wanted,
        proof: Arc::from(&[1, 2, 3][..]),
        submitter: NodeId::from_bytes([5; 16]),
    }
}

/// As long as a real one is at most: a credential, a signature and their heads.
const PROOF: [u8; 270] = [7; 270];

fn signed<T>(body: T) -> Arc<Signed<T>> {
    Arc::new(Signed { body, proof: Arc::from(PROOF) })
}

fn guardians(by: Epoch) -> GuardianSet {
    let members = vec![NodeId::from_bytes([1; 16]); 3];
    let version = SetVersion { number: u32::MAX, by };
    let app = AppId::from_bytes([7; 16]);
    let body = Appointment { app, slot: 4_095, version, members, signer: NodeId::from_bytes([9; 16]) };
    let claim = Some(Box::new(Signed { body, proof: Arc::from(PROOF) }));
    GuardianSet { version, members: [1, 2, 3].map(Handle::from_u32).into(), claim }
}

/// As much of it as is sent.
fn evidence(guardians: &GuardianSet) -> Evidence {
    let (app, holder) = (AppId::from_bytes([7; 16]), NodeId::from_bytes([8; 16]));
    let epoch = guardians.version.by;
    let link = signed(Link { app, slot: 2, epoch, holder, after: 2 });
    let state = SlotState::Done(Exit::Code(-1));
    let claim = guardians.claim.as_ref().expect("it was just made");
    Evidence {
        roots: vec![holder; 2],
        links: vec![link; LINKS_SENT_MAX],
        sets: [(); SETS_MAX].map(|()| Arc::new((**claim).clone())).into(),
        finals: vec![signed(Final { app, slot: 2, epoch, state, holder }); 9],
    }
}

/// One message of each kind that carries something.
fn samples() -> Vec<Message> {
    let app = AppId::from_bytes([7; 16]);
    let epoch = Epoch { counter: 3, recruiter: NodeId::from_bytes([9; 16]), incarnation: 4, attempt: 5 };
    let known = Known { slot: 2, epoch, holder: Some(Handle::from_u32(77)), state: SlotState::Running };
    let guardians = guardians(epoch);
    let evidence = evidence(&guardians);
    let versions = Versions { record: record(Wanted::Running).version(), guardians: guardians.version };
    let report = SlotReport { slot: 2, epoch, state: SlotState::Starting, done_run: 0 };
    let spec = Spec {
        requirement: "cpu.cores >= 2".parse().expect("a requirement"),
        resources: Resources::SLOT_DEFAULT,
        colocate: true,
        restart: Restart::Always,
        payload: Arc::from(&b"payload"[..]),
        placement: "near host07".into(),
        ports: FixedPorts::new([80, 443]).expect("two ports"),
    };
    let application = Application { record: record(Wanted::Running), spec: Arc::new(spec) };
    let confirm = Confirm {
        application: application.clone(),
        slot: 2,
        epoch,
        hold: 1 << 60,
        guardians: guardians.clone(),
        neighbours: vec![known, Known { holder: None, ..known }],
        older: vec![Handle::from_u32(8)],
        peers: vec![],
        evidence: evidence.clone(),
        failures: vec![
            Failure {
                node: NodeId::from_bytes([5; 16]),
                at: Handle::from_u32(9),
                kind: FailureKind::Node(Trouble::Port),
                count: 3,
            },
            Failure {
                node: NodeId::from_bytes([5; 16]),
                at: Handle::from_u32(9),
                kind: FailureKind::Program(Exit::Code(1)),
                count: 1,
            },
        ],
        failing: vec![Handle::from_u32(9)],
        sources: vec![Handle::from_u32(10)],
    };
    vec![
        Message::Renew { hold: 9 },
        Message::Lock { hold: u64::MAX },
        Message::Lost { hold: 1 },
        Message::Confirm(confirm.into()),
        Message::Confirmed { app, slot: 2, epoch },
        Message::Refused { app, slot: 2, epoch, why: Refused::Record(record(Wanted::Stopped).into()) },
        Message::Refused { app, slot: 2, epoch, why: Refused::Higher(known, evidence.clone().into()) },
        Message::AskProof { app, slot: 4_095, epoch },
        Message::Guardians { app, guardians: guardians.clone() },
        Message::Announce { app, versions, slot: 2, epoch },
        Message::Announced { app, slot: 2, epoch, higher: Some(known) },
        Message::Probe { app, versions: Some(versions), about: known, mine: vec![report; 4] },
        Message::ProbeAck { app, versions: None, slot: 2, holds: Holds::Yes(report), newest: Some(known) },
        Message::Tell { app, versions, slots: vec![known; 9], evidence: evidence.clone().into() },
        Message::Appoint {
            application: application.into(),
            guardians,
            slots: vec![known],
            older: vec![],
            evidence: evidence.into(),
        },
        Message::Description {
            record: record(Wanted::Running).into(),
            slots: vec![known],
            guardians: vec![],
            placement: "spread by site".into(),
            silences: vec![Silence { slot: 3, seconds: 12 }],
        },
        Message::AskFacts { app, facts: FactsAsk::new(["rack", "site"]).expect("names") },
        Message::Facts { app, facts: Box::default() },
    ]
}

#[test]
fn messages_come_back_as_they_were() {
    for message in samples() {
        assert_eq!(read(&bytes(&message)).as_ref().ok(), Some(&message));
    }
}

/// The most that fits a datagram with everything around it.
const DATAGRAM_MAX_BYTES: usize = 1_000;

#[test]
fn what_is_signed_is_claimed_and_never_sent_as_a_datagram() {
    for message in samples() {
        let (mut records, mut applications, mut claims) = (0, 0, 0);
        message.for_each_statement(&mut |claim| match claim {
            Statement::Record(_) => records += 1,
            Statement::Application(_) => applications += 1,
            Statement::Claim(..) => claims += 1,
            Statement::Policy(_) | Statement::Announcement(..) | Statement::Overwrite { .. } => {
                panic!("{message:?} has no such thing")
            }
        });
        let want = match &message {
            Message::Confirm(_) | Message::Appoint { .. } => (1, 1),
            Message::Record { .. } | Message::Description { .. } => (1, 0),
            Message::Refused { why: Refused::Record(_), .. } => (1, 0),
            _ => (0, 0),
        };
        let evidence = LINKS_SENT_MAX + SETS_MAX + 9;
        let claimed = match &message {
            Message::Confirm(_) | Message::Appoint { .. } => evidence + 1,
            Message::Tell { .. } | Message::Refused { why: Refused::Higher(..), .. } => evidence,
            Message::Guardians { .. } => 1,
            _ => 0,
        };
        assert_eq!((records, applications, claims), (want.0, want.1, claimed), "{message:?}");
        let travel = message.travel();
        if travel.plane == Plane::Datagram {
            assert_eq!(records, 0, "{message:?}");
            assert!(bytes(&message).len() <= DATAGRAM_MAX_BYTES, "{message:?}");
        }
        let is_asked = matches!(
            message,
            Message::Probe { .. } | Message::Announce { .. } | Message::GuardianProbe { .. }
        );
        assert_eq!(travel.is_padded, is_asked, "{message:?}");
    }
}

#[test]
fn every_cut_message_is_refused() {
    for message in samples() {
        let whole = bytes(&message);
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "{len} bytes of {message:?}");
        }
    }
}

#[test]
fn a_specification_travels_with_the_text_of_its_requirement_and_a_wrong_text_is_refused_with_its_place() {
    let text = "cpu.cores >= 2  &&  has ecc";
    let encoded = |text: &str| {
        // Nothing but blanks is a requirement, and another text of that length can stand there.
        let blanks = " ".repeat(text.len());
        let spec = Spec {
            requirement: blanks.parse().expect("a requirement"),
            resources: Resources::SLOT_DEFAULT,
            colocate: false,
            restart: Restart::Never,
            payload: Arc::from([]),
            placement: "".into(),
            ports: FixedPorts::NONE,
        };
        let mut bytes = minicbor::to_vec(&spec).expect("writing to memory does not fail");
        let at = bytes.windows(text.len()).position(|part| part == blanks.as_bytes()).expect("its text");
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        bytes
    };
    let bytes = encoded(text);
    let spec: Spec = minicbor::decode(&bytes).expect("a specification");
    assert_eq!((spec.requirement.text(), minicbor::to_vec(&spec).expect("its bytes")), (text, bytes));
    for wrong in ["cpu.cores >= 8GiB", "3 nodes with a mistake"] {
        let error = minicbor::decode::<Spec>(&encoded(wrong)).expect_err(wrong);
        let cause = error.source().and_then(|cause| cause.downcast_ref::<ParseError>());
        assert_eq!(cause, Need::parse(wrong).err().as_ref(), "{error}");
    }
}

#[test]
fn lists_and_names_beyond_their_limits_are_refused() {
    let known = Known { slot: 2, epoch: Epoch::NONE, holder: None, state: SlotState::Planned };
    let app = AppId::from_bytes([7; 16]);
    let versions = Versions {
        record: record(Wanted::Running).version(),
        guardians: SetVersion { number: 0, by: Epoch::NONE },
    };
    let long_name = Record { name: "x".repeat(65), ..record(Wanted::Running) };
    let tell = |evidence: Evidence| {
        let slots = vec![known];
        Message::Tell { app, versions, slots, evidence: evidence.into() }
    };
    let holder = NodeId::from_bytes([1; 16]);
    let link = signed(Link { app, slot: 2, epoch: Epoch::NONE, holder, after: 0 });
    let far = signed(Link { slot: 4_096, ..link.body.clone() });
    let long = Arc::new(Signed { body: link.body.clone(), proof: Arc::from(vec![0; 513]) });
    let hostile = [
        Message::Tell { app, versions, slots: vec![known; 65], evidence: Box::default() },
        tell(Evidence { links: vec![link.clone(); LINKS_MAX + 1], ..Evidence::default() }),
        tell(Evidence { links: vec![far], ..Evidence::default() }),
        tell(Evidence { links: vec![long], ..Evidence::default() }),
        tell(Evidence { roots: vec![NodeId::from_bytes([1; 16]); ROOTS_MAX + 1], ..Evidence::default() }),
        Message::Tell {
            app,
            versions,
            slots: vec![Known { slot: 4_096, ..known }],
            evidence: Box::default(),
        },
        Message::Record { record: long_name.into() },
        Message::Record { record: Record { slots: 0, ..record(Wanted::Running) }.into() },
        Message::Record { record: Record { slots: 5_000, ..record(Wanted::Running) }.into() },
        Message::Record {
            record: Record { proof: Arc::from(vec![0; 513]), ..record(Wanted::Running) }.into(),
        },
        Message::Guardians {
            app,
            guardians: GuardianSet { members: vec![Handle::from_u32(1); 4], ..guardians(Epoch::NONE) },
        },
    ];
    for message in hostile {
        assert!(read(&bytes(&message)).is_err(), "{message:?}");
    }
}

proptest! {
    #[test]
    fn flipped_bits_never_panic(pick in 0usize..16, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = bytes(&samples()[pick]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        drop(read(&bytes));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        drop(read(&bytes));
    }
}
