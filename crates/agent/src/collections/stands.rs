//! Whether a message by rank or place is for the slot to which it came.

use xtreem_allocation::SlotRun;
use xtreem_messages::{Address, By, Misaddressed, Numbering, Stands};
use xtreem_overlay::ranks::Epoch;

use super::Ended;
use crate::agent::Agent;

impl From<Ended> for Misaddressed {
    fn from(_: Ended) -> Self {
        Misaddressed::NoMember
    }
}

/// What the slot's collection of that name says.
pub(crate) async fn check(agent: &Agent, run: SlotRun, address: &Address) -> Result<(), Misaddressed> {
    if let By::Key { .. } = address.by {
        return Ok(());
    }
    let collections = agent.collections.of_run(run).ok_or(Misaddressed::NoMember)?;
    let joined = collections.get(&address.collection).await.ok_or(Misaddressed::NoMember)?;
    let known = joined.call(|driver| {
        let at = driver.core().place().map(|place| place.at);
        (driver.core().standing(driver.config()), at)
    });
    let (standing, at) = known.await?;
    let stands = standing.map(|standing| Stands {
        rank: standing.rank,
        numbering: numbering(&standing.epoch),
        at: at.as_deref(),
    });
    address.is_for(stands)
}

pub(crate) fn numbering(epoch: &Epoch) -> Numbering {
    Numbering { number: epoch.number, digest: epoch.digest }
}
