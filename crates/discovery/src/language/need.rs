//! What is needed of nodes, parsed once: a requirement that each of them meets, or a set that is enough
//! together.

use alloc::format;
use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use super::requirement::{ParseError, Requirement, SetQuery};
use crate::region::Region;
use crate::schema::Schema;

/// What an application or a user needs of nodes. It travels as the text that its user wrote, and whoever has
/// it as a value knows that the text is a good one. Cheap to clone.
#[derive(Clone)]
pub enum Need {
    /// Nodes that each meet this.
    Each(Requirement),
    /// A set of nodes that meets this together.
    Together(Arc<SetQuery>),
}

impl Need {
    /// Reads a text. It is a set query if it begins with a number, as no requirement does.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
            SetQuery::parse(text).map(Need::from)
        } else {
            Requirement::parse(text).map(Need::Each)
        }
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        match self {
            Need::Each(requirement) => requirement.source(),
            Need::Together(set) => set.source(),
        }
    }

    /// The set, if the nodes are to be enough together.
    pub fn set(&self) -> Option<&SetQuery> {
        match self {
            Need::Each(_) => None,
            Need::Together(set) => Some(set),
        }
    }

    /// What a single node must have in any case, whether alone or as a member of a set.
    pub fn of_each(&self) -> &Requirement {
        match self {
            Need::Each(requirement) => requirement,
            Need::Together(set) => set.member(),
        }
    }

    /// The region in which the nodes can be that are needed.
    pub fn region(&self, schema: &Schema) -> Region {
        self.of_each().region(schema)
    }
}

/// Nodes of whatever kind.
impl Default for Need {
    fn default() -> Self {
        Need::Each(Requirement::default())
    }
}

impl From<Requirement> for Need {
    fn from(requirement: Requirement) -> Self {
        Need::Each(requirement)
    }
}

impl From<SetQuery> for Need {
    fn from(set: SetQuery) -> Self {
        Need::Together(Arc::new(set))
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Need({:?})", self.text())
    }
}

impl FromStr for Need {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Need::parse(text)
    }
}

/// Texts decide: what was signed is a text.
impl PartialEq for Need {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Need {}

impl<C> Encode<C> for Need {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(self.text())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Need {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        // One line for logs; whoever has room shows the cause, which has the place and a caret.
        let wrong = |error: ParseError| {
            let place = format!("the requirement, line {}, column {}", error.line, error.column);
            let message = format!("{place}: {}", error.message());
            decode::Error::custom(error).with_message(message).at(at)
        };
        Need::parse(d.str()?).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use core::error::Error as _;

    use super::super::requirement::REQUIREMENT_LEN_MAX;
    use super::*;
    use crate::SearchSpec;
    use crate::visit::message::Query;

    const ALONE: [&str; 4] =
        ["", " cpu.cores >= 4", "has ecc &&  arch == \"x86_64\"", "!ecc || site in [\"a\"]"];
    const SETS: [&str; 4] = [
        "1 node",
        "  2..4  nodes with sum( disk.free ) >= 10GiB",
        "3 nodes spread by site where ecc",
        "1..6 nodes with count >= 2 where cpu.cores >= 4.0",
    ];

    #[test]
    fn a_text_that_begins_with_a_number_is_a_set_and_every_other_one_is_about_each_node() {
        for text in ALONE {
            let need = Need::parse(text).unwrap();
            assert!(matches!(&need, Need::Each(requirement) if requirement.source() == text), "{text}");
            assert!(need.set().is_none());
        }
        for text in SETS {
            let need = Need::parse(text).unwrap();
            let set = need.set().unwrap();
            assert_eq!(set, &SetQuery::parse(text).unwrap());
            assert_eq!(need.of_each(), set.member());
        }
        for (text, expected) in [("cpu.cores >=", "a number"), ("3 nodes with", "`sum`")] {
            let error = Need::parse(text).unwrap_err();
            assert!(error.expected.starts_with(expected), "{error}");
        }
        // Meant as a set query: this is no requirement either way.
        let error = Need::parse("4 <= cpu.cores").unwrap_err();
        assert!(error.expected.contains("in a comparison numbers go to the right"), "{error}");
    }

    #[test]
    fn the_text_stays_as_it_was_written_on_the_wire_too() {
        for text in ALONE.into_iter().chain(SETS) {
            let need: Need = text.parse().unwrap();
            assert_eq!((need.text(), need.to_string().as_str()), (text, text));
            let bytes = minicbor::to_vec(&need).unwrap();
            assert_eq!(bytes, minicbor::to_vec(text).unwrap());
            assert_eq!(minicbor::decode::<Need>(&bytes).unwrap(), need);
        }
        for bad in ["cpu.cores >=", "3 nodes with", "65 nodes", &" ".repeat(REQUIREMENT_LEN_MAX + 1)] {
            let error = minicbor::decode::<Need>(&minicbor::to_vec(bad).unwrap()).unwrap_err();
            let cause = error.source().and_then(|cause| cause.downcast_ref());
            assert_eq!(cause, Need::parse(bad).err().as_ref(), "{bad}");
        }
        assert_ne!(Need::parse("2 nodes").unwrap(), Need::parse("2  nodes").unwrap());
        assert_eq!(Need::default(), Need::parse("").unwrap());
    }

    #[test]
    fn a_set_of_another_size_is_written_anew() {
        let need = Need::parse("1..6   nodes with sum(disk.free) >= 10GiB").unwrap();
        let four: Need = need.set().unwrap().of_exactly(4).unwrap().into();
        assert_eq!(four.text(), "4 nodes with sum(disk.free) >= 10737418240");
        assert_eq!(Need::parse(four.text()).unwrap().set(), four.set());
    }

    #[test]
    fn nodes_are_looked_for_where_each_of_them_can_be() {
        let schema = Schema::standard();
        for text in ["cpu.cores >= 64", "2 nodes where cpu.cores >= 64"] {
            let region = Need::parse(text).unwrap().region(&schema);
            assert_eq!(region, Requirement::parse("cpu.cores >= 64").unwrap().region(&schema), "{text}");
        }
    }

    #[test]
    fn slots_are_looked_for_alone_or_as_a_whole_set() {
        let spec = |text: &str, slots| SearchSpec::slots(&Need::parse(text).unwrap(), slots, None);
        let each = spec("cpu.cores >= 4", 3).unwrap();
        let Query::Nodes { requirement, hold: None } = &each.query else { panic!("{each:?}") };
        assert_eq!((requirement.source(), each.wanted, each.set.is_none()), ("cpu.cores >= 4", 3, true));
        let set = spec("2..4 nodes with sum(disk.free) >= 1", 3).unwrap().set.unwrap();
        assert_eq!((set.least(), set.most()), (3, 3));
        assert!(spec("2..4 nodes", 5).is_err());
    }
}
