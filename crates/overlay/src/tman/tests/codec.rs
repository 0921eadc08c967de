//! Messages on the wire.

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::{HandleTable, Plane};

use super::*;
use crate::KEY_MAX;

/// Writes a handle as the longest hint would be, and counts those it reads.
#[derive(Default)]
struct Numbers(usize);

impl HandleTable for Numbers {
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        let mut hint = [0; 51];
        hint[..4].copy_from_slice(&handle.as_u32().to_be_bytes());
        e.bytes(&hint)?.ok()
    }

    fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        self.0 += 1;
        let hint = d.bytes()?;
        let number = hint.first_chunk().ok_or_else(|| decode::Error::message("short"))?;
        Ok(Handle::from_u32(u32::from_be_bytes(*number)))
    }
}

fn encoded<P: Encode<Numbers>>(message: &Message<P>) -> Vec<u8> {
    // Writing to a vector cannot fail and `Numbers` never refuses.
    minicbor::to_vec_with(message, &mut Numbers::default()).expect("an infallible writer")
}

fn decoded<P: for<'b> Decode<'b, Numbers>>(bytes: &[u8]) -> Option<Message<P>> {
    minicbor::decode_with(bytes, &mut Numbers::default()).ok()
}

fn long(number: u32) -> Position {
    let mut key = [7; KEY_MAX];
    key[..4].copy_from_slice(&number.to_be_bytes());
    Position::new(Key::from_bytes(&key).expect("as long as can be"), NodeId::from_bytes([9; 16]))
}

fn samples() -> Vec<Message<Position>> {
    let peers: Vec<_> = (0..20).map(|peer| told(peer, u16::MAX)).collect();
    let far: Vec<_> =
        (0..20).map(|peer| Descriptor { handle: h(peer), profile: long(peer), age: 0 }).collect();
    [
        message(Kind::Ask, 0, 1, Vec::new()),
        Message { bounds: [at(1), at(2)].into(), ..message(Kind::Ask, u16::MAX, 1, peers.clone()) },
        message(Kind::AskAgain, 3, 1, Vec::new()),
        message(Kind::Answer, 4, 1, peers),
        Message { bounds: [long(1), long(2)].into(), profile: long(3), ..message(Kind::Ask, 5, 1, far) },
    ]
    .into()
}

fn survives<P: Profile + Encode<Numbers> + for<'b> Decode<'b, Numbers>>(message: &Message<P>) {
    let bytes = encoded(message);
    assert_eq!(decoded(&bytes).as_ref(), Some(message));
    assert!(bytes.len() <= message.wire_bytes(), "{} of {}", bytes.len(), message.wire_bytes());
}

#[test]
fn messages_survive_the_wire_and_are_no_longer_than_they_say() {
    samples().iter().for_each(survives);
    let of = |profile| Message { kind: Kind::Ask, seq: 1, profile, bounds: Vec::new(), peers: Vec::new() };
    survives(&of(Items::new(&[u64::MAX; 1]).expect("one")));
    survives(&Message {
        kind: Kind::Ask,
        seq: 1,
        profile: Number(i64::MIN),
        bounds: [Number(3)].into(),
        peers: Vec::new(),
    });
    let place = Coordinates::new(&[u32::MAX; 8]).expect("eight");
    survives(&Message { kind: Kind::Ask, seq: 1, profile: place, bounds: Vec::new(), peers: Vec::new() });
}

#[test]
fn cut_and_flipped_messages_are_refused_or_read_and_never_panic() {
    for message in &samples()[..4] {
        let bytes = encoded(message);
        for len in 0..bytes.len() {
            assert_eq!(decoded::<Position>(&bytes[..len]), None, "{message:?} cut to {len}");
        }
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = decoded::<Position>(&bytes);
        }
    }
}

#[test]
fn too_much_is_refused_before_any_handle_is_made() {
    let head = encoded(&message(Kind::Ask, 0, 1, Vec::new()));
    let (empty, head) = head.split_last().expect("some bytes");
    assert_eq!(*empty, 0x80, "no peers come last");
    for len in [&[0x95u8][..], &[0x9a, 0xff, 0xff, 0xff, 0xff], &[0x9f]] {
        let mut table = Numbers::default();
        let mut bytes = [head, len].concat();
        bytes.extend([0; 4_000]);
        assert!(minicbor::decode_with::<_, Message<Position>>(&bytes, &mut table).is_err());
        assert_eq!(table.0, 0);
    }
    let refused = |bytes: &[u8]| minicbor::decode::<Items>(bytes).is_err();
    assert!(refused(&[0x98, 33]) && refused(&[0x82, 2, 1]) && refused(&[0x82, 1, 1]) && refused(&[0x9f]));
    assert!(minicbor::decode::<Coordinates>(&[0x80]).is_err());
    assert!(minicbor::decode::<Coordinates>(&[0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]).is_err());
}

#[test]
fn what_does_not_fit_a_datagram_goes_by_stream_and_so_does_an_answer_with_news() {
    let planes = samples().into_iter().map(|message| message.travel().plane);
    assert!(planes.eq([Plane::Datagram, Plane::Stream, Plane::Datagram, Plane::Stream, Plane::Stream]));
    let of = |kind, count| message(kind, 1, 1, (0..count).map(|peer| told(10 + peer, 1)).collect());
    assert_eq!(of(Kind::Ask, 5).travel().plane, Plane::Datagram);
    assert_eq!(of(Kind::Answer, 0).travel().plane, Plane::Datagram);
    assert_eq!(of(Kind::Answer, 2).travel().plane, Plane::Stream);
}
