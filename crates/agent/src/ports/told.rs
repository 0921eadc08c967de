//! Ports of slots, between agents: who holds a slot tells its numbers, and who was told remembers them a
//! while.
//!
//! Request: 16 bytes application, two bytes slot. Answer: nothing when no program of the slot runs here, else
//! names and numbers as CBOR, until the end of the stream.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use xtreem_allocation::Epoch;
use xtreem_base::AppId;
use xtreem_client::api::Covered;
use xtreem_net::{Contact, Service};

use crate::agent::Agent;
use crate::exchange;
use crate::program::{NAME_MAX_BYTES, PORTS_MAX};

const REQUEST_BYTES: usize = 16 + 2;
/// Longest answer: names, numbers and some bytes of CBOR for each.
const ANSWER_MAX_BYTES: u64 = (PORTS_MAX * (NAME_MAX_BYTES + 8) + 8) as u64;
/// Longest time for one exchange (our guess: a handshake between continents).
const EXCHANGE_MAX: Duration = Duration::from_secs(1);
/// Longest time for all that one answer of the local API asks.
const ALL_MAX: Duration = Duration::from_secs(3);
/// Holders asked at one time.
const ASKED_AT_ONCE: usize = 16;
/// What was told of a run is used so long: it stays while the program does, also when that is started again,
/// unless somebody took a number meanwhile.
const FRESH: Duration = Duration::from_secs(10);
/// Runs that are remembered; beyond it all old ones go, or all.
const SEEN_MAX: usize = 4_096;

/// Names and numbers of one slot.
type Numbers = BTreeMap<String, u16>;

/// What other nodes told.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Table>);

/// When the numbers of a run were told, and which.
type Table = BTreeMap<(AppId, u16, Epoch), (Instant, Numbers)>;

impl Seen {
    fn get(&self, run: (AppId, u16, Epoch)) -> Option<Numbers> {
        self.all().get(&run).filter(|(since, _)| since.elapsed() < FRESH).map(|(_, numbers)| numbers.clone())
    }

    fn put(&self, run: (AppId, u16, Epoch), numbers: Numbers) {
        let mut all = self.all();
        if all.len() >= SEEN_MAX {
            all.retain(|_, (since, _)| since.elapsed() < FRESH);
        }
        if all.len() >= SEEN_MAX {
            all.clear();
        }
        all.insert(run, (Instant::now(), numbers));
    }

    /// A panic elsewhere cannot leave the table half-changed.
    fn all(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot that runs on a node, under an epoch.
pub(crate) type Holder = (u16, Epoch, Contact);

/// The ports of these slots of an application, as far as their holders tell them in time.
///
/// One of them is asked first: when its program has no ports, those of the others have none.
pub(crate) async fn of(agent: &Arc<Agent>, app: AppId, holders: Vec<Holder>) -> BTreeMap<u16, Numbers> {
    let mut told = BTreeMap::new();
    let mut holders = holders.into_iter();
    let ask_all = async {
        for (slot, epoch, contact) in holders.by_ref() {
            if let Some(numbers) = ask(agent, app, slot, epoch, contact).await {
                let has_none = numbers.is_empty();
                told.insert(slot, numbers);
                if has_none {
                    return;
                }
                break;
            }
        }
        let asked = holders
            .map(|(slot, epoch, contact)| async move { (slot, ask(agent, app, slot, epoch, contact).await) });
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
        while let Some((slot, numbers)) = answers.next().await {
            told.extend(numbers.map(|numbers| (slot, numbers)));
        }
    };
    // What came by then is told.
    let _ = timeout(ALL_MAX, ask_all).await;
    told
}

/// What such an answer covers, of an application with so many slots of which so many are known to run.
pub(crate) fn covered(slots: u16, known: usize, told: &BTreeMap<u16, Numbers>) -> Covered {
    let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    Covered { slots, known: count(known), ports: count(told.len()) }
}

async fn ask(agent: &Arc<Agent>, app: AppId, slot: u16, epoch: Epoch, node: Contact) -> Option<Numbers> {
    if node == agent.net.own_contact() {
        return agent.ports.here(app, slot).map(|ports| ports.into_iter().collect());
    }
    if let Some(numbers) = agent.ports.seen.get((app, slot, epoch)) {
        return Some(numbers);
    }
    let request = request(app, slot);
    let asked = exchange::ask(&agent.net, node, Service::PORTS, &request, ANSWER_MAX_BYTES, EXCHANGE_MAX);
    let numbers = parse_answer(&asked.await.ok()?)?;
    agent.ports.seen.put((app, slot, epoch), numbers.clone());
    Some(numbers)
}

/// Answers one request.
pub(crate) async fn serve(
    agent: &Arc<Agent>,
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let (app, slot) = parse_request(&exchange::question(from, EXCHANGE_MAX).await?);
    let answer = agent.ports.here(app, slot).map(minicbor::to_vec);
    let answer = answer.transpose().map_err(io::Error::other)?.unwrap_or_default();
    exchange::answer(to, &[&answer], EXCHANGE_MAX).await
}

fn request(app: AppId, slot: u16) -> Vec<u8> {
    let mut request = app.as_bytes().to_vec();
    request.extend_from_slice(&slot.to_be_bytes());
    request
}

fn parse_request(request: &[u8; REQUEST_BYTES]) -> (AppId, u16) {
    let mut app = [0; 16];
    app.copy_from_slice(&request[..16]);
    (AppId::from_bytes(app), u16::from_be_bytes([request[16], request[17]]))
}

/// Nothing when the other side told nothing, or what cannot be.
fn parse_answer(answer: &[u8]) -> Option<Numbers> {
    let pairs: Vec<(String, u16)> = minicbor::decode(answer).ok()?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let is_good = |(name, number): &(String, u16)| {
        (1..=NAME_MAX_BYTES).contains(&name.len()) && name.chars().all(is_name) && *number > 0
    };
    (pairs.len() <= PORTS_MAX && pairs.iter().all(is_good)).then(|| pairs.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_round_trip_and_odd_ones_are_nothing() {
        let app = AppId::from_bytes([7; 16]);
        let bytes: [u8; REQUEST_BYTES] = request(app, 513).try_into().unwrap();
        assert_eq!(parse_request(&bytes), (app, 513));
        let answer = |pairs: &[(&str, u16)]| minicbor::to_vec(pairs).unwrap();
        let longest = "n".repeat(NAME_MAX_BYTES);
        let most: Vec<_> = (0..PORTS_MAX).map(|n| (format!("{n:0>64}"), u16::MAX)).collect();
        assert_eq!(parse_answer(&minicbor::to_vec(&most).unwrap()).map(|told| told.len()), Some(PORTS_MAX));
        assert!(minicbor::to_vec(&most).unwrap().len() as u64 <= ANSWER_MAX_BYTES);
        assert_eq!(parse_answer(&answer(&[])), Some(Numbers::new()), "a program without ports");
        assert!(parse_answer(&answer(&[("http", 80), (&longest, 1)])).is_some());
        for wrong in [
            vec![],
            answer(&[("a b", 80)]),
            answer(&[("", 80)]),
            answer(&[("a", 0)]),
            answer(&[(&format!("{longest}n"), 1)]),
            answer(&(0..17).map(|_| ("a", 1)).collect::<Vec<_>>()),
            b"garbage".to_vec(),
        ] {
            assert_eq!(parse_answer(&wrong), None, "{wrong:?}");
        }
    }
}
