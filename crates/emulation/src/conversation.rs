//! How the caller starts the lab process and talks to it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use crate::control::{Answer, Incoming, Order, Reply, Request, send};
use crate::error::LabError;
use crate::internal::{COMMAND, this_program};
use crate::spec::LabUser;

/// How long the lab may take to do one thing. Starting 1,000 hosts takes the longest: 25 s on two busy
/// cores; our guess leaves room for slower ones.
const REQUEST_TIME: Duration = Duration::from_secs(180);

/// Requests that may wait to be written; who asks for more waits.
const MAX_QUEUED: usize = 16;

type Waiter = oneshot::Sender<Result<Answer, LabError>>;

/// The conversation with the lab.
pub(crate) struct Control {
    /// To the task that writes: a caller that stops waiting must not leave half a line behind.
    requests: mpsc::Sender<Request>,
    /// Who waits for which answer; `None` once the lab is gone.
    pending: Mutex<Option<BTreeMap<u64, Waiter>>>,
    ids: AtomicU64,
}

impl Control {
    /// Takes over the socket, in two tasks that end when the lab does or the socket is shut down.
    pub fn start(incoming: Incoming<OwnedReadHalf>, mut writer: OwnedWriteHalf) -> Arc<Self> {
        let (requests, mut queue) = mpsc::channel(MAX_QUEUED);
        tokio::spawn(async move {
            while let Some(request) = queue.recv().await {
                if send(&mut writer, &request).await.is_err() {
                    break;
                }
            }
        });
        let pending = Mutex::new(Some(BTreeMap::new()));
        let control = Arc::new(Self { requests, pending, ids: AtomicU64::new(0) });
        tokio::spawn(Arc::clone(&control).hear(incoming));
        control
    }

    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub async fn done(&self, order: Order) -> Result<(), LabError> {
        self.ask(order).await.map(drop)
    }

    pub async fn ask(&self, order: Order) -> Result<Answer, LabError> {
        tokio::time::timeout(REQUEST_TIME, self.ask_patiently(order)).await.map_err(|_| LabError::Timeout)?
    }

    pub async fn ask_patiently(&self, order: Order) -> Result<Answer, LabError> {
        let id = self.next_id();
        let (sender, receiver) = oneshot::channel();
        match self.pending.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(pending) => pending.insert(id, sender),
            None => return Err(LabError::Gone),
        };
        self.requests.send(Request { id, order }).await.map_err(|_| LabError::Gone)?;
        receiver.await.map_err(|_| LabError::Gone)?
    }

    async fn hear(self: Arc<Self>, mut incoming: Incoming<OwnedReadHalf>) {
        while let Ok(Some(Reply { id, result })) = incoming.next().await {
            let waiter = self
                .pending
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_mut()
                .map(|all| all.remove(&id));
            if let Some(Some(waiter)) = waiter {
                // Who asked may have stopped waiting.
                let _ = waiter.send(result);
            }
        }
        // Wakes all that still wait.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Starts the lab process. The lab asks to be killed at the end of the *thread* that started it (prctl(2)),
/// so that thread does nothing else and lasts as long as the lab: a thread of the runtime might end before.
pub(crate) async fn start_and_wait(
    role: &'static str,
    control: BlockingUnixStream,
    user: Option<LabUser>,
) -> io::Result<watch::Receiver<bool>> {
    let (started_sender, started) = oneshot::channel();
    let (ended_sender, ended) = watch::channel(false);
    std::thread::Builder::new().name("lab".to_owned()).spawn(move || {
        let mut command = Command::new(this_program());
        // A process group of its own: Ctrl-C is for this process, which may want to end in order.
        command.args([COMMAND, role]).stdin(OwnedFd::from(control)).stdout(Stdio::null()).process_group(0);
        if let Some(LabUser { uid, gid }) = user {
            // This also gives up the superuser's other groups.
            command.uid(uid).gid(gid);
        }
        match command.spawn() {
            Ok(mut child) => {
                drop(command);
                let _ = started_sender.send(Ok(()));
                let _ = child.wait();
            }
            Err(error) => {
                let _ = started_sender.send(Err(error));
            }
        }
        let _ = ended_sender.send(true);
    })?;
    // The thread sends before it does anything that can end it.
    started.await.unwrap_or_else(|_| Err(io::Error::other("the lab's thread has ended")))?;
    Ok(ended)
}
