//! Searches in a selection world: the product's own core on both sides, with what the figures need noted
//! beside it.

use std::collections::BTreeMap;

use xtreem_base::{Call, Core, Driven, Events, Handle, Instant, Rng, Sink};
use xtreem_discovery::trie::Trie;
use xtreem_discovery::{
    AppFilter, AppSummary, Attributes, Discovery, HoldAnswer, HoldAsk, HoldRefusal, Host, Hosted, Message,
    Report, SearchEvent, SearchSpec,
};
use xtreem_membership::Cyclon;

use super::node::{self, Node};
use crate::arena::Post;

/// One node's search, running or over.
pub(super) struct Searcher {
    pub(super) discovery: Discovery,
    /// It asks something itself.
    pub(super) is_user: bool,
    /// The depth of each visit that is out.
    out: BTreeMap<Handle, u16>,
    pub(super) found: Vec<Handle>,
    /// With the depth of what ended it.
    pub(super) report: Option<(Report, u16)>,
    /// Peers that were silent just now.
    pub(super) silent: Vec<Handle>,
}

/// A visited or searching node.
pub(super) struct Lent<'a> {
    pub(super) cyclon: &'a Cyclon,
    pub(super) trie: &'a Trie,
    /// What its machine says of itself.
    pub(super) attributes: &'a Attributes,
}

impl Host for Lent<'_> {
    fn attributes(&self) -> &Attributes {
        self.attributes
    }

    fn trie(&self, _: Option<u32>) -> Option<&Trie> {
        Some(self.trie)
    }

    fn contacts(&mut self, max: usize) -> Vec<Handle> {
        self.cyclon.view().map(|(peer, _)| peer).take(max).collect()
    }

    fn hold(&mut self, _: Instant, _: Handle, _: &HoldAsk) -> HoldAnswer {
        HoldAnswer::Refused(HoldRefusal::Busy)
    }

    fn applications(&self, _: &AppFilter, _: usize) -> (Vec<AppSummary>, u32) {
        (Vec::new(), 0)
    }
}

/// Takes what a search says and notes how deep it is.
struct Notes<'a, 'b> {
    to: &'a mut Post<'b, Node>,
    /// Of the message or time-out that is being handled.
    depth: u16,
    out: &'a mut BTreeMap<Handle, u16>,
    found: &'a mut Vec<Handle>,
    report: &'a mut Option<(Report, u16)>,
    silent: &'a mut Vec<Handle>,
}

impl Sink<Message> for Notes<'_, '_> {
    fn send(&mut self, to: Handle, message: Message) {
        let is_question = matches!(message, Message::Visit { .. } | Message::Delegate(_));
        let depth = self.depth + u16::from(is_question);
        self.out.insert(to, depth);
        self.to.send(to, node::Message::Search(message.into(), depth));
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.depth = self.out.get(&peer).copied().unwrap_or_default();
        self.silent.push(peer);
    }
}

impl Events<SearchEvent> for Notes<'_, '_> {
    fn event(&mut self, event: SearchEvent) {
        match event {
            SearchEvent::Match { peer, .. } => self.found.push(peer),
            SearchEvent::Done { report, .. } => *self.report = Some((report, self.depth)),
            SearchEvent::Applications { .. } | SearchEvent::Surplus { .. } => {}
        }
    }
}

impl Searcher {
    fn notes<'a, 'b>(
        &'a mut self,
        to: &'a mut Post<'b, Node>,
        depth: u16,
    ) -> (&'a mut Discovery, Notes<'a, 'b>) {
        let Searcher { discovery, out, found, report, silent, .. } = self;
        (discovery, Notes { to, depth, out, found, report, silent })
    }
}

impl Searcher {
    /// One that asks nothing itself, but may be handed what others ask.
    pub(super) fn new(handle: Handle, seed: u64, now: Instant) -> Self {
        let rng = Rng::derive(seed ^ now.as_micros(), u64::from(handle.as_u32()), "search");
        Searcher {
            discovery: Discovery::new(handle, rng),
            is_user: false,
            out: BTreeMap::new(),
            found: Vec::new(),
            report: None,
            silent: Vec::new(),
        }
    }

    pub(super) fn start(&mut self, lent: Lent<'_>, now: Instant, spec: SearchSpec, to: &mut Post<'_, Node>) {
        self.is_user = true;
        let seeds: Vec<Handle> = lent.cyclon.view().map(|(peer, _)| peer).collect();
        let (discovery, out) = self.notes(to, 0);
        let out = &mut Hosted { host: lent, out };
        discovery.start(Call::new(&(), now), spec, &seeds, out).expect("a search within the limits");
    }

    pub(super) fn handle_message(
        &mut self,
        now: Instant,
        from: Handle,
        lent: Lent<'_>,
        message: Message,
        depth: u16,
        to: &mut Post<'_, Node>,
    ) {
        let (discovery, out) = self.notes(to, depth);
        let _ = discovery.handle_message(Call::new(&(), now), from, message, &mut Hosted { host: lent, out });
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, lent: Lent<'_>, to: &mut Post<'_, Node>) {
        let (discovery, out) = self.notes(to, 0);
        if discovery.next_timeout(&()).at <= now {
            discovery.handle_timeout(Call::new(&(), now), &mut Hosted { host: lent, out });
        }
    }
}
