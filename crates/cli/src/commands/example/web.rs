//! `xtreem example web`: a small web application that shows what its agent tells it.
//!
//! It is what a user's program would be: it finds its agent by the environment, listens where it is told, and
//! ends on SIGTERM after the requests under way.

mod page;
mod place;
mod slot;

use std::convert::Infallible;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use xtreem_client::SlotClient;

use self::slot::Slot;
use crate::exit::{Exit, Failure};
use crate::runtime::block_on;

/// Connections served at once; further ones wait in the kernel's queue (our guess: plenty for a page).
const CONNECTIONS_MAX: usize = 256;
/// A client that does not finish its request head in this time is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests under way at SIGTERM get this long; agents kill after that.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  xtreem run examples/web/app.toml\n\nStarted by hand it serves a page on \
                        http://127.0.0.1:8080/ and says that it is in no grid."
)]
pub struct Arguments {}

pub fn run(_: &Arguments) -> Result<Exit, Failure> {
    block_on(serve())
}

async fn serve() -> Result<Exit, Failure> {
    let client = match SlotClient::from_env() {
        Ok(client) => Some(client),
        Err(missing) => {
            eprintln!("{missing}; serving a page without a grid (start it with `xtreem run`)");
            None
        }
    };
    let address = place::address(&|name| env::var(name).ok()).map_err(Failure::usage)?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot listen on http://{address}/: {e}")))?;
    // The real address: port 0 means any that is free.
    let address = listener.local_addr().unwrap_or(address);
    eprintln!("serving http://{address}/");
    let slot = Arc::new(Slot::new(client));
    let listening = tokio::spawn(slot::keep_listening(slot.clone()));
    let served = accept(listener, &slot).await;
    listening.abort();
    served.map(|()| Exit::Success)
}

/// Takes connections until SIGTERM or Ctrl-C, then lets those under way end.
async fn accept(listener: TcpListener, slot: &Arc<Slot>) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|e| Failure::new(Exit::Failed, format!("SIGTERM cannot be waited for: {e}")))?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopped) = watch::channel(false);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of files or memory: it passes when connections end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (slot, stopped) = (slot.clone(), stopped.clone());
        tokio::spawn(async move {
            converse(stream, slot, stopped).await;
            drop(place);
        });
    }
    drop(listener);
    stop.send_replace(true);
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    // Whoever is not done by then is cut off: that is what the limit means.
    drop(tokio::time::timeout(GRACE, places.acquire_many(all)).await);
    Ok(())
}

/// One connection to its end.
async fn converse(stream: TcpStream, slot: Arc<Slot>, mut stopped: watch::Receiver<bool>) {
    let service = service_fn(|request| answer(request, slot.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A client that breaks off is its own business.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => connection.as_mut().graceful_shutdown(),
    }
    drop(connection.await);
}

async fn answer(request: Request<Incoming>, slot: Arc<Slot>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/") => {
            (StatusCode::OK, "text/html; charset=utf-8", page::html(&slot.view().await))
        }
        (&Method::GET | &Method::HEAD, "/whoami") => {
            let view = slot.view().await;
            let body = serde_json::to_string(&view).unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}"));
            (StatusCode::OK, "application/json", body)
        }
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, "text/plain", "not here\n".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", hyper::header::HeaderValue::from_static(kind));
    headers.insert("cache-control", hyper::header::HeaderValue::from_static("no-store"));
    Ok(response)
}
