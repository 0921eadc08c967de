//! Records that a user signs: new applications, and the word that stops one.

use std::sync::Arc;

use xtreem_allocation::{Application, Record, Wanted};
use xtreem_base::{AppId, Digest};
use xtreem_client::api::RecordView;
use xtreem_net::Identity;
use xtreem_wire::{Domain, prove};

use crate::app_file::AppFile;
use crate::exit::{Exit, Failure};

/// A new application with a fresh id, signed by `user`.
pub fn application(app: &AppFile, user: &Identity) -> Result<Application, Failure> {
    let spec = app.spec().map_err(Failure::usage)?;
    let encoded = encoded(&spec)?;
    let record = Record {
        id: fresh_id()?,
        owner: user.id(),
        name: app.name.clone(),
        spec_digest: Digest::from_bytes(*blake3::hash(&encoded).as_bytes()),
        slots: app.nodes,
        generation: 1,
        wanted: Wanted::Running,
        proof: Arc::from([]),
    };
    Ok(Application { record: signed(record, user)?, spec: Arc::new(spec) })
}

/// The record that stops the application of `current` for good.
pub fn stopped(current: &RecordView, user: &Identity) -> Result<Record, Failure> {
    let wrong = |what: &str| Failure::new(Exit::Failed, format!("the agent's answer has a wrong {what}"));
    let record = Record {
        id: current.id.parse().map_err(|_| wrong("application id"))?,
        owner: current.owner.parse().map_err(|_| wrong("owner"))?,
        name: current.name.clone(),
        spec_digest: current.spec_digest.parse().map_err(|_| wrong("digest"))?,
        slots: current.slots,
        generation: current.generation.saturating_add(1),
        wanted: Wanted::Stopped,
        proof: Arc::from([]),
    };
    signed(record, user)
}

/// CBOR of a value.
pub fn encoded<T: minicbor::Encode<()>>(value: &T) -> Result<Vec<u8>, Failure> {
    minicbor::to_vec(value).map_err(|e| Failure::new(Exit::Failed, format!("cannot be encoded: {e}")))
}

/// Signs what a record says: its encoding with an empty proof.
fn signed(record: Record, user: &Identity) -> Result<Record, Failure> {
    let statement = encoded(&Record { proof: Arc::from([]), ..record.clone() })?;
    let proof = prove(user.key(), user.credential(), Domain::Application, &statement);
    Ok(Record { proof: proof.into(), ..record })
}

fn fresh_id() -> Result<AppId, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::new(Exit::Failed, format!("the system gives no random bytes: {e}")))?;
    Ok(AppId::from_bytes(bytes))
}
