//! What other holders tell before a new one is put beside them.

use alloc::vec::Vec;

use xtreem_base::{Handle, Instant};
use xtreem_discovery::{Facts, FactsAsk};

use super::{App, asked};
use crate::context::Context;
use crate::message::Message;
use crate::recruit::{Phase, Recruit};
use crate::{Fault, Host};

impl App {
    /// What the other holders are to tell, for the placement or for what all of them must have together;
    /// nothing where it does not matter.
    fn wants_to_know<H: Host>(&self, cx: &Context<'_, H>) -> Option<FactsAsk> {
        let of_placement = || {
            let wishes = cx.placement(&self.application.spec).wishes(1);
            (wishes.surplus > 0).then_some(wishes.facts)
        };
        self.set().map_or_else(of_placement, |set| Some(asked::of_others(&set)))
    }

    /// Asks the other holders known here for what decides who can be put beside them. Those that have not
    /// answered when the search begins count as unknown.
    pub(super) fn ask_holders<H: Host>(&self, cx: &mut Context<'_, H>, slot: u16) -> Vec<(Handle, Facts)> {
        let Some(wanted) = self.wants_to_know(cx) else { return Vec::new() };
        let me = cx.me.handle;
        let others = self.known.iter().filter(|(other, _)| *other != slot);
        let mut holders: Vec<Handle> = others.filter_map(|(_, entry)| entry.live_holder()).collect();
        holders.extend((!self.mine.is_empty()).then_some(me));
        holders.sort_unstable();
        holders.dedup();
        self.ask_facts(cx, holders.iter().copied().filter(|peer| *peer != me).collect());
        let is_me = |peer: Handle| peer == me;
        let mut own = Some(cx.facts(&wanted));
        let mut told = |peer| if is_me(peer) { own.take() } else { None };
        holders.into_iter().map(|peer| (peer, told(peer).unwrap_or_default())).collect()
    }

    pub(super) fn ask_facts<H: Host>(&self, cx: &mut Context<'_, H>, holders: Vec<Handle>) {
        let Some(wanted) = self.wants_to_know(cx) else { return };
        for peer in holders {
            cx.host.send(peer, Message::AskFacts { app: self.id(), facts: wanted.clone() });
        }
    }

    /// A holder has told what it was asked for.
    pub fn on_facts<H: Host>(&mut self, cx: &mut Context<'_, H>, from: Handle, facts: &Facts) {
        let asked = self.wants_to_know(cx).unwrap_or_default();
        if !facts.suit(&asked) {
            cx.books.fault(Fault::UnsuitableFacts);
            return;
        }
        for recruit in self.recruits.values_mut() {
            let of_sender = recruit.kept.iter_mut().filter(|(peer, _)| *peer == from);
            of_sender.for_each(|(_, kept)| *kept = facts.clone());
        }
        self.wait_no_more(cx.now, from, |_| true);
    }

    /// A guardian has said which record it has (a newer one has been taken already), or a lost holder that it
    /// holds nothing. Whoever was asked for facts still owes them.
    pub fn on_checked(&mut self, now: Instant, from: Handle) {
        self.wait_no_more(now, from, |recruit| recruit.kept.iter().all(|(peer, _)| *peer != from));
    }

    fn wait_no_more(&mut self, now: Instant, from: Handle, is_meant: impl Fn(&Recruit) -> bool) {
        for recruit in self.recruits.values_mut().filter(|recruit| is_meant(recruit)) {
            if let Phase::Checking { waiting, .. } = &mut recruit.phase {
                waiting.retain(|peer| *peer != from);
                self.due = now;
            }
        }
    }
}
