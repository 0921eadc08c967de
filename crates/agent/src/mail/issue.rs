//! The credential of a slot that runs here.

use std::time::SystemTime;

use xtreem_allocation::{Held, SlotRun};
use xtreem_messages::{Issued, RenewError};
use xtreem_trust::{Grounds, SlotClaims, VALID_SECONDS, sign_slot};

use crate::agent::Agent;

/// Signs that this key speaks for the slot, for two minutes from now on; not when the slot is here no more.
pub(crate) async fn issue(agent: &Agent, run: SlotRun, key: [u8; 32]) -> Result<Issued, RenewError> {
    let held = agent.node(move |node, _, _| node.held(run)).await;
    let held = held.map_err(|error| RenewError::NotNow { why: error.to_string() })?;
    let held = held.ok_or(RenewError::Over)?;
    let (identity, now_unix_ms) = (agent.net.identity(), now_unix_ms(agent.net.clock_correction_ms()));
    let now = now_unix_ms / 1_000;
    let claims = SlotClaims {
        vo: identity.root().id(),
        app: run.app,
        slot: run.slot,
        epoch: run.epoch,
        key,
        not_before: now,
        not_after: now + VALID_SECONDS,
    };
    let credential = sign_slot(identity.key(), identity.credential(), &claims, &held.evidence);
    Ok(Issued { credential, grounds: grounds(agent, run, held), now_unix_ms })
}

/// What others of the application are judged by, as this node knows it.
pub(crate) fn grounds(agent: &Agent, run: SlotRun, held: Held) -> Grounds {
    let Held { record, believed, epochs, .. } = held;
    let root = agent.net.identity().root().key().to_bytes();
    Grounds { root, app: run.app, slots: record.slots, submitter: record.submitter, believed, epochs }
}

/// The clock by which members judge each other: the machine's, corrected by what its peers have.
pub(crate) fn now_unix_ms(correction_ms: i64) -> u64 {
    let machine = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let machine = machine.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    machine.saturating_add_signed(correction_ms)
}
