//! The demo's client: a process on the lab's network that sends requests to the application all the time.
//!
//! It knows the hosts and nothing else. Four times a second it asks every host whether it serves a slot; to
//! what it finds it sends requests, slot after slot. Standard input says whom to ask; standard output tells,
//! a JSON value a line, what was found and how the requests went.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::exit::{Exit, Failure};
use crate::runtime::block_on;

/// Between two looks at one host.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
/// Between two requests: a trickle that a debug build serves on two cores along with sixteen agents (our
/// guess).
const REQUEST_PERIOD: Duration = Duration::from_millis(50);
/// A request that takes longer has failed.
const ANSWER_MAX: Duration = Duration::from_millis(1_000);
/// Longest answer that is read.
const BODY_MAX_BYTES: usize = 64 << 10;

/// What the client is told at its start: one line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub hosts: Vec<IpAddr>,
    pub port: u16,
}

/// What the client tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Word {
    /// A host answers for a slot.
    Seen { ip: IpAddr, slot: u16, epoch: String },
    /// A request to the host that was last seen to serve the slot.
    Asked { slot: u16, is_served: bool },
}

/// The part of the example's `/whoami` that matters here.
#[derive(Debug, Deserialize)]
struct Whoami {
    slot: u16,
    epoch: String,
}

/// Slot by slot, who was seen to serve it: the newest run.
type Places = Arc<Mutex<BTreeMap<u16, (String, IpAddr)>>>;

/// The process's main: until standard input ends, or nobody listens.
pub fn be_client() -> Result<Exit, Failure> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(Failure::usage)?;
    let Task { hosts, port } = serde_json::from_str(&line).map_err(Failure::usage)?;
    block_on(async move {
        let places = Places::default();
        for ip in hosts {
            tokio::spawn(look(ip, port, places.clone()));
        }
        ask(port, &places).await;
        Ok(Exit::Success)
    })
}

/// Asks one host again and again what it serves.
async fn look(ip: IpAddr, port: u16, places: Places) {
    let mut ticks = interval(LOOK_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(Whoami { slot, epoch }) = whoami(SocketAddr::new(ip, port)).await else { continue };
        let found = (epoch.clone(), ip);
        let mut all = places.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&slot).is_none_or(|known| *known < found) {
            all.insert(slot, found);
        }
        drop(all);
        tell(&Word::Seen { ip, slot, epoch });
    }
}

/// Sends requests to all slots that were found, round and round.
async fn ask(port: u16, places: &Places) {
    let mut ticks = interval(REQUEST_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = 0_u16;
    loop {
        ticks.tick().await;
        let next = {
            let all = places.lock().unwrap_or_else(PoisonError::into_inner);
            let next = all.range(last.saturating_add(1)..).next().or_else(|| all.iter().next());
            next.map(|(slot, (_, ip))| (*slot, *ip))
        };
        if let Some((slot, ip)) = next {
            last = slot;
            // The next request does not wait for this one, as other users would not.
            tokio::spawn(async move {
                let is_served = get(SocketAddr::new(ip, port), "/").await.is_some();
                tell(&Word::Asked { slot, is_served });
            });
        }
    }
}

async fn whoami(to: SocketAddr) -> Option<Whoami> {
    serde_json::from_slice(&get(to, "/whoami").await?).ok()
}

/// The body of a successful answer.
async fn get(to: SocketAddr, path: &str) -> Option<Bytes> {
    let exchange = async {
        let stream = TcpStream::connect(to).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        // How it ends is seen by the answer.
        let connection = tokio::spawn(async move { drop(connection.await) });
        let request = Request::get(path).header("host", to.to_string()).body(Empty::<Bytes>::new()).ok()?;
        let response = sender.send_request(request).await.ok()?;
        let is_good = response.status() == StatusCode::OK;
        let body = Limited::new(response.into_body(), BODY_MAX_BYTES).collect().await.ok()?.to_bytes();
        connection.abort();
        is_good.then_some(body)
    };
    timeout(ANSWER_MAX, exchange).await.ok().flatten()
}

/// Ends the process when nobody listens any more.
fn tell(word: &Word) {
    // A word is plain data: it has a JSON form.
    let line = serde_json::to_string(word).unwrap_or_default();
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(Exit::OutputClosed.code().into());
    }
}
