//! What all parts of a running agent share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use xtreem_base::{Instant, Rng};
use xtreem_discovery::Attributes;
use xtreem_net::{Net, Outbox, Stopped};
use xtreem_node::Node;

use crate::api::holders::Holders;
use crate::beside::Commands;
use crate::collections::{Registry, Starts};
use crate::config::Config;
use crate::durable::Durable;
use crate::isolation::{self, Standing};
use crate::lifecycle::State;
use crate::mail::Mail;
use crate::ports::Ports;
use crate::pubsub::Pubsub;
use crate::slots::Slots;
use crate::store::Store;
use crate::trash::Trash;
use crate::waiting::Waiting;

/// One agent. Tasks hold it by `Arc`; nothing in it is locked across a wait.
pub(crate) struct Agent {
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) net: Net,
    pub(crate) store: Store,
    pub(crate) durable: Durable,
    /// Where leftovers of slots go.
    pub(crate) trash: Trash,
    pub(crate) slots: Slots,
    /// Commands beside slots.
    pub(crate) commands: Commands,
    /// Where slots were seen a moment ago.
    pub(crate) holders: Holders,
    pub(crate) ports: Ports,
    pub(crate) mail: Mail,
    /// Slots here that are members of collections.
    pub(crate) collections: Registry,
    /// Numbers the starts of their members.
    pub(crate) starts: Starts,
    pub(crate) pubsub: Pubsub,
    pub(crate) waiting: Arc<Waiting>,
    /// Name that the operator knows the node by.
    pub(crate) name: String,
    /// File of the node's key.
    pub(crate) identity_file: PathBuf,
    /// As last told to the node.
    pub(crate) attributes: Mutex<Attributes>,
    /// How programs are shut in here, and whether this node may take slots.
    pub(crate) standing: Standing,
}

impl Agent {
    /// Runs `ask` on the node.
    pub(crate) async fn node<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Node, Instant, &mut Outbox) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        self.net.call(ask).await
    }

    /// Tells the node something. A node that has stopped needs to know nothing any more.
    pub(crate) async fn tell(&self, tell: impl FnOnce(&mut Node, Instant, &mut Outbox) + Send + 'static) {
        let _ = self.net.call(tell).await;
    }

    /// What programs must not see: the node's key, and everything that the agent keeps.
    pub(crate) fn hidden(&self) -> Vec<PathBuf> {
        isolation::hidden(&self.config, self.state.dir(), &self.identity_file)
    }

    pub(crate) fn attributes(&self) -> Attributes {
        self.attributes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_attributes(&self, attributes: Attributes) {
        *self.attributes.lock().unwrap_or_else(PoisonError::into_inner) = attributes;
    }
}

/// Choices that nobody outside shall guess.
pub(crate) fn random() -> Rng {
    Rng::new(random_u64())
}

pub(crate) fn random_u64() -> u64 {
    // Linux has had this call since 3.17, and after the boot it cannot fail.
    getrandom::u64().expect("the operating system gives random bytes")
}
