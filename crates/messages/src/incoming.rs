//! Connections of other members: each is shown to be the holder of its slot before anything of it is taken.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, BytesMut};
use quinn::{Connection, Incoming, RecvStream, SendStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::attend::attend;
use crate::hello::{self, Close, MESSAGES, Met, STREAM};
use crate::inbox::{Inbox, kept};
use crate::limits::{INCOMING_MAX, MEET_MAX, MEETINGS_MAX, MEETINGS_PER_ADDRESS_MAX, MESSAGE_MAX_BYTES};
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

async fn serve(shared: &Shared, incoming: Incoming) {
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
async fn take_streams(shared: &Shared, connection: &Connection, member: Member) -> String {
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
        let inbox = shared.inbox.clone();
        match kind[0] {
            MESSAGES if !has_messages => {
                has_messages = true;
                tasks.spawn(async move { take_messages(&inbox, member, send, receive).await });
            }
            STREAM => {
                let stream = InStream { from: member, receive, send, is_over: false };
                tasks.spawn(async move {
                    inbox.put_stream(stream).await;
                    Ok(())
                });
            }
            other => return format!("a stream for {other}: there is no such, or not twice"),
        }
    }
}

/// Fails with what was wrong.
async fn take_messages(
    inbox: &Inbox,
    from: Member,
    send: SendStream,
    receive: RecvStream,
) -> Result<(), String> {
    let (taken, told) = (AtomicU64::new(0), Notify::new());
    tokio::select! {
        why = read_messages(inbox, from, receive, &taken, &told) => why,
        why = acknowledge(send, &taken, &told) => why,
    }
}

async fn read_messages(
    inbox: &Inbox,
    from: Member,
    mut receive: RecvStream,
    taken: &AtomicU64,
    told: &Notify,
) -> Result<(), String> {
    const HEAD: usize = 4;
    let share: Arc<Semaphore> = inbox.share();
    let mut buffer = BytesMut::new();
    loop {
        // What has come as a whole is taken, and acknowledged together.
        let mut missing = HEAD;
        while buffer.len() >= HEAD {
            let len = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
            if len > MESSAGE_MAX_BYTES {
                return Err(format!("MESSAGE_MAX_BYTES: a message of {len} bytes"));
            }
            if buffer.len() < HEAD + len {
                missing = HEAD + len;
                break;
            }
            // While there is no room the connection is read no further.
            let Some(room) = inbox.room(&share, len).await else { return Ok(()) };
            let body = kept(&buffer[HEAD..HEAD + len]);
            buffer.advance(HEAD + len);
            inbox.put(Message { from, body }, room).await;
            taken.fetch_add(1, Ordering::Release);
            told.notify_one();
        }
        while buffer.len() < missing {
            match receive.read_chunk(usize::MAX, true).await.map_err(|error| error.to_string())? {
                Some(chunk) => buffer.extend_from_slice(&chunk.bytes),
                None => return Ok(()),
            }
        }
    }
}

/// Tells the sender how many messages of this connection are here by now.
async fn acknowledge(mut send: SendStream, taken: &AtomicU64, told: &Notify) -> Result<(), String> {
    loop {
        told.notified().await;
        let count = taken.load(Ordering::Acquire).to_be_bytes();
        send.write_all(&count).await.map_err(|error| error.to_string())?;
    }
}
