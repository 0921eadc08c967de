//! Facts: what a matching node tells of itself beside its yes, for whoever has to choose among several
//! matches.
//!
//! They are of the moment of the answer and the node's own word. Whoever asks names the attributes, so that
//! an answer carries what decides and nothing else.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_base::Coordinate;

use crate::language::attributes::{NAME_LEN_MAX, is_name};
use crate::{Attributes, bounded};

/// Attributes that one search may ask values of. Our guess: an expression that people still read has fewer.
pub const FACTS_MAX: usize = 16;

/// The names of the attributes whose values are asked for; in order, each once. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactsAsk {
    names: Arc<[Box<str>]>,
}

/// Names that nobody may ask for; nothing was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("facts are asked of at most {FACTS_MAX} attributes, by their names")]
pub struct FactsError;

impl FactsAsk {
    /// Asks for the values of these attributes, in whatever order and repetition they come.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, FactsError> {
        let mut sorted: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() > FACTS_MAX || !sorted.iter().all(|name| is_name(name)) {
            return Err(FactsError);
        }
        Ok(FactsAsk { names: sorted.into() })
    }

    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    fn asks_for(&self, name: &str) -> bool {
        self.names.binary_search_by(|asked| (**asked).cmp(name)).is_ok()
    }
}

/// No attribute: only what is free, and where the node stands.
impl Default for FactsAsk {
    fn default() -> Self {
        FactsAsk { names: [].into() }
    }
}

impl<C> Encode<C> for FactsAsk {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(self.names.len() as u64)?;
        self.names().try_for_each(|name| e.str(name)?.ok())
    }
}

impl<'b, C> Decode<'b, C> for FactsAsk {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let len = bounded::array_len(d, FACTS_MAX)?;
        let mut names = Vec::with_capacity(len);
        for _ in 0..len {
            names.push(bounded::text::<C, NAME_LEN_MAX>(d, ctx)?);
        }
        FactsAsk::new(names.iter().map(|name| &**name)).map_err(|error| decode::Error::message(error).at(at))
    }
}

/// What a node offers that is neither held nor allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Free {
    /// Thousandths of a core.
    #[n(0)]
    pub cores_milli: u32,
    #[n(1)]
    pub memory_bytes: u64,
    #[n(2)]
    pub disk_bytes: u64,
}

/// What one node answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Facts {
    /// Those that were asked for and that the node has; no lists.
    #[n(0)]
    pub values: Attributes,
    /// A hold that was asked for in the same visit still counts as free.
    #[n(1)]
    pub free: Free,
    /// Where it stands in the network, when it knows.
    #[n(2)]
    pub coordinate: Option<Coordinate>,
}

impl Facts {
    /// What a node with these attributes answers, with nothing free and nowhere.
    pub fn of(attributes: &Attributes, ask: &FactsAsk) -> Self {
        Facts { values: attributes.only(ask.names()), ..Facts::default() }
    }

    /// Whether an honest node could answer this.
    pub fn suit(&self, ask: &FactsAsk) -> bool {
        self.values.iter().all(|(name, _)| ask.asks_for(name))
            && self.coordinate.is_none_or(|coordinate| coordinate.is_within_bounds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use alloc::string::String;
    use alloc::vec;

    #[test]
    fn only_what_was_asked_for_is_told_and_lists_never() {
        let mut attributes = Attributes::new();
        attributes.set("site", "rennes").unwrap();
        attributes.set("cpu.cores", 8).unwrap();
        attributes.set("commands", vec![String::from("ls")]).unwrap();
        let ask = FactsAsk::new(["site", "rack", "commands", "site"]).unwrap();
        assert_eq!(ask.names().collect::<Vec<_>>(), ["commands", "rack", "site"]);
        let facts = Facts::of(&attributes, &ask);
        assert_eq!(facts.values.iter().collect::<Vec<_>>(), [("site", &Value::from("rennes"))]);
        assert!(facts.suit(&ask) && !facts.suit(&FactsAsk::default()));
    }

    #[test]
    fn too_many_names_and_bad_ones_are_refused_here_and_at_decode() {
        let names: Vec<String> = (0..=FACTS_MAX).map(|i| alloc::format!("n{i}")).collect();
        assert_eq!(FactsAsk::new(names.iter().map(|name| &**name)), Err(FactsError));
        assert!(FactsAsk::new(["Site"]).is_err() && FactsAsk::new([""]).is_err());
        for bytes in [minicbor::to_vec(&names), minicbor::to_vec(["Site"])] {
            assert!(minicbor::decode::<FactsAsk>(&bytes.unwrap()).is_err());
        }
        let ask = FactsAsk::new(["site"]).unwrap();
        assert_eq!(minicbor::decode::<FactsAsk>(&minicbor::to_vec(&ask).unwrap()).unwrap(), ask);
    }
}
