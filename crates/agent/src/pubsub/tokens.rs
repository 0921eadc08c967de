//! Tokens by which connections say whose they are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use xtreem_pubsub::broker::Access;

/// Which token stands for whom. Slots come and go with their tokens.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<[u8; 32], Access>>);

impl Tokens {
    pub(crate) fn add(&self, token: &str, access: Access) {
        self.lock().insert(key(token), access);
    }

    pub(crate) fn remove(&self, token: &str) {
        self.lock().remove(&key(token));
    }

    pub(crate) fn access(&self, token: &str) -> Option<Access> {
        self.lock().get(&key(token)).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 32], Access>> {
        // Each change is one call that leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tokens are looked for by their digest: how long that takes says nothing of how much of a guess was right.
fn key(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}
