//! What reads bytes or text that others wrote, one function each: none of them may panic, whatever it is
//! given. Some read again what they wrote, and have to find the same.
//!
//! The fuzzer calls them with what it invents; an ordinary test of the command's crate calls them with the
//! files of `fuzz/corpus`, and so includes this file as a module beside the parsers of the command.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use minicbor::decode;
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Decoder, Encode};
use xtreem_agent::Config;
use xtreem_agent::complaint::Source;
use xtreem_agent::program::Program;
use xtreem_allocation::placement::Placements;
use xtreem_allocation::policy::{Policy, SignedPolicy};
use xtreem_allocation::{Application, Kept, Record, Spec};
use xtreem_base::{Duration, Handle, HandleTable, Instant, NodeId};
use xtreem_discovery::{Expression, Need, Requirement, SetQuery};
use xtreem_net::{Contact, Invitation, VoRoot};
use xtreem_node::Message;
use xtreem_pubsub::relay::{Relay, Server};
use xtreem_pubsub::{Framer, PAYLOAD_MAX_BYTES, Reply, Request, Step};
use xtreem_wire::{Claims, NodeRecord, Unverified};

use crate::{app_file, policy_file};

/// A target and its name, which is that of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 25] = [
    ("datagram", datagram),
    ("message", message),
    ("hello", hello),
    ("credential", credential),
    ("record", record),
    ("spec", spec),
    ("policy", policy),
    ("policy_file", policy_toml),
    ("app_file", app_toml),
    ("agent_file", agent_toml),
    ("requirement", requirement),
    ("set_query", set_query),
    ("placement", placement),
    ("program", program),
    ("services", services),
    ("pieces", pieces),
    ("beside", beside),
    ("kept", kept),
    ("invitation", invitation),
    ("stranger", stranger),
    ("collection", collection),
    ("addressed", addressed),
    ("announcement", announcement),
    ("events", events),
    ("relay", relay),
];

/// Numbers contacts as they come, as a driver's table does.
#[derive(Default)]
struct Table(Vec<Contact>);

impl HandleTable for Table {
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        match self.0.get(handle.as_u32() as usize) {
            Some(contact) => e.encode(contact)?.ok(),
            None => Err(encode::Error::message("no such contact")),
        }
    }

    fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        self.0.push(d.decode()?);
        Ok(Handle::from_u32(self.0.len() as u32 - 1))
    }
}

/// A key that signed nothing here.
fn root() -> Option<VoRoot> {
    // The base point of the curve, as bytes.
    let mut point = [0x66; 32];
    point[0] = 0x58;
    VoRoot::from_bytes(&point)
}

/// What comes in a UDP packet, and the node's message in it.
pub fn datagram(bytes: &[u8]) {
    if let Ok(unverified) = Unverified::parse(bytes) {
        let _ = unverified.destination();
        if let Some(root) = root() {
            assert!(unverified.verify(root.key()).is_err(), "nobody signed this");
        }
    }
}

/// A message from node to node.
pub fn message(bytes: &[u8]) {
    let mut table = Table::default();
    let Ok(message) = minicbor::decode_with::<_, Message>(bytes, &mut table) else { return };
    let _ = message.travel();
    message.for_each_statement(&mut |_| {});
    is_read_again(&message, table);
}

/// What is read is written, read again and written again: the same bytes.
fn is_read_again<T>(value: &T, mut table: Table)
where
    T: Encode<Table> + for<'b> Decode<'b, Table> + std::fmt::Debug,
{
    let written = minicbor::to_vec_with(value, &mut table).expect("all handles are known");
    let mut again = Table::default();
    let read = minicbor::decode_with::<_, T>(&written, &mut again).expect("what was read once");
    let rewritten = minicbor::to_vec_with(&read, &mut again).expect("all handles are known");
    assert_eq!(written, rewritten, "{value:?}");
}

/// The first exchange on a connection.
pub fn hello(bytes: &[u8]) {
    xtreem_net::fuzzed::hello(bytes);
}

/// A compact credential, a node's record, the proof below an application's record.
pub fn credential(bytes: &[u8]) {
    let Some(root) = root() else { return };
    assert!(root.verify_timeless(bytes).is_err(), "nobody signed this");
    assert!(NodeRecord::verify(root.key(), bytes).is_err(), "nobody signed this");
    let _: Option<Claims> = xtreem_wire::claimed_signer(bytes);
}

pub fn record(bytes: &[u8]) {
    if let Ok(record) = minicbor::decode::<Record>(bytes) {
        let _ = record.version();
        assert!(root().is_none_or(|root| xtreem_net::verify_record(&root, 0, &record).is_err()));
    }
    if let Ok(application) = minicbor::decode::<Application>(bytes) {
        let _ = xtreem_net::verify_spec(&application);
    }
}

/// A specification, with the program in it.
pub fn spec(bytes: &[u8]) {
    if let Ok(spec) = minicbor::decode::<Spec>(bytes) {
        program(&spec.payload);
        placement(spec.placement.as_bytes());
    }
}

/// A policy as it travels.
pub fn policy(bytes: &[u8]) {
    if let Ok(signed) = minicbor::decode::<SignedPolicy>(bytes) {
        let _ = signed.open();
    }
    if let Ok(policy) = Policy::from_document(bytes) {
        let written = policy.to_document().expect("what was read once");
        assert_eq!(Policy::from_document(&written).as_ref(), Ok(&policy));
    }
}

fn text(bytes: &[u8], read: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        read(text);
    }
}

/// A policy as its owner writes it.
pub fn policy_toml(bytes: &[u8]) {
    text(bytes, |text| match policy_file::parse(Source { name: "policy.toml", text }) {
        Ok(policy) => drop(policy.to_document().expect("checked")),
        Err(complaint) => drop(complaint.to_string()),
    });
}

/// An application as a user writes it. Files that it names are not there.
pub fn app_toml(bytes: &[u8]) {
    text(bytes, |text| match app_file::AppFile::parse(text, "app.toml", Path::new("/nonexistent")) {
        Ok(app) => drop(app.spec().expect("checked")),
        Err(complaint) => drop(complaint.to_string()),
    });
}

pub fn agent_toml(bytes: &[u8]) {
    text(bytes, |text| {
        if let Err(error) = Config::parse(Path::new("agent.toml"), text) {
            drop(error.to_string());
        }
    });
}

pub fn requirement(bytes: &[u8]) {
    text(bytes, |text| match Requirement::parse(text) {
        Ok(requirement) => {
            assert_eq!(requirement.clauses().len(), requirement.clauses().count());
            let _ = requirement.region(&xtreem_discovery::schema::Schema::standard());
        }
        Err(error) => drop(error.to_string()),
    });
}

pub fn set_query(bytes: &[u8]) {
    text(bytes, |text| {
        match SetQuery::parse(text) {
            Ok(set) => assert!(set.least() <= set.most()),
            Err(error) => drop(error.to_string()),
        }
        drop(Need::parse(text));
    });
}

/// What chooses among candidates, and the expressions in it.
pub fn placement(bytes: &[u8]) {
    text(bytes, |text| {
        drop(Placements::default().parse(text));
        drop(Expression::parse(text));
    });
}

/// What every slot of an application runs.
pub fn program(bytes: &[u8]) {
    if let Ok(program) = Program::from_payload(bytes) {
        let written = program.to_payload().expect("what was read once");
        assert_eq!(Program::from_payload(&written).as_ref(), Ok(&program));
    }
}

/// Requests and answers on streams between agents.
pub fn services(bytes: &[u8]) {
    xtreem_agent::fuzzed::services(bytes);
}

/// A piece of a content with its proof.
pub fn pieces(bytes: &[u8]) {
    xtreem_agent::fuzzed::piece(bytes);
}

/// What command line and holder say to each other for a command beside a slot.
pub fn beside(bytes: &[u8]) {
    xtreem_net::fuzzed::beside(bytes);
}

/// What a node kept of an application on its disk, which may be damaged.
pub fn kept(bytes: &[u8]) {
    let mut table = Table::default();
    let Ok(kept) = minicbor::decode_with::<_, Kept>(bytes, &mut table) else { return };
    let _ = kept.app();
    kept.for_each_handle(&mut |_| {});
    is_read_again(&kept, table);
}

/// The line that brings a machine into a VO; also what its encoding hides, as a fuzzer finds no Base64.
pub fn invitation(bytes: &[u8]) {
    text(bytes, |text| drop(Invitation::parse(text).map_err(|error| error.to_string())));
    let hidden = Invitation::parse_bytes(bytes);
    drop(hidden.map_err(|error| error.to_string()));
}

/// What a node that is not of this VO shows: a name that it dials, and a certificate.
pub fn stranger(bytes: &[u8]) {
    xtreem_net::fuzzed::stranger(bytes);
}

/// What collections of slots write to each other.
pub fn collection(bytes: &[u8]) {
    xtreem_agent::fuzzed::collection(bytes);
}

/// A message by rank, place or key between members of one application, and the refusal of one.
pub fn addressed(bytes: &[u8]) {
    xtreem_agent::fuzzed::addressed(bytes);
}

/// What is told to all nodes of a grid.
pub fn announcement(bytes: &[u8]) {
    let Some(root) = root() else { return };
    xtreem_net::fuzzed::announcement(&root, bytes);
}

/// What clients of publish/subscribe and their servers say to each other.
pub fn events(bytes: &[u8]) {
    let (mut framer, mut rest) = (Framer::new(PAYLOAD_MAX_BYTES), bytes);
    loop {
        let (taken, step) = framer.next(rest);
        assert!(taken <= rest.len());
        match step {
            Step::Frame(frame) => {
                drop(Request::parse(frame).map_err(|fault| fault.to_string()));
                drop(Reply::parse(frame).map_err(|fault| fault.to_string()));
            }
            Step::Refused(fault) => drop(fault.to_string()),
            Step::More(_) | Step::Broken(_) => return,
        }
        if taken == 0 {
            return;
        }
        rest = &rest[taken..];
    }
}

/// What servers of publish/subscribe say to each other: frames behind two bytes of their length each.
pub fn relay(bytes: &[u8]) {
    let addr = SocketAddr::from(([127, 0, 0, 1], 7_227));
    let server = |name| Server { id: NodeId::from_bytes([name; 16]), incarnation: 1, addr };
    let mut relay = Relay::new(server(1), [7; 32]);
    let (mut rest, mut now) = (bytes, Instant::ZERO);
    while let Some((len, more)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(more.len());
        let (frame, behind) = more.split_at(len);
        let _ = relay.handle_frame(now, server(2), &Bytes::copy_from_slice(frame));
        while relay.next_action().is_some() {}
        relay.handle_timeout(now);
        now += Duration::from_millis(100);
        rest = behind;
    }
}
