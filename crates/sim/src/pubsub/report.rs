//! What a run tells.

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Rounds of two seconds until the ring was right; null: not before subscribers came.
    pub rounds_to_right_ring: Option<u32>,
    /// Subscribers that were told that their subscription holds before the first event.
    pub acknowledged: u64,
    /// Until nine of ten of them were, and all.
    pub acknowledged_90_ms: u64,
    pub acknowledged_all_ms: u64,
    pub events: u64,
    /// Pairs of an event and a subscriber that was acknowledged before and lived to the end.
    pub expected: u64,
    pub delivered: u64,
    /// To how many others one node gave one event, at most.
    pub fan_out_max: u32,
    /// Steps of an event on its way, at most, and in the mean.
    pub depth_max: u32,
    pub depth_mean: f64,
    /// Nodes that had events in hand and wanted none; the publishers do not count.
    pub bystanders_touched: u64,
    /// From publication until half, 99 % and all of those who heard have heard.
    pub latency_half_ms: u64,
    pub latency_99_ms: u64,
    pub latency_max_ms: u64,
    /// Copies of events that were sent, per event, those to the dead included.
    pub payloads_per_event: f64,
    /// All else that was sent for them while events were published, per event: of which of the store, of
    /// lists and of acknowledgements.
    pub control_messages_per_event: f64,
    pub store_messages_per_event: f64,
    pub parts_per_event: f64,
    pub numbers_per_event: f64,
    /// From the deaths of `--kill` until the first event from which on everybody alive hears all; null:
    /// nobody died so, or not before the end.
    pub resumed_after_ms: Option<u64>,
    /// The same for 99.9 of 100 of them.
    pub mostly_resumed_after_ms: Option<u64>,
    /// Copies that came to a server that had the event, and events that came to a subscriber twice.
    pub redundant: u64,
    pub duplicates: u64,
    pub out_of_order: u64,
    /// Events that servers were told were lost.
    pub told_lost: u64,
    /// Events that came to a server a lease after its subscription ended, and streams begun to a server that
    /// was long dead.
    pub after_the_end: u64,
    /// What broke a promise, the first few in words.
    pub wrong: Vec<String>,
    pub ok: bool,
}
