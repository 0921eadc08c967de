//! What all parts of a node are asked alike, so that a new core is one more entry of a list.

use core::ops::{Deref, DerefMut};

use xtreem_base::{Call, Core, Driven, Handle, Wake};

use crate::Config;

/// One core in its node, whatever it speaks.
pub(crate) trait Part {
    fn next_timeout(&self, config: &Config) -> Wake;

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle);

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle));

    /// Names each kind of wrong message and how many of it came; a kind may be named by several parts.
    fn for_each_fault(&self, f: &mut dyn FnMut(&'static str, u64));
}

/// A core, where its numbers are, and the wrong messages that it was sent.
pub(crate) struct Seat<C: Core> {
    core: C,
    /// Nothing when the core counts by itself, and finer.
    name: Option<&'static str>,
    numbers: fn(&Config) -> &C::Config,
    faults: u64,
}

impl<C: Core> Seat<C> {
    pub fn new(name: Option<&'static str>, numbers: fn(&Config) -> &C::Config, core: C) -> Self {
        Seat { core, name, numbers, faults: 0 }
    }

    /// The node's call, for this core.
    pub fn narrow<'a>(&self, call: Call<'a, Config>) -> Call<'a, C::Config> {
        call.narrow(self.numbers)
    }

    pub fn handle_message<S>(
        &mut self,
        call: Call<'_, Config>,
        from: Handle,
        message: C::Message,
        out: &mut S,
    ) where
        C: Driven<S>,
    {
        let call = self.narrow(call);
        if self.core.handle_message(call, from, message, out).is_err() {
            self.faults += 1;
        }
    }

    pub fn handle_timeout<S>(&mut self, call: Call<'_, Config>, out: &mut S)
    where
        C: Driven<S>,
    {
        let call = self.narrow(call);
        self.core.handle_timeout(call, out);
    }

    /// Somebody in this node waited for an answer of `peer` in vain.
    pub fn handle_silent(&mut self, call: Call<'_, Config>, peer: Handle) {
        let call = self.narrow(call);
        self.core.handle_silent(call, peer);
    }
}

impl<C: Core> Part for Seat<C> {
    fn next_timeout(&self, config: &Config) -> Wake {
        self.core.next_timeout((self.numbers)(config))
    }

    fn handle_gone(&mut self, call: Call<'_, Config>, peer: Handle) {
        let call = self.narrow(call);
        self.core.handle_gone(call, peer);
    }

    fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        self.core.for_each_handle(f);
    }

    fn for_each_fault(&self, f: &mut dyn FnMut(&'static str, u64)) {
        if let Some(name) = self.name {
            f(name, self.faults);
        }
    }
}

impl<C: Core> Deref for Seat<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.core
    }
}

impl<C: Core> DerefMut for Seat<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.core
    }
}
