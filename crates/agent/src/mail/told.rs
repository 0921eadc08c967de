//! Where mailboxes listen, between agents: who holds a slot tells its port.
//!
//! Request: 16 bytes application, two bytes slot, one byte whose mailbox (0 the program's, 1 the
//! collections'). Answer: nothing when no such mailbox of the slot is here, else epoch and port as CBOR,
//! until the end of the stream. Whoever listens there has to prove that it is the slot's holder: a wrong
//! answer only costs a try.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use xtreem_allocation::Epoch;
use xtreem_base::AppId;
use xtreem_net::{Contact, Service};

use super::Purpose;
use crate::agent::Agent;
use crate::exchange;

const REQUEST_BYTES: usize = 16 + 2 + 1;
/// Longest answer: an epoch has 16 bytes of a node and three numbers.
const ANSWER_MAX_BYTES: u64 = 64;
/// Longest time for one exchange (our guess: a handshake between continents).
const EXCHANGE_MAX: Duration = Duration::from_secs(1);

/// Asks the node that holds a slot. Nothing when no mailbox of the slot is there.
pub(crate) async fn ask(
    agent: &Arc<Agent>,
    app: AppId,
    slot: u16,
    purpose: Purpose,
    node: Contact,
) -> io::Result<Option<(Epoch, SocketAddr)>> {
    let answer = if node.id == agent.net.own_contact().id {
        agent.mail.here(app, slot, purpose)
    } else {
        let request = request(app, slot, purpose);
        let service = Service::MAILBOXES;
        let asked = exchange::ask(&agent.net, node, service, &request, ANSWER_MAX_BYTES, EXCHANGE_MAX);
        parse_answer(&asked.await?)
    };
    Ok(answer.map(|(epoch, port)| (epoch, SocketAddr::new(node.addr.ip(), port))))
}

/// Answers one request.
pub(crate) async fn serve(
    agent: &Arc<Agent>,
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let (app, slot, purpose) = parse_request(&exchange::question(from, EXCHANGE_MAX).await?);
    let answer = purpose.and_then(|purpose| agent.mail.here(app, slot, purpose)).map(minicbor::to_vec);
    let answer = answer.transpose().map_err(io::Error::other)?.unwrap_or_default();
    exchange::answer(to, &[&answer], EXCHANGE_MAX).await
}

fn request(app: AppId, slot: u16, purpose: Purpose) -> Vec<u8> {
    let mut request = app.as_bytes().to_vec();
    request.extend_from_slice(&slot.to_be_bytes());
    request.push(purpose as u8);
    request
}

/// Of a purpose that this agent does not know there is no mailbox here.
fn parse_request(request: &[u8; REQUEST_BYTES]) -> (AppId, u16, Option<Purpose>) {
    let mut app = [0; 16];
    app.copy_from_slice(&request[..16]);
    let purposes = [Purpose::Messages, Purpose::Cores];
    let purpose = purposes.into_iter().find(|purpose| *purpose as u8 == request[18]);
    (AppId::from_bytes(app), u16::from_be_bytes([request[16], request[17]]), purpose)
}

fn parse_answer(answer: &[u8]) -> Option<(Epoch, u16)> {
    minicbor::decode(answer).ok().filter(|(_, port)| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtreem_base::NodeId;

    #[test]
    fn requests_and_answers_round_trip_and_odd_ones_are_nothing() {
        let app = AppId::from_bytes([7; 16]);
        for purpose in [Purpose::Messages, Purpose::Cores] {
            let bytes: [u8; REQUEST_BYTES] = request(app, 513, purpose).try_into().unwrap();
            assert_eq!(parse_request(&bytes), (app, 513, Some(purpose)));
            let odd = [&bytes[..18], &[2]].concat().try_into().unwrap();
            assert_eq!(parse_request(&odd), (app, 513, None));
        }
        let max = u32::MAX;
        let recruiter = NodeId::from_bytes([255; 16]);
        let epoch = Epoch { counter: max, recruiter, incarnation: max, attempt: max };
        let longest = minicbor::to_vec((epoch, u16::MAX)).unwrap();
        assert!(longest.len() as u64 <= ANSWER_MAX_BYTES);
        assert_eq!(parse_answer(&longest), Some((epoch, u16::MAX)));
        for wrong in [vec![], b"garbage".to_vec(), minicbor::to_vec((epoch, 0u16)).unwrap()] {
            assert_eq!(parse_answer(&wrong), None, "{wrong:?}");
        }
    }
}
