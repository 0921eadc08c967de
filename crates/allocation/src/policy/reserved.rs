//! Which nodes a rule reserves: a requirement, as far as this node can read it.

use alloc::sync::Arc;
use core::fmt;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use xtreem_discovery::{Attributes, Requirement};

use super::RESERVED_MAX_BYTES;

/// The nodes that meet a requirement; its text where this node cannot read it. The text is what the VO's root
/// signed, and what travels.
#[derive(Clone)]
pub struct Reserved(Result<Requirement, Arc<str>>);

impl Reserved {
    pub fn text(&self) -> &str {
        match &self.0 {
            Ok(requirement) => requirement.source(),
            Err(text) => text,
        }
    }

    /// Whether a node with these attributes is among them. Where nobody can tell it is: what may be reserved
    /// stays reserved.
    pub fn includes(&self, attributes: &Attributes) -> bool {
        self.0.as_ref().ok().is_none_or(|requirement| requirement.matches(attributes))
    }
}

impl From<Requirement> for Reserved {
    fn from(requirement: Requirement) -> Self {
        Reserved(Ok(requirement))
    }
}

/// Reads a text. One that is no requirement is kept as it is: a newer language may know it.
impl From<&str> for Reserved {
    fn from(text: &str) -> Self {
        Reserved(Requirement::parse(text).map_err(|_| text.into()))
    }
}

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

/// Texts decide: what was signed is a text.
impl PartialEq for Reserved {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Reserved {}

impl<C> Encode<C> for Reserved {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(self.text())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Reserved {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let text = d.str()?;
        if text.len() > RESERVED_MAX_BYTES {
            return Err(decode::Error::message("a rule's requirement is too long"));
        }
        Ok(text.into())
    }
}
