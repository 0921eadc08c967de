//! The own credential and what is believed of others, kept fresh; and the time by which both are judged.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::sleep;
use xtreem_allocation::Epoch;
use xtreem_trust::{SlotCredential, SlotHolder, SlotRefusal, Trust};

use crate::directory::{Directory, Issued, RenewError};
use crate::error::OpenError;
use crate::limits::{ASK_AGAIN, RENEWAL, RENEWAL_AGAIN};

pub(crate) struct Standing {
    inner: Mutex<Inner>,
    directory: Arc<dyn Directory>,
    /// Counts renewals and epochs that became known.
    changed: watch::Sender<u64>,
    pub slot: u16,
    pub epoch: Epoch,
}

struct Inner {
    credential: Arc<[u8]>,
    trust: Trust,
    /// The agent's time at one moment of the own clock.
    time: (u64, Instant),
    asked: Instant,
}

impl Standing {
    pub fn new(issued: Issued, directory: Arc<dyn Directory>) -> Result<Standing, OpenError> {
        let own = SlotCredential::read(&issued.credential).ok_or(OpenError::Agent("no credential"))?;
        let trust = Trust::new(&issued.grounds).ok_or(OpenError::Agent("no key of the VO"))?;
        let inner = Inner {
            credential: issued.credential.into(),
            trust,
            time: (issued.now_unix_ms, Instant::now()),
            asked: Instant::now(),
        };
        Ok(Standing {
            inner: Mutex::new(inner),
            directory,
            changed: watch::Sender::new(0),
            slot: own.claims.slot,
            epoch: own.claims.epoch,
        })
    }

    pub fn directory(&self) -> &dyn Directory {
        &*self.directory
    }

    pub fn credential(&self) -> Arc<[u8]> {
        self.inner().credential.clone()
    }

    /// Told of each renewal, and of each epoch that became known.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Unix seconds, as the agent has them.
    pub fn now_unix(&self) -> u64 {
        self.inner().now_unix()
    }

    pub fn highest(&self, slot: u16) -> Option<Epoch> {
        self.inner().trust.highest(slot)
    }

    pub fn slots(&self) -> u16 {
        self.inner().trust.slots()
    }

    /// The own agent says that the slot runs under this epoch.
    pub fn raise(&self, slot: u16, epoch: Epoch) {
        if self.inner().trust.raise(slot, epoch) {
            self.tell();
        }
    }

    /// Who shows this. When the own agent may know more of the application by now, it is asked.
    pub async fn judge(&self, shown: &[u8]) -> Result<SlotHolder, SlotRefusal> {
        match self.judge_now(shown) {
            Err(SlotRefusal::NotTheHolder { .. } | SlotRefusal::NoSuchSlot { .. }) if self.may_ask() => {
                // Whatever comes of it: it is judged by what is known then.
                let _ = self.renew().await;
                self.judge_now(shown)
            }
            verdict => verdict,
        }
    }

    fn judge_now(&self, shown: &[u8]) -> Result<SlotHolder, SlotRefusal> {
        let mut inner = self.inner();
        let (now, before) = (inner.now_unix(), inner.trust.raised());
        let verdict = inner.trust.judge(now, shown);
        let is_news = inner.trust.raised() != before;
        drop(inner);
        if is_news {
            self.tell();
        }
        verdict
    }

    fn may_ask(&self) -> bool {
        let mut inner = self.inner();
        let may = inner.asked.elapsed() >= ASK_AGAIN;
        if may {
            inner.asked = Instant::now();
        }
        may
    }

    async fn renew(&self) -> Result<(), RenewError> {
        let Issued { credential, grounds, now_unix_ms } = self.directory.renew().await?;
        let mut inner = self.inner();
        inner.credential = credential.into();
        inner.trust.add(&grounds);
        inner.time = (now_unix_ms, Instant::now());
        drop(inner);
        self.tell();
        Ok(())
    }

    /// Keeps all of it fresh, for ever.
    pub async fn keep(&self) {
        tokio::join!(self.keep_renewing(), self.keep_hearing());
    }

    /// Connections to who was replaced end at once, and not with its credential.
    async fn keep_hearing(&self) {
        loop {
            let (slot, epoch) = self.directory.news().await;
            self.raise(slot, epoch);
        }
    }

    /// As long as the agent says that the slot is here; then the credential runs out.
    async fn keep_renewing(&self) {
        let mut pause = RENEWAL;
        loop {
            sleep(pause).await;
            pause = match self.renew().await {
                Ok(()) => RENEWAL,
                Err(RenewError::NotNow { .. }) => RENEWAL_AGAIN,
                Err(RenewError::Over) => return,
            };
        }
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// A panic elsewhere cannot leave it half-changed: each change is one call.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn now_unix(&self) -> u64 {
        let (then, at) = self.time;
        then.saturating_add(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)) / 1_000
    }
}
