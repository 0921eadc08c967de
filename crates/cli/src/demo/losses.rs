//! When live agents notice that a slot's holder is gone: the first word of any of them, on their event
//! streams.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;
use xtreem_client::OperatorClient;
use xtreem_client::api::SlotEvent;

use super::grid::GridHost;

/// Between two tries to listen to an agent.
const LISTEN_AGAIN: Duration = Duration::from_millis(200);

/// One word of one agent: the slot is lost with its holder, or is held by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Notice {
    by: IpAddr,
    about: About,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Lost(IpAddr),
    HeldBy(IpAddr),
}

type Notices = Arc<Mutex<BTreeMap<u16, Vec<(Instant, Notice)>>>>;

/// Words kept of each slot; beyond it the newest are dropped, as the first one counts. A demo makes a few
/// dozen.
const NOTICES_MAX: usize = 4_096;

/// Listens to all agents until dropped.
pub struct Losses {
    notices: Notices,
    listening: Vec<JoinHandle<()>>,
}

impl Losses {
    /// Listens to the agents of `hosts` about the application `app`.
    pub fn listen(hosts: &[GridHost], app: &str) -> Losses {
        let notices = Notices::default();
        let listen = |host: &GridHost| {
            tokio::spawn(hear(host.client.clone(), host.ip(), app.to_owned(), notices.clone()))
        };
        Losses { listening: hosts.iter().map(listen).collect(), notices }
    }

    /// The first word since `since`, by a host that is not `faulty`, that `slot` is lost with `holder` or is
    /// held by another.
    pub fn noticed(&self, slot: u16, holder: IpAddr, since: Instant, faulty: &[IpAddr]) -> Option<Instant> {
        let notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |(at, notice): &&(Instant, Notice)| {
            *at >= since && !faulty.contains(&notice.by) && notice.about.says_gone(holder)
        };
        notices.get(&slot)?.iter().find(is_it).map(|(at, _)| *at)
    }
}

impl About {
    fn says_gone(self, holder: IpAddr) -> bool {
        match self {
            About::Lost(lost) => lost == holder,
            About::HeldBy(other) => other != holder,
        }
    }
}

impl Drop for Losses {
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
    }
}

async fn hear(client: OperatorClient, by: IpAddr, app: String, notices: Notices) {
    loop {
        if let Ok(mut events) = client.events(&app).await {
            while let Ok(Some(event)) = events.next().await {
                if let Some((slot, about)) = about(&event) {
                    let mut all = notices.lock().unwrap_or_else(PoisonError::into_inner);
                    let of_slot = all.entry(slot).or_default();
                    if of_slot.len() < NOTICES_MAX {
                        of_slot.push((Instant::now(), Notice { by, about }));
                    }
                }
            }
        }
        sleep(LISTEN_AGAIN).await;
    }
}

fn about(event: &SlotEvent) -> Option<(u16, About)> {
    let ip = |address: &str| address.parse::<SocketAddr>().ok().map(|address| address.ip());
    match event {
        SlotEvent::Lost(peer) => Some((peer.slot?, About::Lost(ip(&peer.address)?))),
        SlotEvent::Slot(slot) => Some((slot.slot, About::HeldBy(ip(slot.address.as_deref()?)?))),
        SlotEvent::Record(_) | SlotEvent::Collection(_) | SlotEvent::Told(_) | SlotEvent::Dropped(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn the_first_live_agent_that_says_so_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let said = |by, about| Notice { by: ip(by), about };
        let words = vec![
            (at(0), said(3, About::Lost(ip(1)))),
            (at(2), said(1, About::HeldBy(ip(9)))),
            (at(3), said(3, About::HeldBy(ip(1)))),
            (at(4), said(3, About::Lost(ip(2)))),
            (at(5), said(3, About::HeldBy(ip(2)))),
        ];
        let notices = Arc::new(Mutex::new(BTreeMap::from([(7, words)])));
        let losses = Losses { notices, listening: Vec::new() };
        // Word 0 is too early, 1 comes from the lost host itself, 2 says nothing new, 3 is about another
        // host.
        assert_eq!(losses.noticed(7, ip(1), at(1), &[ip(1)]), Some(at(5)));
        assert_eq!(losses.noticed(8, ip(1), at(1), &[]), None);
    }
}
