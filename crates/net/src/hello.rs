//! The first exchange on every connection: both sides say which incarnation they are, where, and what time
//! they have. TLS has already proven the keys.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use minicbor::{Decode, Encode};
use quinn::{Connection, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use tokio::time::timeout;
use xtreem_base::NodeId;
use xtreem_wire::{Contact, CredentialError};

use crate::counters::Count;
use crate::identity::{date_at, unix_now};
use crate::plane::{NotVouched, Peer, vouch};
use crate::stranger::WHAT_TO_DO;
use crate::tls::ed25519_key_of;
use crate::{Identity, Service};

/// Longest hello: a credential, a record, a stamp and their heads.
const HELLO_MAX_BYTES: usize = 384;
/// How long whoever cannot be met may take to hear so: less than a meeting may.
const HEARD_MAX: Duration = Duration::from_millis(500);

/// What a node says of itself.
#[derive(Debug, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Hello {
    #[cbor(n(0), with = "minicbor::bytes")]
    credential: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    record: Vec<u8>,
    /// Wall clock, unix milliseconds.
    #[n(2)]
    stamp_ms: u64,
    /// Drawn at random at each start: tells this run from another machine with the same key.
    #[n(3)]
    run: u64,
}

fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Why two nodes did not meet.
#[derive(Debug, Error)]
pub enum MeetError {
    #[error("no connection: {0}")]
    Connect(#[from] quinn::ConnectError),
    #[error("connection failed: {0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("no answer in time")]
    Timeout,
    #[error(
        "this node listens at {own}, which is {}, and that address is {}: `bind` and `join` have to be of one family",
        family(.own), family(.there)
    )]
    Families { own: IpAddr, there: IpAddr },
    #[error("the peer hung up during the hello")]
    Hello,
    #[error("the peer's hello is malformed")]
    Malformed,
    #[error("the peer is not believed: {0}")]
    NotVouched(#[from] NotVouched),
    #[error("the peer's certificate and credential are of different keys")]
    TwoKeys,
    #[error("another node, or another incarnation, answers at this address")]
    SomebodyElse,
    #[error("this is our own address")]
    Oneself,
    #[error("another machine answers with this node's own key, at {} as incarnation {}", .0.addr, .0.incarnation)]
    Namesake(Contact),
    #[error("the credential of the node there {}", when(*.0, unix_now()))]
    OutOfDate(CredentialError),
    #[error("the node there belongs to another VO, {theirs}; this one to {own}. {WHAT_TO_DO}")]
    AnotherVo { theirs: String, own: NodeId },
}

/// When a credential counts, in words.
fn when(why: CredentialError, now: u64) -> String {
    let (words, end) = match why {
        CredentialError::Expired { not_after } => {
            (format!("expired on {}", date_at(not_after, now)), not_after)
        }
        CredentialError::NotYetValid { not_before } => {
            (format!("is valid from {} only", date_at(not_before, now)), not_before)
        }
        other => return format!("does not hold: {other}"),
    };
    format!("{words}, and it is {} by this machine's clock", date_at(now, end))
}

impl MeetError {
    pub(crate) fn count(&self) -> Count {
        match self {
            // The peer's certificate did not please us, or ours did not please the peer.
            MeetError::Connection(quinn::ConnectionError::TransportError(_)) => Count::Stranger,
            MeetError::AnotherVo { .. } => Count::Stranger,
            MeetError::Malformed => Count::Malformed,
            MeetError::OutOfDate(_) => Count::Expired,
            MeetError::NotVouched(why) => why.count(),
            MeetError::TwoKeys => Count::Forged,
            MeetError::SomebodyElse | MeetError::Oneself | MeetError::Namesake(_) => Count::Misaddressed,
            MeetError::Connect(_)
            | MeetError::Connection(_)
            | MeetError::Timeout
            | MeetError::Families { .. }
            | MeetError::Hello => Count::Unreachable,
        }
    }
}

/// Two nodes have met.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub peer: Arc<Peer>,
    /// The peer's wall clock and ours at about the same time, unix milliseconds.
    pub stamp_ms: u64,
    pub wall_ms: u64,
}

/// What we say in every hello, but for the time.
pub(crate) struct Manners {
    pub identity: Identity,
    /// Signed; it changes with the node's address.
    pub record: Mutex<Vec<u8>>,
    /// Of this start, at random.
    pub run: u64,
}

impl Manners {
    /// The dialler speaks first. A node that reaches itself, or another machine with its key, says hello as
    /// to anybody: only so the two can be told apart.
    pub(crate) async fn greet(&self, connection: &Connection) -> Result<Met, MeetError> {
        let (send, receive) = connection.open_bi().await?;
        self.say(send, &[Service::HELLO.0]).await?;
        let heard = self.hear(connection, receive).await?;
        self.judge(heard)
    }

    pub(crate) async fn answer(&self, connection: &Connection) -> Result<Met, MeetError> {
        let (send, mut receive) = connection.accept_bi().await?;
        let mut service = [0];
        receive.read_exact(&mut service).await.map_err(|_| MeetError::Hello)?;
        if service != [Service::HELLO.0] {
            return Err(MeetError::Malformed);
        }
        let heard = self.hear(connection, receive).await?;
        let said = self.say(send, &[]).await?;
        let met = self.judge(heard);
        if met.is_err() {
            // The connection ends with this. Whoever dialled has to hear first that it reached itself.
            let _ = timeout(HEARD_MAX, said.stopped()).await;
        }
        met
    }

    /// Who it was that has proven its key.
    fn judge(&self, (met, run): (Met, u64)) -> Result<Met, MeetError> {
        if met.peer.member.id() != self.identity.id() {
            Ok(met)
        } else if run == self.run {
            Err(MeetError::Oneself)
        } else {
            Err(MeetError::Namesake(met.peer.contact()))
        }
    }

    async fn say(&self, mut send: SendStream, head: &[u8]) -> Result<SendStream, MeetError> {
        let hello = Hello {
            credential: self.identity.credential().to_vec(),
            record: self.record.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            stamp_ms: wall_ms(),
            run: self.run,
        };
        // Writing to a Vec cannot fail.
        let body = minicbor::to_vec(hello).expect("a Vec takes all bytes");
        send.write_all(&[head, &body].concat()).await.map_err(|_| MeetError::Hello)?;
        send.finish().map_err(|_| MeetError::Hello)?;
        Ok(send)
    }

    async fn hear(&self, connection: &Connection, mut receive: RecvStream) -> Result<(Met, u64), MeetError> {
        let bytes = receive.read_to_end(HELLO_MAX_BYTES).await.map_err(|error| match error {
            quinn::ReadToEndError::TooLong => MeetError::Malformed,
            quinn::ReadToEndError::Read(_) => MeetError::Hello,
        })?;
        let wall_ms = wall_ms();
        let hello: Hello = minicbor::decode(&bytes).map_err(|_| MeetError::Malformed)?;
        let peer = vouch(&self.identity, &hello.credential, &hello.record, wall_ms / 1_000)?;
        if tls_key(connection) != Some(peer.member.key().to_bytes()) {
            return Err(MeetError::TwoKeys);
        }
        Ok((Met { peer: Arc::new(peer), stamp_ms: hello.stamp_ms, wall_ms }, hello.run))
    }
}

/// The key that the peer proved in the handshake.
fn tls_key(connection: &Connection) -> Option<[u8; 32]> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    ed25519_key_of(chain.first()?)
}

/// Unix milliseconds; zero when the machine's clock stands before 1970.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
