//! Writing over and removing what other nodes wrote, with an administrator's signature.

use xtreem_base::Duration;
use xtreem_client::api::{RingVersion, RingWrite};
use xtreem_client::{ClientError, OperatorClient};
use xtreem_net::sign_overwrite;
use xtreem_overlay::store::{Overwrite, Value, Version};
use xtreem_overlay::{Key, Namespace};

use super::now_unix;
use crate::exit::Failure;
use crate::user::Credential;

/// Copies and lease of a removal: the mark of it is kept so long where the item would have been.
const REMOVAL: (u8, u64) = (2, 86_400);

/// Puts `value` in the place of the version that lies there, or nothing; where nothing lies it is written as
/// anybody does. `write` may name the version, and has copies and lease unless it removes.
pub async fn overwrite(
    client: OperatorClient,
    key: &str,
    value: Option<Vec<u8>>,
    write: &RingWrite,
    user: &Credential,
) -> Result<RingVersion, Failure> {
    let identity = user.load()?;
    let seen = match &write.expected {
        Some(version) => Some(version.clone()),
        None => match client.ring_get(key).await {
            Ok(item) => Some(item.version),
            Err(ClientError::Refused { status: 404, .. }) => None,
            Err(error) => return Err(error.into()),
        },
    };
    let Some(seen) = seen.filter(|version| version != "none") else {
        let Some(value) = value else { return Ok(client.ring_remove(key, None).await?) };
        let write = RingWrite { expected: Some("none".to_owned()), ..write.clone() };
        return Ok(client.ring_put(key, value, &write).await?);
    };
    let (degree, lease_s) = (write.copies.unwrap_or(REMOVAL.0), write.lease_s.unwrap_or(REMOVAL.1));
    let what = Overwrite {
        value: value.as_deref().map(Value::new).transpose().map_err(Failure::usage)?,
        degree,
        // As the agent reads it.
        lease: Duration::from_secs(lease_s.min(u64::MAX / 1_000_000)),
        version: version(&seen)?,
    };
    let at = Key::new(Namespace::USER, key.as_bytes()).map_err(Failure::usage)?;
    let signed = sign_overwrite(&identity, now_unix(), &what.statement(&at));
    let signed = minicbor::to_vec(signed).unwrap_or_default();
    let write = RingWrite { copies: Some(degree), lease_s: Some(lease_s), expected: Some(seen) };
    Ok(client.ring_overwrite(key, value, &write, &signed).await?)
}

/// As agents tell it.
fn version(text: &str) -> Result<Version, Failure> {
    let parts = || {
        let (epoch, number) = text.split_once('.')?;
        Some(Version { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
    };
    parts().ok_or_else(|| Failure::usage(format!("--expected {text}: want a version as it was told (3.17)")))
}
