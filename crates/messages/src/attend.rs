//! What goes on beside the messages of a connection: credentials are renewed on both sides, and it ends when
//! the other one's has run out, or a higher epoch of its slot becomes known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quinn::{Connection, RecvStream, SendStream};
use tokio::time::{sleep, timeout};
use xtreem_trust::{LEEWAY_SECONDS, SlotHolder};

use crate::hello::{self, Close};
use crate::limits::RENEWALS_MAX;
use crate::standing::Standing;

/// Ends the connection when it has to end, and says why.
pub(crate) async fn attend(
    standing: &Standing,
    connection: &Connection,
    peer: SlotHolder,
    (mut send, mut receive): (SendStream, RecvStream),
) -> String {
    let not_after = AtomicU64::new(peer.not_after);
    let (close, why) = tokio::select! {
        why = renew_ours(standing, &mut send) => (Close::Done, why),
        why = hear_theirs(standing, peer, &mut receive, &not_after) => (Close::Refused, why),
        (close, why) = watch(standing, peer, &not_after) => (close, why),
        error = connection.closed() => (Close::Done, error.to_string()),
    };
    close.end(connection, &why);
    why
}

async fn renew_ours(standing: &Standing, send: &mut SendStream) -> String {
    let mut changes = standing.changes();
    let mut shown = standing.credential();
    loop {
        // Its sender lives as long as the mailbox.
        if changes.changed().await.is_err() {
            return "the mailbox is closed".to_owned();
        }
        let credential = standing.credential();
        if !Arc::ptr_eq(&credential, &shown) {
            if let Err(error) = hello::write(send, &credential).await {
                return error.to_string();
            }
            shown = credential;
        }
    }
}

async fn hear_theirs(
    standing: &Standing,
    peer: SlotHolder,
    receive: &mut RecvStream,
    not_after: &AtomicU64,
) -> String {
    let (begun, mut count) = (Instant::now(), 0);
    loop {
        let shown = match hello::read(receive).await {
            Ok(shown) => shown,
            Err(why) => return why,
        };
        if count >= begun.elapsed().as_secs() + RENEWALS_MAX {
            return "RENEWALS_MAX: the credential is renewed too often".to_owned();
        }
        count += 1;
        match standing.judge(&shown).await {
            Ok(again) if SlotHolder { not_after: peer.not_after, ..again } == peer => {
                not_after.store(again.not_after, Ordering::Relaxed);
            }
            Ok(_) => return "the renewed credential is of another slot, epoch or key".to_owned(),
            Err(refusal) => return refusal.to_string(),
        }
    }
}

async fn watch(standing: &Standing, peer: SlotHolder, not_after: &AtomicU64) -> (Close, String) {
    let mut changes = standing.changes();
    loop {
        if let Some(known) = standing.highest(peer.slot).filter(|known| *known > peer.epoch) {
            return (Close::Older, format!("slot {} runs under a higher epoch, {known}", peer.slot));
        }
        let end = not_after.load(Ordering::Relaxed).saturating_add(LEEWAY_SECONDS);
        let left = end.saturating_add(1).saturating_sub(standing.now_unix());
        if left == 0 {
            return (Close::Refused, format!("the credential of slot {} has run out", peer.slot));
        }
        // It may have been renewed by then.
        let _ = timeout(Duration::from_secs(left), async {
            if changes.changed().await.is_err() {
                sleep(Duration::from_secs(left)).await;
            }
        })
        .await;
    }
}
