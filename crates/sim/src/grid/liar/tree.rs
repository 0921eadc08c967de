//! Any message as a tree of numbers, texts, lists and peers, in which single leaves are changed. What comes
//! of it is read back as a message: so a liar can say whatever the codec lets through, of every kind that
//! there is, and nothing else.

use minicbor::data::{Int, Tag, Type};
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use xtreem_base::{Handle, HandleTable, Rng};
use xtreem_node::Message;

/// Marks the number of a handle, which no other number of a message has.
const HANDLE_TAG: u64 = 7_000;
/// Deeper than any message.
const DEPTH_MAX: u8 = 32;
/// Lists are grown to these lengths: the limits of the lists that there are, and one beyond them.
const LENGTHS: [usize; 12] = [0, 1, 2, 3, 4, 7, 8, 16, 20, 40, 64, 65];
/// Whole numbers at which arithmetic breaks.
const EXTREMES: [i128; 14] = [
    0,
    1,
    2,
    u8::MAX as i128,
    i16::MAX as i128,
    u16::MAX as i128,
    1 << 28,
    i32::MAX as i128,
    u32::MAX as i128 - 1,
    u32::MAX as i128,
    i64::MAX as i128,
    u64::MAX as i128,
    i32::MIN as i128,
    -1,
];

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Number(i128),
    Bytes(Vec<u8>),
    Text(String),
    Flag(bool),
    Nothing,
    Peer(u32),
    List(Vec<Item>),
    Map(Vec<(Item, Item)>),
}

/// Writes handles as marked numbers and reads them.
struct Marked;

impl HandleTable for Marked {
    fn encode_handle<W: Write>(
        &mut self,
        handle: Handle,
        e: &mut Encoder<W>,
    ) -> Result<(), encode::Error<W::Error>> {
        e.tag(Tag::new(HANDLE_TAG))?.u32(handle.as_u32())?.ok()
    }

    fn decode_handle(&mut self, d: &mut Decoder<'_>) -> Result<Handle, decode::Error> {
        match d.tag()?.as_u64() {
            HANDLE_TAG => d.u32().map(Handle::from_u32),
            _ => Err(decode::Error::message("no handle")),
        }
    }
}

/// Nothing when it is no message any more.
pub(super) fn message(tree: &Item) -> Option<Message> {
    let mut bytes = Vec::new();
    tree.write(&mut Encoder::new(&mut bytes)).ok()?;
    minicbor::decode_with(&bytes, &mut Marked).ok()
}

/// The tree of a message; nothing when it has a form that no message has.
pub(super) fn tree(message: &Message) -> Option<Item> {
    let bytes = minicbor::to_vec_with(message, &mut Marked).ok()?;
    Item::read(&mut Decoder::new(&bytes), 0).ok()
}

/// Which core's message it is, and which of its messages.
pub(super) fn kind(tree: &Item) -> Option<(i128, i128)> {
    let number = |item: Option<&Item>| match item? {
        Item::Number(number) => Some(*number),
        Item::List(list) => match list.first()? {
            Item::Number(number) => Some(*number),
            _ => None,
        },
        _ => None,
    };
    let Item::List(outer) = tree else { return None };
    let Some(Item::List(fields)) = outer.get(1) else { return None };
    Some((number(outer.first())?, number(fields.last()).unwrap_or_default()))
}

/// What a liar puts in the place of what was true.
pub(super) struct Words<'a> {
    /// Handles, and ids of 16 bytes, that mean somebody or something.
    pub peers: &'a [Handle],
    pub ids: &'a [[u8; 16]],
}

impl Item {
    fn read(d: &mut Decoder<'_>, depth: u8) -> Result<Item, decode::Error> {
        if depth > DEPTH_MAX {
            return Err(decode::Error::message("too deep"));
        }
        Ok(match d.datatype()? {
            Type::Bytes => Item::Bytes(d.bytes()?.to_vec()),
            Type::String => Item::Text(d.str()?.to_owned()),
            Type::Bool => Item::Flag(d.bool()?),
            Type::Null => {
                d.null()?;
                Item::Nothing
            }
            Type::Tag => {
                d.tag()?;
                Item::Peer(d.u32()?)
            }
            Type::Array => {
                let len = d.array()?.unwrap_or_default();
                Item::List((0..len).map(|_| Item::read(d, depth + 1)).collect::<Result<_, _>>()?)
            }
            Type::Map => {
                let len = d.map()?.unwrap_or_default();
                let pair = |_| Ok((Item::read(d, depth + 1)?, Item::read(d, depth + 1)?));
                Item::Map((0..len).map(pair).collect::<Result<_, decode::Error>>()?)
            }
            _ => Item::Number(d.int()?.into()),
        })
    }

    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), encode::Error<W::Error>> {
        match self {
            Item::Number(number) => match Int::try_from(*number) {
                Ok(number) => e.int(number)?.ok(),
                Err(_) => Err(encode::Error::message("beyond 64 bits")),
            },
            Item::Bytes(bytes) => e.bytes(bytes)?.ok(),
            Item::Text(text) => e.str(text)?.ok(),
            Item::Flag(flag) => e.bool(*flag)?.ok(),
            Item::Nothing => e.null()?.ok(),
            Item::Peer(handle) => e.tag(Tag::new(HANDLE_TAG))?.u32(*handle)?.ok(),
            Item::List(list) => {
                e.array(list.len() as u64)?;
                list.iter().try_for_each(|item| item.write(e))
            }
            Item::Map(map) => {
                e.map(map.len() as u64)?;
                map.iter().try_for_each(|(key, value)| key.write(e).and_then(|()| value.write(e)))
            }
        }
    }

    fn for_each(&mut self, f: &mut impl FnMut(&mut Item)) {
        f(self);
        match self {
            Item::List(list) => list.iter_mut().for_each(|item| item.for_each(f)),
            Item::Map(map) => map.iter_mut().for_each(|(key, value)| {
                key.for_each(f);
                value.for_each(f);
            }),
            _ => {}
        }
    }

    /// Changes some of its leaves and lists: now and then all of them in one way.
    pub(super) fn twist(&mut self, rng: &mut Rng, words: &Words<'_>) {
        let mut count = 0;
        self.for_each(&mut |_| count += 1);
        let changes = if rng.chance(1, 8) { count } else { 1 + rng.below(3) };
        let one_in = (count / changes.max(1)).max(1);
        let mut left = changes;
        self.for_each(&mut |item| {
            if left > 0 && rng.below(one_in) == 0 {
                left -= 1;
                item.twist_one(rng, words);
            }
        });
    }

    /// Puts some bytes in the place of others, wherever they stand.
    pub(super) fn put(&mut self, old: &[u8], new: &[u8]) {
        self.for_each(&mut |item| {
            if let Item::Bytes(bytes) = item
                && bytes == old
            {
                *bytes = new.to_vec();
            }
        });
    }

    /// Makes it speak of another application, or of other peers, wherever it spoke of one.
    pub(super) fn turn_to(&mut self, known: &[[u8; 16]], id: [u8; 16]) {
        self.for_each(&mut |item| {
            if let Item::Bytes(bytes) = item
                && known.iter().any(|known| known == bytes.as_slice())
            {
                *bytes = id.to_vec();
            }
        });
    }

    fn twist_one(&mut self, rng: &mut Rng, words: &Words<'_>) {
        match self {
            Item::Number(number) => {
                *number = match rng.below(4) {
                    0 => *number + 1,
                    1 => *number - 1,
                    2 => i128::from(rng.next_u32() >> rng.below(32)),
                    _ => rng.pick(&EXTREMES).copied().unwrap_or_default(),
                };
            }
            Item::Peer(peer) => *peer = rng.pick(words.peers).map_or(*peer, |peer| peer.as_u32()),
            Item::Bytes(bytes) => match rng.below(4) {
                0 => bytes.fill(0),
                1 => bytes.fill(u8::MAX),
                2 if bytes.len() == 16 => {
                    rng.pick(words.ids).inspect(|id| bytes.copy_from_slice(*id));
                }
                _ => {
                    let len = bytes.len().max(1) as u32;
                    bytes.get_mut(rng.below(len) as usize).into_iter().for_each(|byte| *byte ^= 0x55);
                }
            },
            Item::Text(text) => match rng.below(3) {
                0 => text.clear(),
                1 => *text = text.repeat(2),
                _ => *text = "x".repeat(text.len()),
            },
            Item::Flag(flag) => *flag = !*flag,
            Item::Nothing | Item::Map(_) => {}
            Item::List(list) => {
                let len = rng.pick(&LENGTHS).copied().unwrap_or_default();
                if let Some(last) = list.last().cloned().filter(|_| len < 2 || list.len() < 65) {
                    list.resize(len, last);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use xtreem_membership::{Message as Shuffling, Peer, Peers};

    use super::*;

    fn shuffle() -> Message {
        let peers: Peers = (0..5).map(|i| Peer { handle: Handle::from_u32(i), age: 3 }).collect();
        Message::Grid(Shuffling::Shuffle { seq: 1, peers })
    }

    #[test]
    fn a_tree_is_the_message_and_names_its_kind() {
        let tree = tree(&shuffle()).expect("a message");
        assert_eq!(message(&tree), Some(shuffle()));
        assert_eq!(kind(&tree), Some((0, 0)));
    }

    #[test]
    fn what_is_twisted_is_another_message_of_which_many_can_be_said() {
        let mut rng = Rng::new(3);
        let peers = [7, 8, 9].map(Handle::from_u32);
        let words = Words { peers: &peers, ids: &[[1; 16]] };
        let mut said = std::collections::BTreeSet::new();
        for _ in 0..1_000 {
            let mut lie = tree(&shuffle()).expect("a message");
            lie.twist(&mut rng, &words);
            said.extend(message(&lie).map(|message| format!("{message:?}")));
        }
        assert!(said.len() > 100, "{} different ones", said.len());
        let all = format!("{said:?}");
        assert!(all.contains("65535") && all.contains("h9"), "extremes, and peers of the liar's choice");
    }
}
