//! The operator's side of the local API: nodes, files and applications.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Method;
use hyper::body::Frame;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use crate::api::{
    AnnounceReply, AnnounceRequest, AnnouncementView, AppCollections, AppList, AppShow, Blob, EXEC_PROTOCOL,
    GridReply, LossAccepted, NodeStatus, PolicyReply, PolicyRequest, ProgressLine, RecordReply,
    RecordRequest, RingItem, RingItems, RingOwner, RingReply, RingVersion, RingWrite, SearchLine,
    SearchReply, SearchRequest, SubmitRequest, TopicList,
};
use crate::http::{Body, Http, bytes, empty, escaped, json};
use crate::{Chunks, ClientError, Events, JsonLines};

/// Bytes of a file that are read and sent at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Speaks to the operator socket of one agent. Cheap to clone; every call is a connection of its own.
#[derive(Clone, Debug)]
pub struct OperatorClient {
    http: Http,
}

impl OperatorClient {
    /// For the socket at this path; nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        OperatorClient { http: Http::new(socket, None) }
    }

    pub fn socket(&self) -> &Path {
        self.http.socket()
    }

    /// The agent's own node.
    pub async fn node(&self) -> Result<NodeStatus, ClientError> {
        self.http.get("/v1/node").await
    }

    /// The operator's word that the nodes which the agent's node lost are gone for good. Refused when it is
    /// not cut off.
    pub async fn accept_loss(&self) -> Result<LossAccepted, ClientError> {
        self.http.post("/v1/node/accept-loss", &()).await
    }

    /// What the agent's node knows of all nodes together.
    pub async fn grid(&self) -> Result<GridReply, ClientError> {
        self.http.get("/v1/grid").await
    }

    /// The place of the agent's node on the ring of all nodes.
    pub async fn ring(&self) -> Result<RingReply, ClientError> {
        self.http.get("/v1/ring").await
    }

    /// Who owns a key of the ring: hexadecimal, its namespace first.
    pub async fn ring_owner(&self, key: &str) -> Result<RingOwner, ClientError> {
        self.http.get(&format!("/v1/ring/owner?key={}", escaped(key))).await
    }

    /// Writes a value under a key of the ring.
    pub async fn ring_put(
        &self,
        key: &str,
        value: Vec<u8>,
        write: &RingWrite,
    ) -> Result<RingVersion, ClientError> {
        let path = written(key, write);
        self.http.send(Method::PUT, &path, bytes(value)).await?.json().await
    }

    /// Writes over what lies under a key of the ring, whoever wrote it, or removes it: `signed` is the CBOR
    /// of an administrator's signature of all of that. `write` has all three parts.
    pub async fn ring_overwrite(
        &self,
        key: &str,
        value: Option<Vec<u8>>,
        write: &RingWrite,
        signed: &[u8],
    ) -> Result<RingVersion, ClientError> {
        let signed: String = signed.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = format!("{}&overwrite={signed}", written(key, write));
        let answer = match value {
            Some(value) => self.http.send(Method::PUT, &path, bytes(value)).await?,
            None => self.http.send(Method::DELETE, &path, empty()).await?,
        };
        answer.json().await
    }

    /// What lies under a key of the ring; an error that says so when nothing does.
    pub async fn ring_get(&self, key: &str) -> Result<RingItem, ClientError> {
        self.http.get(&format!("/v1/ring/items?key={}", escaped(key))).await
    }

    /// Removes what lies under a key of the ring, or only if it is that version.
    pub async fn ring_remove(&self, key: &str, expected: Option<&str>) -> Result<RingVersion, ClientError> {
        let mut path = format!("/v1/ring/items?key={}", escaped(key));
        if let Some(expected) = expected {
            path.push_str(&format!("&expected={}", escaped(expected)));
        }
        self.http.send(Method::DELETE, &path, empty()).await?.json().await
    }

    /// What lies under the keys that begin so, in their order; `from`: where an earlier answer ended.
    pub async fn ring_list(
        &self,
        prefix: &str,
        from: Option<&str>,
        limit: u16,
    ) -> Result<RingItems, ClientError> {
        let mut path = format!("/v1/ring/scan?prefix={}&limit={limit}", escaped(prefix));
        if let Some(from) = from {
            path.push_str(&format!("&from={}", escaped(from)));
        }
        self.http.get(&path).await
    }

    /// What is subscribed to and published to in the grid at this topic and below it, and what has a last
    /// value there; everywhere without one. `from`: after an answer that was cut off.
    pub async fn topics(
        &self,
        prefix: Option<&str>,
        from: Option<&str>,
        limit: u16,
    ) -> Result<TopicList, ClientError> {
        let mut path = format!("/v1/topics?limit={limit}");
        for (name, text) in [("prefix", prefix), ("from", from)] {
            if let Some(text) = text {
                path.push_str(&format!("&{name}={}", escaped(text)));
            }
        }
        self.http.get(&path).await
    }

    /// Tells all nodes of the grid: CBOR of what a node or an administrator signed.
    pub async fn announce(&self, announcement: Vec<u8>) -> Result<AnnounceReply, ClientError> {
        let request = AnnounceRequest { announcement: Blob(announcement) };
        self.http.send(Method::POST, "/v1/ring/announcements", json(&request)).await?.json().await
    }

    /// What is told to all nodes, from now on.
    pub async fn announcements(&self) -> Result<JsonLines<AnnouncementView>, ClientError> {
        self.http.send(Method::GET, "/v1/ring/announcements", empty()).await.map(JsonLines::new)
    }

    /// The VO's policy in force at the agent.
    pub async fn policy(&self) -> Result<PolicyReply, ClientError> {
        self.http.get("/v1/policy").await
    }

    /// Puts a signed policy (CBOR) in force; the grid spreads it.
    pub async fn set_policy(&self, signed: Vec<u8>) -> Result<PolicyReply, ClientError> {
        self.http.post("/v1/policy", &PolicyRequest { policy: Blob(signed) }).await
    }

    /// Finds nodes and holds nothing; matches come as they are found. Dropping the stream ends the search.
    pub async fn search_lines(&self, request: &SearchRequest) -> Result<JsonLines<SearchLine>, ClientError> {
        self.http.question("/v1/search", request).await.map(JsonLines::new)
    }

    /// As [`OperatorClient::search_lines`], to the end.
    pub async fn search(&self, request: &SearchRequest) -> Result<SearchReply, ClientError> {
        let mut lines = self.search_lines(request).await?;
        let mut matches = Vec::new();
        while let Some(line) = lines.next().await? {
            match line {
                SearchLine::Match(found) => matches.push(found),
                SearchLine::Dropped { .. } => {}
                SearchLine::Done { report } => return Ok(SearchReply { matches, report }),
            }
        }
        Err(ClientError::no_report())
    }

    /// Whether the agent has the file with this BLAKE3 hash (hexadecimal).
    pub async fn has_file(&self, digest: &str) -> Result<bool, ClientError> {
        match self.http.send(Method::HEAD, &file_path(digest), empty()).await {
            Ok(_) => Ok(true),
            Err(ClientError::Refused { status: 404, .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Gives the agent the file at `path`, whose BLAKE3 hash the caller computed. The agent verifies it.
    pub async fn put_file(&self, digest: &str, path: &Path) -> Result<(), ClientError> {
        let file =
            File::open(path).await.map_err(|source| ClientError::File { path: path.to_owned(), source })?;
        self.http.send(Method::PUT, &file_path(digest), file_body(file)).await.map(drop)
    }

    /// Submits an application (CBOR of signed record and specification). Dropping the stream before it said
    /// [`ProgressLine::Accepted`] gives the submission up.
    pub async fn submit(&self, application: Vec<u8>) -> Result<JsonLines<ProgressLine>, ClientError> {
        self.submit_within(application, None).await
    }

    /// As [`OperatorClient::submit`]; while too few nodes are found the agent tries again for as long as
    /// `wait`.
    pub async fn submit_within(
        &self,
        application: Vec<u8>,
        wait: Option<Duration>,
    ) -> Result<JsonLines<ProgressLine>, ClientError> {
        let wait_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let request = SubmitRequest { application: Blob(application), wait_ms };
        self.http.send(Method::POST, "/v1/apps", json(&request)).await.map(JsonLines::new)
    }

    /// Applications that a search over the grid meets; those of one name when it is given, and those that are
    /// stopped or over when `all` are wanted.
    pub async fn apps(&self, name: Option<&str>, all: bool) -> Result<AppList, ClientError> {
        let name = name.map(|name| format!("&name={}", escaped(name))).unwrap_or_default();
        self.http.get(&format!("/v1/apps?all={all}{name}")).await
    }

    /// One application in full.
    pub async fn app(&self, id: &str) -> Result<AppShow, ClientError> {
        self.http.get(&format!("/v1/apps/{}", escaped(id))).await
    }

    /// The collections of an application, as its slots see them.
    pub async fn app_collections(&self, id: &str) -> Result<AppCollections, ClientError> {
        self.http.get(&format!("/v1/apps/{}/collections", escaped(id))).await
    }

    /// Publishes a newer record (CBOR, signed) of an application.
    pub async fn publish(&self, id: &str, record: Vec<u8>) -> Result<RecordReply, ClientError> {
        let request = RecordRequest { record: Blob(record) };
        self.http.post(&format!("/v1/apps/{}/record", escaped(id)), &request).await
    }

    /// Changes of an application, from now on, as this agent's node sees them; none while it takes no part in
    /// it.
    pub async fn events(&self, id: &str) -> Result<Events, ClientError> {
        let path = format!("/v1/apps/{}/events", escaped(id));
        self.http.send(Method::GET, &path, empty()).await.map(Events::new)
    }

    /// The last `lines` lines that the program of a slot wrote.
    pub async fn logs(&self, id: &str, slot: u16, lines: u32) -> Result<Chunks, ClientError> {
        let path = format!("/v1/apps/{}/logs?slot={slot}&lines={lines}", escaped(id));
        self.http.send(Method::GET, &path, empty()).await.map(Chunks::new)
    }
}

impl OperatorClient {
    /// The way to the node that holds a slot, for a command beside it; looked for anew when what the agent
    /// knew of it proved wrong. What is said there is between the user and that node.
    pub async fn exec(
        &self,
        id: &str,
        slot: u16,
        is_anew: bool,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static + use<>, ClientError> {
        self.way_to(id, slot, is_anew).await
    }

    pub(crate) async fn way_to(
        &self,
        id: &str,
        slot: u16,
        is_anew: bool,
    ) -> Result<TokioIo<Upgraded>, ClientError> {
        let path = format!("/v1/apps/{}/exec?slot={slot}&anew={is_anew}", escaped(id));
        self.http.upgrade(&path, EXEC_PROTOCOL).await.map(TokioIo::new)
    }
}

/// Where an item is written, and how.
fn written(key: &str, write: &RingWrite) -> String {
    let mut path = format!("/v1/ring/items?key={}", escaped(key));
    let numbers = [("copies", write.copies.map(u64::from)), ("lease_s", write.lease_s)];
    for (name, number) in numbers {
        number.into_iter().for_each(|number| path.push_str(&format!("&{name}={number}")));
    }
    if let Some(expected) = &write.expected {
        path.push_str(&format!("&expected={}", escaped(expected)));
    }
    path
}

fn file_path(digest: &str) -> String {
    format!("/v1/files/{}", escaped(digest))
}

fn file_body(file: File) -> Body {
    let pieces = stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE_BYTES];
        let len = file.read(&mut piece).await?;
        piece.truncate(len);
        Ok::<_, io::Error>((len > 0).then(|| (Frame::data(Bytes::from(piece)), file)))
    });
    StreamBody::new(pieces).boxed_unsync()
}
