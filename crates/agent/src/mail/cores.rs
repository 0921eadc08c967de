//! The mailbox through which the collections of a slot talk to those of other slots.

use std::sync::Arc;

use xtreem_allocation::SlotRun;
use xtreem_messages::{Mailbox, Options, SlotKey};

use super::{CORES_MAX, NoMailbox, Purpose, kept};
use crate::agent::Agent;

/// What is not taken yet of all members: the least that there can be, as it is taken at once.
const UNREAD_MAX_BYTES: usize = 4 << 20;

/// The mailbox, and that others are told of it.
pub(crate) struct CoreMail {
    pub(crate) mailbox: Mailbox,
    agent: Arc<Agent>,
    run: SlotRun,
    /// Counts mailboxes.
    _place: Arc<()>,
}

impl CoreMail {
    /// Opens it, with a key that the program is not told.
    pub(crate) async fn open(agent: &Arc<Agent>, run: SlotRun) -> Result<CoreMail, NoMailbox> {
        let place = agent.mail.cores.clone();
        // The table has one itself, and so has this call.
        if Arc::strong_count(&place) > CORES_MAX + 1 {
            return Err(NoMailbox::TooManyCores);
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| xtreem_messages::OpenError::from(std::io::Error::other(error)))?;
        let options = Options { unread_max_bytes: UNREAD_MAX_BYTES, ..Options::default() };
        let mailbox = kept::open(agent, run, &SlotKey::from_seed(seed), Purpose::Cores, options).await?;
        agent.mail.set(Purpose::Cores, run, mailbox.address()?.port());
        Ok(CoreMail { mailbox, agent: agent.clone(), run, _place: place })
    }
}

impl Drop for CoreMail {
    fn drop(&mut self) {
        self.agent.mail.remove(Purpose::Cores, self.run);
    }
}
