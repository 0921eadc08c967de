//! What outlives the agent: its roles, the records that ended applications, the reference set. One redb file.
//!
//! The node says what is to be kept, under rising numbers; a thread of its own writes whatever waits in one
//! transaction, syncs it, and says up to which number all is on disk. So a disk that is slow holds up nothing
//! but the answers that wait for it. Peers stand in the file by id, address and incarnation, never by handle.
//!
//! A file that is damaged, or of another version, is moved aside: the node then has no roles, and says so.
//! One that cannot be opened now (it is another user's, or the disk is full) may be whole: the agent does not
//! start without it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::watch;
use xtreem_base::AppId;
use xtreem_net::{Contact, SavedBytes};

use crate::agent::Agent;
use crate::lifecycle;
use crate::reserve::{self, Reserve};

/// One value an application: a [`xtreem_allocation::Kept`].
const ROLES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("roles");
/// When each of them was written: Unix seconds.
const WRITTEN: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("written");
/// The node's own affairs, by name.
const NODE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("node");
/// The form of the values. A file with another number is not read.
const FORMAT: u8 = 1;
/// Memory that redb may use for pages (our guess: some hundred roles).
const CACHE_BYTES: usize = 4 << 20;
/// The time is written this often, so that the next start knows how long the node was away.
const ALIVE_PERIOD: Duration = Duration::from_secs(600);
/// A write that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// As long as the same goes wrong, the log is told once in this time (our guess).
const TELL_AGAIN: Duration = Duration::from_secs(600);
/// A clock that shows less, in unix time, was never set.
const FIRST_SECOND: u64 = lifecycle::FIRST_SECOND.as_secs();
/// A clock that is set back by less was only corrected (our guess).
const CORRECTION_MAX: u64 = 3_600;
/// What is assumed where clocks do not tell how long the node was away: longer than others remember what it
/// had, so that it waits for their word, and not so long that it forgets all.
const AWAY_UNKNOWN: u64 = 2 * 24 * 3_600;
/// A write that takes longer is told to the operator; the node grants no holds from then on.
const SLOW: Duration = Duration::from_secs(5);

/// What was found at the start.
type Found = SavedBytes;

/// What this node had cannot be looked at. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{} holds what this node had and cannot be opened: {error}; it may be whole, so the agent does not start \
         without it: let its user read and write it, make room on the disk, or move it away for a node that begins anew",
        .file.display()
    )]
    Unavailable { file: PathBuf, error: Trouble },
    #[error("no thread can be started: {0}")]
    Thread(std::io::Error),
}

/// The way to the file. Values that wait are bounded by the node's applications: of each only the newest
/// waits.
#[derive(Debug)]
pub(crate) struct Durable {
    shared: Arc<Shared>,
    stored: watch::Receiver<u64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    file: PathBuf,
    queue: Mutex<Queue>,
    /// Told whenever there is something to do.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Batch,
    /// Since when the oldest thing waits that is not on disk yet.
    since: Option<Instant>,
    /// The agent hands its slots back: what it had stays on disk, for a start before others have taken it
    /// over.
    is_frozen: bool,
    is_closed: bool,
}

/// What goes into one transaction.
#[derive(Debug, Default)]
struct Batch {
    roles: BTreeMap<AppId, Option<Vec<u8>>>,
    reference: Option<Vec<u8>>,
    /// The highest number of the roles.
    number: u64,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.reference.is_none()
    }

    /// Puts back what could not be written, under what came meanwhile.
    fn merge_older(&mut self, older: Batch) {
        for (app, value) in older.roles {
            self.roles.entry(app).or_insert(value);
        }
        self.reference = self.reference.take().or(older.reference);
        self.number = self.number.max(older.number);
    }
}

impl Durable {
    /// Opens the file in `dir` and starts the thread.
    pub(crate) fn open(dir: &Path, reserve: Arc<Reserve>) -> Result<(Durable, Found), OpenError> {
        let file = dir.join("roles.redb");
        let open_it = || {
            catch(|| match open(&file) {
                Err(error) if is_full(&error) && reserve.give_up() => open(&file),
                opened => opened,
            })
        };
        let (database, found) = match open_it() {
            Ok(opened) => opened,
            Err(error) if is_damage(&error) => {
                let aside = file.with_extension("damaged");
                tracing::error!(
                    file = %file.display(), %error, aside = %aside.display(),
                    "the node's roles cannot be read: it starts without them, and the file is moved aside"
                );
                let moved = fs::rename(&file, &aside).map_err(Trouble::from);
                let fresh = moved.and_then(|()| open_it());
                fresh.map_err(|error| OpenError::Unavailable { file: file.clone(), error })?
            }
            Err(error) => return Err(OpenError::Unavailable { file, error }),
        };
        let shared = Arc::new(Shared { file, queue: Mutex::default(), changed: Condvar::new() });
        let (sender, stored) = watch::channel(0);
        let (work, name) = (shared.clone(), "roles".to_owned());
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || work.run(Some(database), &reserve, &sender))
            .map_err(OpenError::Thread)?;
        Ok((Durable { shared, stored, thread: Mutex::new(Some(thread)) }, found))
    }

    /// Takes what the node wants kept of an application; nothing when it is nothing any more.
    pub(crate) fn put(&self, number: u64, app: AppId, value: Option<Vec<u8>>) {
        self.shared.add(|batch| {
            batch.roles.insert(app, value);
            batch.number = batch.number.max(number);
        });
    }

    pub(crate) fn put_reference(&self, contacts: &[Contact]) {
        // Writing to a vector cannot fail.
        let bytes = minicbor::to_vec(contacts).unwrap_or_default();
        self.shared.add(|batch| batch.reference = Some(bytes));
    }

    /// From now on nothing changes on disk.
    pub(crate) fn freeze(&self) {
        self.shared.queue().is_frozen = true;
    }

    /// Writes what waits, and ends. Blocks on the disk.
    pub(crate) fn close(&self) {
        self.shared.queue().is_closed = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has said so.
        let _ = thread.map(JoinHandle::join);
    }

    fn is_slow(&self) -> bool {
        self.shared.queue().since.is_some_and(|since| since.elapsed() > SLOW)
    }

    /// What is wrong with the disk and what to do, in words, while it does not write.
    fn trouble(&self) -> Option<String> {
        self.is_slow().then(|| {
            format!(
                "the disk does not write what this node has to remember ({}): it grants no holds until it does, \
                 and what runs goes on. See to the disk, and to what the log says of it",
                self.shared.file.display()
            )
        })
    }
}

/// As [`Durable::trouble`] says it, for the operator.
pub(crate) fn trouble(agent: &Agent) -> Option<String> {
    agent.durable.trouble()
}

/// Tells the node what is on disk, and the operator when that takes long.
pub(crate) async fn run(agent: Arc<Agent>) {
    let mut stored = agent.durable.stored.clone();
    let mut was_slow = false;
    loop {
        match tokio::time::timeout(SLOW, stored.changed()).await {
            Ok(Ok(())) => {
                let number = *stored.borrow_and_update();
                agent.tell(move |node, now, out| node.stored(now, number, out)).await;
            }
            Ok(Err(_)) => {
                return tracing::error!("roles are kept no longer: the thread that wrote them is gone");
            }
            Err(_) => {}
        }
        let is_slow = agent.durable.is_slow();
        if is_slow && !was_slow {
            tracing::error!(
                file = %agent.durable.shared.file.display(),
                "the disk does not write what this node has to remember: it grants no holds until it does"
            );
        } else if was_slow && !is_slow {
            tracing::info!("the disk writes again: this node grants holds");
        }
        was_slow = is_slow;
    }
}

impl Shared {
    /// A panic elsewhere cannot leave the queue half-changed: every change is one insertion.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, change: impl FnOnce(&mut Batch)) {
        let mut queue = self.queue();
        if !queue.is_frozen {
            change(&mut queue.waiting);
            queue.since.get_or_insert_with(Instant::now);
            self.changed.notify_all();
        }
    }

    /// Waits until something is to be written; nothing at the end.
    fn next(&self) -> Option<Batch> {
        let mut queue = self.queue();
        loop {
            if !queue.waiting.is_empty() {
                return Some(std::mem::take(&mut queue.waiting));
            }
            if queue.is_closed {
                return None;
            }
            let waited = self.changed.wait_timeout(queue, ALIVE_PERIOD);
            let (woken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            if waited.timed_out() {
                // Nothing but the time.
                return Some(Batch::default());
            }
        }
    }

    fn run(&self, mut database: Option<Database>, reserve: &Reserve, stored: &watch::Sender<u64>) {
        // What went wrong last, and when the log was told.
        let mut told: Option<(String, Instant)> = None;
        while let Some(batch) = self.next() {
            let written = catch(|| {
                if database.is_none() {
                    database = Some(open(&self.file)?.0);
                }
                let database = database.as_ref().ok_or("no database")?;
                match write(database, &batch).map_err(Trouble::from) {
                    Err(error) if is_full(&error) && reserve.give_up() => Ok(write(database, &batch)?),
                    written => written,
                }
            });
            match written {
                Ok(()) => {
                    if told.take().is_some() {
                        tracing::info!(file = %self.file.display(), "what this node has to remember is written again");
                    }
                    let mut queue = self.queue();
                    queue.since = (!queue.waiting.is_empty()).then(Instant::now);
                    drop(queue);
                    stored.send_if_modified(|number| {
                        std::mem::replace(number, batch.number.max(*number)) < batch.number
                    });
                }
                Err(error) => {
                    // A log on the same disk is not to grow by a line for every try.
                    let why = error.to_string();
                    if told.as_ref().is_none_or(|(last, at)| *last != why || at.elapsed() >= TELL_AGAIN) {
                        tracing::error!(file = %self.file.display(), %error, "what this node has to remember was not written");
                        told = Some((why, Instant::now()));
                    }
                    // After an error of the disk redb wants to be opened anew.
                    database = None;
                    let mut queue = self.queue();
                    queue.waiting.merge_older(batch);
                    if queue.is_closed {
                        return;
                    }
                    let _ = self.changed.wait_timeout_while(queue, RETRY, |queue| !queue.is_closed);
                }
            }
        }
    }
}

/// Why the file was not opened, read or written.
pub(crate) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// What the file holds is not what an agent of this version wrote.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Damage(String);

/// A damaged file must not end the agent, whatever it makes the database stumble over.
fn catch<T>(f: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let stumbled = || Damage("the database stumbled over its file".to_owned()).into();
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(stumbled()))
}

/// The file itself is at fault, and not the disk, its permissions, or another process that has it open.
fn is_damage(error: &Trouble) -> bool {
    match error.downcast_ref::<redb::Error>() {
        Some(redb::Error::Io(error)) => {
            matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        }
        Some(
            redb::Error::DatabaseAlreadyOpen
            | redb::Error::PreviousIo
            | redb::Error::Backend(_)
            | redb::Error::Unsupported,
        ) => false,
        Some(_) => true,
        None => error.is::<Damage>(),
    }
}

fn is_full(error: &Trouble) -> bool {
    matches!(error.downcast_ref(), Some(redb::Error::Io(error)) if reserve::is_full(error))
}

fn open(file: &Path) -> Result<(Database, Found), Trouble> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(file).map_err(redb::Error::from)?;
    let format = prepare(&database)?;
    match format.as_slice() {
        [FORMAT] => {}
        other => return Err(Damage(format!("its format is {other:?}, this agent writes {FORMAT}")).into()),
    }
    let found = read(&database)?;
    let reference = found.reference.map_or(Ok(Vec::new()), |bytes| minicbor::decode(&bytes));
    let reference = reference.map_err(|error| Damage(error.to_string()))?;
    let away = away(found.alive, unix_seconds());
    let away = xtreem_base::Duration::from_secs(away);
    Ok((database, Found { kept: found.kept, reference, away }))
}

/// Makes what is missing; says what format the file has. One of another format stays as it is.
fn prepare(database: &Database) -> Result<Vec<u8>, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut node = transaction.open_table(NODE)?;
        let format = node.get("format")?.map(|format| format.value().to_vec());
        match format {
            None => drop(node.insert("format", [FORMAT].as_slice())?),
            Some(format) if format == [FORMAT] => {}
            Some(other) => return Ok(other),
        }
        let (roles, mut written) = (transaction.open_table(ROLES)?, transaction.open_table(WRITTEN)?);
        for row in roles.iter()? {
            let app = row?.0;
            if written.get(app.value())?.is_none() {
                written.insert(app.value(), unix_seconds().to_be_bytes().as_slice())?;
            }
        }
    }
    transaction.commit()?;
    Ok(vec![FORMAT])
}

/// The file's content as it lies there.
struct Raw {
    /// With the time since each was written.
    kept: Vec<(Vec<u8>, xtreem_base::Duration)>,
    reference: Option<Vec<u8>>,
    /// When the node was last known to run, in unix time.
    alive: Option<u64>,
}

fn read(database: &Database) -> Result<Raw, redb::Error> {
    let now = unix_seconds();
    let transaction = database.begin_read()?;
    let node = transaction.open_table(NODE)?;
    let alive = node.get("alive")?.and_then(|alive| seconds_in(alive.value()));
    let reference = node.get("reference")?.map(|bytes| bytes.value().to_vec());
    let written = transaction.open_table(WRITTEN)?;
    let mut kept = Vec::new();
    for row in transaction.open_table(ROLES)?.iter()? {
        let (app, value) = row?;
        let written = written.get(app.value())?.and_then(|written| seconds_in(written.value()));
        // What is of an unknown age is as new as can be.
        let age = written.and_then(|written| seconds_since(written, now)).unwrap_or(0);
        kept.push((value.value().to_vec(), xtreem_base::Duration::from_secs(age)));
    }
    Ok(Raw { kept, reference, alive })
}

/// For how long a node that last ran at `alive` was away, in seconds; one that never wrote that has nothing
/// to lose.
fn away(alive: Option<u64>, now: u64) -> u64 {
    alive.map_or(0, |alive| seconds_since(alive, now).unwrap_or(AWAY_UNKNOWN))
}

fn seconds_in(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// How long ago that was. Unknown when the clock was not set, then or now: machines without a battery for it
/// start in 1970, before they hear what time it is.
fn seconds_since(then: u64, now: u64) -> Option<u64> {
    let is_set = then >= FIRST_SECOND && now >= FIRST_SECOND && then <= now.saturating_add(CORRECTION_MAX);
    is_set.then(|| now.saturating_sub(then))
}

fn write(database: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let (mut roles, mut written) = (transaction.open_table(ROLES)?, transaction.open_table(WRITTEN)?);
        for (app, value) in &batch.roles {
            let app = app.as_bytes().as_slice();
            match value {
                Some(value) => {
                    roles.insert(app, value.as_slice())?;
                    written.insert(app, unix_seconds().to_be_bytes().as_slice())?;
                }
                None => {
                    roles.remove(app)?;
                    written.remove(app)?;
                }
            }
        }
        let mut node = transaction.open_table(NODE)?;
        if let Some(reference) = &batch.reference {
            node.insert("reference", reference.as_slice())?;
        }
        node.insert("alive", unix_seconds().to_be_bytes().as_slice())?;
    }
    // Synced when it returns: redb's default.
    transaction.commit()?;
    Ok(())
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
