//! Connections of other members: each is shown to be the holder of its slot before anything of it is taken.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, BytesMut};
use quinn::{Connection, Incoming, RecvStream, SendStream};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::address::Misaddressed;
use crate::attend::attend;
use crate::frame::{HEAD_BYTES, Head, REFUSED};
use crate::hello::{self, Close, MESSAGES, Met, STREAM};
use crate::inbox::kept;
use crate::limits::{INCOMING_MAX, MEET_MAX, MEETINGS_MAX, MEETINGS_PER_ADDRESS_MAX, REFUSALS_MAX};
use crate::mailbox::{Member, Message, Shared};
use crate::stream::InStream;

/// Who is served, and who has not said yet who it is.
#[derive(Default)]
pub(crate) struct Doors {
    members: Mutex<BTreeMap<u16, (Member, Connection)>>,
    meetings: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A connection that has not said yet who it is.
struct Meeting<'a>(&'a Doors, IpAddr);

impl Drop for Meeting<'_> {
    fn drop(&mut self) {
        let mut meetings = self.0.meetings();
        if let Some(count) = meetings.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                meetings.remove(&self.1);
            }
        }
    }
}

impl Doors {
    fn meetings(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.meetings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<u16, (Member, Connection)>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meet(&self, address: IpAddr) -> Option<Meeting<'_>> {
        let mut meetings = self.meetings();
        let all: usize = meetings.values().sum();
        let of_it = meetings.get(&address).copied().unwrap_or_default();
        if all >= MEETINGS_MAX || of_it >= MEETINGS_PER_ADDRESS_MAX {
            return None;
        }
        meetings.insert(address, of_it + 1);
        Some(Meeting(self, address))
    }

    fn is_busy(&self) -> bool {
        self.meetings().values().sum::<usize>() >= MEETINGS_MAX / 2
    }

    /// Takes the place of the slot's older connection. False when there is no room, or a newer holder of the
    /// slot has one.
    fn enter(&self, member: Member, connection: &Connection) -> bool {
        let mut members = self.members();
        let is_known = members.contains_key(&member.slot);
        if !is_known && members.len() >= INCOMING_MAX {
            return false;
        }
        if let Some((before, older)) = members.get(&member.slot) {
            if before.epoch > member.epoch {
                return false;
            }
            // What it sent counts as not acknowledged there: nothing of it may come after what is sent now.
            Close::Done.end(older, "another connection of this slot took its place");
        }
        members.insert(member.slot, (member, connection.clone()));
        true
    }

    fn leave(&self, member: Member, connection: &Connection) {
        let mut members = self.members();
        let is_it = |(_, known): &(Member, Connection)| known.stable_id() == connection.stable_id();
        if members.get(&member.slot).is_some_and(is_it) {
            members.remove(&member.slot);
        }
    }
}

/// Takes connections until the endpoint is closed.
pub(crate) async fn accept(shared: Arc<Shared>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        if shared.doors.is_busy() && !incoming.remote_address_validated() {
            // One that has been validated is taken as it is.
            let _ = incoming.retry();
            continue;
        }
        let shared = shared.clone();
        tokio::spawn(async move { serve(&shared, incoming).await });
    }
}

async fn serve(shared: &Arc<Shared>, incoming: Incoming) {
    let Some(meeting) = shared.doors.meet(incoming.remote_address().ip()) else {
        return incoming.refuse();
    };
    let Ok(connecting) = incoming.accept() else { return };
    let Ok(Ok(connection)) = timeout(MEET_MAX, connecting).await else { return };
    let Ok(met) = hello::receive(&shared.standing, connection).await else { return };
    drop(meeting);
    let Met { connection, peer, send, receive } = met;
    let member = Member { slot: peer.slot, epoch: peer.epoch };
    if !shared.doors.enter(member, &connection) {
        return Close::Full.end(&connection, "INCOMING_MAX: no room for one more member");
    }
    let why = tokio::select! {
        why = take_streams(shared, &connection, member) => why,
        why = attend(&shared.standing, &connection, peer, (send, receive)) => why,
    };
    Close::Fault.end(&connection, &why);
    shared.doors.leave(member, &connection);
}

/// Messages on one stream, and what is too long for one on others. Says what was wrong.
async fn take_streams(shared: &Arc<Shared>, connection: &Connection, member: Member) -> String {
    let mut tasks = JoinSet::new();
    let mut has_messages = false;
    loop {
        let opened = tokio::select! {
            opened = connection.accept_bi() => opened,
            Some(ended) = tasks.join_next() => match ended {
                Ok(Err(why)) => return why,
                _ => continue,
            },
        };
        let (send, mut receive) = match opened {
            Ok(opened) => opened,
            Err(error) => return error.to_string(),
        };
        let mut kind = [0];
        match timeout(MEET_MAX, receive.read_exact(&mut kind)).await {
            Ok(Ok(())) => {}
            _ => return "a stream does not say what it is for".to_owned(),
        }
        let shared = shared.clone();
        match kind[0] {
            MESSAGES if !has_messages => {
                has_messages = true;
                tasks.spawn(async move { take_messages(&shared, member, send, receive).await });
            }
            STREAM => {
                let stream = InStream { from: member, receive, send, is_over: false };
                tasks.spawn(async move {
                    shared.inbox.put_stream(stream).await;
                    Ok(())
                });
            }
            other => return format!("a stream for {other}: there is no such, or not twice"),
        }
    }
}

/// What the sender of messages is to be told.
struct Taken {
    count: AtomicU64,
    is_more: Notify,
    /// Numbers of messages that were refused, and why; each before it counts.
    refused: mpsc::Sender<(u64, Misaddressed)>,
}

/// Fails with what was wrong.
async fn take_messages(
    shared: &Shared,
    from: Member,
    send: SendStream,
    receive: RecvStream,
) -> Result<(), String> {
    let (refused, refusals) = mpsc::channel(REFUSALS_MAX);
    let taken = Taken { count: AtomicU64::new(0), is_more: Notify::new(), refused };
    tokio::select! {
        why = read_messages(shared, from, receive, &taken) => why,
        why = acknowledge(send, &taken, refusals) => why,
    }
}

async fn read_messages(
    shared: &Shared,
    from: Member,
    mut receive: RecvStream,
    taken: &Taken,
) -> Result<(), String> {
    let inbox = &shared.inbox;
    let share: Arc<Semaphore> = inbox.share();
    let mut buffer = BytesMut::new();
    loop {
        // What has come as a whole is taken, and acknowledged together.
        let mut missing = HEAD_BYTES;
        while let Some(bytes) = buffer.first_chunk::<HEAD_BYTES>() {
            let head = Head::read(*bytes).map_err(|fault| fault.to_string())?;
            let end = HEAD_BYTES + head.len;
            if buffer.len() < end {
                missing = end;
                break;
            }
            let split = head.split(&buffer[HEAD_BYTES..end]);
            let (to, body) = split.map_err(|fault| fault.to_string())?;
            let verdict = match &to {
                Some(address) => shared.standing.directory().check(address).await,
                None => Ok(()),
            };
            match verdict {
                Ok(()) => {
                    // While there is no room the connection is read no further.
                    let Some(room) = inbox.room(&share, head.len).await else { return Ok(()) };
                    inbox.put(Message { from, to, body: kept(body) }, room).await;
                }
                Err(why) => {
                    let number = taken.count.load(Ordering::Relaxed) + 1;
                    // Waits while the sender does not take them; the other end is beside this task.
                    let _ = taken.refused.send((number, why)).await;
                }
            }
            buffer.advance(end);
            taken.count.fetch_add(1, Ordering::Release);
            taken.is_more.notify_one();
        }
        while buffer.len() < missing {
            match receive.read_chunk(usize::MAX, true).await.map_err(|error| error.to_string())? {
                Some(chunk) => buffer.extend_from_slice(&chunk.bytes),
                None => return Ok(()),
            }
        }
    }
}

/// Tells the sender how many messages of this connection are here by now, and which were refused.
async fn acknowledge(
    mut send: SendStream,
    taken: &Taken,
    mut refusals: mpsc::Receiver<(u64, Misaddressed)>,
) -> Result<(), String> {
    let mut told = 0;
    loop {
        taken.is_more.notified().await;
        let count = taken.count.load(Ordering::Acquire);
        // All up to that count are in here.
        while let Ok((number, why)) = refusals.try_recv() {
            let why = why.write();
            let mut word = (number | REFUSED).to_be_bytes().to_vec();
            word.push(why.len() as u8);
            word.extend_from_slice(&why);
            send.write_all(&word).await.map_err(|error| error.to_string())?;
            told = number;
        }
        if count > told {
            send.write_all(&count.to_be_bytes()).await.map_err(|error| error.to_string())?;
            told = count;
        }
    }
}
