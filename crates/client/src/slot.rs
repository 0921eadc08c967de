//! The application's side of the local API: a program asks its agent who it is and who the others are.

use std::env;
use std::path::PathBuf;

use hyper::Method;

use crate::api::{Peer, Peers, SlotApplication, SlotCredential, SlotSelf};
use crate::http::{Http, empty};
use crate::{ClientError, Events};

/// The program was not started by an agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is not set: this program was not started by an xtreem agent")]
pub struct NotInSlot {
    pub variable: &'static str,
}

/// Speaks to the agent for one slot of an application. Cheap to clone; every call is a connection of its own.
#[derive(Clone, Debug)]
pub struct SlotClient {
    pub(crate) http: Http,
}

impl SlotClient {
    /// Finds the agent by the environment that it gave to this program.
    pub fn from_env() -> Result<Self, NotInSlot> {
        let variable = |variable| env::var(variable).map_err(|_| NotInSlot { variable });
        Ok(SlotClient::new(variable("XTREEM_SOCKET")?, variable("XTREEM_TOKEN")?))
    }

    pub fn new(socket: impl Into<PathBuf>, token: String) -> Self {
        SlotClient { http: Http::new(socket, Some(token)) }
    }

    /// Application, slot, epoch and addresses of this program.
    pub async fn whoami(&self) -> Result<SlotSelf, ClientError> {
        self.http.get("/v1/self").await
    }

    /// The key of this run of the slot, and what shows whose it is; good for two minutes.
    pub async fn credential(&self) -> Result<SlotCredential, ClientError> {
        self.http.get("/v1/self/credential").await
    }

    /// At most `count` other members of the application, drawn at random from the application-wide
    /// collection.
    pub async fn peers(&self, count: u16) -> Result<Vec<Peer>, ClientError> {
        self.http.get(&format!("/v1/self/peers?count={count}")).await.map(|Peers { peers, .. }| peers)
    }

    /// The application as this node knows it.
    pub async fn application(&self) -> Result<SlotApplication, ClientError> {
        self.http.get("/v1/self/application").await
    }

    /// Membership changes from now on.
    pub async fn events(&self) -> Result<Events, ClientError> {
        self.http.send(Method::GET, "/v1/self/events", empty()).await.map(Events::new)
    }
}
