//! The sink of all cores of a collection for one call: what goes out goes out, what is told is kept until the
//! call is over.

use alloc::boxed::Box;
use alloc::vec::Vec;

use xtreem_base::{Events, Handle, NodeId, Sampler, Sink};
use xtreem_membership::Cyclon;

use super::event::{Event, Host, Member};
use super::message::Message;
use super::table::Request;
use crate::broadcast::BroadcastId;
use crate::farm::{self, Item, Shelf, TaskId};
use crate::overlay;
use crate::ranks::{all, sums};
use crate::store::{self, Value};
use crate::tman::{self, Items, Number};
use crate::{Key, Namespace};

/// The part of a collection's ring where the tasks of its farm lie. Every member may write there.
pub const TASKS: Namespace = Namespace(2);

/// Who this member is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Me {
    pub(super) handle: Handle,
    pub(super) member: Member,
}

/// What the cores said in one call.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// To this member itself.
    pub(super) own: Vec<Message>,
    pub(super) overlay: Vec<overlay::Event>,
    pub(super) has_ranks_news: bool,
    pub(super) is_displaced: bool,
    pub(super) farm: Vec<farm::Event>,
    pub(super) shelf: Vec<Request>,
    pub(super) is_nearest_new: bool,
}

pub(super) struct Lent<'a, H> {
    host: &'a mut H,
    me: Me,
    /// None while the partial view itself speaks.
    view: Option<&'a mut Cyclon>,
    pub(super) told: Told,
}

impl<'a, H: Host> Lent<'a, H> {
    pub(super) fn new(host: &'a mut H, me: Me, view: Option<&'a mut Cyclon>) -> Self {
        Lent { host, me, view, told: Told::default() }
    }

    /// What a core sends to this member comes in by the next call.
    fn post(&mut self, to: Handle, message: Message) {
        if to == self.me.handle {
            self.told.own.push(message);
        } else {
            self.host.send(to, message);
        }
    }
}

/// Who is behind a handle, this member included.
pub(super) fn member_of(host: &impl Host, me: Me, peer: Handle) -> Option<Member> {
    if peer == me.handle { Some(me.member) } else { host.member_of(peer) }
}

impl<H: Host> Sink<xtreem_membership::Message> for Lent<'_, H> {
    fn send(&mut self, to: Handle, message: xtreem_membership::Message) {
        self.post(to, Message::View(message));
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.host.contact_answered(peer);
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.host.contact_silent(peer);
    }
}

impl<H: Host> Sink<overlay::Message> for Lent<'_, H> {
    fn send(&mut self, to: Handle, message: overlay::Message) {
        self.post(to, Message::Overlay(message));
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.host.contact_answered(peer);
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.host.contact_silent(peer);
    }
}

impl<H: Host> Sink<all::Message> for Lent<'_, H> {
    fn send(&mut self, to: Handle, message: all::Message) {
        self.post(to, Message::All(Box::new(message)));
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.host.contact_answered(peer);
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.host.contact_silent(peer);
    }
}

impl<H: Host> Sink<sums::Message> for Lent<'_, H> {
    fn send(&mut self, to: Handle, message: sums::Message) {
        self.post(to, Message::Sums(message));
    }

    fn contact_answered(&mut self, peer: Handle) {
        self.host.contact_answered(peer);
    }

    fn contact_silent(&mut self, peer: Handle) {
        self.host.contact_silent(peer);
    }
}

impl<H: Host> Sink<farm::Message> for Lent<'_, H> {
    fn send(&mut self, to: Handle, message: farm::Message) {
        self.post(to, Message::Farm(Box::new(message)));
    }
}

/// Who has no profile yet does not answer, so nobody is told that it is silent.
impl<H: Host> Sink<tman::Message<Items>> for Lent<'_, H> {
    fn send(&mut self, to: Handle, message: tman::Message<Items>) {
        self.post(to, Message::Items(Box::new(message)));
    }
}

impl<H: Host> Sink<tman::Message<Number>> for Lent<'_, H> {
    fn send(&mut self, to: Handle, message: tman::Message<Number>) {
        self.post(to, Message::Number(Box::new(message)));
    }
}

impl<H: Host> Sampler for Lent<'_, H> {
    fn fresh_peer(&mut self) -> Option<Handle> {
        self.view.as_mut()?.fresh_peer()
    }
}

impl<H: Host> Events<overlay::Event> for Lent<'_, H> {
    fn event(&mut self, event: overlay::Event) {
        self.told.overlay.push(event);
    }
}

impl<H: Host> Events<all::Event> for Lent<'_, H> {
    fn event(&mut self, event: all::Event) {
        self.told.has_ranks_news = true;
        self.told.is_displaced |= event == all::Event::Displaced;
    }
}

impl<H: Host> Events<sums::Event> for Lent<'_, H> {
    fn event(&mut self, _: sums::Event) {
        self.told.has_ranks_news = true;
    }
}

impl<H: Host> Events<farm::Event> for Lent<'_, H> {
    fn event(&mut self, event: farm::Event) {
        self.told.farm.push(event);
    }
}

impl<H: Host> Events<tman::Event> for Lent<'_, H> {
    fn event(&mut self, _: tman::Event) {
        self.told.is_nearest_new = true;
    }
}

impl<H: Host> Shelf for Lent<'_, H> {
    fn put(&mut self, item: &Item) {
        self.told.shelf.push(Request::Put(item.clone()));
    }

    fn load(&mut self) {
        self.told.shelf.push(Request::Load);
    }

    fn load_anew(&mut self) {
        self.told.shelf.push(Request::LoadAnew);
    }

    fn remove(&mut self, task: TaskId) {
        self.told.shelf.push(Request::Remove(task));
    }
}

impl<H: Host> overlay::Host for Lent<'_, H> {
    fn id_of(&self, peer: Handle) -> Option<NodeId> {
        member_of(self.host, self.me, peer).map(|member| member.id())
    }

    /// Nobody may write what another one wrote, but where the tasks of a farm lie.
    fn is_admin(&self, _: Handle) -> bool {
        false
    }

    fn may_overwrite(&self, _: Handle, key: &Key) -> bool {
        key.namespace() == Some(TASKS)
    }

    fn site_of(&self, peer: Handle) -> Option<u64> {
        self.host.site_of(peer)
    }

    /// Any member tells the others what it likes, in its own name or not: they are of one application.
    fn may_broadcast(&self, id: BroadcastId, _: &Value) -> bool {
        Member::slot_of(&id.origin).is_some()
    }
}

/// An event of the store on its way to whoever it is for.
pub(super) fn told_by_store(event: store::Event) -> Event {
    match event {
        store::Event::Done { request, result } => Event::Item { request, result },
        store::Event::Lost { version, winner } => Event::Lost { version, winner },
    }
}
