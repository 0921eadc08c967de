//! `xtreem example web`: a small web application that shows what its agent tells it.
//!
//! It is what a user's program would be: it finds its agent by the environment, listens where it is told, and
//! ends on SIGTERM after the requests under way.

mod page;
mod slot;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;
use xtreem_client::SlotClient;

use self::slot::Slot;
use crate::exit::{Exit, Failure};
use crate::runtime::block_on;

/// Requests under way at SIGTERM get this long; agents kill after that.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  xtreem run examples/web/app.toml\n\nStarted by hand it serves a page on \
                        http://127.0.0.1:8080/ and says that it is in no grid."
)]
pub struct Arguments {
    /// Address to listen on
    #[arg(long, value_name = "IP", env = "XTREEM_ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    address: IpAddr,
    /// Port to listen on; 0 is any that is free
    #[arg(long, value_name = "PORT", env = "XTREEM_PORT_HTTP", default_value_t = 8080)]
    port: u16,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    block_on(serve(SocketAddr::new(arguments.address, arguments.port)))
}

/// Serves until SIGTERM or Ctrl-C, then lets the requests under way end.
async fn serve(address: SocketAddr) -> Result<Exit, Failure> {
    let client = match SlotClient::from_env() {
        Ok(client) => Some(client),
        Err(missing) => {
            eprintln!("{missing}; serving a page without a grid (start it with `xtreem run`)");
            None
        }
    };
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|e| Failure::new(Exit::Failed, format!("SIGTERM cannot be waited for: {e}")))?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot listen on http://{address}/: {e}")))?;
    // The real address: port 0 means any that is free.
    eprintln!("serving http://{}/", listener.local_addr().unwrap_or(address));
    let slot = Arc::new(Slot::new(client));
    let listening = tokio::spawn(slot::keep_listening(slot.clone()));
    let routes = Router::new()
        .route("/", get(page))
        .route("/whoami", get(whoami))
        .route("/healthz", get(async || "ok\n"))
        .with_state(slot);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(listener, routes).with_graceful_shutdown(async { drop(stopped.await) });
    let serving = tokio::spawn(serving.into_future());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = ctrl_c() => {}
    }
    drop(stop);
    // Whoever is not done by then is cut off: that is what the limit means.
    drop(timeout(GRACE, serving).await);
    listening.abort();
    Ok(Exit::Success)
}

async fn page(State(slot): State<Arc<Slot>>) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], Html(page::html(&slot.view().await)))
}

async fn whoami(State(slot): State<Arc<Slot>>) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], Json(slot.view().await))
}
