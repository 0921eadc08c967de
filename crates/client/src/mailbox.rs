//! The mailbox of a program: it sends to other members of its application and takes what they send, straight
//! from program to program. Its agent tells it where the others are, who has which rank, place or key
//! ([`To`]), and what shows that it is who it is.

mod address;
mod send;
mod stands;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use tokio::sync::Mutex;
use tokio::time::sleep;
use xtreem_allocation::Epoch;
use xtreem_messages::{
    Address, Answer, Directory, FindError, Found, Issued, Misaddressed, OpenError, RenewError, SlotKey,
};

pub use address::To;
pub use send::{Receipt, SendError};

use crate::api::{MailboxRequest, MemberReply, SlotCredential, SlotEvent, SlotPhase};
use crate::http::{Http, json};
use crate::{ClientError, Events, SlotClient};
use address::Addresses;

/// A port of this name in `app.toml` is that of the mailbox: for networks that let known ports through only.
const PORT_NAME: &str = "messages";

/// Before changes are asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// The program has no mailbox.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    #[error(transparent)]
    Agent(#[from] ClientError),
    #[error("the agent's answer is not understood: {0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The mailbox of this slot. What it does beside sending is [`xtreem_messages::Mailbox`]'s: `recv`, `accept`.
///
/// ```no_run
/// use xtreem_client::{SlotClient, To};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mailbox = SlotClient::from_env()?.mailbox().await?;
/// mailbox.send(3, "hello, slot 3").await?;
/// mailbox.send(To::rank("row", 0), "hello, rank 0").await?;
/// mailbox.send(To::place("plate", [1, 2]), "hello, you there").await?;
/// mailbox.send(To::key("store", "colours/sky"), "hello, owner").await?;
/// let message = mailbox.recv().await;
/// println!("{:?} of slot {}", message.body, message.from.slot);
/// # Ok(())
/// # }
/// ```
pub struct Mailbox {
    mailbox: xtreem_messages::Mailbox,
    addresses: Arc<Addresses>,
}

impl Deref for Mailbox {
    type Target = xtreem_messages::Mailbox;

    fn deref(&self) -> &xtreem_messages::Mailbox {
        &self.mailbox
    }
}

impl SlotClient {
    /// Opens this slot's mailbox, on the address of its node, and tells the agent where it is. Another one
    /// that the program opens later takes its place. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the agent does not answer, or keeps the mailbox of this slot itself.
    pub async fn mailbox(&self) -> Result<Mailbox, MailboxError> {
        let me = self.whoami().await?;
        let told = self.credential().await?;
        let seed = told.key.0.as_slice().try_into().map_err(|_| MailboxError::Malformed("no key"))?;
        let address: IpAddr = me.address.parse().map_err(|_| MailboxError::Malformed("no address"))?;
        let port = me.ports.get(PORT_NAME).copied().unwrap_or_default();
        let socket = bind(&SlotKey::from_seed(seed), address, port)?;
        let request = MailboxRequest { port: socket.address()?.port() };
        // The same again changes nothing.
        let answer = self.http.send(Method::PUT, "/v1/self/mailbox", json(&request)).await?;
        answer.json::<()>().await?;
        let issued = issued(told).ok_or(MailboxError::Malformed("no grounds"))?;
        let addresses = Arc::new(Addresses::new(self.http.clone()));
        let (client, told) = (self.clone(), addresses.clone());
        let agent = Agent { http: self.http.clone(), client, events: Mutex::default(), addresses: told };
        let mailbox = socket.open(issued, Arc::new(agent))?;
        Ok(Mailbox { mailbox, addresses })
    }
}

/// At the address that others use; where that is not this machine's own, at all of them.
fn bind(key: &SlotKey, address: IpAddr, port: u16) -> Result<xtreem_messages::Socket, OpenError> {
    match xtreem_messages::Mailbox::bind(key, address, port) {
        Err(OpenError::Socket(error)) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            let all = if address.is_ipv4() { [0; 4].into() } else { IpAddr::from([0; 16]) };
            xtreem_messages::Mailbox::bind(key, all, port)
        }
        bound => bound,
    }
}

fn issued(told: SlotCredential) -> Option<Issued> {
    let grounds = minicbor::decode(&told.grounds.0).ok()?;
    Some(Issued { credential: told.credential.0, grounds, now_unix_ms: told.now_unix_ms })
}

/// The agent of this slot, as its mailbox asks it.
struct Agent {
    http: Http,
    client: SlotClient,
    events: Mutex<Option<Events>>,
    /// What it hears of collections concerns them.
    addresses: Arc<Addresses>,
}

impl Agent {
    async fn member(&self, slot: u16) -> Result<Found, FindError> {
        let not_now = |why: String| FindError::NotNow { why };
        match self.http.get::<MemberReply>(&format!("/v1/self/members/{slot}")).await {
            Ok(reply) => {
                let address: Option<SocketAddr> = reply.mailbox.parse().ok();
                let found = epoch(&reply.epoch).zip(address);
                let found = found.ok_or_else(|| not_now("the agent's answer is not understood".to_owned()));
                found.map(|(epoch, address)| Found { epoch, address })
            }
            Err(error) if error.status() == Some(404) => {
                let slots = self.client.whoami().await.map(|me| me.application.slots);
                Err(FindError::Nobody { slot, slots: slots.unwrap_or_default() })
            }
            Err(error) if error.status() == Some(410) => Err(FindError::Ended { slot }),
            Err(error) => Err(not_now(error.to_string())),
        }
    }

    async fn next_epoch(&self) -> Result<Option<(u16, Epoch)>, ClientError> {
        let mut events = self.events.lock().await;
        let following = match &mut *events {
            Some(following) => following,
            None => {
                let following = self.client.events().await?;
                // What was not heard meanwhile may have changed any of them.
                self.addresses.forget_all();
                events.insert(following)
            }
        };
        match following.next().await {
            Ok(Some(SlotEvent::Slot(slot))) if slot.state != SlotPhase::Planned => {
                Ok(slot.epoch.and_then(|text| Some((slot.slot, epoch(&text)?))))
            }
            Ok(Some(SlotEvent::Collection(event))) => {
                self.addresses.forget_collection(&event.name);
                Ok(None)
            }
            Ok(Some(SlotEvent::Dropped(_))) => {
                self.addresses.forget_all();
                Ok(None)
            }
            Ok(Some(_)) => Ok(None),
            ended => {
                *events = None;
                ended?;
                sleep(AGAIN).await;
                Ok(None)
            }
        }
    }
}

impl Directory for Agent {
    fn find(&self, slot: u16) -> Answer<'_, Result<Found, FindError>> {
        Box::pin(self.member(slot))
    }

    fn renew(&self) -> Answer<'_, Result<Issued, RenewError>> {
        Box::pin(async {
            let not_now = |why: String| RenewError::NotNow { why };
            match self.client.credential().await {
                Ok(told) => issued(told).ok_or_else(|| not_now("no grounds".to_owned())),
                Err(error) if error.status() == Some(410) => Err(RenewError::Over),
                Err(error) => Err(not_now(error.to_string())),
            }
        })
    }

    fn check<'a>(&'a self, address: &'a Address) -> Answer<'a, Result<(), Misaddressed>> {
        Box::pin(self.addresses.own.check(address))
    }

    fn news(&self) -> Answer<'_, (u16, Epoch)> {
        Box::pin(async {
            loop {
                match self.next_epoch().await {
                    Ok(Some(news)) => return news,
                    Ok(None) => {}
                    Err(_) => sleep(AGAIN).await,
                }
            }
        })
    }
}

/// The epoch that a text of the local API stands for.
fn epoch(text: &str) -> Option<Epoch> {
    let mut parts = text.split('-');
    let counter = parts.next()?.parse().ok()?;
    let recruiter = parts.next()?.parse().ok()?;
    let incarnation = parts.next()?.parse().ok()?;
    let attempt = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(Epoch { counter, recruiter, incarnation, attempt })
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_base::NodeId;

    #[test]
    fn epochs_are_read_as_agents_write_them() {
        let text = "0000000012-d9106f4461137719df828bd315055bc8-0000000001-4294967295";
        let recruiter: NodeId = "d9106f4461137719df828bd315055bc8".parse().expect("an id");
        let expected = Epoch { counter: 12, recruiter, incarnation: 1, attempt: u32::MAX };
        assert_eq!(epoch(text), Some(expected));
        for wrong in ["", "12", "1-2-3-4", &format!("{text}-1"), &text.replace("4294967295", "4294967296")] {
            assert_eq!(epoch(wrong), None, "{wrong}");
        }
    }
}
