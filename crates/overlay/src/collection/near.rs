//! The nearest of a member: T-Man by the profile that its program gives it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use xtreem_base::{Call, Core, Driven, Handle, Rng, Wake};

use super::event::{BeginError, Host, Profile};
use super::kind::Metric;
use super::lent::Lent;
use super::message::Message;
use crate::tman::{self, Close, Ranking, Side, Similar, TMan};

/// None until there is a profile.
#[derive(Clone, Debug)]
pub(super) enum Near {
    Items(Option<Box<TMan<Similar>>>),
    Number(Option<Box<TMan<Close>>>),
}

/// Both metrics alike.
macro_rules! with {
    ($near:expr, $tman:ident => $do:expr, $else:expr) => {
        match $near {
            Near::Items(Some($tman)) => $do,
            Near::Number(Some($tman)) => $do,
            Near::Items(None) | Near::Number(None) => $else,
        }
    };
}

impl Near {
    pub(super) fn new(metric: Metric) -> Near {
        match metric {
            Metric::Items => Near::Items(None),
            Metric::Number => Near::Number(None),
        }
    }

    pub(super) fn set_profile(
        &mut self,
        call: Call<'_, tman::Config>,
        me: Handle,
        rng: &mut Rng,
        profile: Profile,
    ) -> Result<(), BeginError> {
        match (self, profile) {
            (Near::Items(near), Profile::Items(items)) => set(near, call, Similar::Count, me, rng, items),
            (Near::Number(near), Profile::Number(number)) => set(near, call, Close, me, rng, number),
            (Near::Items(_), Profile::Number(_)) => return Err(BeginError::Kind("numbers as profiles")),
            (Near::Number(_), Profile::Items(_)) => return Err(BeginError::Kind("items as profiles")),
        }
        Ok(())
    }

    /// Nearest first.
    pub(super) fn nearest(&self) -> Vec<(Handle, Profile)> {
        match self {
            Near::Items(Some(tman)) => {
                let all = tman.neighbours(Side::After);
                all.map(|it| (it.handle, Profile::Items(it.profile.clone()))).collect()
            }
            Near::Number(Some(tman)) => {
                let all = tman.neighbours(Side::After);
                all.map(|it| (it.handle, Profile::Number(*it.profile))).collect()
            }
            Near::Items(None) | Near::Number(None) => Vec::new(),
        }
    }

    pub(super) fn profile(&self) -> Option<Profile> {
        match self {
            Near::Items(tman) => tman.as_ref().map(|tman| Profile::Items(tman.profile().clone())),
            Near::Number(tman) => tman.as_ref().map(|tman| Profile::Number(*tman.profile())),
        }
    }

    pub(super) fn next_timeout(&self, config: &tman::Config) -> Wake {
        with!(self, tman => tman.next_timeout(config), Wake::NEVER)
    }

    pub(super) fn handle_gone(&mut self, call: Call<'_, tman::Config>, peer: Handle) {
        with!(self, tman => tman.handle_gone(call, peer), {});
    }

    pub(super) fn handle_silent(&mut self, call: Call<'_, tman::Config>, peer: Handle) {
        with!(self, tman => tman.handle_silent(call, peer), {});
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        with!(self, tman => tman.for_each_handle(f), {});
    }

    pub(super) fn handle_timeout<H: Host>(&mut self, call: Call<'_, tman::Config>, out: &mut Lent<'_, H>) {
        with!(self, tman => tman.handle_timeout(call, out), {});
    }

    /// None: this member has no profile of that metric, and is nobody's neighbour.
    pub(super) fn handle_message<H: Host>(
        &mut self,
        call: Call<'_, tman::Config>,
        from: Handle,
        message: Message,
        out: &mut Lent<'_, H>,
    ) -> Option<Result<(), tman::Fault>> {
        match (self, message) {
            (Near::Items(Some(tman)), Message::Items(message)) => {
                Some(tman.handle_message(call, from, *message, out))
            }
            (Near::Number(Some(tman)), Message::Number(message)) => {
                Some(tman.handle_message(call, from, *message, out))
            }
            _ => None,
        }
    }
}

fn set<R: Ranking>(
    near: &mut Option<Box<TMan<R>>>,
    call: Call<'_, tman::Config>,
    ranking: R,
    me: Handle,
    rng: &mut Rng,
    profile: R::Profile,
) {
    match near {
        Some(tman) => tman.set_profile(call, profile),
        None => {
            let rng = Rng::new(rng.next_u64());
            *near = Some(Box::new(TMan::new(call.config, ranking, me, profile, rng, call.now)));
        }
    }
}
