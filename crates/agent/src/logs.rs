//! Logs of slots, between agents: the service that answers for slots that ran here, and its asker.
//!
//! Request: 16 bytes application, two bytes slot, four bytes lines. Answer: one byte, 1 when the slot is
//! known here, then the text until the end of the stream.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use xtreem_base::AppId;
use xtreem_net::{Contact, Service};

use crate::agent::Agent;
use crate::bulk;
use crate::exchange;

const REQUEST_BYTES: usize = 16 + 2 + 4;
const UNKNOWN: u8 = 0;
const KNOWN: u8 = 1;
/// Longest answer: a thousand lines of four thousand characters.
const TEXT_MAX_BYTES: u64 = 16 << 20;
/// Longest time for one exchange.
const EXCHANGE_MAX: Duration = Duration::from_secs(10);

/// Answers one request.
pub(crate) async fn serve(
    agent: &Arc<Agent>,
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let (app, slot, lines) = parse(&exchange::question(from, EXCHANGE_MAX).await?);
    let words = here(agent, app, slot, lines as usize).await;
    let head = [if words.is_some() { KNOWN } else { UNKNOWN }];
    exchange::answer(to, &[&head, words.unwrap_or_default().as_bytes()], EXCHANGE_MAX).await
}

/// What the slot's newest run on this node wrote last.
async fn here(agent: &Arc<Agent>, app: AppId, slot: u16, lines: usize) -> Option<String> {
    let agent = agent.clone();
    let read = bulk::LOGS.run(move || agent.slots.last_words(app, slot, lines));
    read.await.ok()?
}

/// The last words of a slot from the node that holds it, which may be this one; nothing when it knows of
/// none.
pub(crate) async fn of(
    agent: &Arc<Agent>,
    node: Contact,
    app: AppId,
    slot: u16,
    lines: u32,
) -> io::Result<Option<String>> {
    if node == agent.net.own_contact() {
        return Ok(here(agent, app, slot, lines as usize).await);
    }
    let request = request(app, slot, lines);
    let asked = exchange::ask(&agent.net, node, Service::LOGS, &request, TEXT_MAX_BYTES, EXCHANGE_MAX);
    match asked.await?.split_first() {
        Some((&KNOWN, text)) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
        Some((&UNKNOWN, _)) => Ok(None),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn request(app: AppId, slot: u16, lines: u32) -> Vec<u8> {
    let mut request = app.as_bytes().to_vec();
    request.extend_from_slice(&slot.to_be_bytes());
    request.extend_from_slice(&lines.to_be_bytes());
    request
}

fn parse(request: &[u8; REQUEST_BYTES]) -> (AppId, u16, u32) {
    let mut app = [0; 16];
    app.copy_from_slice(&request[..16]);
    let slot = u16::from_be_bytes([request[16], request[17]]);
    let lines = u32::from_be_bytes([request[18], request[19], request[20], request[21]]);
    (AppId::from_bytes(app), slot, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_round_trips() {
        let app = AppId::from_bytes([7; 16]);
        let bytes: [u8; REQUEST_BYTES] = request(app, 513, 100_000).try_into().unwrap();
        assert_eq!(parse(&bytes), (app, 513, 100_000));
    }
}
