//! The program of a slot that talks to the other members.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::sleep;
use xtreem_client::messages::{Address, By, Member, Numbering, SendError};
use xtreem_client::{Mailbox, SlotClient, To};

pub const BE_MEMBER: &str = "be-member";

/// Between two greetings.
const GREETING: Duration = Duration::from_millis(200);
/// A gigabyte, which no message has.
const LARGE_BYTES: u64 = 1 << 30;
/// What is streamed: many times of what either side may keep of it.
pub const STREAMED_BYTES: u64 = 256 << 20;
const PART_BYTES: usize = 1 << 20;

pub fn be_member(does: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match does {
            "chat" => chat().await,
            "plain" => plain().await,
            "ranked" => ranked().await,
            "deaf" => deaf().await,
            "large" => large().await,
            other => println!("what is {other:?}?"),
        }
    });
    ExitCode::SUCCESS
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("started by an agent")
}

async fn mailbox() -> Mailbox {
    let client = SlotClient::from_env().expect("started by an agent");
    let mailbox = client.mailbox().await.expect("a mailbox");
    println!("mailbox at {}", mailbox.address().expect("an address"));
    mailbox
}

/// As the agent writes it.
fn epoch_text(Member { epoch, .. }: &Member) -> String {
    format!("{:010}-{}-{:010}-{:010}", epoch.counter, epoch.recruiter, epoch.incarnation, epoch.attempt)
}

/// Greets everybody again and again, and says whom it hears.
async fn chat() {
    let mailbox = Arc::new(mailbox().await);
    let slots: u16 = variable("XTREEM_SLOTS").parse().expect("a number");
    for slot in (0..slots).filter(|slot| *slot != mailbox.slot()) {
        let mailbox = mailbox.clone();
        tokio::spawn(async move {
            loop {
                match mailbox.send(slot, "hello").await {
                    Ok(()) => {}
                    Err(error) if error.is_definite() => println!("definite: {error}"),
                    Err(error) => println!("indefinite: {error}"),
                }
                sleep(GREETING).await;
            }
        });
    }
    let mut heard = Vec::new();
    loop {
        let message = mailbox.recv().await;
        if !heard.contains(&message.from) {
            let body = String::from_utf8_lossy(&message.body).into_owned();
            println!("heard {body} of slot {} under {}", message.from.slot, epoch_text(&message.from));
            heard.push(message.from);
        }
    }
}

/// A request as any language would make it; the answer up to the end of the connection.
async fn ask(head: &str, body: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(variable("XTREEM_SOCKET")).await.expect("an agent");
    let token = variable("XTREEM_TOKEN");
    let head = format!(
        "{head} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let head =
        head.replacen("\r\nConnection", &format!("\r\nContent-Length: {}\r\nConnection", body.len()), 1);
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(body).await.expect("written");
    stream
}

async fn answer(head: &str, body: &[u8]) -> String {
    let mut answer = String::new();
    ask(head, body).await.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// Sends and receives through the agent.
async fn plain() {
    let me: u16 = variable("XTREEM_SLOT").parse().expect("a number");
    let mut events = BufReader::new(ask("GET /v1/self/messages", b"").await).lines();
    // Its head is there as soon as the mailbox is.
    while events.next_line().await.expect("a line").is_some_and(|line| !line.is_empty()) {}
    let unknown = answer("POST /v1/self/send?slot=7", b"x").await;
    let kind = if unknown.contains("\"definite\"") { "definite" } else { "?" };
    let words = unknown.split('"').find(|part| part.contains("nobody has")).unwrap_or_default();
    println!("to slot 7: {} {kind} {words}", status(&unknown));
    let client = SlotClient::from_env().expect("started by an agent");
    let own = client.mailbox().await.map(|_| ()).expect_err("the agent keeps it").to_string();
    println!("own mailbox: {}", if own.contains("the agent keeps") { "409" } else { &own });
    let second = answer("GET /v1/self/messages", b"").await;
    println!("second reader: {}", status(&second));
    a_gigabyte().await;
    tokio::spawn(async move {
        loop {
            let sent = answer(&format!("POST /v1/self/send?slot={}", 1 - me), b"hello").await;
            println!("sent: {}", status(&sent));
            sleep(GREETING).await;
        }
    });
    while let Some(line) = events.next_line().await.expect("a line") {
        // {"slot":1,"epoch":"…","body":"aGVsbG8="}, possibly with the length of a chunk before it.
        if let Some((_, data)) = line.split_once("data: ") {
            assert!(data.contains("\"body\":\"aGVsbG8=\""), "{data}");
            println!("heard hello of slot {}", 1 - me);
        }
    }
}

/// Slot 0 sends to slot 1, whose rank is 1, by what it is and by what it is not.
async fn ranked() {
    let mailbox = mailbox().await;
    let client = SlotClient::from_env().expect("started by an agent");
    let row = client.ranks("row").await.expect("declared");
    let settled = row.settled(Duration::from_secs(60)).await.expect("settled");
    if mailbox.slot() == 0 {
        send_ranked(&mailbox, settled.numbering.parse().expect("a numbering")).await;
    }
    loop {
        let message = mailbox.recv().await;
        let to = match message.to.as_deref().map(|to| (&to.by, &to.collection)) {
            None => "slot".to_owned(),
            Some((By::Rank { rank, .. }, collection)) => format!("rank {rank} of {collection:?}"),
            Some(other) => format!("{other:?}"),
        };
        println!("heard by {to} {}", String::from_utf8_lossy(&message.body));
    }
}

async fn send_ranked(mailbox: &Mailbox, numbering: Numbering) {
    // Slot 1 may not know yet that all are there.
    mailbox.send(To::rank("row", 1), "right").await.expect("sent");
    let rank = |collection: &str, rank, numbering| Address {
        collection: collection.to_owned(),
        by: By::Rank { rank, numbering },
    };
    let old = Numbering { digest: 7, ..numbering };
    for (what, address) in [
        ("another rank", rank("row", 2, numbering)),
        ("an old numbering", rank("row", 1, old)),
        ("another collection", rank("column", 1, numbering)),
    ] {
        println!("{what}: {}", refusal(mailbox.send_as(1, address, "wrong").await));
    }
    let posted = mailbox.post_as(1, rank("row", 0, numbering), "wrong").await.expect("handed over");
    println!("posted: {}", refusal(posted.acknowledged().await));
    mailbox.send(1, "last").await.expect("sent");
    println!("all are sent");
}

fn refusal(sent: Result<(), SendError>) -> String {
    match sent {
        Err(error @ SendError::Misaddressed { why, .. }) if error.is_definite() => format!("definite, {why}"),
        other => format!("{other:?}"),
    }
}

/// Sent to a program that takes none.
const UNHEARD: usize = 40;
/// Calls that wait for nobody end in it, whatever else the program has under way.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Nobody takes messages, and slot 0 sends far too many to slot 1. Meanwhile it calls for other things.
async fn deaf() {
    // Opens the mailbox.
    answer("POST /v1/self/send?slot=7", b"x").await;
    if variable("XTREEM_SLOT") != "0" {
        return std::future::pending().await;
    }
    for slot in [1, 2] {
        while status(&answer(&format!("POST /v1/self/send?slot={slot}"), b"x").await) != "200" {
            sleep(GREETING).await;
        }
    }
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..UNHEARD {
        sends.spawn(async { answer("POST /v1/self/send?slot=1", &vec![7; PART_BYTES]).await });
    }
    while let Some(sent) = sends.join_next().await {
        let sent = sent.expect("no panic");
        if status(&sent) == "429" && sent.contains("SENDS_TO_ONE_MAX") {
            println!(
                "one more to slot 1: 429 {}",
                if sent.contains("\"definite\"") { "definite" } else { "?" }
            );
            break;
        }
    }
    for (what, head) in [("to slot 2", "POST /v1/self/send?slot=2"), ("who am I", "GET /v1/self")] {
        let answered = tokio::time::timeout(AT_ONCE, answer(head, b"")).await;
        println!("{what}: {}", answered.as_deref().map_or("late", status));
    }
    std::future::pending().await
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

/// The head says how long it is; the agent may hang up in the middle.
async fn a_gigabyte() {
    let mut stream = UnixStream::connect(variable("XTREEM_SOCKET")).await.expect("an agent");
    let token = variable("XTREEM_TOKEN");
    let head = format!(
        "POST /v1/self/send?slot=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {LARGE_BYTES}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    let (mut from, mut to) = stream.split();
    let part = vec![0; PART_BYTES];
    let writing = async { while to.write_all(&part).await.is_ok() {} };
    let mut answer = vec![0; 4096];
    let reading = from.read(&mut answer);
    let len = tokio::select! {
        () = writing => 0,
        len = reading => len.unwrap_or_default(),
    };
    let len = if len == 0 { from.read(&mut answer).await.unwrap_or_default() } else { len };
    let answer = String::from_utf8_lossy(&answer[..len]).into_owned();
    let name = if answer.contains("the message has more than 1048576 bytes") { "too long" } else { &answer };
    println!("a gigabyte: {} {name}", status(&answer));
}

/// Slot 0 streams to slot 1.
async fn large() {
    let mailbox = mailbox().await;
    if mailbox.slot() == 0 {
        let refused = mailbox.send(1, vec![0; PART_BYTES + 1]).await.expect_err("too long");
        println!("as a message: {}", refused.to_string().split(": ").nth(1).unwrap_or_default());
        let part = bytes::Bytes::from(vec![7; PART_BYTES]);
        let mut stream = mailbox.stream(1).await.expect("open");
        for _ in 0..STREAMED_BYTES / PART_BYTES as u64 {
            stream.write(part.clone()).await.expect("taken");
        }
        println!("peak KiB {}", peak_kib(std::process::id()));
        stream.finish().await.expect("read");
        println!("streamed");
    } else {
        let mut stream = mailbox.accept().await;
        let mut len = 0;
        while let Some(part) = stream.read().await.expect("all of it") {
            len += part.len();
        }
        println!("peak KiB {}", peak_kib(std::process::id()));
        println!("received {len} bytes");
    }
    std::future::pending().await
}

/// The most memory that a process had.
pub fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
