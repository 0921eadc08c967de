//! The first exchange on each connection: both sides show their credentials on its first stream, and later
//! their renewed ones.

use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::time::timeout;
use xtreem_trust::{SLOT_CREDENTIAL_MAX_BYTES, SlotHolder, SlotRefusal};

use crate::limits::MEET_MAX;
use crate::standing::Standing;
use crate::tls::key_of;

/// What a stream is for: its first byte, by who opened it.
pub(crate) const HELLO: u8 = 0;
pub(crate) const MESSAGES: u8 = 1;
pub(crate) const STREAM: u8 = 2;

/// Why a connection was closed; the reason says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Close {
    /// Nothing is to be said any more.
    Done = 0,
    /// A credential was refused.
    Refused = 1,
    /// A higher epoch of the slot is known.
    Older = 2,
    /// There is no room.
    Full = 3,
    /// The other side broke the protocol.
    Fault = 4,
    /// The other side acknowledges nothing.
    Stalled = 5,
}

impl Close {
    pub fn end(self, connection: &Connection, why: &str) {
        let reason = &why.as_bytes()[..why.len().min(256)];
        connection.close(VarInt::from_u32(self as u32), reason);
    }
}

/// Two members that know each other now.
pub(crate) struct Met {
    pub connection: Connection,
    pub peer: SlotHolder,
    /// The stream for renewed credentials.
    pub send: SendStream,
    pub receive: RecvStream,
}

/// Why two members did not meet.
#[derive(Debug)]
pub(crate) struct NotMet {
    /// The other side knows a higher epoch of the own slot.
    pub is_older: bool,
    pub why: String,
}

impl NotMet {
    pub fn of(why: impl ToString) -> NotMet {
        NotMet { is_older: false, why: why.to_string() }
    }
}

/// Says who we are, and hears who is there: it has to be the holder of `slot`.
pub(crate) async fn greet(standing: &Standing, connection: Connection, slot: u16) -> Result<Met, NotMet> {
    let exchange = async {
        let (mut send, mut receive) = connection.open_bi().await.map_err(lost(&connection))?;
        send.write_all(&[HELLO]).await.map_err(lost(&connection))?;
        write(&mut send, &standing.credential()).await.map_err(lost(&connection))?;
        let shown = read(&mut receive).await.map_err(lost(&connection))?;
        let peer = admit(standing, &connection, &shown).await?;
        if peer.slot != slot {
            let why = format!("slot {} is there, not slot {slot}", peer.slot);
            Close::Done.end(&connection, &why);
            return Err(NotMet::of(why));
        }
        Ok((peer, send, receive))
    };
    let (peer, send, receive) = in_time(&connection, exchange).await?;
    Ok(Met { connection, peer, send, receive })
}

/// Hears who is there, and says who we are.
pub(crate) async fn receive(standing: &Standing, connection: Connection) -> Result<Met, NotMet> {
    let exchange = async {
        let (mut send, mut receive) = connection.accept_bi().await.map_err(lost(&connection))?;
        let mut kind = [0];
        receive.read_exact(&mut kind).await.map_err(lost(&connection))?;
        if kind != [HELLO] {
            Close::Fault.end(&connection, "the first stream is no hello");
            return Err(NotMet::of("the first stream is no hello"));
        }
        let shown = read(&mut receive).await.map_err(lost(&connection))?;
        let peer = admit(standing, &connection, &shown).await?;
        write(&mut send, &standing.credential()).await.map_err(lost(&connection))?;
        Ok((peer, send, receive))
    };
    let (peer, send, receive) = in_time(&connection, exchange).await?;
    Ok(Met { connection, peer, send, receive })
}

async fn in_time<T>(
    connection: &Connection,
    exchange: impl Future<Output = Result<T, NotMet>>,
) -> Result<T, NotMet> {
    timeout(MEET_MAX, exchange).await.unwrap_or_else(|_| {
        Close::Fault.end(connection, "no credential in time");
        Err(NotMet::of("no credential in time"))
    })
}

/// Judges what the peer shows, whose key TLS has proven. A refusal ends the connection, with its name.
async fn admit(standing: &Standing, connection: &Connection, shown: &[u8]) -> Result<SlotHolder, NotMet> {
    let refuse = |close: Close, why: String| {
        close.end(connection, &why);
        Err(NotMet::of(why))
    };
    match standing.judge(shown).await {
        Ok(peer) if key_of(connection) == Some(peer.key) => Ok(peer),
        Ok(_) => refuse(Close::Refused, "the credential names another key than the certificate".to_owned()),
        Err(refusal @ SlotRefusal::OlderEpoch { .. }) => refuse(Close::Older, refusal.to_string()),
        Err(refusal) => refuse(Close::Refused, refusal.to_string()),
    }
}

/// What ended an exchange: the other side's own words where it closed the connection.
fn lost<E: ToString>(connection: &Connection) -> impl Fn(E) -> NotMet + '_ {
    |error| match connection.close_reason() {
        Some(quinn::ConnectionError::ApplicationClosed(closed)) => NotMet {
            is_older: closed.error_code == VarInt::from_u32(Close::Older as u32),
            why: format!("refused there: {}", String::from_utf8_lossy(&closed.reason)),
        },
        Some(other) => NotMet::of(other),
        None => NotMet::of(error.to_string()),
    }
}

pub(crate) async fn write(send: &mut SendStream, credential: &[u8]) -> Result<(), quinn::WriteError> {
    let mut framed = (credential.len() as u32).to_be_bytes().to_vec();
    framed.extend_from_slice(credential);
    send.write_all(&framed).await
}

pub(crate) async fn read(receive: &mut RecvStream) -> Result<Vec<u8>, String> {
    let mut len = [0; 4];
    receive.read_exact(&mut len).await.map_err(|error| error.to_string())?;
    let len = u32::from_be_bytes(len) as usize;
    if len > SLOT_CREDENTIAL_MAX_BYTES {
        return Err(SlotRefusal::TooLong { len }.to_string());
    }
    let mut shown = vec![0; len];
    receive.read_exact(&mut shown).await.map_err(|error| error.to_string())?;
    Ok(shown)
}
