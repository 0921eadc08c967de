//! What connected clients cost that only listen, each to a topic of its own to which nobody publishes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::link::Link;
use super::load::STAMP_LEN;
use super::server::Server;
use crate::demo::grid::failed;
use crate::exit::{Exit, Failure};

/// The server's resident memory.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    pub rss_before_kib: u64,
    pub rss_after_kib: u64,
    pub kib_per_client: f64,
}

/// What `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct IdleReport {
    pub idle_clients: usize,
    pub protocols: BTreeMap<&'static str, Memory>,
}

impl IdleReport {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, memory) in &self.protocols {
            let Memory { rss_before_kib, rss_after_kib, kib_per_client } = memory;
            text += &format!(
                "{name}: {rss_before_kib} KiB, with {} idle clients {rss_after_kib} KiB: \
                 {kib_per_client} KiB a client\n",
                self.idle_clients
            );
        }
        text
    }
}

/// Topics that idle clients share: a grid keeps a few thousand patterns of one agent.
const IDLE_TOPICS: usize = 1_000;

/// Connects so many clients to a server, one after the other.
pub fn measure(server: &Server, clients: usize, is_stopped: &AtomicBool) -> Result<Memory, Failure> {
    let unknown = || failed(&"the server's process is not known: give its number with --server-pid");
    let rss_before_kib = server.resident_kib().ok_or_else(unknown)?;
    let mut links = Vec::with_capacity(clients);
    for client in 0..clients {
        if is_stopped.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Interrupted, "ended by a signal"));
        }
        let topic = format!("bench/idle/{}", client % IDLE_TOPICS);
        let link = Link::open(server.proto, server.addr, Some(&topic), STAMP_LEN);
        links.push(link.map_err(|e| {
            let words = format!("{}: client {client} of {clients}: {e}", server.proto.name());
            let hint = "a server has a limit of connections, and one address about 28,000 local ports \
                        (net.ipv4.ip_local_port_range)";
            failed(&words).with_hint(hint)
        })?);
    }
    let rss_after_kib = server.resident_kib().ok_or_else(unknown)?;
    drop(links);
    let grown = rss_after_kib.saturating_sub(rss_before_kib) as f64;
    let kib_per_client = (grown / clients.max(1) as f64 * 100.0).round() / 100.0;
    Ok(Memory { rss_before_kib, rss_after_kib, kib_per_client })
}
