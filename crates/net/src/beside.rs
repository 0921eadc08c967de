//! A command beside a slot (`xtreem_beside`), by the identities of nodes and users.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use xtreem_base::NodeId;
pub use xtreem_beside::{
    Authority, COMMAND_MAX_BYTES, DATA_MAX_BYTES, End, FrameError, FromCaller, FromHolder, Gone,
    INPUT_ROOM_BYTES, Lost, NONCE_BYTES, NotBegun, NotStarted, Offer, Piece, Refusal, Seal, SealedByCaller,
    SealedByHolder, Signer, WORDS_MAX, Wanted, Warrant, Window, begin, converse, read, sign_as_slot, write,
};

use crate::Identity;
use crate::tls::TlsError;

/// The holder's end, of the identity of a node.
pub fn seal(node: &Identity) -> Result<Seal, TlsError> {
    let leaf = node.leaf().ok_or_else(|| TlsError::NotANode { name: node.name().to_owned() })?;
    Ok(Seal::new(leaf.clone(), node.pkcs8().into())?)
}

/// Seals a stream to a node of the user's VO, and tells which node it is.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    user: &Identity,
    stream: S,
) -> io::Result<(SealedByCaller<S>, NodeId)> {
    xtreem_beside::open(user.ca(), stream).await
}

/// A signed warrant.
pub fn sign_warrant(signer: &Identity, warrant: &Warrant) -> Authority {
    xtreem_beside::sign_as_user(signer.key(), signer.credential(), warrant)
}

#[cfg(test)]
mod tests {
    mod seal;
    mod warrant;
}
