//! How a search finds its way: what a requester asks of the trie of a visited node, and what that says.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_base::{Handle, HandleTable};

use crate::bounded;
use crate::key::{KEY_BITS, Key, sibling_cell};
use crate::region::{Expectation, Region, WHOLE};
use crate::search::aim::{AIMS_MAX, Aims, Peak, peaks};
use crate::trie::{ALTERNATES, COUNT_MAX, Trie};

/// Links in one answer: a table has 17 to 40 buckets at 100,000 nodes (docs/design/selection.md, "Links").
/// Those into the smallest subtrees are left out.
pub const LINKS_MAX: usize = 64;

/// What a visit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Route {
    /// Version of the schema whose trie is followed.
    #[n(0)]
    pub schema: u32,
    /// Only links are wanted into subtrees that share at least so many bits with the visited node.
    #[n(1)]
    pub len: u8,
    /// Random nodes are wanted too.
    #[n(2)]
    pub contacts: bool,
    /// Nothing but the way is asked for: no match, no hold.
    #[n(3)]
    pub only: bool,
    /// The attributes of which links shall tell who has most or least.
    #[n(4)]
    pub aims: Aims,
}

/// Where the visited node stands, and what is near.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Place {
    #[n(0)]
    pub key: Key,
    /// False when the node is too young to know all that is near.
    #[n(1)]
    pub is_settled: bool,
    /// They lead into all subtrees that were asked for and can have matches.
    #[cbor(n(2), decode_with = "bounded::list::<_, _, LINKS_MAX>")]
    pub links: Vec<Link>,
}

/// A subtree beside the node's own, as far as it concerns one query.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Link {
    /// Bits that its nodes share with the node.
    #[n(0)]
    pub level: u8,
    /// Nodes, about.
    #[n(1)]
    pub count: u32,
    /// Share of them that stands where matches can be, of [`WHOLE`].
    #[n(2)]
    pub place: u32,
    /// Share of those in the state that is asked for.
    #[n(3)]
    pub state: u32,
    #[cbor(n(4), decode_with = "bounded::list::<_, _, ALTERNATES>")]
    pub alternates: Vec<Step>,
    /// What the subtree has of each attribute that is aimed at.
    #[cbor(n(5), decode_with = "bounded::list::<_, _, AIMS_MAX>")]
    pub peaks: Vec<Peak>,
}

/// A node of a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "HandleTable")]
pub struct Step {
    #[n(0)]
    pub handle: Handle,
    #[n(1)]
    pub key: Key,
}

impl Place {
    /// What `trie` knows of the nodes that share `len` bits with its own key and can be in `region`.
    pub(crate) fn of(trie: &Trie, len: usize, region: &Region, aims: Aims) -> Self {
        let (schema, key) = (trie.schema(), *trie.key());
        let mut links = Vec::new();
        for bucket in trie.table().buckets().iter().filter(|bucket| usize::from(bucket.level) >= len) {
            let level = usize::from(bucket.level);
            let summary = bucket.summary();
            let cell = || sibling_cell(trie.codes(), level, schema.dimensions().len());
            let area = summary.map_or_else(cell, |summary| summary.area);
            let Some(Expectation { place, state }) = region.expect(schema, &area, summary) else { continue };
            let alternates = bucket.alternates().iter();
            let count = summary.map_or(bucket.alternates().len() as u32, |summary| summary.count);
            links.push(Link {
                level: bucket.level,
                count: count.clamp(1, COUNT_MAX),
                place,
                state,
                alternates: alternates.map(|known| Step { handle: known.handle, key: known.key }).collect(),
                peaks: peaks(aims, schema, &key, level, &area, summary, region),
            });
        }
        links.truncate(LINKS_MAX);
        Place { key, is_settled: trie.is_settled(), links }
    }

    /// Whether an honest node could say this when asked for links at `len` bits and more, with these aims.
    pub(crate) fn suits(&self, len: u8, aims: Option<Aims>) -> bool {
        let levels = self.links.iter().map(|link| link.level);
        let rising = levels.clone().zip(levels.skip(1)).all(|(a, b)| a < b);
        rising && self.links.iter().all(|link| link.is_sound(&self.key, len, aims))
    }
}

impl Link {
    fn is_sound(&self, key: &Key, len: u8, aims: Option<Aims>) -> bool {
        let level = usize::from(self.level);
        let is_there = |step: &Step| step.handle != Handle::NONE && key.common_prefix(&step.key) == level;
        self.level >= len
            && level < KEY_BITS
            && (1..=COUNT_MAX).contains(&self.count)
            && self.place.max(self.state) <= WHOLE
            && !self.alternates.is_empty()
            && self.alternates.iter().all(is_there)
            && aims.is_none_or(|aims| self.peaks.len() == aims.len())
            && self.peaks.iter().all(Peak::is_sound)
    }
}
