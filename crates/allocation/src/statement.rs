//! What a message brings that somebody signed: the driver verifies it before a core sees it.

use xtreem_base::NodeId;

use crate::policy::SignedPolicy;
use crate::{Application, Claim, Record};

/// Something in a message that its sender need not be believed.
#[derive(Clone, Copy, Debug)]
pub enum Statement<'a> {
    /// Its owner signed it, or an administrator. The owner's credential may have expired since.
    Record(&'a Record),
    /// The specification has the digest that the record names. The record is a statement of its own.
    Application(&'a Application),
    /// The node that [`Claim::signer`] names signed it, and is a member of the VO with the role of a node.
    /// Its credential may have expired since.
    Claim(Claim<'a>, &'a [u8]),
    /// The signature of the VO's root is good, and the digest is the document's.
    Policy(&'a SignedPolicy),
    /// This member signed it, is a node or an administrator, and did so just now: nobody repeats what was
    /// said long ago.
    Announcement(NodeId, &'a [u8]),
    /// This administrator signed just now that an item of the ring be written over.
    Overwrite { by: NodeId, at_unix: u64, what: &'a [u8], proof: &'a [u8] },
}
