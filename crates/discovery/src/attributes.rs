//! What a node says of itself: names with values, bounded in every direction.
//!
//! D3.2.1, section 3.1: static attributes describe the machine, dynamic ones its present state; both are
//! checked on the node itself when a search visits it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use crate::{Number, bounded, standard};

/// Attributes of one node. The standard table has under 30; the rest is for sites (our guess).
pub const ATTRIBUTES_MAX: usize = 128;
/// Bytes of a name.
pub const NAME_LEN_MAX: usize = 64;
/// Bytes of a text, and of one entry of a list. CPU model names have under 60.
pub const TEXT_LEN_MAX: usize = 256;
/// Entries of a list. A large /usr/bin has about 1,500 commands.
pub const LIST_LEN_MAX: usize = 2_048;
/// Bytes of all names, texts and entries of one node: about twice a machine with 1,500 commands.
pub const ATTRIBUTES_BYTES_MAX: usize = 32 * 1024;

/// Words of the requirement language, which cannot name an attribute.
pub(crate) const RESERVED: [&str; 4] = ["false", "has", "in", "true"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Number(Number),
    Text(String),
    Flag(bool),
    List(Vec<String>),
}

impl Value {
    /// Bytes that count against [`ATTRIBUTES_BYTES_MAX`].
    fn text_bytes(&self) -> usize {
        match self {
            Value::Number(_) | Value::Flag(_) => 0,
            Value::Text(text) => text.len(),
            Value::List(entries) => entries.iter().map(String::len).sum(),
        }
    }

    fn is_within_limits(&self) -> bool {
        match self {
            Value::Number(_) | Value::Flag(_) => true,
            Value::Text(text) => text.len() <= TEXT_LEN_MAX,
            Value::List(entries) => {
                entries.len() <= LIST_LEN_MAX && entries.iter().all(|entry| entry.len() <= TEXT_LEN_MAX)
            }
        }
    }
}

impl From<u64> for Value {
    fn from(whole: u64) -> Self {
        Value::Number(Number::from_unsigned(whole))
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        Value::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Flag(flag)
    }
}

impl From<Vec<String>> for Value {
    fn from(entries: Vec<String>) -> Self {
        Value::List(entries)
    }
}

/// As the requirement language would write it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => number.fmt(f),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Flag(flag) => flag.fmt(f),
            Value::List(entries) => f.debug_list().entries(entries).finish(),
        }
    }
}

/// An attribute was not taken; the set is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    #[error(
        "a name is lower-case letters, digits, `_`, in parts joined by `.`, begins with a letter, has at most {NAME_LEN_MAX} bytes and is none of `true`, `false`, `in`, `has`"
    )]
    Name,
    #[error("a text has at most {TEXT_LEN_MAX} bytes, a list at most {LIST_LEN_MAX} of them")]
    Value,
    #[error("a node has at most {ATTRIBUTES_MAX} attributes of {ATTRIBUTES_BYTES_MAX} bytes in all")]
    Full,
}

/// The attributes of one node, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Attributes {
    values: BTreeMap<Box<str>, Value>,
    /// Bytes of all names and texts, kept beside them.
    bytes: usize,
}

impl Attributes {
    pub fn new() -> Self {
        Attributes::default()
    }

    /// Adds the attribute or replaces its value.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) -> Result<(), AttributeError> {
        let value = value.into();
        if !is_name(name) {
            return Err(AttributeError::Name);
        }
        if !value.is_within_limits() {
            return Err(AttributeError::Value);
        }
        let old = self.values.get(name).map_or(0, |old| name.len() + old.text_bytes());
        let bytes = self.bytes - old + name.len() + value.text_bytes();
        let len = self.values.len() + usize::from(!self.values.contains_key(name));
        if bytes > ATTRIBUTES_BYTES_MAX || len > ATTRIBUTES_MAX {
            return Err(AttributeError::Full);
        }
        self.bytes = bytes;
        self.values.insert(name.into(), value);
        Ok(())
    }

    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let value = self.values.remove(name)?;
        self.bytes -= name.len() + value.text_bytes();
        Some(value)
    }

    /// The value of that name, when the node has one.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (&**name, value))
    }

    /// Those that do not change while the agent runs: what a digest or a key may be made of.
    pub fn statics(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.iter().filter(|(name, _)| !standard::is_dynamic(name))
    }

    /// All but the lists, which are long and whose entries the requirement has already checked: for answers.
    pub fn without_lists(&self) -> Attributes {
        let mut short = Attributes::new();
        for (name, value) in self.iter().filter(|(_, value)| !matches!(value, Value::List(_))) {
            short.bytes += name.len() + value.text_bytes();
            short.values.insert(name.into(), value.clone());
        }
        short
    }

    /// Those of these names that are there, without the lists.
    pub(crate) fn only<'a>(&self, names: impl Iterator<Item = &'a str>) -> Attributes {
        let mut some = Attributes::new();
        for (name, value) in names.filter_map(|name| Some((name, self.values.get(name)?))) {
            if !matches!(value, Value::List(_)) {
                some.bytes += name.len() + value.text_bytes();
                some.values.insert(name.into(), value.clone());
            }
        }
        some
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Whether `name` can name an attribute: `load.1m` can, `Load`, `1m`, `a..b` and `in` cannot.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= NAME_LEN_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.split('.').all(|part| !part.is_empty() && part.chars().all(is_name_char))
        && !RESERVED.contains(&name)
}

/// Characters of the parts of a name.
pub(crate) fn is_name_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

/// A map from name to an integer (thousandths), text, boolean or array of texts.
impl<C> Encode<C> for Attributes {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(self.values.len() as u64)?;
        for (name, value) in self.iter() {
            e.str(name)?;
            match value {
                Value::Number(number) => number.encode(e, ctx)?,
                Value::Text(text) => e.str(text)?.ok()?,
                Value::Flag(flag) => e.bool(*flag)?.ok()?,
                Value::List(entries) => entries.encode(e, ctx)?,
            }
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Attributes {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        use minicbor::data::Type;
        let mut attributes = Attributes::new();
        for _ in 0..bounded::map_len(d, ATTRIBUTES_MAX)? {
            let at = d.position();
            let name = d.str()?;
            let value = match d.datatype()? {
                Type::String => Value::Text(bounded::text::<C, TEXT_LEN_MAX>(d, ctx)?),
                Type::Bool => Value::Flag(d.bool()?),
                Type::Array => {
                    let len = bounded::array_len(d, LIST_LEN_MAX)?;
                    let mut entries = Vec::new();
                    for _ in 0..len {
                        entries.push(bounded::text::<C, TEXT_LEN_MAX>(d, ctx)?);
                    }
                    Value::List(entries)
                }
                _ => Value::Number(Number::decode(d, ctx)?),
            };
            if attributes.value(name).is_some() {
                return Err(decode::Error::message("attribute named twice").at(at));
            }
            attributes.set(name, value).map_err(|error| decode::Error::message(error).at(at))?;
        }
        Ok(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::{format, string::ToString};

    fn example() -> Attributes {
        let mut attributes = Attributes::new();
        attributes.set("cpu.cores", 8).unwrap();
        attributes.set("load.1m", Number::from_thousandths(430)).unwrap();
        attributes.set("arch", "x86_64").unwrap();
        attributes.set("ecc", true).unwrap();
        attributes.set("cpu.flags", vec!["avx2".to_string(), "sse4_2".to_string()]).unwrap();
        attributes
    }

    #[test]
    fn survive_the_wire() {
        let attributes = example();
        let bytes = minicbor::to_vec(&attributes).unwrap();
        assert_eq!(minicbor::decode::<Attributes>(&bytes).unwrap(), attributes);
    }

    #[test]
    fn every_cut_message_is_an_error() {
        let bytes = minicbor::to_vec(example()).unwrap();
        for len in 0..bytes.len() {
            assert!(minicbor::decode::<Attributes>(&bytes[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["", "Arch", "1m", "a..b", ".a", "a.", "in", "true", "a b", "é", &"a".repeat(65)] {
            assert_eq!(Attributes::new().set(name, 1), Err(AttributeError::Name), "{name}");
        }
    }

    #[test]
    fn limits_hold_and_removal_gives_room_back() {
        let mut attributes = Attributes::new();
        assert_eq!(attributes.set("a", "x".repeat(TEXT_LEN_MAX + 1)), Err(AttributeError::Value));
        let long = |entries| Value::List(vec!["x".repeat(TEXT_LEN_MAX); entries]);
        let fits = ATTRIBUTES_BYTES_MAX / TEXT_LEN_MAX - 1;
        attributes.set("a", long(fits)).unwrap();
        assert_eq!(attributes.set("b", long(1)), Err(AttributeError::Full));
        attributes.set("a", 1).unwrap();
        attributes.set("b", long(fits)).unwrap();
        attributes.remove("b").unwrap();
        attributes.set("c", long(fits)).unwrap();
        attributes.remove("c").unwrap();
        for i in 0..ATTRIBUTES_MAX - 1 {
            attributes.set(&format!("n{i}"), 1).unwrap();
        }
        assert_eq!(attributes.set("one.more", 1), Err(AttributeError::Full));
        assert_eq!(attributes.set("n0", 2), Ok(()));
    }

    #[test]
    fn hostile_lengths_and_doubles_are_refused_at_decode() {
        let too_many = minicbor::to_vec(
            (0..=ATTRIBUTES_MAX).map(|i| (format!("n{i}"), 1i64)).collect::<BTreeMap<_, _>>(),
        );
        let nothing_behind_a_huge_head = [0xbb, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff].to_vec();
        let twice = [0xa2, 0x61, b'a', 0x01, 0x61, b'a', 0x02].to_vec();
        let bad_name = [0xa1, 0x61, b'A', 0x01].to_vec();
        for bytes in [too_many.unwrap(), nothing_behind_a_huge_head, twice, bad_name] {
            assert!(minicbor::decode::<Attributes>(&bytes).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn statics_leave_out_what_changes() {
        let names: Vec<_> = example().statics().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["arch", "cpu.cores", "cpu.flags", "ecc"]);
        assert_eq!(example().without_lists().len(), 4);
    }
}
