//! Keys and values that lie at the members of a collection.

use std::collections::VecDeque;
use std::ops::Deref;

use hyper::Method;

use super::Collection;
use crate::api::{
    Blob, KeyOwner, LoadItem, LoadReply, LoadRequest, RingItem, RingItems, RingVersion, RingWrite,
};
use crate::http::{bytes, empty, json};
use crate::{ClientError, SlotClient};

/// What rings and Chords have in common: items under keys, and the members that own them.
#[derive(Clone, Debug)]
pub struct Keys(Collection);

/// Keys in their order, spread over the members by load. It has all that [`Keys`] has.
///
/// With `[collections.store]` and `kind = "ring"` in `app.toml`:
/// ```no_run
/// use xtreem_client::SlotClient;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SlotClient::from_env()?.ring("store").await?;
/// store.put("colours/sky", "blue").await?;
/// if let Some(item) = store.get("colours/sky").await? {
///     println!("{}, written by slot {}", String::from_utf8_lossy(&item.value.0), item.writer);
/// }
/// let mut colours = store.scan("colours/");
/// while let Some(item) = colours.next().await? {
///     println!("{} has {} bytes", item.key, item.value.0.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Ring(Keys);

/// Keys by their hash, and members at random places. It has all that [`Keys`] has; keys have no order.
///
/// With `[collections.pages]` and `kind = "chord"` in `app.toml`:
/// ```no_run
/// use xtreem_client::SlotClient;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pages = SlotClient::from_env()?.chord("pages").await?;
/// pages.put("/index.html", "<h1>hello</h1>").await?;
/// println!("slot {} owns it", pages.owner("/index.html").await?.slot);
/// pages.remove("/index.html").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Chord(Keys);

impl SlotClient {
    /// Opens a collection of kind `ring`.
    pub async fn ring(&self, name: &str) -> Result<Ring, ClientError> {
        self.opened(name, "ring").await.map(|collection| Ring(Keys(collection)))
    }

    /// Opens a collection of kind `chord`.
    pub async fn chord(&self, name: &str) -> Result<Chord, ClientError> {
        self.opened(name, "chord").await.map(|collection| Chord(Keys(collection)))
    }
}

impl Deref for Keys {
    type Target = Collection;

    fn deref(&self) -> &Collection {
        &self.0
    }
}

impl Deref for Ring {
    type Target = Keys;

    fn deref(&self) -> &Keys {
        &self.0
    }
}

impl Deref for Chord {
    type Target = Keys;

    fn deref(&self) -> &Keys {
        &self.0
    }
}

impl Keys {
    /// Writes a value; once this returns, it lies at its owner and at as many others as it has copies.
    ///
    /// # Errors
    /// Status 409 when another slot wrote that key: it belongs to that slot (or its replacement) until it is
    /// removed or its lease ends.
    pub async fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<RingVersion, ClientError> {
        self.put_with(key, value, &RingWrite::default()).await
    }

    /// The same with a number of copies and a lease of its own, or only if a certain version lies there.
    pub async fn put_with(
        &self,
        key: &str,
        value: impl Into<Vec<u8>>,
        write: &RingWrite,
    ) -> Result<RingVersion, ClientError> {
        let asked = self.asked("/items").and("key", key);
        let asked = asked.maybe("copies", write.copies).maybe("lease_s", write.lease_s);
        let asked = asked.maybe("expected", write.expected.as_ref());
        self.send(Method::PUT, asked, bytes(value.into())).await
    }

    /// What lies under a key; `None` when nothing does.
    pub async fn get(&self, key: &str) -> Result<Option<RingItem>, ClientError> {
        match self.0.get(self.asked("/items").and("key", key)).await {
            Ok(item) => Ok(Some(item)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what lies under a key.
    pub async fn remove(&self, key: &str) -> Result<RingVersion, ClientError> {
        self.remove_version(key, None).await
    }

    /// The same only if a certain version lies there.
    pub async fn remove_version(
        &self,
        key: &str,
        expected: Option<&str>,
    ) -> Result<RingVersion, ClientError> {
        let asked = self.asked("/items").and("key", key).maybe("expected", expected);
        self.send(Method::DELETE, asked, empty()).await
    }

    /// Tells all members something, 16 KiB at most: each gets it once, this one too, as
    /// [`SlotEvent::Told`](crate::api::SlotEvent::Told). Who is not there when it is told misses it.
    pub async fn broadcast(&self, body: impl Into<bytes::Bytes>) -> Result<(), ClientError> {
        self.send(Method::POST, self.asked("/broadcast"), crate::http::bytes(body.into().to_vec())).await
    }

    /// Writes many items at once, [`LOAD_ITEMS_MAX`](crate::api::LOAD_ITEMS_MAX) at most: much faster than
    /// one by one. What it returns names those that were not written, or of which nobody can say it.
    ///
    /// ```no_run
    /// use xtreem_client::SlotClient;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = SlotClient::from_env()?.ring("store").await?;
    /// let square = |number: u32| (format!("square/{number:04}"), (number * number).to_string());
    /// let squares = (0..1_000).map(square);
    /// let loaded = store.load(squares).await?;
    /// println!("{} are written", loaded.written);
    /// for item in loaded.failed {
    ///     println!("{}: {} ({:?})", item.key, item.error, item.kind);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn load<K: Into<String>, V: Into<Vec<u8>>>(
        &self,
        items: impl IntoIterator<Item = (K, V)>,
    ) -> Result<LoadReply, ClientError> {
        self.load_with(items, &RingWrite::default()).await
    }

    /// The same with a number of copies and a lease of its own; `expected` is not looked at.
    pub async fn load_with<K: Into<String>, V: Into<Vec<u8>>>(
        &self,
        items: impl IntoIterator<Item = (K, V)>,
        write: &RingWrite,
    ) -> Result<LoadReply, ClientError> {
        let items =
            items.into_iter().map(|(key, value)| LoadItem { key: key.into(), value: Blob(value.into()) });
        let (copies, lease_s) = (write.copies, write.lease_s);
        let request = LoadRequest { items: items.collect(), copies, lease_s };
        self.send(Method::POST, self.asked("/load"), json(&request)).await
    }

    /// The member that owns a key now.
    pub async fn owner(&self, key: &str) -> Result<KeyOwner, ClientError> {
        self.0.get(self.asked("/owner").and("key", key)).await
    }
}

impl Ring {
    /// All items whose keys begin so, in the order of the keys; `""`: all.
    pub fn scan(&self, prefix: &str) -> Scan<'_> {
        let bounds = vec![("prefix", prefix.to_owned())];
        Scan { keys: &self.0, bounds, from: None, items: VecDeque::new(), is_over: false }
    }

    /// Tells the owners of the keys from one on and before another one something, 16 KiB at most: each hears
    /// it once, as [`SlotEvent::Told`](crate::api::SlotEvent::Told). Once this returns, the owner of the
    /// first key has it and sees to the rest.
    ///
    /// ```no_run
    /// use xtreem_client::SlotClient;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = SlotClient::from_env()?.ring("store").await?;
    /// store.broadcast_to("colours/a", "colours/n", "count what you have").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Indefinite (status 504) when no owner took it in time. It may be said again: the same words of one
    /// member are heard once in two minutes.
    pub async fn broadcast_to(
        &self,
        from: &str,
        to: &str,
        body: impl Into<bytes::Bytes>,
    ) -> Result<(), ClientError> {
        let asked = self.asked("/broadcast").and("from", from).and("to", to);
        self.send(Method::POST, asked, crate::http::bytes(body.into().to_vec())).await
    }

    /// All items from one key on and before another one.
    pub fn range(&self, from: &str, to: &str) -> Scan<'_> {
        let (bounds, from) = (vec![("to", to.to_owned())], Some(from.to_owned()));
        Scan { keys: &self.0, bounds, from, items: VecDeque::new(), is_over: false }
    }
}

/// Items of a ring in the order of their keys, asked for page by page. What is written meanwhile may be in it
/// or not.
pub struct Scan<'a> {
    keys: &'a Keys,
    bounds: Vec<(&'static str, String)>,
    /// Where the next page begins.
    from: Option<String>,
    items: VecDeque<RingItem>,
    is_over: bool,
}

impl Scan<'_> {
    /// The next item; `None` at the end. After an error the same is asked again.
    pub async fn next(&mut self) -> Result<Option<RingItem>, ClientError> {
        while self.items.is_empty() && !self.is_over {
            let mut asked = self.keys.asked("/scan").maybe("from", self.from.as_ref());
            for (name, value) in &self.bounds {
                asked = asked.and(name, value);
            }
            let RingItems { items, next } = self.keys.0.get(asked).await?;
            self.items = items.into();
            self.is_over = next.is_none();
            self.from = next;
        }
        Ok(self.items.pop_front())
    }
}
