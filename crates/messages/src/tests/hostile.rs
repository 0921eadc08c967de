//! Members with credentials that do not hold, and members that break the protocol.

use std::time::Duration;

use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::time::timeout;
use xtreem_base::AppId;
use xtreem_trust::SlotClaims;

use super::town::{Forged, ROW, Town};
use crate::frame::{ADDRESSED, REFUSED};
use crate::hello::{self, MESSAGES};
use crate::{Address, By, Mailbox, Misaddressed, SendError};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn credentials_that_do_not_hold_are_refused_by_name_in_both_directions() {
    let good = Forged::nothing;
    let table: Vec<(&str, Forged, &str)> = vec![
        (
            "another application",
            Forged { claims: |claims| claims.app = AppId::from_bytes([8; 16]), ..good() },
            "another application",
        ),
        (
            "another VO",
            Forged { claims: |claims| claims.vo = other_vo(), node: Some(90), vo: 201, ..good() },
            "another VO",
        ),
        ("a node of another VO", Forged { node: Some(90), vo: 201, ..good() }, "another VO"),
        (
            "expired",
            Forged {
                claims: |claims| {
                    claims.not_before -= 200;
                    claims.not_after -= 200;
                },
                ..good()
            },
            "expired",
        ),
        ("a member claims another's slot", Forged { node: Some(91), ..good() }, "nothing shows"),
        ("another key", Forged { claims: |claims| claims.key = other_key(), ..good() }, "another key"),
    ];
    for (what, forged, name) in table {
        let town = Town::new();
        let one = town.member(0, 1);
        let liar = town.member_with(1, 1, forged, true);
        let refused = liar.send(0, "x").await.expect_err(what);
        let (is_definite, text) = (refused.is_definite(), refused.to_string());
        assert!(is_definite && text.contains("refused there") && text.contains(name), "{what}: {text}");
        let refused = one.send(1, "x").await.expect_err(what);
        let (is_definite, text) = (refused.is_definite(), refused.to_string());
        assert!(is_definite && text.contains(name), "{what}: {text}");
        assert_eq!((one.try_recv(), liar.try_recv()), (None, None), "{what}");
    }
}

fn other_vo() -> xtreem_base::NodeId {
    xtreem_wire::VoRoot::of(&ed25519_dalek::SigningKey::from_bytes(&[201; 32])).id()
}

fn other_key() -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(&[77; 32]).verifying_key().to_bytes()
}

/// Its agent renews no more, or the other side cannot hear it.
#[tokio::test]
async fn a_connection_ends_with_a_credential_that_is_not_renewed() {
    let town = Town::new();
    // The clock of the one who judges is 149 s ahead of the other's: one second is left of the 150 of
    // validity and leeway.
    let ahead: fn(&mut SlotClaims) = |claims| {
        claims.not_before += 149;
        claims.not_after += 149;
    };
    let one = town.member_with(0, 1, Forged { claims: ahead, ahead_s: 149, ..Forged::nothing() }, true);
    let two = town.member_with(1, 1, Forged { ahead_s: 149, ..Forged::nothing() }, true);
    two.send(0, "in time").await.expect("its credential holds for a second");
    assert_eq!(one.recv().await.body, "in time");
    let end = timeout(SOON, async {
        loop {
            match two.send(0, "later").await {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) if error.to_string().contains("refused there") => break error,
                Err(_) => {}
            }
        }
    });
    let error = end.await.expect("it ends");
    assert!(error.to_string().contains("expired"), "{error}");
}

/// A member that speaks for itself: its own connection to `to`, and a stream of messages on it.
async fn raw(from: &Mailbox, to: &Mailbox) -> (Connection, SendStream, RecvStream, hello::Met) {
    let address = to.address().expect("an address");
    let connection = from.shared().endpoint.connect(address, "slot.xtreem").expect("dialled");
    let connection = connection.await.expect("connected");
    let met = hello::greet(&from.shared().standing, connection, to.slot()).await.expect("met");
    let (mut send, receive) = met.connection.open_bi().await.expect("open");
    send.write_all(&[MESSAGES]).await.expect("written");
    (met.connection.clone(), send, receive, met)
}

async fn closed_because(connection: &Connection) -> String {
    match timeout(SOON, connection.closed()).await.expect("it is closed") {
        ConnectionError::ApplicationClosed(closed) => String::from_utf8_lossy(&closed.reason).into_owned(),
        other => other.to_string(),
    }
}

#[tokio::test]
async fn a_message_of_a_gigabyte_ends_the_connection_by_the_name_of_the_limit() {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let (connection, mut send, _receive, _met) = raw(&one, &two).await;
    send.write_all(&(1u32 << 30).to_be_bytes()).await.expect("written");
    let why = closed_because(&connection).await;
    assert!(why.contains("MESSAGE_MAX_BYTES"), "{why}");
    // The member itself is no stranger: it may come again.
    one.send(1, "short").await.expect("sent");
    assert_eq!(two.recv().await.body, "short");
}

#[tokio::test]
async fn a_second_stream_of_messages_and_streams_for_nothing_end_the_connection() {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    for kind in [MESSAGES, 0, 9] {
        let (connection, _send, _receive, _met) = raw(&one, &two).await;
        let (mut again, _) = connection.open_bi().await.expect("open");
        again.write_all(&[kind]).await.expect("written");
        let why = closed_because(&connection).await;
        assert!(why.contains(&format!("a stream for {kind}")), "{why}");
    }
}

/// A liar takes the connection of a member that sends one plain message, and says this of it.
async fn answered(words: &[u8]) -> (Result<(), SendError>, String) {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let liar = two.shared().clone();
    let endpoint = crate::Mailbox::bind(&super::town::slot_key(11), super::town::HERE, 0).expect("bound");
    town.put(1, crate::Found { epoch: Town::epoch(1), address: endpoint.address().expect("an address") });
    let lying = async {
        let incoming = endpoint.endpoint().accept().await.expect("somebody dials");
        let connection = incoming.accept().expect("taken").await.expect("connected");
        let met = hello::receive(&liar.standing, connection).await.expect("met");
        let (mut send, _receive) = met.connection.accept_bi().await.expect("messages");
        send.write_all(words).await.expect("written");
        closed_because(&met.connection).await
    };
    tokio::join!(one.send(1, "once"), lying)
}

#[tokio::test]
async fn acknowledgements_and_refusals_of_what_was_not_sent_end_the_connection() {
    let refused =
        |number: u64, why: &[u8]| [&(number | REFUSED).to_be_bytes()[..], &[why.len() as u8], why].concat();
    let why = Misaddressed::NoMember.write();
    let table = [
        ("seven", 7u64.to_be_bytes().to_vec(), "acknowledges what was not sent"),
        ("none is refused", refused(0, &why), "acknowledges what was not sent"),
        ("one by its slot is refused", refused(1, &why), "acknowledges what was not sent"),
        ("odd words", refused(1, b"odd"), "malformed"),
        ("many words", refused(1, &[0; 255]), "malformed"),
    ];
    for (what, words, expected) in table {
        let (sent, why) = answered(&words).await;
        assert!(why.contains(expected), "{what}: {why}");
        assert!(matches!(sent, Err(SendError::NotAcknowledged { .. })), "{what}: {sent:?}");
    }
}

#[tokio::test]
async fn addresses_beyond_their_limits_end_the_connection() {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let head = |len: u32| (ADDRESSED | len).to_be_bytes();
    let table = [
        ([&head(702)[..], &700u16.to_be_bytes(), &[0; 700]].concat(), "ADDRESS_MAX_BYTES"),
        ([&head(5)[..], &9u16.to_be_bytes(), b"odd"].concat(), "malformed"),
        ([&head(5)[..], &3u16.to_be_bytes(), b"odd"].concat(), "malformed"),
        (head(u32::MAX >> 1).to_vec(), "MESSAGE_MAX_BYTES"),
    ];
    for (bytes, expected) in table {
        let (connection, mut send, _receive, _met) = raw(&one, &two).await;
        send.write_all(&bytes).await.expect("written");
        let why = closed_because(&connection).await;
        assert!(why.contains(expected), "{why}");
    }
    assert_eq!(two.try_recv(), None);
}

/// It never hears that they are refused.
#[tokio::test]
async fn a_flood_of_misaddressed_messages_is_read_no_further() {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let (_connection, mut send, _receive, _met) = raw(&one, &two).await;
    let address = Address { collection: "no".to_owned(), by: By::Rank { rank: 1, numbering: ROW } };
    let address = address.write().expect("short");
    let head = (ADDRESSED | (2 + address.len()) as u32).to_be_bytes();
    let message = [&head[..], &(address.len() as u16).to_be_bytes(), &address].concat();
    let flood = message.repeat(1_000);
    let pause = Duration::from_millis(500);
    let mut bytes = 0;
    while let Ok(written) = timeout(pause, send.write_all(&flood)).await {
        written.expect("it is open");
        bytes += flood.len();
        assert!(bytes < 64 << 20, "{bytes} bytes were taken");
    }
}

#[tokio::test]
async fn strangers_that_say_nothing_keep_no_member_out() {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let stranger = crate::Mailbox::bind(&super::town::slot_key(99), super::town::HERE, 0).expect("bound");
    let mut silent = Vec::new();
    for _ in 0..8 {
        let connecting =
            stranger.endpoint().connect(two.address().expect("an address"), "slot.xtreem").expect("dialled");
        silent.push(connecting.await.expect("connected"));
    }
    one.send(1, "a member").await.expect("sent");
    assert_eq!(two.recv().await.body, "a member");
    for connection in silent {
        let why = closed_because(&connection).await;
        assert!(why.contains("no credential in time"), "{why}");
    }
}

#[tokio::test]
async fn a_credential_that_is_renewed_without_end_ends_the_connection() {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let (connection, _send, _receive, mut met) = raw(&one, &two).await;
    let credential = one.shared().standing.credential();
    // It is written until the other side hangs up.
    while hello::write(&mut met.send, &credential).await.is_ok() {}
    let why = closed_because(&connection).await;
    assert!(why.contains("RENEWALS_MAX"), "{why}");
}
