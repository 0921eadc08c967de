//! From a caller's first word to its warrant: which slot, what is offered, and whether it may.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use xtreem_allocation::SlotRun;
use xtreem_base::NodeId;
use xtreem_net::beside::{
    Authority, FrameError, FromCaller, FromHolder, NONCE_BYTES, Offer, Refusal, SealedByHolder, Signer, read,
    write,
};
use xtreem_trust::Trust;

use super::running::{self, Job};
use super::{BEGINNING_MAX, Commands};
use crate::agent::Agent;
use crate::mail;
use crate::program::ExecBy;
use crate::slots::Neighbour;

/// Serves one caller, whose stream came by this node.
pub(crate) async fn serve(
    agent: &Arc<Agent>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    by: NodeId,
) -> io::Result<()> {
    let Commands { seal, running, beginning, of_slots, of_peers, .. } = &agent.commands;
    let Some(_seat) = of_peers.seat(by) else { return Err(io::Error::other("too many by this node")) };
    let Ok(turn) = beginning.try_acquire() else { return Err(io::Error::other("too many begin")) };
    let begun = timeout(BEGINNING_MAX, async {
        let mut sealed = seal.accept(stream).await?;
        let agreed = agree(agent, &mut sealed).await.map_err(io::Error::other)?;
        Ok::<_, io::Error>((sealed, agreed))
    });
    let (mut sealed, agreed) = begun.await??;
    drop(turn);
    let job = match agreed {
        Ok(job) => job,
        Err(refusal) => return refuse(sealed, by, refusal).await,
    };
    let room = (running.clone().try_acquire_owned(), of_slots.seat((job.run.app, job.run.slot)));
    let (Ok(_turn), Some(_place)) = room else { return refuse(sealed, by, Refusal::TooMany).await };
    tracing::info!(app = ?job.run.app, slot = job.run.slot, caller = %job.caller, by = ?by,
        command = ?job.warrant.command.first(), "a command beside a slot");
    running::run(&mut sealed, job).await
}

/// The command that the caller has shown a right to.
async fn agree(
    agent: &Arc<Agent>,
    sealed: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<Result<Job, Refusal>, FrameError> {
    let FromCaller::Ask { app, slot } = read(sealed).await? else { return Err(out_of_turn()) };
    let Neighbour { run, door, exec, stop } = match agent.slots.neighbour(app, slot) {
        Ok(neighbour) => neighbour,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let record = agent.node(move |node, now, _| node.app(now, app).map(|known| known.record)).await;
    let Ok(Some(record)) = record else { return Ok(Err(Refusal::NotHere)) };
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let holder = agent.net.identity().id();
    let offer = Offer { app, slot, epoch: run.epoch, holder, nonce, owner: record.owner };
    write(sealed, &FromHolder::Offer { epoch: run.epoch, nonce }).await?;
    let FromCaller::Warrant { warrant, authority, window } = read(sealed).await? else {
        return Err(out_of_turn());
    };
    // A clock before 1970 finds every credential not yet valid. Slots are judged by the clock that members of
    // an application judge each other by.
    let (mut slots, correction_ms) = match (&authority, exec) {
        (Authority::Slot { .. }, ExecBy::Slots) => match trust(agent, run).await {
            Some(trust) => (Some(trust), agent.net.clock_correction_ms()),
            None => return Ok(Err(Refusal::NotHere)),
        },
        _ => (None, 0),
    };
    let now = mail::now_unix_ms(correction_ms) / 1_000;
    let judged = offer.redeem(agent.net.identity().root(), slots.as_mut(), now, &warrant, &authority);
    Ok(judged.map(|signer| {
        let caller = match signer {
            Signer::User(user) => user.name().to_owned(),
            Signer::Slot(slot) => format!("slot {} of {:?}", slot.slot, slot.node),
        };
        Job { run, door, stop, warrant: *warrant, window, caller }
    }))
}

/// What this node believes of the application of a slot that it holds.
async fn trust(agent: &Agent, run: SlotRun) -> Option<Trust> {
    let held = agent.node(move |node, _, _| node.held(run)).await.ok()??;
    Trust::new(&mail::grounds(agent, run, held))
}

fn out_of_turn() -> FrameError {
    io::Error::new(io::ErrorKind::InvalidData, "a frame out of turn").into()
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    mut sealed: SealedByHolder<S>,
    by: NodeId,
    refusal: Refusal,
) -> io::Result<()> {
    tracing::debug!(?by, %refusal, "a command beside a slot is refused");
    let said = async {
        write(&mut sealed, &FromHolder::Refused(refusal)).await?;
        sealed.shutdown().await
    };
    timeout(BEGINNING_MAX, said).await?
}
