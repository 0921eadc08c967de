//! What honest members do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::town::{ROW, Town};
use crate::{
    Address, By, FindError, IN_FLIGHT_MAX_BYTES, MESSAGE_MAX_BYTES, Misaddressed, Numbering, SendError,
    UNREAD_PER_PEER_MAX_BYTES,
};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn two_members_send_each_other_messages_in_their_order() {
    const MANY: u32 = 20_000;
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let send = async |from: &crate::Mailbox, to: u16| {
        let mut receipts = Vec::new();
        for number in 0..MANY {
            // Some are copied together, some are not.
            let len = if number % 500 == 0 { 70_000 } else { 100 };
            let mut body = number.to_be_bytes().to_vec();
            body.resize(len, 7);
            receipts.push(from.post(to, body).await.expect("there is room"));
        }
        for receipt in receipts {
            receipt.acknowledged().await.expect("it arrived");
        }
    };
    let receive = async |at: &crate::Mailbox, from: u16| {
        for number in 0..MANY {
            let message = at.recv().await;
            let len = if number % 500 == 0 { 70_000 } else { 100 };
            assert_eq!((message.from.slot, message.body.len()), (from, len));
            assert_eq!(message.body[..4], number.to_be_bytes(), "out of order");
        }
    };
    let all = async { tokio::join!(send(&one, 1), send(&two, 0), receive(&one, 1), receive(&two, 0)) };
    timeout(SOON, all).await.expect("they talk");
}

#[tokio::test]
async fn a_member_of_five_hears_from_which_slot_each_message_is() {
    let town = Town::new();
    let members: Vec<_> = (0..5).map(|slot| town.member(slot, 1)).collect();
    for from in &members {
        for to in &members {
            // Also to itself.
            let body = format!("{} to {}", from.slot(), to.slot());
            from.send(to.slot(), body).await.expect("sent");
        }
    }
    for to in &members {
        let mut heard: Vec<u16> = Vec::new();
        for _ in 0..5 {
            let message = to.recv().await;
            let expected = format!("{} to {}", message.from.slot, to.slot());
            assert_eq!(message.body, expected.as_bytes());
            assert_eq!(message.from.epoch, Town::epoch(1));
            heard.push(message.from.slot);
        }
        heard.sort_unstable();
        assert_eq!(heard, [0, 1, 2, 3, 4]);
        assert_eq!(to.try_recv(), None);
    }
}

fn rank(rank: u32, numbering: Numbering) -> Address {
    Address { collection: "row".to_owned(), by: By::Rank { rank, numbering } }
}

#[tokio::test]
async fn the_receiver_sees_by_what_a_message_was_addressed_the_longest_too() {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    for len in [0, 100, 70_000, MESSAGE_MAX_BYTES] {
        let body = Bytes::from(vec![7; len]);
        one.send_as(1, rank(3, ROW), body.clone()).await.expect("it is rank 3");
        one.send(1, "plain").await.expect("sent");
        let message = two.recv().await;
        assert_eq!((message.to.as_deref(), message.body), (Some(&rank(3, ROW)), body));
        assert_eq!(two.recv().await.to, None);
    }
}

#[tokio::test]
async fn what_is_addressed_to_another_one_fails_definitely_and_the_rest_arrives_in_order() {
    const MANY: u32 = 2_000;
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let later = Numbering { number: 2, ..ROW };
    let is_rank_3 = Misaddressed::Stands { rank: Some(3), numbering: ROW };
    let elsewhere = Address { collection: "column".to_owned(), ..rank(3, ROW) };
    let wrong = [(rank(4, ROW), is_rank_3), (rank(3, later), is_rank_3), (elsewhere, Misaddressed::NoMember)];
    let sending = async {
        let mut receipts = Vec::new();
        for number in 0..MANY {
            let body = number.to_be_bytes().to_vec();
            let receipt = match number % 5 {
                kind @ 0..3 => one.post_as(1, wrong[kind as usize].0.clone(), body).await,
                3 => one.post_as(1, rank(3, ROW), body).await,
                _ => one.post(1, body).await,
            };
            receipts.push(receipt.expect("there is room"));
        }
        for (number, receipt) in receipts.into_iter().enumerate() {
            let sent = receipt.acknowledged().await;
            let Some((address, why)) = wrong.get(number % 5) else {
                sent.expect("it arrived");
                continue;
            };
            let (address, why) = (Box::new(address.clone()), *why);
            assert_eq!(sent, Err(SendError::Misaddressed { slot: 1, address, why }));
        }
    };
    let receiving = async {
        for number in (0..MANY).filter(|number| number % 5 > 2) {
            assert_eq!(two.recv().await.body, &number.to_be_bytes()[..]);
        }
    };
    timeout(SOON, async { tokio::join!(sending, receiving) }).await.expect("they talk");
    assert_eq!(two.try_recv(), None);
    let error = one.send_as(1, rank(4, ROW), "x").await.expect_err("it is rank 3");
    assert!(error.is_definite());
    let text = "slot 1 is not rank 4 of \"row\" under numbering 1.0000000000000007: it is rank 3 under \
                numbering 1.0000000000000007; ask again who is";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_slot_that_there_is_not_and_one_that_nobody_holds_are_told_apart_and_definite() {
    let town = Town::new();
    let one = town.member(0, 1);
    let nobody = one.send(5, "x").await.expect_err("there are five");
    assert_eq!(nobody, SendError::Find(FindError::Nobody { slot: 5, slots: 5 }));
    let empty = one.send(3, "x").await.expect_err("it has no mailbox");
    assert!(
        matches!(&empty, SendError::NotReached { slot: 3, why } if why.contains("nobody holds")),
        "{empty}"
    );
    assert!(nobody.is_definite() && empty.is_definite());
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_by_the_name_of_the_limit_and_a_stream_takes_it() {
    const LEN: usize = 48 << 20;
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let part = Bytes::from(vec![9; MESSAGE_MAX_BYTES]);
    one.send(1, part.clone()).await.expect("the longest");
    assert_eq!(two.recv().await.body, part);
    let refused = one.send(1, vec![0; MESSAGE_MAX_BYTES + 1]).await.expect_err("one byte too long");
    assert!(refused.is_definite() && refused.to_string().contains("MESSAGE_MAX_BYTES"), "{refused}");
    let sending = async {
        let mut stream = one.stream(1).await.expect("open");
        for _ in 0..LEN / part.len() {
            stream.write(part.clone()).await.expect("taken");
        }
        stream.finish().await
    };
    let receiving = async {
        let mut stream = two.accept().await;
        assert_eq!(stream.from.slot, 0);
        let mut len = 0;
        while let Some(part) = stream.read().await.expect("all of it") {
            assert!(part.iter().all(|byte| *byte == 9));
            len += part.len();
        }
        len
    };
    let (sent, len) = timeout(SOON, async { tokio::join!(sending, receiving) }).await.expect("it passes");
    assert_eq!((sent, len), (Ok(()), LEN));
}

#[tokio::test]
async fn a_stream_that_is_dropped_on_one_side_breaks_off_on_the_other() {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let mut stream = one.stream(1).await.expect("open");
    stream.write("begun").await.expect("taken");
    let mut heard = two.accept().await;
    assert_eq!(heard.read().await, Ok(Some(Bytes::from("begun"))));
    drop(stream);
    assert!(heard.read().await.is_err(), "its end is missing");
    let mut stream = one.stream(1).await.expect("open");
    stream.write("begun").await.expect("taken");
    drop(two.accept().await);
    let ended = stream.finish().await.expect_err("nobody read it");
    assert!(!ended.is_definite(), "{ended}");
}

#[tokio::test]
async fn who_does_not_read_holds_its_senders_up_and_loses_nothing() {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let body = Bytes::from(vec![1; 60_000]);
    let mut receipts = Vec::new();
    // Until nothing more is taken: what is unread there, on the way, and in flight here.
    while let Ok(posted) = timeout(Duration::from_millis(300), one.post(1, body.clone())).await {
        receipts.push(posted.expect("taken"));
        let bytes = receipts.len() * body.len();
        assert!(bytes <= IN_FLIGHT_MAX_BYTES + UNREAD_PER_PEER_MAX_BYTES, "{bytes} bytes are kept");
    }
    let other = town.member(2, 1);
    other.send(1, "of another").await.expect("its room is its own");
    let total = receipts.len() + 1;
    let reading = async {
        for _ in 0..total {
            two.recv().await;
        }
    };
    let acknowledging = async {
        for receipt in receipts {
            receipt.acknowledged().await.expect("nothing was lost");
        }
    };
    timeout(SOON, async { tokio::join!(reading, acknowledging) }).await.expect("it goes on");
}

#[tokio::test]
async fn a_send_ends_in_its_time_and_says_whether_it_may_have_arrived() {
    const WITHIN: Duration = Duration::from_millis(500);
    let town = Town::new();
    let (one, two) = (Arc::new(town.member(0, 1)), town.member(1, 1));
    one.send(1, "first").await.expect("sent");
    let end = Instant::now() + WITHIN;
    let send = |number: u8| {
        let one = one.clone();
        tokio::spawn(async move { one.send_by(1, vec![number; MESSAGE_MAX_BYTES], end).await })
    };
    let sends: Vec<_> = (0..40).map(send).collect();
    let (mut indefinite, mut definite) = (Vec::new(), Vec::new());
    for (number, send) in (0..40).zip(sends) {
        match timeout(SOON, send).await.expect("it ends").expect("no panic") {
            Ok(()) => {}
            Err(error) if error.is_definite() => {
                assert_eq!(error, SendError::NoRoom { slot: 1 });
                definite.push(number);
            }
            Err(_) => indefinite.push(number),
        }
    }
    assert!(!indefinite.is_empty() && definite.len() > 20, "{indefinite:?}, {definite:?}");
    // It goes on as soon as somebody reads, without those that were given up.
    let reading = async {
        let mut heard = Vec::new();
        loop {
            let message = two.recv().await;
            match message.body.len() {
                MESSAGE_MAX_BYTES => heard.push(message.body[0]),
                _ if message.body == "last" => return heard,
                _ => {}
            }
        }
    };
    let (heard, last) =
        timeout(SOON, async { tokio::join!(reading, one.send(1, "last")) }).await.expect("they are read");
    last.expect("sent");
    assert!(definite.iter().all(|number| !heard.contains(number)), "{definite:?} among {heard:?}");
    assert!(indefinite.iter().all(|number| heard.contains(number)), "{indefinite:?} not among {heard:?}");
}
