//! Structured collections of an application: how one is checked, and how it travels in a payload.

use minicbor::{Decode, Encode};
use xtreem_base::Duration;
use xtreem_client::api::{COLLECTION_NAME_MAX_BYTES, CollectionSpec, Metric};
use xtreem_overlay::collection::{
    self, Copies, Kind, TASK_LEASE_MAX, TASK_LEASE_MIN, TASK_TIME_MAX, TASK_TIME_MIN, Terms,
};
use xtreem_overlay::mesh::{Edges, Shape};

/// One collection of an application, and what is fixed of it from its start on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CollectionRef {
    /// Letters, digits, `-` and `_`.
    #[n(0)]
    pub name: String,
    #[cbor(n(1), with = "encoded")]
    pub spec: CollectionSpec,
}

impl CollectionRef {
    /// What members agree on when they mean the same collection: name and specification.
    pub(crate) fn mark(&self) -> [u8; 8] {
        // Writing to a vector cannot fail.
        let bytes = minicbor::to_vec(self).unwrap_or_default();
        let mut mark = [0; 8];
        mark.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..8]);
        mark
    }
}

/// 1 to 64 letters, digits, `-` and `_`.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > COLLECTION_NAME_MAX_BYTES || !name.chars().all(is_allowed) {
        return Err(format!("a name has 1 to {COLLECTION_NAME_MAX_BYTES} letters, digits, '-' and '_'"));
    }
    Ok(())
}

/// What the core makes of it, if its values can be meant.
pub(crate) fn kind(spec: &CollectionSpec) -> Result<Kind, String> {
    let copies = |copies: &u8| Copies::new(*copies).map_err(|error| error.to_string());
    Ok(match spec {
        CollectionSpec::Ring { copies: number } => Kind::Ring { copies: copies(number)? },
        CollectionSpec::Chord { copies: number } => Kind::Chord { copies: copies(number)? },
        CollectionSpec::Ranks {} => Kind::Ranks,
        CollectionSpec::Mesh { shape, joined } => {
            let edges = if *joined { Edges::Joined } else { Edges::Open };
            Kind::Mesh(Shape::new(shape, edges).map_err(|error| error.to_string())?)
        }
        CollectionSpec::Farm { copies: number, lease_s, attempts, timeout_s } => {
            let lease = Duration::from_secs((*lease_s).into());
            if !(TASK_LEASE_MIN..=TASK_LEASE_MAX).contains(&lease) {
                let [least, most] = [TASK_LEASE_MIN, TASK_LEASE_MAX].map(|it| it.as_micros() / 1_000_000);
                return Err(format!("lease_s = {lease_s}: want seconds, from {least} to {most} (1 day)"));
            }
            let time = timeout_s.map(|seconds| Duration::from_secs(seconds.into()));
            if let (Some(time), Some(seconds)) = (time, timeout_s)
                && !(TASK_TIME_MIN..=TASK_TIME_MAX).contains(&time)
            {
                let [least, most] = [TASK_TIME_MIN, TASK_TIME_MAX].map(|it| it.as_micros() / 1_000_000);
                return Err(format!("timeout_s = {seconds}: want seconds, from {least} to {most} (30 days)"));
            }
            let terms = Terms::new(lease, *attempts, time).map_err(|error| error.to_string())?;
            Kind::Farm { copies: copies(number)?, terms }
        }
        CollectionSpec::Nearest { metric: Metric::Items } => Kind::Nearest(collection::Metric::Items),
        CollectionSpec::Nearest { metric: Metric::Number } => Kind::Nearest(collection::Metric::Number),
    })
}

/// Whether so many members fill the shape, of a mesh.
pub(crate) fn check_fit(spec: &CollectionSpec, members: u16) -> Result<(), String> {
    match kind(spec)? {
        Kind::Mesh(shape) => shape.fit(members.into()).map_err(|misfit| misfit.to_string()),
        _ => Ok(()),
    }
}

/// Whether an application of so many slots can fill the shape, of a mesh that some of them join.
pub(crate) fn check_room(spec: &CollectionSpec, slots: u16) -> Result<(), String> {
    match kind(spec)? {
        Kind::Mesh(shape) if shape.places() > slots.into() => check_fit(spec, slots),
        _ => Ok(()),
    }
}

/// The specification of the local API as CBOR.
mod encoded {
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};

    use super::*;

    #[derive(Encode, Decode)]
    enum Spec {
        #[n(0)]
        Ring(#[n(0)] u8),
        #[n(1)]
        Chord(#[n(0)] u8),
        #[n(2)]
        Ranks,
        #[n(3)]
        Mesh(#[n(0)] Vec<u32>, #[n(1)] bool),
        #[n(4)]
        Farm(#[n(0)] u8, #[n(1)] u32, #[n(2)] u16, #[n(3)] Option<u32>),
        #[n(5)]
        NearestItems,
        #[n(6)]
        NearestNumber,
    }

    pub(super) fn encode<C, W: Write>(
        spec: &CollectionSpec,
        e: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let spec = match spec {
            CollectionSpec::Ring { copies } => Spec::Ring(*copies),
            CollectionSpec::Chord { copies } => Spec::Chord(*copies),
            CollectionSpec::Ranks {} => Spec::Ranks,
            CollectionSpec::Mesh { shape, joined } => Spec::Mesh(shape.clone(), *joined),
            CollectionSpec::Farm { copies, lease_s, attempts, timeout_s } => {
                Spec::Farm(*copies, *lease_s, *attempts, *timeout_s)
            }
            CollectionSpec::Nearest { metric: Metric::Items } => Spec::NearestItems,
            CollectionSpec::Nearest { metric: Metric::Number } => Spec::NearestNumber,
        };
        spec.encode(e, context)
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, context: &mut C) -> Result<CollectionSpec, Error> {
        Ok(match Spec::decode(d, context)? {
            Spec::Ring(copies) => CollectionSpec::Ring { copies },
            Spec::Chord(copies) => CollectionSpec::Chord { copies },
            Spec::Ranks => CollectionSpec::Ranks {},
            Spec::Mesh(shape, joined) => CollectionSpec::Mesh { shape, joined },
            Spec::Farm(copies, lease_s, attempts, timeout_s) => {
                CollectionSpec::Farm { copies, lease_s, attempts, timeout_s }
            }
            Spec::NearestItems => CollectionSpec::Nearest { metric: Metric::Items },
            Spec::NearestNumber => CollectionSpec::Nearest { metric: Metric::Number },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<CollectionSpec> {
        vec![
            CollectionSpec::Ring { copies: 2 },
            CollectionSpec::Chord { copies: 7 },
            CollectionSpec::Ranks {},
            CollectionSpec::Mesh { shape: vec![2, 3], joined: true },
            CollectionSpec::Farm { copies: 0, lease_s: 3, attempts: 1, timeout_s: None },
            CollectionSpec::Farm { copies: 0, lease_s: 3, attempts: 1, timeout_s: Some(1) },
            CollectionSpec::Nearest { metric: Metric::Items },
            CollectionSpec::Nearest { metric: Metric::Number },
        ]
    }

    #[test]
    fn each_specification_travels_and_has_a_mark_of_its_own() {
        let mut marks = std::collections::BTreeSet::new();
        for spec in all() {
            assert!(kind(&spec).is_ok(), "{spec:?}");
            for name in ["a", "b"] {
                let collection = CollectionRef { name: name.into(), spec: spec.clone() };
                let bytes = minicbor::to_vec(&collection).expect("encoded");
                assert_eq!(minicbor::decode(&bytes).ok(), Some(collection.clone()));
                assert!(marks.insert(collection.mark()), "{collection:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_can() {
        let mesh = |shape: &[u32]| CollectionSpec::Mesh { shape: shape.to_vec(), joined: false };
        let farm = |lease_s, attempts| CollectionSpec::Farm { copies: 2, lease_s, attempts, timeout_s: None };
        let timed = |timeout_s| CollectionSpec::Farm { copies: 2, lease_s: 3, attempts: 1, timeout_s };
        let table = [
            (CollectionSpec::Ring { copies: 8 }, "7 are possible"),
            (CollectionSpec::Chord { copies: 255 }, "7 are possible"),
            (timed(Some(0)), "timeout_s = 0: want seconds, from 1 to 2592000"),
            (timed(Some(2_592_001)), "timeout_s = 2592001: want"),
            (CollectionSpec::Farm { copies: 8, lease_s: 3, attempts: 1, timeout_s: None }, "7 are possible"),
            (farm(2, 1), "lease_s = 2: want seconds, from 3 to 86400"),
            (farm(86_401, 1), "lease_s = 86401: want"),
            (farm(3, 0), "0 attempts"),
            (farm(3, 1_001), "1000 are possible"),
            (mesh(&[]), "without a side"),
            (mesh(&[2, 0]), "side 1 is 0 long"),
            (mesh(&[1; 9]), "9 dimensions"),
            (mesh(&[u32::MAX, u32::MAX]), "shorter"),
        ];
        for (spec, expected) in table {
            let error = kind(&spec).expect_err(expected);
            assert!(error.contains(expected), "{error:?} should say {expected:?}");
        }
        assert_eq!(check_fit(&mesh(&[2, 3]), 6), Ok(()));
        // Some of the slots may join a mesh; more than there are cannot.
        assert_eq!(check_room(&mesh(&[2, 2]), 6), Ok(()));
        assert!(check_room(&mesh(&[2, 2]), 3).is_err_and(|why| why.contains("1 x 3")));
        let misfit = check_fit(&mesh(&[2, 4]), 6).expect_err("8 places");
        assert!(misfit.contains("possible: 2 x 3"), "{misfit}");
        for name in ["", "a b", "ä", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
