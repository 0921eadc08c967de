//! HTTP/1.1 over a Unix socket, one connection a request.
//!
//! Requests are rare and local, so there is no pool; and a connection that belongs to one request can say by
//! its end that the asker lost interest, which the agent understands (a submission is given up).

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::ClientError;
use crate::api::{ErrorBody, ErrorKind};

/// Time until the head of an answer is there. The longest operation before a head is a search (10 s by
/// default); the rest is for a loaded machine (our guess).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer that is read as a whole. A list of 2,000 visited nodes with attributes has a few MB.
const ANSWER_MAX_BYTES: usize = 64 << 20;
/// Longest error body that is looked at.
const ERROR_MAX_BYTES: usize = 64 << 10;

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// One end of a socket that speaks the local API.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    socket: PathBuf,
    token: Option<String>,
}

/// Ends the connection when dropped.
pub(crate) struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer whose head says success. Its body may still come.
pub(crate) struct Answer {
    pub(crate) body: Incoming,
    pub(crate) connection: Connection,
    /// The request changed nothing.
    pub(crate) is_read: bool,
}

impl Http {
    pub(crate) fn new(socket: impl Into<PathBuf>, token: Option<String>) -> Self {
        Http { socket: socket.into(), token }
    }

    #[cfg(feature = "pubsub")]
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, empty()).await?.json().await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.send(Method::POST, path, json(request)).await?.json().await
    }

    /// Sends a request and waits for the head of its answer; anything but success is an error.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Body) -> Result<Answer, ClientError> {
        let is_read = method == Method::GET || method == Method::HEAD;
        self.send_as(is_read, method, path, body).await
    }

    /// As [`Http::send`], for a question too long for a path: it changes nothing, so its failures are
    /// definite.
    pub(crate) async fn question(&self, path: &str, request: &impl Serialize) -> Result<Answer, ClientError> {
        self.send_as(true, Method::POST, path, json(request)).await
    }

    async fn send_as(
        &self,
        is_read: bool,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Answer, ClientError> {
        let answer = self.exchange(method, path, body, is_read);
        let (response, connection) = tokio::time::timeout(ANSWER_TIMEOUT, answer)
            .await
            .map_err(|_| ClientError::TimedOut { seconds: ANSWER_TIMEOUT.as_secs(), is_read })??;
        if response.status().is_success() {
            return Ok(Answer { body: response.into_body(), connection, is_read });
        }
        Err(refused(response).await)
    }

    /// Has the connection go over to another protocol. It ends when what is returned is dropped.
    pub(crate) async fn upgrade(&self, path: &str, protocol: &'static str) -> Result<Upgraded, ClientError> {
        // What is agreed on by that protocol is not begun by this.
        let is_read = true;
        let answer = self.exchange_as(Method::POST, path, empty(), is_read, Some(protocol));
        let (mut response, connection) = tokio::time::timeout(ANSWER_TIMEOUT, answer)
            .await
            .map_err(|_| ClientError::TimedOut { seconds: ANSWER_TIMEOUT.as_secs(), is_read })??;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(response).await);
        }
        let broken = |e: hyper::Error| ClientError::Broken { reason: with_cause(&e), is_read };
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(broken)?;
        drop(connection);
        Ok(upgraded)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Body,
        is_read: bool,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        self.exchange_as(method, path, body, is_read, None).await
    }

    async fn exchange_as(
        &self,
        method: Method,
        path: &str,
        body: Body,
        is_read: bool,
        protocol: Option<&'static str>,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        let broken = |e: hyper::Error| ClientError::Broken { reason: with_cause(&e), is_read };
        let unreachable = |source| ClientError::Unreachable { socket: self.socket.clone(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // How the connection ends is told through the request and the body that use it.
        let connection = Connection(tokio::spawn(async move { drop(connection.with_upgrades().await) }));
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        request = request.header("content-type", "application/json");
        if let Some(protocol) = protocol {
            request = request.header("connection", "upgrade").header("upgrade", protocol);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request
            .body(body)
            .map_err(|e| ClientError::Malformed { reason: e.to_string(), is_read: true })?;
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok((response, connection))
    }
}

async fn refused(response: Response<Incoming>) -> ClientError {
    let status = response.status().as_u16();
    let text = Limited::new(response.into_body(), ERROR_MAX_BYTES).collect().await.map(|all| all.to_bytes());
    ClientError::Refused { status, body: error_body(status, &text.unwrap_or_default()) }
}

impl Answer {
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let is_read = self.is_read;
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|e| ClientError::Malformed { reason: e.to_string(), is_read })
    }

    pub(crate) async fn bytes(self) -> Result<Bytes, ClientError> {
        let is_read = self.is_read;
        let all = Limited::new(self.body, ANSWER_MAX_BYTES).collect().await;
        all.map(|all| all.to_bytes()).map_err(|e| ClientError::Broken { reason: e.to_string(), is_read })
    }
}

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn bytes(content: Vec<u8>) -> Body {
    Full::new(Bytes::from(content)).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn json(request: &impl Serialize) -> Body {
    // Requests are plain structs of texts and numbers: nothing in them has no JSON.
    let bytes = serde_json::to_vec(request).expect("a request has a JSON form");
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
}

/// `text` as one part of a path or query (RFC 3986, section 2.3: everything but the unreserved is escaped).
pub(crate) fn escaped(text: &str) -> PercentEncode<'_> {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, ESCAPED)
}

/// A path, and what is asked behind it.
pub(crate) struct Asked(String);

impl Asked {
    pub(crate) fn of(path: String) -> Self {
        Asked(path)
    }

    pub(crate) fn and(mut self, name: &str, value: impl Display) -> Self {
        let first = if self.0.contains('?') { '&' } else { '?' };
        self.0.push_str(&format!("{first}{name}={}", escaped(&value.to_string())));
        self
    }

    pub(crate) fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.and(name, value),
            None => self,
        }
    }
}

impl AsRef<str> for Asked {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What the agent said, or the best guess from its status when it was no error body.
fn error_body(status: u16, text: &[u8]) -> ErrorBody {
    serde_json::from_slice(text).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(text);
        let text = text.trim();
        let error =
            if text.is_empty() { format!("status {status}") } else { format!("status {status}: {text}") };
        // A 4xx blames the request, so nothing was done with it (RFC 9110, section 15.5).
        let kind = if status < 500 { ErrorKind::Definite } else { ErrorKind::Indefinite };
        ErrorBody { error, kind, hint: None }
    })
}

/// hyper keeps the reason apart from its message.
pub(crate) fn with_cause(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
