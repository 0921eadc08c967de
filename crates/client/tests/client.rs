//! The clients against a small server that says exactly what a test wants.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use xtreem_client::api::{
    AttributeValue, ErrorKind, ProgressLine, SearchRequest, SlotEvent, SlotPhase, WantedView,
};
use xtreem_client::{ClientError, OperatorClient, SlotClient};

/// Answers one request with fixed bytes and tells what it was asked.
struct Server {
    socket: PathBuf,
    asked: JoinHandle<String>,
    _dir: TempDir,
}

impl Server {
    fn saying(answer: impl Into<Vec<u8>>) -> Server {
        let answer = answer.into();
        Server::start(async move |mut stream: UnixStream| {
            let request = read_request(&mut stream).await;
            stream.write_all(&answer).await.expect("the client takes the answer");
            request
        })
    }

    fn start<F>(serve: impl FnOnce(UnixStream) -> F + Send + 'static) -> Server
    where
        F: Future<Output = String> + Send,
    {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("s.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let asked = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            serve(stream).await
        });
        Server { socket, asked, _dir: dir }
    }

    async fn asked(self) -> String {
        self.asked.await.expect("the server ends well")
    }
}

async fn read_request(stream: &mut UnixStream) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let is_whole = match length {
                Some(length) => body.len() >= length,
                None => !head.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n"),
            };
            if is_whole {
                return text;
            }
        }
        let len = stream.read(&mut piece).await.expect("a readable socket");
        assert!(len > 0, "the client left in the middle of its request: {all:?}");
        all.extend_from_slice(&piece[..len]);
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_search_sends_its_request_and_reads_its_report() {
    let body = concat!(
        r#"{"event":"match","id":"ab","address":"[fd00::1]:7946","attributes":{"cpu.cores":8,"load.1m":0.5,"arch":"x86_64","commands":["sh"],"gpu":false}}"#,
        "\n",
        r#"{"event":"done","report":{"visited":9,"answered":8,"silent":1,"matched":1,"grid_size":16,"excluded":[{"clause":"cpu.cores >= 4","count":7}],"ended":"exhausted","plan":"trie","covered":0.5,"new":1}}"#,
        "\n",
    );
    let server = Server::saying(answer("200 OK", body));
    let client = OperatorClient::new(&server.socket);
    let requirement = "cpu.cores >= 4".to_owned();
    let request =
        SearchRequest { requirement, limit: 3, timeout_ms: Some(2_000), ..SearchRequest::default() };
    let reply = client.search(&request).await.expect("an answer");
    let expected = [
        ("arch", AttributeValue::Text("x86_64".to_owned())),
        ("commands", AttributeValue::List(vec!["sh".to_owned()])),
        ("cpu.cores", AttributeValue::Whole(8)),
        ("gpu", AttributeValue::Flag(false)),
        ("load.1m", AttributeValue::Decimal(0.5)),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(name, value)| (name.to_owned(), value)).into();
    assert_eq!(reply.matches[0].attributes, expected);
    assert_eq!((reply.report.visited, reply.report.excluded[0].count), (9, 7));
    let asked = server.asked().await;
    assert!(asked.starts_with("POST /v1/search HTTP/1.1\r\n"), "{asked}");
    assert!(asked.ends_with(r#"{"requirement":"cpu.cores >= 4","limit":3,"timeout_ms":2000}"#), "{asked}");
}

#[tokio::test]
async fn a_submission_streams_its_progress_however_the_bytes_are_cut() {
    let lines = concat!(
        "{\"event\":\"held\",\"nodes\":6,\"wanted\":6}\n\n",
        "{\"event\":\"accepted\",\"id\":\"00ff\"}\n",
        "{\"event\":\"slot\",\"slot\":{\"slot\":0,\"state\":\"running\",\"exit\":{\"code\":3}}}\n",
        "{\"event\":\"complete\",\"running\":6,\"done\":0,\"failed\":0}\n",
    );
    let server = Server::start(async move |mut stream: UnixStream| {
        let request = read_request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("an open client");
        for piece in lines.as_bytes().chunks(7) {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.expect("an open client");
            stream.write_all(piece).await.expect("an open client");
            stream.write_all(b"\r\n").await.expect("an open client");
        }
        stream.write_all(b"0\r\n\r\n").await.expect("an open client");
        request
    });
    let mut progress =
        OperatorClient::new(&server.socket).submit(vec![1, 2, 3]).await.expect("an accepted request");
    let mut seen = Vec::new();
    while let Some(line) = progress.next().await.expect("a good line") {
        seen.push(line);
    }
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0], ProgressLine::Held { nodes: 6, wanted: 6 });
    assert!(matches!(&seen[2], ProgressLine::Slot { slot } if slot.state == SlotPhase::Running));
    assert!(server.asked().await.ends_with(r#"{"application":"AQID"}"#));
}

#[tokio::test]
async fn dropping_a_submission_closes_its_connection() {
    let server = Server::start(async |mut stream: UnixStream| {
        read_request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("an open client");
        // A closed connection reads as its end.
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        format!("{}", read.is_ok())
    });
    let progress = OperatorClient::new(&server.socket).submit(vec![]).await.expect("an accepted request");
    drop(progress);
    assert_eq!(server.asked().await, "true");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_indefinite_error() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"event\":\"acc";
    let server = Server::saying(half);
    let mut progress = OperatorClient::new(&server.socket).submit(vec![]).await.expect("an accepted request");
    let error = progress.next().await.expect_err("half a line");
    assert_eq!(error.kind(), ErrorKind::Indefinite, "{error}");
}

#[tokio::test]
async fn refusals_keep_the_agents_words_kind_and_hint() {
    let said = r#"{"error":"no such application","kind":"definite","hint":"see xtreem apps"}"#;
    let table = [
        (answer("404 Not Found", said), "no such application", ErrorKind::Definite, Some("see xtreem apps")),
        (answer("400 Bad Request", "what?"), "status 400: what?", ErrorKind::Definite, None),
        (answer("500 Oops", ""), "status 500", ErrorKind::Indefinite, None),
    ];
    for (answer, message, kind, hint) in table {
        let server = Server::saying(answer);
        let error = OperatorClient::new(&server.socket).publish("00", vec![]).await.expect_err("a refusal");
        assert_eq!((error.to_string().as_str(), error.kind(), error.hint()), (message, kind, hint));
    }
}

#[tokio::test]
async fn a_missing_agent_is_a_definite_error_that_names_the_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = OperatorClient::new(dir.path().join("none.sock")).node().await.expect_err("nobody there");
    assert!(matches!(error, ClientError::Unreachable { .. }));
    assert!(error.to_string().contains("none.sock"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_an_error() {
    let server = Server::saying("\u{0}\u{1}garbage\r\n\r\n");
    let error = OperatorClient::new(&server.socket).node().await.expect_err("garbage");
    assert!(matches!(error, ClientError::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_is_sent_whole_under_its_digest() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("program");
    std::fs::write(&path, "#!/bin/sh\n").expect("a file");
    let server = Server::saying(answer("201 Created", ""));
    OperatorClient::new(&server.socket).put_file("c0ffee", &path).await.expect("a stored file");
    let asked = server.asked().await;
    assert!(asked.starts_with("PUT /v1/files/c0ffee HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("#!/bin/sh\n"), "{asked}");
}

#[tokio::test]
async fn a_file_that_the_agent_lacks_is_no_error() {
    let server = Server::saying("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    assert!(!OperatorClient::new(&server.socket).has_file("00").await.expect("an answer"));
}

#[tokio::test]
async fn names_are_escaped_in_queries() {
    let server = Server::saying(answer("404 Not Found", ""));
    OperatorClient::new(&server.socket).apps(Some("a b&c"), false).await.expect_err("a refusal");
    assert!(server.asked().await.starts_with("GET /v1/apps?all=false&name=a%20b%26c HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_program_shows_its_token_and_reads_its_events() {
    let events = concat!(
        ": hello\n\n",
        "event: slot\ndata: {\"slot\":2,\n",
        "data: \"state\":\"starting\"}\n\n",
        "event: unheard-of\ndata: 1\n\n",
        "event: record\r\ndata: {\"id\":\"00\",\"owner\":\"01\",\"name\":\"web\",\"spec_digest\":\"02\",",
        "\"slots\":6,\"generation\":2,\"wanted\":\"stopped\",\"submitter\":\"03\"}\r\n\r\n",
        "event: lost\ndata: {\"node\":\"ab\",\"address\":\"[fd00::1]:7227\",\"slot\":2}\n\n",
        "event: dropped\ndata: {\"dropped\":7}\n\n",
    );
    let server = Server::saying(answer("200 OK", events));
    let client = SlotClient::new(&server.socket, "s3cret".to_owned());
    let mut stream = client.events().await.expect("a stream");
    let mut seen = Vec::new();
    while let Some(event) = stream.next().await.expect("a good event") {
        seen.push(event);
    }
    assert!(matches!(&seen[0], SlotEvent::Slot(slot) if slot.slot == 2));
    assert!(matches!(&seen[1], SlotEvent::Record(record) if record.wanted == WantedView::Stopped));
    assert!(matches!(&seen[2], SlotEvent::Lost(peer) if peer.slot == Some(2) && peer.node == "ab"));
    assert_eq!(seen[3], SlotEvent::Dropped(7));
    assert_eq!(seen.len(), 4);
    assert!(server.asked().await.contains("authorization: Bearer s3cret\r\n"));
}

#[test]
fn requests_refuse_unknown_fields_and_replies_take_them() {
    let request = r#"{"requirement":"","limit":1,"hold":true}"#;
    assert!(serde_json::from_str::<SearchRequest>(request).is_err());
    let reply = r#"{"event":"accepted","id":"00","more":1}"#;
    assert!(serde_json::from_str::<ProgressLine>(reply).is_ok());
}
