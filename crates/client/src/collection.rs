//! The structured collections of an application, as its programs use them.
//!
//! A collection is declared in `app.toml` (`[collections.NAME]`), or joined at run time with
//! [`SlotClient::join`]. [`SlotClient::ranks`], [`mesh`](SlotClient::mesh), [`ring`](SlotClient::ring),
//! [`chord`](SlotClient::chord), [`farm`](SlotClient::farm) and [`nearest`](SlotClient::nearest) open one by
//! its name. What all kinds have in common is [`Collection`]'s, to which each of them leads. Nothing is kept
//! here but the name: every call asks the agent. `docs/use/structures.md` tells which kind is for what.

mod farm;
mod keys;
mod mesh;
mod nearest;
mod ranks;
mod work;

use std::fmt::Display;
use std::time::Duration;

use hyper::Method;
use serde::de::DeserializeOwned;

pub use farm::Farm;
pub use keys::{Chord, Keys, Ring, Scan};
pub use mesh::Mesh;
pub use nearest::Nearest;
pub use ranks::Ranks;
pub use work::WHY_MAX_BYTES;

use crate::api::{CollectionChange, CollectionList, CollectionReply, CollectionSpec, SlotEvent};
use crate::http::{Asked, Body, Http, empty, escaped, json};
use crate::{ClientError, Events, SlotClient};

/// Longest time for which one request waits; who waits longer asks again. An answer has a minute.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Before something that failed for the moment is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A collection of any kind, as its member sees it.
#[derive(Clone, Debug)]
pub struct Collection {
    client: SlotClient,
    name: String,
}

impl SlotClient {
    /// All collections that this member is in.
    pub async fn collections(&self) -> Result<Vec<CollectionReply>, ClientError> {
        self.http.get("/v1/self/collections").await.map(|CollectionList { collections }| collections)
    }

    /// Enters a collection that `app.toml` does not declare. Members that name the same and say the same of
    /// it meet. It is no error when this member is in it already.
    ///
    /// # Errors
    /// Status 409 when it is in one of that name of which it said something else.
    pub async fn join(&self, name: &str, spec: &CollectionSpec) -> Result<CollectionReply, ClientError> {
        let path = format!("/v1/self/collections/{}", escaped(name));
        self.http.send(Method::PUT, &path, json(spec)).await?.json().await
    }

    /// The collection of this name, whatever its kind.
    pub async fn collection(&self, name: &str) -> Result<Collection, ClientError> {
        let collection = Collection { client: self.clone(), name: name.to_owned() };
        collection.show().await?;
        Ok(collection)
    }

    async fn opened(&self, name: &str, wanted: &'static str) -> Result<Collection, ClientError> {
        let collection = Collection { client: self.clone(), name: name.to_owned() };
        let kind = collection.show().await?.spec.kind();
        if kind == wanted || (kind, wanted) == ("mesh", "ranks") {
            return Ok(collection);
        }
        Err(ClientError::WrongKind { name: name.to_owned(), kind, wanted })
    }
}

impl Collection {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The collection as this member sees it now.
    pub async fn show(&self) -> Result<CollectionReply, ClientError> {
        self.http().get(self.asked("").as_ref()).await
    }

    /// What changes of it for this member, from now on.
    pub async fn changes(&self) -> Result<Changes, ClientError> {
        Ok(Changes { events: self.client.events().await?, name: self.name.clone() })
    }

    /// Leaves the collection.
    pub async fn leave(self) -> Result<(), ClientError> {
        self.http().send(Method::DELETE, self.asked("").as_ref(), empty()).await.map(drop)
    }

    fn http(&self) -> &Http {
        &self.client.http
    }

    /// A path of this collection: `what` is empty or begins with `/`.
    fn asked(&self, what: impl Display) -> Asked {
        Asked::of(format!("/v1/self/collections/{}{what}", escaped(&self.name)))
    }

    async fn get<T: DeserializeOwned>(&self, asked: Asked) -> Result<T, ClientError> {
        self.http().get(asked.as_ref()).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        asked: Asked,
        body: Body,
    ) -> Result<T, ClientError> {
        self.http().send(method, asked.as_ref(), body).await?.json().await
    }
}

/// The changes of one collection. Dropping it ends the connection.
pub struct Changes {
    events: Events,
    name: String,
}

impl Changes {
    /// The next change; `None` when the agent ends the stream. Who reads too slowly is told of a change of
    /// the standing, whatever it missed.
    ///
    /// # Errors
    /// When the connection breaks or an event is not understood.
    pub async fn next(&mut self) -> Result<Option<CollectionChange>, ClientError> {
        while let Some(event) = self.events.next().await? {
            match event {
                SlotEvent::Collection(event) if event.name == self.name => return Ok(Some(event.change)),
                // Some of this collection may be among them.
                SlotEvent::Dropped(_) => return Ok(Some(CollectionChange::Standing)),
                _ => {}
            }
        }
        Ok(None)
    }
}
