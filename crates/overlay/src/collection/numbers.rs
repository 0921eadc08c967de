//! Ranks of a collection: everyone knows everyone, or they are counted along the ring.

use alloc::boxed::Box;

use xtreem_base::{Call, Core, Driven, Handle, Instant, Rng, Wake};

use super::Fault;
use super::config::Config;
use super::event::{Holder, Host, Known};
use super::lent::{Lent, Me, member_of};
use crate::ranks::Standing;
use crate::ranks::all::{self, All, Entry, Name, Status};
use crate::ranks::sums::{self, Sums, Toward};

#[derive(Clone, Debug)]
pub(super) enum Numbers {
    All(Box<All>),
    Sums(Box<Sums>),
}

impl Numbers {
    /// A replacement has the name of the one before it: the number of the slot.
    pub(super) fn new(
        config: &Config,
        me: Me,
        is_counted: bool,
        expected: Option<u32>,
        rng: Rng,
        now: Instant,
    ) -> Numbers {
        let name = u64::from(me.member.slot);
        if is_counted {
            let sums = Sums::new(&config.sums, me.handle, Some(name), expected, rng, now);
            return Numbers::Sums(Box::new(sums));
        }
        let own = Entry::new(Name(name), me.member.epoch, me.handle);
        Numbers::All(Box::new(All::new(&config.all, own, expected, rng, now)))
    }

    pub(super) fn standing(&self, config: &Config) -> Option<Standing> {
        match self {
            Numbers::All(all) => Some(all.standing(&config.all)),
            Numbers::Sums(sums) => sums.standing(&config.sums),
        }
    }

    pub(super) fn holder(&self, config: &Config, me: Me, rank: u32) -> Known {
        let Some(standing) = self.standing(config) else { return Known::NotNow };
        let (numbering, is_settled) = (standing.epoch, standing.is_settled);
        let handle = match self {
            Numbers::All(all) => all.holder(rank).map(|entry| entry.handle),
            Numbers::Sums(_) => (standing.rank == Some(rank)).then_some(me.handle),
        };
        match handle {
            Some(handle) => Known::Holder(Holder { rank, handle, numbering, is_settled }),
            None if is_settled && rank >= standing.members => Known::Nobody,
            None => Known::NotNow,
        }
    }

    /// Who is nearer to a rank. None: everyone knows everyone, and nobody has to be asked.
    pub(super) fn toward(&self, rank: u32) -> Option<Toward> {
        match self {
            Numbers::All(_) => None,
            Numbers::Sums(sums) => Some(sums.toward(rank)),
        }
    }

    /// The lowest rank that is thought to live, where everyone knows everyone.
    pub(super) fn lowest(&self) -> Option<Handle> {
        match self {
            Numbers::All(all) => {
                all.ranked().find(|entry| entry.life.status == Status::Alive).map(|entry| entry.handle)
            }
            Numbers::Sums(_) => None,
        }
    }

    pub(super) fn number_anew<H: Host>(&mut self, call: Call<'_, Config>, out: &mut Lent<'_, H>) {
        match self {
            Numbers::All(all) => {
                all.number_anew(call.narrow(|config| &config.all), out);
            }
            Numbers::Sums(sums) => sums.number_anew(call.narrow(|config| &config.sums), out),
        }
    }

    pub(super) fn next_timeout(&self, config: &Config) -> Wake {
        match self {
            Numbers::All(all) => all.next_timeout(&config.all),
            Numbers::Sums(sums) => sums.next_timeout(&config.sums),
        }
    }

    pub(super) fn handle_timeout<H: Host>(&mut self, call: Call<'_, Config>, out: &mut Lent<'_, H>) {
        match self {
            Numbers::All(all) => all.handle_timeout(call.narrow(|config| &config.all), out),
            Numbers::Sums(sums) => sums.handle_timeout(call.narrow(|config| &config.sums), out),
        }
    }

    pub(super) fn for_each_handle(&self, f: &mut dyn FnMut(Handle)) {
        match self {
            Numbers::All(all) => all.for_each_handle(f),
            Numbers::Sums(sums) => sums.for_each_handle(f),
        }
    }
}

/// A list names each member as its handle does: nobody is called by another's slot or epoch.
pub(super) fn check_names(host: &impl Host, me: Me, message: &all::Message) -> Result<(), Fault> {
    let entries = match message {
        all::Message::Swap { entries, .. } | all::Message::Take { entries, .. } => entries,
        all::Message::Compare { .. } | all::Message::Same { .. } | all::Message::Have { .. } => return Ok(()),
    };
    let is_its = |entry: &Entry| {
        member_of(host, me, entry.handle).is_some_and(|member| {
            u64::from(member.slot) == entry.name.0 && member.epoch == entry.life.incarnation
        })
    };
    if entries.iter().all(is_its) { Ok(()) } else { Err(Fault::AnotherId) }
}

/// As [`Numbers::toward`], for one that is asked: only counted ranks are looked for on a way.
pub(super) fn counted(numbers: Option<&Numbers>, rank: u32) -> Result<sums::Toward, Fault> {
    numbers.and_then(|numbers| numbers.toward(rank)).ok_or(Fault::OtherKind)
}
