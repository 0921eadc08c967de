//! What the protocol asks of the node around it: where messages, wishes and notices go, and a few answers.

use alloc::vec::Vec;

use xtreem_base::{AppId, Events, Handle, Instant, Sink};
use xtreem_discovery::{Facts, FactsAsk};

use crate::policy::Refusal;
use crate::{Message, Notary, Notice, Record, Wish};

/// Lent by the composing node to every call. Wishes and notices are carried out in the order in which they
/// are given.
pub trait Host: Notary + Sink<Message> + Events<Wish> + Events<Notice> {
    /// Whether this node is cut off from the grid. Starts a check when none is recent.
    fn connection(&mut self, now: Instant) -> Connection;
    /// What this node tells of itself; `free` is filled in by the caller.
    fn facts(&self, ask: &FactsAsk) -> Facts;
    /// Up to `k` random contacts of the grid-wide collection.
    fn grid_contacts(&mut self, k: usize) -> Vec<Handle>;
    /// Whether the VO's policy lets this node hold a slot of the application; `here` counts the slots that
    /// its owner has on this node.
    fn judge_hold(&self, record: &Record, here: u32) -> Result<(), Refusal>;
    /// Whether it lets the application be submitted.
    fn judge_submission(&self, record: &Record) -> Result<(), Refusal>;
    /// Whether it limits what the owner may hold in all.
    fn limits_total(&self, record: &Record) -> bool;
    /// Whether it lets the owner have this application beside others with so many slots.
    fn judge_total(&self, record: &Record, held: u32) -> Result<(), Refusal>;
    /// Up to `k` random members of the application's own collection, without this node.
    fn app_peers(&mut self, app: AppId, k: usize) -> Vec<Handle>;
}

/// The answer to "is it me?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    Connected,
    CutOff,
    /// A check is under way; ask again.
    Pending,
}
