//! The demo's side of its client: what the client has seen so far, with the times at which it was told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::task::JoinHandle;
use xtreem_emulation::{ChildSpec, Lab, this_program};

use super::client::{Task, Word};
use super::grid::failed;
use crate::exit::Failure;

/// The hidden subcommand that runs [`super::be_client`].
pub const CLIENT_COMMAND: &str = "demo-client";

/// Requests on their way, until this is dropped.
pub struct Traffic {
    seen: Arc<Mutex<Seen>>,
    reading: JoinHandle<()>,
}

/// What the client has told.
#[derive(Debug, Default)]
pub struct Seen {
    pub served: u64,
    pub failed: u64,
    /// When the first and the last request to each host's slot were answered.
    answers: BTreeMap<(u16, IpAddr), Answers>,
}

#[derive(Clone, Copy, Debug)]
struct Answers {
    first: Instant,
    last: Instant,
}

impl Traffic {
    /// Starts the client in the lab.
    pub async fn start(lab: &Lab, task: &Task) -> Result<Traffic, Failure> {
        let command = vec![this_program().into(), CLIENT_COMMAND.into()];
        let mut child =
            lab.exec_in_lab(ChildSpec { command, env: Vec::new() }).await.map_err(|e| failed(&e))?;
        let line = serde_json::to_string(task).map_err(|e| failed(&e))? + "\n";
        child.stdio().write_all(line.as_bytes()).await.map_err(|e| failed(&e))?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let into = seen.clone();
        let reading = tokio::spawn(async move {
            let mut lines = BufReader::new(child.stdio()).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(word) = serde_json::from_str(&line) {
                    into.lock().unwrap_or_else(PoisonError::into_inner).take(&word, Instant::now());
                }
            }
        });
        Ok(Traffic { seen, reading })
    }

    /// What was seen so far; not to be kept.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        // The client's output has no reader then, and it ends.
        self.reading.abort();
    }
}

impl Seen {
    fn take(&mut self, word: &Word, now: Instant) {
        match word {
            Word::Seen { ip, slot, .. } => {
                self.answers.entry((*slot, *ip)).or_insert(Answers { first: now, last: now }).last = now;
            }
            Word::Asked { is_served: true, .. } => self.served += 1,
            Word::Asked { is_served: false, .. } => self.failed += 1,
        }
    }

    /// The first answer for `slot` by a host other than `lost`, no earlier than `since`.
    pub fn replaced(&self, slot: u16, lost: IpAddr, since: Instant) -> Option<(Instant, IpAddr)> {
        let others = self.answers.range((slot, lowest())..).take_while(|((other, _), _)| *other == slot);
        others
            .filter(|((_, ip), answers)| *ip != lost && answers.last >= since)
            .map(|((_, ip), answers)| (answers.first.max(since), *ip))
            .min()
    }

    /// Whether every slot was answered for by some host.
    pub fn has_all(&self, slots: u16) -> bool {
        (0..slots).all(|slot| self.answers.keys().any(|(answered, _)| *answered == slot))
    }
}

/// The least of all addresses, as they are ordered.
fn lowest() -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn seen(ip: &str, slot: u16) -> Word {
        Word::Seen { ip: ip.parse().expect("an address"), slot, epoch: "1".to_owned() }
    }

    #[test]
    fn a_slot_is_replaced_when_another_host_answers_for_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut all = Seen::default();
        all.take(&seen("fd00::1", 2), at(0));
        all.take(&seen("fd00::2", 3), at(1));
        let lost = "fd00::1".parse().expect("an address");
        all.take(&seen("fd00::1", 2), at(3));
        assert_eq!(all.replaced(2, lost, at(2)), None, "the lost host itself does not count");
        all.take(&seen("fd00::2", 2), at(5));
        assert_eq!(all.replaced(2, lost, at(2)), Some((at(5), "fd00::2".parse().expect("an address"))));
        assert!(!all.has_all(4) && all.has_all(0));
    }

    #[test]
    fn an_earlier_holder_that_is_silent_since_is_no_replacement() {
        let start = Instant::now();
        let mut all = Seen::default();
        all.take(&seen("fd00::9", 0), start);
        let lost = "fd00::1".parse().expect("an address");
        assert_eq!(all.replaced(0, lost, start + Duration::from_secs(1)), None);
    }
}
