//! Which attributes make the key, which dynamic ones ride on links, and how values become 16-bit codes.
//!
//! All nodes that use one trie must code alike, so a schema has a version and never changes under it. A
//! changed schema is a new version, which runs as a second trie until the old one has drained.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::key::{Codes, DIMENSIONS_MAX};
use crate::language::attributes::is_name;
use crate::language::requirement::Literal;
use crate::{Attributes, Number, Value, bounded, standard};

/// Dynamic attributes whose classes and largest values ride on links.
pub const DYNAMICS_MAX: usize = 4;
/// Classes of a dynamic attribute.
pub const CLASSES: usize = 8;

/// The code of an attribute that a node does not have.
pub const UNKNOWN: u16 = 0;
/// The code of a value that the scale has no place for, such as a text among numbers.
pub const MISPLACED: u16 = 1;

/// How values become codes from 1 to 65,535. Every scale keeps the order of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Scale {
    /// A factor of two is 1,024 codes (docs/design/selection.md, "Key"). For sizes and counts.
    #[n(0)]
    Logarithmic,
    /// Equal steps between two values; what lies outside gets the code of the nearer end.
    #[n(1)]
    Linear {
        #[n(0)]
        low: Number,
        #[n(1)]
        high: Number,
    },
    /// Texts and flags, spread over all codes without order.
    #[n(2)]
    Category,
}

impl Scale {
    pub fn code(self, value: &Value) -> u16 {
        match value {
            Value::Number(number) => self.number_code(*number),
            Value::Text(text) => self.text_code(text),
            Value::Flag(flag) => self.flag_code(*flag),
            Value::List(_) => MISPLACED,
        }
    }

    pub(crate) fn text_code(self, text: &str) -> u16 {
        if self == Scale::Category { spread(text) } else { MISPLACED }
    }

    pub(crate) fn flag_code(self, flag: bool) -> u16 {
        if self == Scale::Category { MISPLACED + u16::from(flag) * (u16::MAX / 2) } else { MISPLACED }
    }

    /// Whether values of this kind have places of their own.
    pub(crate) fn places(self, literal: &Literal) -> bool {
        matches!(literal, Literal::Number(_)) != (self == Scale::Category)
    }

    /// The code of a number; in order, as far as 65,535 codes go. Categories do not place numbers.
    pub fn number_code(self, number: Number) -> u16 {
        match self {
            Scale::Logarithmic => 1 + log2_codes(number.as_thousandths().max(1) as u64),
            Scale::Linear { low, high } => {
                let (low, high) = (i128::from(low.as_thousandths()), i128::from(high.as_thousandths()));
                let at = i128::from(number.as_thousandths()).clamp(low, high.max(low)) - low;
                let width = (high - low).max(1);
                1 + (at * i128::from(u16::MAX - 1) / width) as u16
            }
            Scale::Category => MISPLACED,
        }
    }

    /// The least number whose code is at least `code`, about: for drawing.
    pub fn number_at(self, code: u16) -> Number {
        match self {
            Scale::Logarithmic => {
                let code = u64::from(code.saturating_sub(1));
                let (octave, part) = (code / 1_024, code % 1_024);
                let thousandths = (1u128 << octave.min(63)) * u128::from(1_024 + part) / 1_024;
                Number::from_thousandths(i64::try_from(thousandths).unwrap_or(i64::MAX))
            }
            Scale::Linear { low, high } => {
                let (low, high) = (i128::from(low.as_thousandths()), i128::from(high.as_thousandths()));
                let at = (high - low) * i128::from(code.saturating_sub(1)) / i128::from(u16::MAX - 1);
                Number::from_thousandths((low + at) as i64)
            }
            Scale::Category => Number::default(),
        }
    }
}

/// 1,024 × log₂, linear between powers of two: order-preserving, and no floats.
pub(crate) fn log2_codes(thousandths: u64) -> u16 {
    let octave = thousandths.ilog2();
    let part = if octave >= 10 { thousandths >> (octave - 10) } else { thousandths << (10 - octave) };
    (octave * 1_024 + (part as u32 & 1_023)) as u16
}

/// FNV-1a, folded: the same on all nodes for ever.
fn spread(text: &str) -> u16 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let folded = hash ^ hash >> 32;
    1 + ((folded ^ folded >> 16) as u16 % (u16::MAX - 1))
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Dimension {
    #[n(0)]
    pub name: Box<str>,
    #[n(1)]
    pub scale: Scale,
}

/// A dynamic attribute: its share of nodes in each of eight classes and its largest values ride on links.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Dynamic {
    #[n(0)]
    pub name: Box<str>,
    #[n(1)]
    pub scale: Scale,
    /// The code with which class 1 begins; class 0 is all below.
    #[n(2)]
    pub first: u16,
    /// Codes in each class from 1 to 6; class 7 is all above.
    #[n(3)]
    pub width: u16,
}

impl Dynamic {
    pub fn class(&self, code: u16) -> usize {
        match code.checked_sub(self.first) {
            Some(above) => (1 + usize::from(above / self.width.max(1))).min(CLASSES - 1),
            None => 0,
        }
    }

    /// The lowest and highest code of a class.
    pub fn codes(&self, class: usize) -> (u16, u16) {
        let begin = |class: usize| {
            let above = u32::from(self.width.max(1)) * (class as u32 - 1);
            u16::try_from(u32::from(self.first) + above).unwrap_or(u16::MAX)
        };
        let low = if class == 0 { 0 } else { begin(class) };
        let high = if class + 1 < CLASSES { begin(class + 1).saturating_sub(1) } else { u16::MAX };
        (low, high.max(low))
    }
}

/// A schema was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("a schema has at most {DIMENSIONS_MAX} static and {DYNAMICS_MAX} dynamic attributes")]
    TooMany,
    #[error("an attribute with a name that no attribute can have, or named twice")]
    Name,
    #[error("a dynamic attribute in the key: its value would be stale")]
    Dynamic,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    version: u32,
    dimensions: Vec<Dimension>,
    dynamics: Vec<Dynamic>,
}

impl Schema {
    pub fn new(
        version: u32,
        dimensions: Vec<Dimension>,
        dynamics: Vec<Dynamic>,
    ) -> Result<Self, SchemaError> {
        if dimensions.len() > DIMENSIONS_MAX || dynamics.len() > DYNAMICS_MAX {
            return Err(SchemaError::TooMany);
        }
        let names: Vec<&str> =
            dimensions.iter().map(|one| &*one.name).chain(dynamics.iter().map(|one| &*one.name)).collect();
        if names.iter().enumerate().any(|(i, name)| !is_name(name) || names[..i].contains(name)) {
            return Err(SchemaError::Name);
        }
        if dimensions.iter().any(|dimension| standard::is_dynamic(&dimension.name)) {
            return Err(SchemaError::Dynamic);
        }
        Ok(Schema { version, dimensions, dynamics })
    }

    /// What agents use unless told otherwise. The order is that of the bits: what tells machines apart best
    /// and is asked for most comes first.
    pub fn standard() -> Self {
        let number = |name: &str| Dimension { name: name.into(), scale: Scale::Logarithmic };
        let category = |name: &str| Dimension { name: name.into(), scale: Scale::Category };
        let mebibytes = |mebi: i64| Number::from_whole(mebi << 20);
        let size = |name: &str| {
            // Two octaves a class, from a quarter of a gibibyte to a tebibyte.
            let first = Scale::Logarithmic.number_code(mebibytes(256));
            Dynamic { name: name.into(), scale: Scale::Logarithmic, first, width: 2 * 1_024 }
        };
        let count = |name: &str, thousandths| {
            let first = Scale::Logarithmic.number_code(Number::from_thousandths(thousandths));
            Dynamic { name: name.into(), scale: Scale::Logarithmic, first, width: 1_024 }
        };
        Schema {
            version: 1,
            dimensions: [
                number("cpu.cores"),
                number("mem.total"),
                category("site"),
                category("arch"),
                number("disk.total"),
                number("gpu.mem"),
                number("cpu.freq"),
                category("os"),
            ]
            .into(),
            dynamics: [
                size("mem.free"),
                size("disk.free"),
                count("load.1m", 125),
                count("slots.free", 1_000),
            ]
            .into(),
        }
    }

    pub fn version(&self) -> u32 {
        self.version
    }

    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    pub fn dynamics(&self) -> &[Dynamic] {
        &self.dynamics
    }

    pub fn codes(&self, attributes: &Attributes) -> Codes {
        let mut codes = [UNKNOWN; DIMENSIONS_MAX];
        for (code, dimension) in codes.iter_mut().zip(&self.dimensions) {
            *code = attributes.value(&dimension.name).map_or(UNKNOWN, |value| dimension.scale.code(value));
        }
        codes
    }

    /// The codes of the dynamic attributes.
    pub fn present(&self, attributes: &Attributes) -> [u16; DYNAMICS_MAX] {
        let mut codes = [UNKNOWN; DYNAMICS_MAX];
        for (code, dynamic) in codes.iter_mut().zip(&self.dynamics) {
            *code = attributes.value(&dynamic.name).map_or(UNKNOWN, |value| dynamic.scale.code(value));
        }
        codes
    }
}

impl<C> Encode<C> for Schema {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(3)?.u32(self.version)?;
        self.dimensions.encode(e, ctx)?;
        self.dynamics.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Schema {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        if d.array()? != Some(3) {
            return Err(minicbor::decode::Error::message("a schema has three parts").at(at));
        }
        let version = d.u32()?;
        let dimensions = bounded::list::<_, _, DIMENSIONS_MAX>(d, ctx)?;
        let dynamics = bounded::list::<_, _, DYNAMICS_MAX>(d, ctx)?;
        Schema::new(version, dimensions, dynamics)
            .map_err(|error| minicbor::decode::Error::message(error).at(at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn scales_keep_the_order(a: i64, b: i64, low: i64, high: i64) {
            let number = Number::from_thousandths;
            let linear = Scale::Linear { low: number(low.min(high)), high: number(low.max(high)) };
            for scale in [Scale::Logarithmic, linear] {
                let (low, high) = (number(a.min(b)), number(a.max(b)));
                prop_assert!(scale.number_code(low) <= scale.number_code(high));
                prop_assert!(scale.number_code(low) > UNKNOWN);
            }
        }

        #[test]
        fn classes_part_all_codes(code: u16, first in 1u16.., width: u16) {
            let dynamic = Dynamic { name: "mem.free".into(), scale: Scale::Logarithmic, first, width };
            let (low, high) = dynamic.codes(dynamic.class(code));
            prop_assert!((low..=high).contains(&code), "{code} in {low}..={high}");
        }
    }

    #[test]
    fn a_factor_of_two_is_1024_codes() {
        let code = |whole| Scale::Logarithmic.number_code(Number::from_whole(whole));
        assert_eq!(code(8) - code(4), 1_024);
        assert_eq!(code(64 << 30) - code(32 << 30), 1_024);
        assert!(code(5) > code(4) && code(3) > code(2));
        assert_eq!(Scale::Logarithmic.number_at(code(16)), Number::from_whole(16));
    }

    #[test]
    fn a_schema_survives_the_wire_and_bad_ones_do_not() {
        let schema = Schema::standard();
        let bytes = minicbor::to_vec(&schema).unwrap();
        assert_eq!(minicbor::decode::<Schema>(&bytes).unwrap(), schema);
        let dimension = |name: &str| Dimension { name: name.into(), scale: Scale::Category };
        let new =
            |names: &[&str]| Schema::new(1, names.iter().map(|name| dimension(name)).collect(), [].into());
        assert_eq!(new(&["a", "b", "a"]), Err(SchemaError::Name));
        assert_eq!(new(&["A"]), Err(SchemaError::Name));
        assert_eq!(new(&["load.1m"]), Err(SchemaError::Dynamic));
        assert_eq!(new(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]), Err(SchemaError::TooMany));
    }

    #[test]
    fn values_of_another_kind_and_missing_ones_stand_below_all_others() {
        let schema = Schema::standard();
        let mut attributes = Attributes::new();
        attributes.set("cpu.cores", "eight").unwrap();
        attributes.set("arch", "x86_64").unwrap();
        let codes = schema.codes(&attributes);
        assert_eq!((codes[0], codes[1]), (MISPLACED, UNKNOWN));
        assert_ne!(codes[3], UNKNOWN);
    }
}
