//! The program of a slot that asks its agent everything.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::timeout;
use xtreem_client::api::{Peer, SlotEvent, SlotView};
use xtreem_client::{ClientError, SlotClient};

pub const BE_PROGRAM: &str = "be-program";

/// What the agent and the system may set besides what the application asked for.
const EXPECTED: [&str; 4] = ["PATH", "HOME", "TMPDIR", "GREETING"];

/// Between two looks at what comes by itself.
const POLL: Duration = Duration::from_millis(100);

pub fn be_program() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(ask()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn ask() -> Result<(), ClientError> {
    let client = SlotClient::from_env().expect("started by an agent");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    println!("greeting {}", variable("GREETING"));
    let is_expected = |name: &str| EXPECTED.contains(&name) || name.starts_with("XTREEM_");
    let extra: Vec<_> = std::env::vars().map(|(name, _)| name).filter(|name| !is_expected(name)).collect();
    println!("environment {}", if extra.is_empty() { "clean".to_owned() } else { extra.join(" ") });

    let me = client.whoami().await?;
    let is_me = me.slot.to_string() == variable("XTREEM_SLOT")
        && me.epoch == variable("XTREEM_EPOCH")
        && me.application.id == variable("XTREEM_APP")
        && me.application.name == variable("XTREEM_APP_NAME")
        && me.address == variable("XTREEM_ADDRESS")
        && me.ports["http"].to_string() == variable("XTREEM_PORT_HTTP");
    println!("self {}", if is_me { "ok" } else { "wrong" });

    let without = SlotClient::new(variable("XTREEM_SOCKET"), "wrong".into()).whoami().await;
    if matches!(without, Err(ClientError::Refused { status: 401, .. })) {
        println!("refused without token");
    }
    let application = client.application().await?;
    println!(
        "application {}",
        if application.slots.iter().any(|slot| slot.slot == me.slot) { "ok" } else { "wrong" }
    );

    let mut events = client.events().await?;
    let mut peers = client.peers(8).await?;
    while !peers.iter().any(|peer| peer.node != me.node) {
        // Peers become known by gossip, with and without an event.
        if let Ok(event) = timeout(POLL, events.next()).await {
            event?;
        }
        peers = client.peers(8).await?;
    }
    println!("peers ok");
    let is_other = |slot: &SlotView| slot.slot != me.slot && slot.ports.contains_key("http");
    let mut told = client.application().await?;
    while !told.slots.iter().any(is_other) {
        if let Ok(event) = timeout(POLL, events.next()).await {
            event?;
        }
        told = client.application().await?;
    }
    for slot in told.slots.iter().filter(|slot| is_other(slot)) {
        println!("slot {} listens at {}", slot.slot, slot.ports["http"]);
    }
    let has_ports = |peer: &Peer| peer.ports.contains_key("http");
    let mut peers = client.peers(8).await?;
    while !peers.iter().any(has_ports) {
        if let Ok(event) = timeout(POLL, events.next()).await {
            event?;
        }
        peers = client.peers(8).await?;
    }
    for peer in peers.iter().filter(|peer| has_ports(peer)) {
        println!("peer of slot {} listens at {}", peer.slot.unwrap_or_default(), peer.ports["http"]);
    }
    while let Some(event) = events.next().await? {
        if let SlotEvent::Slot(slot) = event {
            println!("slot {} changed", slot.slot);
        }
    }
    Ok(())
}
