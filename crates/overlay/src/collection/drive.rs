//! Each core is called with a sink of its own; what it told then goes on to those it concerns.

use xtreem_base::{Call, Core, Driven, Handle};
use xtreem_membership::Cyclon;

use super::config::Config;
use super::event::{Event, Host, Member};
use super::farming::Farming;
use super::lent::{Lent, TASKS, Told, member_of, told_by_store};
use super::message::Message;
use super::near::Near;
use super::numbers::{Numbers, check_names};
use super::table::{Purpose, Request};
use super::{Collection, Fault, LOOPED_MAX, Phase};
use crate::overlay::{self, Overlay};
use crate::ranks::all::{self, Entry, Name};
use crate::store::{self, Operation};
use crate::{broadcast, farm, ring};

impl Collection {
    pub(super) fn with_view<H: Host, R>(
        &mut self,
        call: Call<'_, Config>,
        host: &mut H,
        f: impl FnOnce(&mut Cyclon, Call<'_, xtreem_membership::Config>, &mut Lent<'_, H>) -> R,
    ) -> R {
        let mut out = Lent::new(host, self.me, None);
        let result = f(&mut self.view, call.narrow(|config| &config.view), &mut out);
        let told = out.told;
        self.follow_up(call, told, host);
        result
    }

    /// None: the collection has no ring.
    pub(super) fn with_overlay<H: Host, R>(
        &mut self,
        call: Call<'_, Config>,
        host: &mut H,
        f: impl FnOnce(&mut Overlay, Call<'_, overlay::Config>, &mut Lent<'_, H>) -> R,
    ) -> Option<R> {
        let overlay = self.overlay.as_mut()?;
        let mut out = Lent::new(host, self.me, Some(&mut self.view));
        let result = f(overlay, call.narrow(|config| &config.overlay), &mut out);
        if let Some(Numbers::Sums(sums)) = &mut self.numbers {
            let (own, first) = (overlay.ring().position(), overlay.ring().successors().first());
            sums.handle_ring(call.narrow(|config| &config.sums), own, first, &mut out);
        }
        let told = out.told;
        self.follow_up(call, told, host);
        Some(result)
    }

    /// None: members have no ranks.
    pub(super) fn with_numbers<H: Host, R>(
        &mut self,
        call: Call<'_, Config>,
        host: &mut H,
        f: impl FnOnce(&mut Numbers, Call<'_, Config>, &mut Lent<'_, H>) -> R,
    ) -> Option<R> {
        let numbers = self.numbers.as_mut()?;
        let mut out = Lent::new(host, self.me, Some(&mut self.view));
        let result = f(numbers, call, &mut out);
        let told = out.told;
        self.follow_up(call, told, host);
        // What is counted along a ring changes by every message, and not all of it is told.
        self.follow_ranks(call, host);
        Some(result)
    }

    /// None: it is no farm.
    pub(super) fn with_farm<H: Host, R>(
        &mut self,
        call: Call<'_, Config>,
        host: &mut H,
        f: impl FnOnce(&mut Farming, Call<'_, farm::Config>, &mut Lent<'_, H>) -> R,
    ) -> Option<R> {
        let farming = self.farming.as_mut()?;
        let mut out = Lent::new(host, self.me, None);
        let result = f(farming, call.narrow(|config| &config.farm), &mut out);
        let told = out.told;
        self.follow_up(call, told, host);
        Some(result)
    }

    fn with_near<H: Host, R>(
        &mut self,
        call: Call<'_, Config>,
        host: &mut H,
        f: impl FnOnce(&mut Near, &mut Lent<'_, H>) -> R,
    ) -> Option<R> {
        let near = self.near.as_mut()?;
        let mut out = Lent::new(host, self.me, Some(&mut self.view));
        let result = f(near, &mut out);
        let told = out.told;
        self.follow_up(call, told, host);
        Some(result)
    }

    fn follow_up<H: Host>(&mut self, call: Call<'_, Config>, told: Told, host: &mut H) {
        for message in told.own {
            if self.looped.len() < LOOPED_MAX {
                self.looped.push_back(message);
            }
        }
        told.overlay.into_iter().for_each(|event| self.on_overlay(call, event, host));
        if told.is_displaced && self.phase != Phase::Over {
            self.end(host);
            host.event(Event::Displaced);
            return;
        }
        if told.has_ranks_news {
            self.follow_ranks(call, host);
        }
        told.farm.into_iter().for_each(|event| self.on_farm(call, event, host));
        told.shelf.into_iter().for_each(|request| self.on_shelf(call, request, host));
        if told.is_nearest_new {
            host.event(Event::Neighbours);
        }
    }

    fn on_overlay<H: Host>(&mut self, call: Call<'_, Config>, event: overlay::Event, host: &mut H) {
        match event {
            overlay::Event::Ring(ring::Event::Found { lookup, owner }) => {
                host.event(Event::Owner { lookup, owner: Some(owner) });
            }
            overlay::Event::Ring(ring::Event::NotFound { lookup }) => {
                host.event(Event::Owner { lookup, owner: None });
            }
            overlay::Event::Ring(ring::Event::Range(_) | ring::Event::Ceded { .. }) => {
                host.event(Event::Range);
            }
            // A ring leaves a place also to take another one.
            overlay::Event::Ring(ring::Event::Left) if self.phase == Phase::Leaving => {
                self.end(host);
                host.event(Event::Left);
            }
            overlay::Event::Ring(_) => {}
            overlay::Event::Store(event) => self.on_store(call, event, host),
            overlay::Event::Broadcast(broadcast::Event::Delivered { id, content, .. }) => {
                if let Some(slot) = Member::slot_of(&id.origin) {
                    host.event(Event::Told { slot, content });
                }
            }
            overlay::Event::Broadcast(_) => {}
            overlay::Event::Begun { part, is_begun } => host.event(Event::Begun { part, is_begun }),
        }
    }

    fn on_store<H: Host>(&mut self, call: Call<'_, Config>, event: store::Event, host: &mut H) {
        let Some(farming) = &mut self.farming else { return host.event(told_by_store(event)) };
        match event {
            store::Event::Done { request, result } => match farming.table.done(request, &result) {
                Some(next) => {
                    self.with_farm(call, host, |farming, call, out| {
                        if let Some((task, stored)) = next.stored {
                            farming.farm.handle_stored(call, task, stored, out);
                        }
                        if let Some(items) = next.loaded {
                            farming.farm.handle_loaded(call, items, out);
                        }
                    });
                    if let Some((operation, purpose)) = next.begin {
                        self.begin_for_table(call, operation, purpose, host);
                    }
                }
                None => host.event(Event::Item { request, result }),
            },
            store::Event::Lost { winner, .. } if winner.key.namespace() == Some(TASKS) => {
                if let Some((operation, purpose)) = farming.table.lost(&winner.key) {
                    self.begin_for_table(call, operation, purpose, host);
                }
            }
            event => host.event(told_by_store(event)),
        }
    }

    fn on_shelf<H: Host>(&mut self, call: Call<'_, Config>, request: Request, host: &mut H) {
        let begin = self.farming.as_mut().and_then(|farming| farming.table.request(request));
        if let Some((operation, purpose)) = begin {
            self.begin_for_table(call, operation, purpose, host);
        }
    }

    fn begin_for_table<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        operation: Operation,
        purpose: Purpose,
        host: &mut H,
    ) {
        let begun = self.with_overlay(call, host, |overlay, call, out| overlay.begin(call, operation, out));
        if let Some(farming) = &mut self.farming {
            match begun {
                Some(Ok(request)) => farming.table.begun(request, purpose),
                Some(Err(_)) | None => farming.table.not_begun(purpose),
            }
        }
    }

    /// The numbering may be another one: whoever lies on it is told.
    pub(super) fn follow_ranks<H: Host>(&mut self, call: Call<'_, Config>, host: &mut H) {
        if self.phase == Phase::Over {
            return;
        }
        let standing = self.standing(call.config);
        let had_trouble = self.trouble().is_some();
        let are_neighbours_new = self.refresh_mesh(call);
        if standing != self.standing || had_trouble != self.trouble().is_some() {
            self.standing = standing;
            host.event(Event::Standing);
        }
        if are_neighbours_new {
            host.event(Event::Neighbours);
        }
        self.follow_role(call, host);
    }

    fn refresh_mesh(&mut self, call: Call<'_, Config>) -> bool {
        let standing = self.standing(call.config);
        let (Some(mesh), Some(numbers)) = (&mut self.mesh, &self.numbers) else { return false };
        let (me, beside) = (self.me, &self.beside);
        mesh.refresh(call.now, call.config.patience, standing.as_ref(), |rank| match numbers {
            Numbers::All(all) => all.holder(rank).map(|entry| entry.handle),
            Numbers::Sums(_) if standing.is_some_and(|it| it.rank == Some(rank)) => Some(me.handle),
            Numbers::Sums(_) => beside.get(&rank).copied(),
        })
    }

    /// The lowest rank that lives is the farmer, once it is known who there is.
    pub(super) fn follow_role<H: Host>(&mut self, call: Call<'_, Config>, host: &mut H) {
        let standing = self.standing;
        let lowest = self.numbers.as_ref().and_then(Numbers::lowest);
        let Some(farming) = &mut self.farming else { return };
        let is_another = farming.note_ranks(call.now, standing.as_ref(), lowest);
        let is_settled = standing.is_some_and(|standing| standing.is_settled);
        self.with_farm(call, host, |farming, call, out| farming.take_settled(call, is_settled, out));
        if !is_another {
            return;
        }
        self.questions.ask_farmer_now(call.now);
        self.with_farm(call, host, |farming, call, out| farming.take_role(call, out));
        host.event(Event::Farmer);
    }

    /// A message of a peer, or of this member itself.
    pub(super) fn take<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut H,
    ) -> Result<(), Fault> {
        match message {
            Message::View(message) => {
                Ok(self
                    .with_view(call, out, |view, call, out| view.handle_message(call, from, message, out))?)
            }
            Message::Overlay(message) => {
                let result = self.with_overlay(call, out, |overlay, call, out| {
                    overlay.handle_message(call, from, message, out)
                });
                Ok(result.ok_or(Fault::OtherKind)??)
            }
            Message::All(message) => {
                check_names(out, self.me, &message)?;
                let message = self.without_hearsay(*message, out);
                let result = self.with_numbers(call, out, |numbers, call, out| match numbers {
                    Numbers::All(all) => {
                        Some(all.handle_message(call.narrow(|config| &config.all), from, message, out))
                    }
                    Numbers::Sums(_) => None,
                });
                Ok(result.flatten().ok_or(Fault::OtherKind)??)
            }
            Message::Sums(message) => {
                let result = self.with_numbers(call, out, |numbers, call, out| match numbers {
                    Numbers::Sums(sums) => {
                        Some(sums.handle_message(call.narrow(|config| &config.sums), from, message, out))
                    }
                    Numbers::All(_) => None,
                });
                Ok(result.flatten().ok_or(Fault::OtherKind)??)
            }
            Message::Farm(message) => {
                if !super::farming::is_named(&message) {
                    return Err(Fault::Nameless);
                }
                let result = self.with_farm(call, out, |farming, call, out| {
                    farming.farm.handle_message(call, from, *message, out)
                });
                Ok(result.ok_or(Fault::OtherKind)??)
            }
            message @ (Message::Items(_) | Message::Number(_)) => {
                let result = self.with_near(call, out, |near, out| {
                    near.handle_message(call.narrow(|config| &config.nearest), from, message, out)
                });
                Ok(result.ok_or(Fault::OtherKind)?.ok_or(Fault::NoProfile)??)
            }
            Message::Ask(question, ask) => self.on_ask(call, from, question, *ask, out),
            Message::Told(question, told) => self.on_told(call, from, question, *told, out),
            Message::News => {
                let farming = self.farming.as_ref().ok_or(Fault::OtherKind)?;
                if farming.farmer() != Some(from) {
                    return Err(Fault::NotMyFarmer);
                }
                out.event(Event::Outcomes);
                Ok(())
            }
        }
    }

    /// Leaves out of a list those that would replace this member, or one that has spoken here, on the word
    /// of others alone. Whoever lies can make up any number of them.
    fn without_hearsay<H: Host>(&self, mut message: all::Message, out: &mut H) -> all::Message {
        let (all::Message::Swap { entries, .. } | all::Message::Take { entries, .. }) = &mut message else {
            return message;
        };
        entries.retain(|entry| {
            let Some(Member { slot, epoch }) = member_of(out, self.me, entry.handle) else { return false };
            if slot == self.me.member.slot {
                // Its driver would know.
                return epoch <= self.me.member.epoch;
            }
            let spoken = self.epochs.get(&slot).copied();
            let is_hearsay = spoken.is_some_and(|spoken| epoch > spoken && !out.may_be(spoken, epoch));
            if is_hearsay {
                out.event(Event::Hearsay { slot });
            }
            !is_hearsay
        });
        message
    }

    /// A member has spoken, and nobody is known to have replaced it.
    pub(super) fn hear_of<H: Host>(&mut self, call: Call<'_, Config>, from: Handle, out: &mut H) {
        let Some(Member { slot, epoch }) = member_of(out, self.me, from) else { return };
        let Some(Numbers::All(all)) = &self.numbers else { return };
        if all.is_said_to_be_replaced(Name(slot.into()), epoch) {
            self.with_numbers(call, out, |numbers, call, out| {
                if let Numbers::All(all) = numbers {
                    let entry = Entry::new(Name(slot.into()), epoch, from);
                    all.handle_spoken(call.narrow(|config| &config.all), entry, out);
                }
            });
        }
    }

    /// Does all that is due.
    pub(super) fn tick<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        let (config, now) = (call.config, call.now);
        if self.view.next_timeout(&config.view).at <= now {
            self.with_view(call, out, |view, call, out| view.handle_timeout(call, out));
        }
        if self.overlay.as_ref().is_some_and(|it| it.next_timeout(&config.overlay).at <= now) {
            self.with_overlay(call, out, |overlay, call, out| overlay.handle_timeout(call, out));
        }
        if self.numbers.as_ref().is_some_and(|it| it.next_timeout(config).at <= now) {
            self.with_numbers(call, out, |numbers, call, out| numbers.handle_timeout(call, out));
        }
        if self.near.as_ref().is_some_and(|it| it.next_timeout(&config.nearest).at <= now) {
            self.with_near(call, out, |near, out| {
                near.handle_timeout(call.narrow(|config| &config.nearest), out);
            });
        }
        if self.farming.as_ref().is_some_and(|it| it.next_timeout(&config.farm).at <= now) {
            self.follow_role(call, out);
            self.with_farm(call, out, |farming, call, out| farming.handle_timeout(call, out));
        }
        if self.mesh.is_some() && self.is_counted() && self.refresh_due <= now {
            self.look_for_neighbours(call);
        }
        if self.phase == Phase::Member {
            self.tick_questions(call, out);
        }
    }

    /// Who is behind a handle, if it is the newest of its slot as far as is known.
    pub(super) fn newest(&self, host: &impl Host, peer: Handle) -> Option<Member> {
        let member = member_of(host, self.me, peer)?;
        let known = self.epochs.get(&member.slot).copied().unwrap_or(0);
        (member.epoch >= known).then_some(member)
    }
}
