//! What is told to all nodes of a grid: signed by a node or an administrator, and good for a few minutes, so
//! that nobody can repeat it later.

use minicbor::{Decode, Encode};
use thiserror::Error;
use xtreem_wire::{Domain, Member, ProofError, Roles, VoRoot, prove, verify_proof};

use crate::Identity;

/// Longest body. With its proof it fits a value of the ring.
pub const ANNOUNCEMENT_MAX_BYTES: usize = 60 << 10;
/// Before and after the moment of signing: a broadcast is remembered for two minutes, so that one that is
/// repeated within that time is the same one.
const VALID_SECONDS: u64 = 120;

/// What was announced, by whom and when.
#[derive(Clone, Debug)]
pub struct Announcement {
    pub by: Member,
    /// Unix seconds.
    pub at_unix: u64,
    pub body: Vec<u8>,
}

/// Why an announcement is not passed on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AnnouncementFault {
    #[error("an announcement that is malformed")]
    Malformed,
    #[error("proof: {0}")]
    Proof(#[from] ProofError),
    #[error(
        "only nodes and administrators of the VO announce to all nodes: use one made with `--role admin`"
    )]
    NotAllowed,
    #[error("signed {0} s away from now: announce it again, with a clock that is right")]
    Stale(u64),
    #[error("{0} bytes: an announcement has {ANNOUNCEMENT_MAX_BYTES} at most")]
    TooLong(usize),
}

/// As it travels.
#[derive(Encode, Decode)]
struct Told {
    #[n(0)]
    at_unix: u64,
    #[cbor(n(1), with = "minicbor::bytes")]
    body: Vec<u8>,
    #[cbor(n(2), with = "minicbor::bytes")]
    proof: Vec<u8>,
}

fn statement(at_unix: u64, body: &[u8]) -> Vec<u8> {
    [&at_unix.to_be_bytes(), body].concat()
}

/// Signs `body` as said at `at_unix` (seconds).
///
/// # Errors
/// It is too long.
pub fn sign_announcement(signer: &Identity, at_unix: u64, body: &[u8]) -> Result<Vec<u8>, AnnouncementFault> {
    if body.len() > ANNOUNCEMENT_MAX_BYTES {
        return Err(AnnouncementFault::TooLong(body.len()));
    }
    let signed = statement(at_unix, body);
    let proof = prove(signer.key(), signer.credential(), Domain::Announcement, &signed);
    // Writing to a Vec cannot fail.
    Ok(minicbor::to_vec(Told { at_unix, body: body.to_vec(), proof }).unwrap_or_default())
}

/// Reads and checks an announcement at `now_unix` (seconds).
///
/// # Errors
/// See [`AnnouncementFault`].
pub fn verify_announcement(
    root: &VoRoot,
    now_unix: u64,
    content: &[u8],
) -> Result<Announcement, AnnouncementFault> {
    let Told { at_unix, body, proof } =
        minicbor::decode(content).map_err(|_| AnnouncementFault::Malformed)?;
    if body.len() > ANNOUNCEMENT_MAX_BYTES {
        return Err(AnnouncementFault::TooLong(body.len()));
    }
    let away = now_unix.abs_diff(at_unix);
    if away > VALID_SECONDS {
        return Err(AnnouncementFault::Stale(away));
    }
    let by = verify_proof(root, Domain::Announcement, &statement(at_unix, &body), &proof)?;
    by.check_time(now_unix).map_err(ProofError::from)?;
    if !by.roles().has(Roles::ADMIN) && !by.roles().has(Roles::NODE) {
        return Err(AnnouncementFault::NotAllowed);
    }
    Ok(Announcement { by, at_unix, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VoKey;
    use crate::identity::unix_now;

    #[test]
    fn nodes_and_administrators_announce_for_two_minutes_and_nobody_else() {
        let (vo, other) = (VoKey::create("test").expect("a VO"), VoKey::create("other").expect("a VO"));
        let user = |name, roles| vo.issue_user(name, roles, 1).expect("an identity");
        let (alice, admin) = (user("alice", Roles::SUBMIT), user("root", Roles::ADMIN));
        let (node, now) = (vo.issue_node("n", 1).expect("an identity"), unix_now());
        let judge = |signer: &Identity, vo: &VoKey, now| {
            let content = sign_announcement(signer, unix_now(), b"all hands").expect("short");
            verify_announcement(&vo.root(), now, &content).map(|told| (told.by.id(), told.body))
        };
        assert_eq!(judge(&admin, &vo, now), Ok((admin.id(), b"all hands".to_vec())));
        assert_eq!(judge(&node, &vo, now).map(|(id, _)| id), Ok(node.id()));
        assert_eq!(judge(&alice, &vo, now), Err(AnnouncementFault::NotAllowed));
        assert!(matches!(judge(&admin, &other, now), Err(AnnouncementFault::Proof(_))));
        assert!(matches!(judge(&admin, &vo, now + 200), Err(AnnouncementFault::Stale(_))));
        assert_eq!(
            sign_announcement(&admin, now, &vec![0; ANNOUNCEMENT_MAX_BYTES + 1]).map_err(|it| it.to_string()),
            Err("61441 bytes: an announcement has 61440 at most".to_owned())
        );
    }

    #[test]
    fn a_changed_announcement_is_nobodys() {
        let vo = VoKey::create("test").expect("a VO");
        let (node, now) = (vo.issue_node("n", 1).expect("an identity"), unix_now());
        let content = sign_announcement(&node, now, b"all hands").expect("short");
        let at = content.windows(3).position(|part| part == b"all").expect("it says so");
        let mut changed = content.clone();
        changed[at] = b'A';
        let fault = AnnouncementFault::Proof(ProofError::BadSignature);
        assert_eq!(verify_announcement(&vo.root(), now, &changed).map(drop), Err(fault));
        for end in 0..content.len() {
            assert!(verify_announcement(&vo.root(), now, &content[..end]).is_err());
        }
    }
}
