//! Broadcast by interval delegation: each node that is told gets a part of the ring to see to, and gives
//! parts of that to those it knows there.
//!
//! Source: El-Ansary, Alima, Brand, Haridi: Efficient broadcast in structured P2P networks, IPTPS 2003. Each
//! delegate accepts its part; what nobody accepts is given to another. The protocol is in
//! `docs/protocols/broadcast.md`. *Absent: who may broadcast (the host says it), and what the content means.*

mod extent;
mod message;
mod open;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Duration, Events, Handle, Instant, Sink, Wake};

pub use extent::Extent;
pub use message::{BroadcastId, DEPTH_MAX, Message};

use crate::Position;
use crate::ring::{Contact, clockwise};
use crate::store::Value;
use open::{Kind, Open, Opened, Part};

/// Broadcasts that a node remembers at most, so as to deliver each once; the oldest that it has nothing more
/// to do for is forgotten. Our guess: a grid has a few a minute.
pub const REMEMBERED_MAX: usize = 64;
/// Parts of one broadcast that a node has accepted and remembers; what comes beyond is not accepted.
pub const EXTENTS_MAX: usize = 12;

/// The numbers of the protocol; every member uses the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A delegate that has not accepted by then is taken for dead, if the part is wide. Twice the longest
    /// round trip in our simulations, and one packet of a stream sent again.
    pub answer_timeout: Duration,
    /// A node that nobody else stands behind is asked again when the ring would know that it is dead: after
    /// `verdict` for the first successor, and another `verdict_step` for each one more, because one round of
    /// the ring brings the news one node farther back.
    pub verdict: Duration,
    pub verdict_step: Duration,
    /// Delegations of one part to one node at most.
    pub tries: u8,
    /// So long a broadcast is remembered.
    pub memory: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            answer_timeout: Duration::from_millis(1_000),
            verdict: Duration::from_millis(3_600),
            verdict_step: Duration::from_millis(2_100),
            tries: 3,
            memory: Duration::from_secs(120),
        }
    }
}

/// What a node knows of the ring around it, now.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// None: it is not on the ring, and has nobody to delegate to.
    pub position: Option<Position>,
    /// The next nodes as they follow one another.
    pub successors: Vec<Contact>,
    /// Others, in any order, some twice.
    pub others: Vec<Contact>,
}

/// What a broadcast asks of the node around it, beside a way out.
pub trait Host: Sink<Message> + Events<Event> {
    fn around(&self) -> Around;
    /// Whether this may be passed on: its origin may broadcast so far, and the content proves that it is its
    /// own. Asked once for each broadcast.
    fn may_broadcast(&self, from: Handle, id: BroadcastId, extent: Option<&Extent>, content: &Value) -> bool;
}

/// What a broadcast tells the node around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Once for each broadcast, at its origin, too, if it lies in the extent.
    Delivered { id: BroadcastId, content: Value, depth: u8 },
    /// The owner of its beginning has taken what [`Broadcast::begin_at`] gave it: it sees to the rest.
    Begun { id: BroadcastId },
    /// Nobody took the first part of [`Broadcast::begin_at`]: the owner is another, or dead. Some may have
    /// been told.
    NotBegun { id: BroadcastId },
}

/// What a correct and timely member would not have sent. The state is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("an answer that nobody waits for")]
    Unasked,
    #[error("a broadcast that its origin may not make")]
    Forbidden,
    #[error("a content that is not what its name says")]
    OtherContent,
    #[error("delegated more than {DEPTH_MAX} times")]
    TooDeep,
    #[error("nothing can be remembered now: {REMEMBERED_MAX} broadcasts are under way")]
    Full,
    #[error("too many parts of one broadcast")]
    TooManyExtents,
}

/// A broadcast was not begun; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    #[error("this node is not on the ring yet: wait until it is")]
    NotOnTheRing,
    #[error("{REMEMBERED_MAX} broadcasts are under way here: wait for some of them")]
    Full,
}

/// One broadcast that has come by.
#[derive(Clone, Debug)]
struct Known {
    id: BroadcastId,
    until: Instant,
    content: Value,
    depth: u8,
    /// Whether this node was told: one that tells a part of the ring may stand elsewhere.
    is_told: bool,
    /// What this node sees to.
    extents: Vec<Extent>,
    open: Opened,
}

/// One node's part in all broadcasts.
#[derive(Clone, Debug, Default)]
pub struct Broadcast {
    known: Vec<Known>,
    seq: u16,
}

impl Broadcast {
    /// Tells everybody on the ring, itself too. What was told already, in these words and by this origin, is
    /// told no more.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn begin<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        origin: xtreem_base::NodeId,
        content: Value,
        out: &mut H,
    ) -> Result<BroadcastId, BeginError> {
        let position = out.around().position.ok_or(BeginError::NotOnTheRing)?;
        let id = BroadcastId::new(origin, &content);
        if self.known.iter().any(|known| known.id == id) {
            return Ok(id);
        }
        let at = self.remember(call, id, &content, 0).ok_or(BeginError::Full)?;
        self.known[at].is_told = true;
        out.event(Event::Delivered { id, content, depth: 0 });
        self.see_to(call, at, Extent::all_but(&position), out);
        Ok(id)
    }

    /// Tells every owner of a part of the ring from `lo` to `hi`, when `owner` owns `lo`: a lookup has found
    /// it. [`Event::Begun`] or [`Event::NotBegun`] follows. Who has heard these words of this origin, by
    /// another part, hears them no more.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn begin_at<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        origin: xtreem_base::NodeId,
        (owner, lo, hi): (&Contact, &Position, &Position),
        content: Value,
        out: &mut H,
    ) -> Result<BroadcastId, BeginError> {
        let id = BroadcastId::new(origin, &content);
        let known = self.known.iter().position(|known| known.id == id);
        let at = known.or_else(|| self.remember(call, id, &content, 0)).ok_or(BeginError::Full)?;
        let extent = Extent { after: owner.position.clone(), before: hi.clone(), with_owner: true };
        // It may own the end, too.
        let goes_on = lo != hi && clockwise(lo, &owner.position, hi).is_lt();
        let kind = if goes_on { Kind::First } else { Kind::Only };
        self.delegate(call, at, Part { to: owner.clone(), extent, kind }, 1, out);
        Ok(id)
    }

    /// Whether there is something that was delegated and not accepted.
    pub fn is_busy(&self) -> bool {
        self.known.iter().any(|known| !known.open.is_empty())
    }

    fn remember(
        &mut self,
        call: Call<'_, Config>,
        id: BroadcastId,
        content: &Value,
        depth: u8,
    ) -> Option<usize> {
        if self.known.len() >= REMEMBERED_MAX {
            let idle = self.known.iter().position(|known| known.open.is_empty())?;
            self.known.remove(idle);
        }
        let until = call.now + call.config.memory;
        let (is_told, extents, open) = (false, Vec::new(), Opened::default());
        self.known.push(Known { id, until, content: content.clone(), depth, is_told, extents, open });
        Some(self.known.len() - 1)
    }

    fn on_delegate<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        (id, seq, extent, content, depth, is_wide): (BroadcastId, u16, Option<Extent>, Value, u8, bool),
        out: &mut H,
    ) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::TooDeep);
        }
        let known = self.known.iter().position(|known| known.id == id);
        let at = match known {
            Some(at) => at,
            None if id != BroadcastId::new(id.origin, &content) => return Err(Fault::OtherContent),
            None if !out.may_broadcast(from, id, extent.as_ref(), &content) => return Err(Fault::Forbidden),
            None => self.remember(call, id, &content, depth).ok_or(Fault::Full)?,
        };
        if !self.known[at].is_told {
            self.known[at].is_told = true;
            out.event(Event::Delivered { id, content, depth });
        }
        let extents = &self.known[at].extents;
        let new = extent.filter(|extent| !extents.iter().any(|it| it.covers(extent)));
        if new.is_some() && extents.len() >= EXTENTS_MAX {
            return Err(Fault::TooManyExtents);
        }
        out.send(from, Message::Accept { id, seq, is_wide });
        if let Some(extent) = new {
            self.see_to(call, at, extent, out);
        }
        Ok(())
    }

    fn see_to<H: Host>(&mut self, call: Call<'_, Config>, at: usize, extent: Extent, out: &mut H) {
        self.known[at].extents.push(extent.clone());
        self.cover(call, at, &extent, None, 0, out);
    }

    /// Gives all of `extent` to those who are known there. What lies before the first of them, farther away
    /// than the successors tell of, is for the nearest one before it; that is not `but`.
    fn cover<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        at: usize,
        extent: &Extent,
        but: Option<Handle>,
        tries: u8,
        out: &mut H,
    ) {
        let around = out.around();
        let Some(me) = &around.position else { return };
        let parts = open::parts(me, &around, extent, |contact| {
            Some(contact.handle) != but && !self.known[at].open.has_failed(contact.handle)
        });
        for part in parts {
            self.delegate(call, at, part, tries + 1, out);
        }
    }

    fn delegate<H: Host>(
        &mut self,
        call: Call<'_, Config>,
        at: usize,
        Part { to, extent, kind }: Part,
        tries: u8,
        out: &mut H,
    ) {
        self.seq = self.seq.wrapping_add(1);
        let known = &mut self.known[at];
        let due = call.now + kind.patience(call.config, tries);
        let seq = self.seq;
        let (id, content, depth) = (known.id, known.content.clone(), known.depth.saturating_add(1));
        let is_wide = !matches!(kind, Kind::Alone(_));
        let peer = to.handle;
        // Who owns the end sees to nobody; who stands at or behind it would take that for the whole ring.
        let told = Some(&extent).filter(|_| !matches!(kind, Kind::Owner | Kind::Only)).cloned();
        known.open.add(Open { to, extent, seq, kind, due, tries });
        out.send(peer, Message::Delegate { id, seq, extent: told, content, depth, is_wide });
    }

    fn on_accept<H: Host>(
        &mut self,
        from: Handle,
        id: BroadcastId,
        seq: u16,
        out: &mut H,
    ) -> Result<(), Fault> {
        let known = self.known.iter_mut().find(|known| known.id == id).ok_or(Fault::Unasked)?;
        let kind = known.open.accept(from, seq).ok_or(Fault::Unasked)?;
        out.contact_answered(from);
        if matches!(kind, Kind::First | Kind::Only) {
            out.event(Event::Begun { id });
        }
        Ok(())
    }

    /// Gives what was not accepted to others.
    fn tick_open<H: Host>(&mut self, call: Call<'_, Config>, out: &mut H) {
        for at in 0..self.known.len() {
            // All that fell silent together are known before anything is given to anybody.
            let silent = self.known[at].open.expire(call.now);
            for open in silent {
                self.give_again(call, at, open, out);
            }
        }
    }

    fn give_again<H: Host>(&mut self, call: Call<'_, Config>, at: usize, open: Open, out: &mut H) {
        let Open { to, extent, kind, tries, .. } = open;
        match kind {
            Kind::First | Kind::Only => out.event(Event::NotBegun { id: self.known[at].id }),
            _ if tries >= call.config.tries => {}
            Kind::Alone(_) if out.around().successors.iter().any(|it| it.handle == to.handle) => {
                // The ring has had the time to take it out if it were dead.
                self.delegate(call, at, Part { to, extent, kind }, tries + 1, out);
            }
            // Whoever has taken a place behind it meanwhile.
            Kind::Alone(_) => self.cover(call, at, &extent, Some(to.handle), tries, out),
            Kind::Owner | Kind::Wide => {
                out.contact_silent(to.handle);
                let me = out.around().position;
                let nearest = me.and_then(|me| self.known[at].open.nearest_before(&me, &to.position));
                match nearest.filter(|_| kind == Kind::Wide) {
                    Some(to) => self.delegate(call, at, Part { to, extent, kind }, tries + 1, out),
                    None => self.cover(call, at, &extent, Some(to.handle), tries, out),
                }
            }
        }
    }

    fn next_due(&self) -> Instant {
        let open = self.known.iter().map(|known| known.open.next_due());
        let memory = self.known.iter().map(|known| known.until);
        open.chain(memory).min().unwrap_or(Instant::FAR)
    }
}

impl Core for Broadcast {
    type Config = Config;
    type Message = Message;
    type Fault = Fault;

    fn next_timeout(&self, _: &Config) -> Wake {
        Wake::new(self.next_due(), "part of a broadcast")
    }

    /// What it has accepted is its own affair; what it has not is given away at once.
    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        self.known.iter_mut().for_each(|known| known.open.gone(peer, call.now));
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.known.iter().for_each(|known| known.open.for_each_handle(f));
    }
}

impl<H: Host> Driven<H> for Broadcast {
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Message,
        out: &mut H,
    ) -> Result<(), Fault> {
        match message {
            Message::Delegate { id, seq, extent, content, depth, is_wide } => {
                self.on_delegate(call, from, (id, seq, extent, content, depth, is_wide), out)
            }
            Message::Accept { id, seq, .. } => self.on_accept(from, id, seq, out),
        }
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut H) {
        self.tick_open(call, out);
        self.known.retain(|known| known.until > call.now || !known.open.is_empty());
    }
}
