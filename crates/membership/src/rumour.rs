//! One document of which everybody shall have the newest: signed by somebody, numbered, and spread by the
//! nodes.
//!
//! Epidemic, push and pull (Demers et al.: Epidemic algorithms for replicated database maintenance, PODC
//! 1987): a new document goes at once to a few contacts, and in each round a node tells one contact which
//! version it has; whichever is older is then fetched anew. A node that has none asks for a few rounds and is
//! silent from then on. *Absent: who may sign, and what the document says; the driver has verified it.*

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use xtreem_base::{Call, Core, Driven, Duration, Events, Handle, Instant, Rng, Sink, Travel, Wake};

/// Contacts that hear of a new document at once. Our guess: 3 reach nearly all of a large grid, and the
/// rounds the rest.
const FANOUT: usize = 3;
/// Rounds in which a node without a document asks for one; later ones come to it.
const ASKING_ROUNDS: u8 = 3;

/// What is spread.
pub trait Document: Clone {
    /// The higher one takes the place of the lower.
    type Version: Copy + Ord;
    /// Why it cannot be read.
    type Error;
    /// What a node without a document has.
    const NONE: Self::Version;

    fn version(&self) -> Result<Self::Version, Self::Error>;

    /// Whether two different documents bear one number, which is their author's mistake.
    fn are_rivals(one: Self::Version, other: Self::Version) -> bool;
}

/// The numbers of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// One contact is told the own version in each.
    pub period: Duration,
}

/// Node to node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message<V, D> {
    /// The sender has this one.
    #[n(0)]
    Offer(#[n(0)] V),
    /// Its answer when the receiver's is older: send it.
    #[n(1)]
    Fetch,
    #[n(2)]
    Document(#[n(0)] Box<D>),
}

impl<V, D> Message<V, D> {
    /// Documents may be larger than a datagram.
    pub fn travel(&self) -> Travel {
        Travel::sized(!matches!(self, Message::Document(_)))
    }
}

/// A newer document has come, or the one that is in force has a rival.
#[derive(Clone, Debug)]
pub struct Newer<D: Document> {
    /// The one in force from now on, or as before.
    pub document: Arc<D>,
    pub version: D::Version,
    /// What it takes the place of, or what it wins over.
    pub before: D::Version,
}

/// All peers that a rumour may go to.
pub trait Contacts {
    /// The partial view of the collection.
    fn contacts(&self) -> Vec<Handle>;
}

/// The newest document that this node has, and when it speaks of it next.
#[derive(Clone, Debug)]
pub struct Rumour<D: Document> {
    held: Option<(Arc<D>, D::Version)>,
    /// Another document with the number of the one in force: its author signed two.
    rival: Option<D::Version>,
    due: Instant,
    asked: u8,
    rng: Rng,
}

impl<D: Document> Rumour<D> {
    /// A node that has no document. It asks first at a random point in the first period and a half.
    pub fn new(config: &Config, mut rng: Rng, now: Instant) -> Self {
        let due = now + rng.jitter(config.period, 50);
        Rumour { held: None, rival: None, due, asked: 0, rng }
    }

    /// The version in force here.
    pub fn version(&self) -> D::Version {
        self.held.as_ref().map_or(D::NONE, |(_, version)| *version)
    }

    pub fn document(&self) -> Option<&Arc<D>> {
        self.held.as_ref().map(|(document, _)| document)
    }

    /// A document with the number of the one in force that this node has seen, and that lost against it.
    pub fn rival(&self) -> Option<D::Version> {
        self.rival
    }

    /// Takes a newer document, spreads it and tells of it; an older one changes nothing. Returns whether it
    /// is the one that this node has now.
    pub fn take<S>(&mut self, call: Call<'_, Config>, document: D, out: &mut S) -> Result<bool, D::Error>
    where
        S: Sink<Message<D::Version, D>> + Events<Newer<D>> + Contacts,
    {
        let (version, before) = (document.version()?, self.version());
        if version <= before {
            self.note_rival(version, out);
            return Ok(version == before);
        }
        let document = Arc::new(document);
        self.rival = if D::are_rivals(version, before) { Some(before) } else { None };
        self.held = Some((document.clone(), version));
        self.due = call.now + self.rng.jitter(call.config.period, 25);
        self.offer(FANOUT, out);
        out.event(Newer { document, version, before });
        Ok(true)
    }

    /// Tells of a document that bears the number of the one in force and lost against it, once.
    fn note_rival(&mut self, version: D::Version, out: &mut impl Events<Newer<D>>) {
        let Some((document, held)) = &self.held else { return };
        if self.rival.is_none() && D::are_rivals(version, *held) {
            self.rival = Some(version);
            out.event(Newer { document: document.clone(), version: *held, before: version });
        }
    }

    /// Whether an offer speaks of a rival that is not known yet. Only its document proves it.
    fn is_new_rival(&self, theirs: D::Version) -> bool {
        self.rival.is_none() && self.held.is_some() && D::are_rivals(theirs, self.version())
    }

    fn offer<S>(&mut self, contacts: usize, out: &mut S)
    where
        S: Sink<Message<D::Version, D>> + Contacts,
    {
        let mut peers = out.contacts();
        self.rng.shuffle(&mut peers);
        for peer in peers.into_iter().take(contacts) {
            out.send(peer, Message::Offer(self.version()));
        }
    }
}

impl<D: Document> Core for Rumour<D> {
    type Config = Config;
    type Message = Message<D::Version, D>;
    type Fault = D::Error;

    fn next_timeout(&self, _: &Config) -> Wake {
        Wake::new(self.due, "rumour")
    }

    /// Nobody is kept.
    fn handle_gone(&mut self, _: Call<'_, Config>, _: Handle) {}

    fn for_each_handle(&self, _: &mut dyn FnMut(Handle)) {}
}

impl<D: Document, S> Driven<S> for Rumour<D>
where
    S: Sink<Message<D::Version, D>> + Events<Newer<D>> + Contacts,
{
    fn handle_message(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: Self::Message,
        out: &mut S,
    ) -> Result<(), D::Error> {
        match message {
            Message::Offer(theirs) if theirs > self.version() => out.send(from, Message::Fetch),
            Message::Offer(theirs) if theirs < self.version() => {
                if self.is_new_rival(theirs) {
                    out.send(from, Message::Fetch);
                }
                out.send(from, Message::Offer(self.version()));
            }
            Message::Offer(_) => {}
            Message::Fetch => {
                if let Some((document, _)) = &self.held {
                    out.send(from, Message::Document(Box::new(D::clone(document))));
                }
            }
            Message::Document(document) => {
                let before = self.held.clone();
                self.take(call, *document, out)?;
                // The other side is to know of it, too: nobody will offer it the one that lost any more.
                if let Some((lost, version)) = before
                    && self.rival == Some(version)
                {
                    out.send(from, Message::Document(Box::new(D::clone(&lost))));
                }
            }
        }
        Ok(())
    }

    fn handle_timeout(&mut self, call: Call<'_, Config>, out: &mut S) {
        if self.due > call.now {
            return;
        }
        self.offer(1, out);
        self.asked = self.asked.saturating_add(1);
        let is_silent = self.held.is_none() && self.asked >= ASKING_ROUNDS;
        self.due = if is_silent { Instant::FAR } else { call.now + self.rng.jitter(call.config.period, 25) };
    }
}
