//! The two programs of the benchmark: slot 0 sends as fast as it can, slot 1 takes what comes.

use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use xtreem_client::{Mailbox, Receipt, SendError, SlotClient};

use crate::exit::{Exit, Failure};
use crate::runtime::block_on;

/// Not for people: what the benchmark's application runs.
pub const MEMBER_COMMAND: &str = "bench-member";

/// Lengths of messages.
pub const SIZES: [usize; 2] = [128, 64 << 10];

/// Messages whose acknowledgement is waited for at one time, at most.
const OPEN_MAX: usize = 16_384;

/// Slot 1, which takes the messages.
const TAKER: u16 = 1;

/// Round trips of which the median is told.
const ROUND_TRIPS: usize = 501;

/// Not for people: one of the two members.
#[derive(Args, Debug)]
pub struct MemberArguments {
    /// How long each length of message is sent
    seconds: u64,
}

/// What came of one length of message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub bytes: usize,
    /// Sends that were acknowledged.
    pub sends: u64,
    pub sends_per_second: f64,
    /// From a send to its acknowledgement, while nothing else is under way.
    pub round_trip_us: f64,
}

pub fn run_member(arguments: &MemberArguments) -> Result<Exit, Failure> {
    let span = Duration::from_secs(arguments.seconds);
    block_on(async {
        let client = SlotClient::from_env().map_err(|e| Failure::new(Exit::Failed, e))?;
        let mailbox = client.mailbox().await.map_err(|e| Failure::new(Exit::Failed, e))?;
        if mailbox.slot() == TAKER {
            loop {
                mailbox.recv().await;
            }
        }
        for bytes in SIZES {
            let measured = measure(&mailbox, bytes, span).await?;
            let line = serde_json::to_string(&measured).map_err(|e| Failure::new(Exit::Failed, e))?;
            println!("{line}");
        }
        // It is stopped when both lines were read.
        std::future::pending().await
    })
}

async fn measure(mailbox: &Mailbox, bytes: usize, span: Duration) -> Result<Measured, Failure> {
    let failed = |error: SendError| Failure::new(Exit::Failed, error);
    let body = bytes::Bytes::from(vec![7; bytes]);
    // The first one finds the other member.
    mailbox.send(TAKER, body.clone()).await.map_err(failed)?;
    let mut trips = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        mailbox.send(TAKER, body.clone()).await.map_err(failed)?;
        trips.push(begun.elapsed());
    }
    trips.sort_unstable();
    let (receipts_in, mut receipts) = mpsc::channel::<Receipt>(OPEN_MAX);
    let begun = Instant::now();
    let posting = async move {
        while begun.elapsed() < span {
            let receipt = mailbox.post(TAKER, body.clone()).await.map_err(failed)?;
            // The other end is waited for below.
            let _ = receipts_in.send(receipt).await;
        }
        Ok::<(), Failure>(())
    };
    let counting = async {
        let mut sends = 0;
        while let Some(receipt) = receipts.recv().await {
            receipt.acknowledged().await.map_err(failed)?;
            sends += 1;
        }
        Ok::<u64, Failure>(sends)
    };
    let ((), sends) = tokio::try_join!(posting, counting)?;
    let sends_per_second = sends as f64 / begun.elapsed().as_secs_f64();
    let round_trip_us = trips[ROUND_TRIPS / 2].as_secs_f64() * 1e6;
    Ok(Measured { bytes, sends, sends_per_second, round_trip_us })
}
