use std::future::pending;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use xtreem_messages::MESSAGE_MAX_BYTES;

use super::*;
use crate::api::listener;
use crate::api::slot_socket::CONNECTIONS_MAX;

// Some connections are left for the rest, and some sends when several programs read nothing.
const _: () = assert!(SENDS_MAX + POLLS_MAX + STREAMS_MAX <= CONNECTIONS_MAX * 3 / 4);
const _: () = assert!(SENDS_TO_ONE_MAX <= SENDS_MAX / 4);

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

/// A slot whose sends to slot 1 and whose polls end never, and those to others at once.
struct Served {
    dir: tempfile::TempDir,
    serving: tokio::task::JoinHandle<io::Result<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Deserialize)]
struct To {
    slot: u16,
}

impl Served {
    fn new() -> Served {
        let dir = tempfile::tempdir().unwrap();
        let socket = listener::open(&dir.path().join("socket"), 0o600).unwrap();
        let waits = Waits::new();
        let sent = async |State(waits): State<Arc<Waits>>, Query(To { slot }): Query<To>, sent: Body| {
            body::bytes(sent, MESSAGE_MAX_BYTES, "the message").await?;
            let _way = waits.way(slot)?;
            if slot == 1 {
                pending::<()>().await;
            }
            Ok::<_, ApiError>(Json(()))
        };
        let polled = async |request: Request| {
            if request.uri().query() == Some("wait_ms=1000") {
                pending::<()>().await;
            }
        };
        let streamed = async || Body::from_stream(futures_util::stream::pending::<io::Result<&str>>());
        let routes = Router::new()
            .route("/send", post(sent).layer(from_fn_with_state(waits.clone(), send)))
            .route("/work", get(polled).layer(from_fn_with_state(waits.clone(), poll)))
            .route("/events", get(streamed).layer(from_fn_with_state(waits.clone(), stream)))
            .route("/self", get(async || ()))
            .with_state(waits);
        Served {
            dir,
            serving: tokio::spawn(listener::serve(socket, CONNECTIONS_MAX, routes, Arc::new(drop))),
        }
    }

    /// Asks on a connection of its own.
    async fn ask(&self, what: &str, body: &[u8]) -> UnixStream {
        let mut asker = UnixStream::connect(self.dir.path().join("socket")).await.unwrap();
        let len = body.len();
        let head =
            format!("{what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n");
        asker.write_all(head.as_bytes()).await.unwrap();
        asker.write_all(body).await.expect("a body is taken whatever becomes of it");
        asker
    }

    async fn answer(&self, what: &str) -> String {
        whole(self.ask(what, b"").await).await
    }
}

/// The whole answer.
async fn whole(mut asker: UnixStream) -> String {
    let mut answer = String::new();
    timeout(SOON, asker.read_to_string(&mut answer)).await.expect("in time").unwrap();
    answer
}

/// Sorts so many of one kind into those that wait, of which there are to be so many, and the others' answers.
async fn refused(all: Vec<UnixStream>, waiting: usize) -> (Vec<UnixStream>, Vec<String>) {
    let refused = all.len() - waiting;
    let (say, mut said) = tokio::sync::mpsc::channel(all.len());
    let (stop, _) = tokio::sync::broadcast::channel::<()>(1);
    let hear = |mut asker: UnixStream| {
        let (say, mut stop) = (say.clone(), stop.subscribe());
        tokio::spawn(async move {
            let mut answer = String::new();
            let read = tokio::select! {
                read = asker.read_to_string(&mut answer) => read,
                _ = stop.recv() => return Some(asker),
            };
            read.unwrap();
            say.send(answer).await.unwrap();
            None
        })
    };
    let asking: Vec<_> = all.into_iter().map(hear).collect();
    let mut answers = Vec::new();
    for _ in 0..refused {
        answers.push(timeout(SOON, said.recv()).await.expect("a refusal in time").unwrap());
    }
    stop.send(()).unwrap();
    let mut waits = Vec::new();
    for asked in asking {
        waits.extend(asked.await.unwrap());
    }
    (waits, answers)
}

fn assert_refused(answers: &[String], by: &str) {
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(
            answer.contains(by) && answer.contains("\"definite\"") && answer.contains("hint"),
            "{answer}"
        );
    }
}

const OK: &str = "HTTP/1.1 200 OK";

#[tokio::test]
async fn one_that_reads_nothing_takes_no_room_from_sends_to_others() {
    let served = Served::new();
    let body = vec![7; MESSAGE_MAX_BYTES];
    let mut all = Vec::new();
    for _ in 0..40 {
        all.push(served.ask("POST /send?slot=1", &body).await);
    }
    let (waiting, answers) = refused(all, SENDS_TO_ONE_MAX).await;
    assert_eq!(waiting.len(), SENDS_TO_ONE_MAX);
    assert_refused(&answers, "_MAX: ");
    let late = served.answer("POST /send?slot=1").await;
    assert_refused(&[late], "SENDS_TO_ONE_MAX: 5 sends to slot 1 are under way");
    assert!(served.answer("POST /send?slot=2").await.starts_with(OK));
    // One that is given up makes room for another.
    drop(waiting);
    let again = async {
        loop {
            let mut asker = served.ask("POST /send?slot=1", b"").await;
            let waits = timeout(Duration::from_millis(50), asker.read_u8()).await.is_err();
            if waits {
                return;
            }
        }
    };
    timeout(SOON, again).await.expect("there is room");
}

#[tokio::test]
async fn whatever_waits_there_are_connections_left_for_what_does_not() {
    let served = Served::new();
    let mut all = Vec::new();
    for (what, many, most, by) in [
        ("GET /work?wait_ms=1000", 33, POLLS_MAX, "POLLS_MAX: 12"),
        ("GET /events", 20, STREAMS_MAX, "STREAMS_MAX: 16"),
    ] {
        let mut asked = Vec::new();
        for _ in 0..many {
            asked.push(served.ask(what, b"").await);
        }
        let (waiting, answers) = refused(asked, most).await;
        assert_refused(&answers, by);
        all.extend(waiting);
    }
    assert_eq!(all.len(), POLLS_MAX + STREAMS_MAX);
    assert!(served.answer("GET /work?wait_ms=0").await.starts_with(OK), "it does not wait");
    assert!(served.answer("GET /self").await.starts_with(OK));
}
