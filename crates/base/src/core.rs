//! The one shape of a protocol core: what goes in, what comes out, and what all of them are asked alike.
//!
//! A core gets time, numbers and messages as arguments and gives messages, events and one deadline as values.
//! It holds no queue, no clock and no address. [`Core`] is what needs no way out; [`Driven`] is what may
//! speak, into a sink that the caller lends for one call. What a core asks of its sink beyond [`Sink`] is in
//! its bounds: [`Events`] if it tells something, [`Sampler`] if it meets random peers, or a trait of its own
//! if it asks questions.

use crate::{Handle, Instant};

/// What every input of a core brings along: the numbers of its protocol, and the time.
#[derive(Debug)]
pub struct Call<'a, C> {
    pub config: &'a C,
    pub now: Instant,
}

impl<C> Clone for Call<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Call<'_, C> {}

impl<'a, C> Call<'a, C> {
    pub fn new(config: &'a C, now: Instant) -> Self {
        Call { config, now }
    }

    /// The same call, for a core whose numbers are a part of these.
    pub fn narrow<D>(self, part: impl FnOnce(&'a C) -> &'a D) -> Call<'a, D> {
        Call { config: part(self.config), now: self.now }
    }
}

/// The one deadline of a core that matters, and what is due then, for a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    pub at: Instant,
    pub why: &'static str,
}

impl Wake {
    /// Nothing is due until something comes in.
    pub const NEVER: Wake = Wake { at: Instant::FAR, why: "nothing" };

    #[inline]
    pub const fn new(at: Instant, why: &'static str) -> Self {
        Wake { at, why }
    }

    /// The earlier one; the first of two that are due together.
    #[inline]
    pub fn or(self, other: Wake) -> Wake {
        if other.at < self.at { other } else { self }
    }

    pub fn is_never(&self) -> bool {
        self.at == Instant::FAR
    }
}

impl FromIterator<Wake> for Wake {
    /// The earliest of all.
    fn from_iter<I: IntoIterator<Item = Wake>>(wakes: I) -> Self {
        wakes.into_iter().fold(Wake::NEVER, Wake::or)
    }
}

/// The state machine of one protocol in one node, as far as it is asked without a way to answer.
pub trait Core {
    /// The numbers of the protocol: periods, time-outs, limits.
    type Config;
    /// What one peer says to another.
    type Message;
    /// What a correct and timely peer would not have sent.
    type Fault;

    /// When [`Driven::handle_timeout`] has something to do, and what.
    fn next_timeout(&self, config: &Self::Config) -> Wake;

    /// `peer` is gone for good: it left, or restarted under a new incarnation. Nothing of it is kept.
    fn handle_gone(&mut self, call: Call<'_, Self::Config>, peer: Handle);

    /// `peer` did not answer somebody in this node. It may be back: a core that has a way to try again later
    /// does.
    fn handle_silent(&mut self, call: Call<'_, Self::Config>, peer: Handle) {
        let _ = (call, peer);
    }

    /// Shows every handle that is kept here, some more than once: the others may leave the driver's table.
    fn for_each_handle(&self, f: &mut dyn FnMut(Handle));
}

/// A [`Core`] with a sink of type `S`.
pub trait Driven<S>: Core {
    /// Takes a message. After a fault the state is as it was before, unless the fault's type says otherwise.
    fn handle_message(
        &mut self,
        call: Call<'_, Self::Config>,
        from: Handle,
        message: Self::Message,
        out: &mut S,
    ) -> Result<(), Self::Fault>;

    /// Does all that is due.
    fn handle_timeout(&mut self, call: Call<'_, Self::Config>, out: &mut S);
}

/// Where a core puts what it has to say to peers, and what it noticed of them.
pub trait Sink<M> {
    fn send(&mut self, to: Handle, message: M);

    /// `peer` answered a request of ours just now.
    fn contact_answered(&mut self, peer: Handle) {
        let _ = peer;
    }

    /// `peer` did not answer in time.
    fn contact_silent(&mut self, peer: Handle) {
        let _ = peer;
    }
}

/// Where a core puts what it tells the node around it.
pub trait Events<E> {
    fn event(&mut self, event: E);
}

/// What leads a core to random peers: the partial view of its collection.
pub trait Sampler {
    /// A random member of the collection, if one is known.
    fn fresh_peer(&mut self) -> Option<Handle>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_wakes_and_the_first_of_two_at_once() {
        let at = Instant::from_millis;
        let wakes = [Wake::new(at(5), "b"), Wake::new(at(3), "a"), Wake::new(at(3), "c"), Wake::NEVER];
        assert_eq!(wakes.into_iter().collect::<Wake>(), Wake::new(at(3), "a"));
        assert!([].into_iter().collect::<Wake>().is_never());
    }
}
