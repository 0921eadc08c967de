//! Members that die and are replaced, or that were and do not know it.

use std::time::Duration;

use tokio::time::timeout;

use super::town::Town;
use crate::{Found, SendError};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn messages_to_a_slot_go_on_to_its_replacement() {
    let town = Town::new();
    let (one, old) = (town.member(0, 1), town.member(1, 1));
    one.send(1, "first").await.expect("sent");
    assert_eq!(old.recv().await.body, "first");
    // It dies, and somebody else holds the slot.
    drop(old);
    let new = town.member(1, 2);
    // One that is sent in the moment of the death may have arrived, as far as its sender knows.
    while let Err(error) = one.send(1, "second").await {
        assert!(!error.is_definite(), "{error}");
    }
    let message = new.recv().await;
    assert_eq!(message.body, "second");
    new.send(0, "from the new one").await.expect("sent");
    let message = one.recv().await;
    assert_eq!((message.from.slot, message.from.epoch), (1, Town::epoch(2)));
}

#[tokio::test]
async fn a_message_to_a_dead_member_fails_and_says_whether_it_may_have_arrived() {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    one.send(1, "alive").await.expect("sent");
    // From now on nothing is read there: what was sent may have arrived.
    let receipts = {
        let mut receipts = Vec::new();
        while let Ok(posted) = timeout(Duration::from_millis(200), one.post(1, vec![0; 60_000])).await {
            receipts.push(posted.expect("taken"));
        }
        receipts
    };
    drop(two);
    town.forget(1);
    let mut outcomes = (0, 0, 0);
    for receipt in receipts {
        match receipt.acknowledged().await {
            Ok(()) => outcomes.0 += 1,
            Err(error) if error.is_definite() => outcomes.1 += 1,
            Err(_) => outcomes.2 += 1,
        }
    }
    assert!(outcomes.0 > 0 && outcomes.2 > 0, "{outcomes:?}");
    let later = one.send(1, "later").await.expect_err("nobody is there");
    assert!(later.is_definite() && matches!(later, SendError::NotReached { .. }), "{later}");
}

#[tokio::test]
async fn who_knows_a_higher_epoch_refuses_the_lower_and_ends_its_connections() {
    let town = Town::new();
    let (one, old) = (town.member(0, 1), town.member(1, 1));
    old.send(0, "while it held it").await.expect("sent");
    one.send(1, "while it held it").await.expect("sent");
    one.recv().await;
    // Its agent tells it of the new holder.
    one.raise(1, Town::epoch(2));
    let refused = timeout(SOON, async {
        loop {
            // The connection that it had is closed; then it is told why.
            match old.send(0, "too late").await {
                Err(error @ SendError::Replaced { .. }) => break error,
                Err(SendError::NotAcknowledged { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    let refused = refused.await.expect("it is refused");
    assert!(refused.is_definite() && refused.to_string().contains("older epoch of slot 1"), "{refused}");
    assert_eq!(one.try_recv(), None, "nothing of it came through");
    // Nor is anything sent to it: its place is known, and its epoch is the lower.
    let to_old = one.send(1, "to the old one").await.expect_err("it is refused here as well");
    assert!(to_old.is_definite() && to_old.to_string().contains("older epoch"), "{to_old}");
    assert_eq!(old.recv().await.body, "while it held it");
    assert_eq!(old.try_recv(), None);
}

#[tokio::test]
async fn a_place_that_belongs_to_another_slot_by_now_is_noticed() {
    let town = Town::new();
    let (one, two) = (town.member(0, 1), town.member(1, 1));
    let address = town.place(1).address;
    town.put(2, Found { epoch: Town::epoch(1), address });
    let wrong = one.send(2, "x").await.expect_err("slot 1 is there");
    assert!(wrong.is_definite() && wrong.to_string().contains("slot 1 is there, not slot 2"), "{wrong}");
    assert_eq!(two.try_recv(), None);
}
