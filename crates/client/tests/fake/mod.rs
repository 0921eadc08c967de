//! An agent for tests: it answers each request as it was told to, and tells events.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use xtreem_client::SlotClient;

const EVENTS: &str = "GET /v1/self/events";

#[derive(Default)]
struct Script {
    /// By method and path, which may end in `*`; the last answer is given again and again.
    answers: BTreeMap<String, VecDeque<(u16, String)>>,
    asked: Vec<(String, String)>,
}

pub struct FakeAgent {
    socket: PathBuf,
    script: Arc<Mutex<Script>>,
    /// Bytes of the stream of events so far.
    events: watch::Sender<String>,
    _dir: TempDir,
}

impl FakeAgent {
    pub fn start() -> FakeAgent {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("s.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let script = Arc::new(Mutex::new(Script::default()));
        let (events, _) = watch::channel(String::new());
        let agent = FakeAgent { socket, script: script.clone(), events: events.clone(), _dir: dir };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), events.subscribe()));
            }
        });
        agent
    }

    pub fn client(&self) -> SlotClient {
        SlotClient::new(&self.socket, "s3cret".to_owned())
    }

    /// From now on this is answered.
    pub fn says(&self, request: &str, status: u16, body: &str) {
        let answers = VecDeque::from([(status, body.to_owned())]);
        self.script.lock().expect("no panic").answers.insert(request.to_owned(), answers);
    }

    /// After what was said before.
    pub fn says_next(&self, request: &str, status: u16, body: &str) {
        let mut script = self.script.lock().expect("no panic");
        script.answers.entry(request.to_owned()).or_default().push_back((status, body.to_owned()));
    }

    pub fn tells(&self, event: &str, data: &str) {
        self.events.send_modify(|all| all.push_str(&format!("event: {event}\ndata: {data}\n\n")));
    }

    /// Waits until somebody reads the events.
    pub async fn is_followed(&self) {
        let followed = async {
            while self.times_asked(EVENTS) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), followed).await.expect("somebody asks for the events");
    }

    pub fn times_asked(&self, request: &str) -> usize {
        let script = self.script.lock().expect("no panic");
        script.asked.iter().filter(|(asked, _)| fits(request, asked)).count()
    }

    /// The last request of that kind had this body.
    #[track_caller]
    pub fn was_told(&self, request: &str, body: &str) {
        let script = self.script.lock().expect("no panic");
        let last = script.asked.iter().rev().find(|(asked, _)| fits(request, asked));
        assert_eq!(last.map(|(_, told)| told.as_str()), Some(body), "{request}: {:?}", script.asked);
    }
}

fn fits(pattern: &str, asked: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => asked.starts_with(begin),
        None => asked == pattern,
    }
}

async fn serve(mut stream: UnixStream, script: Arc<Mutex<Script>>, mut events: watch::Receiver<String>) {
    let (request, body) = read_request(&mut stream).await;
    let answer = {
        let mut script = script.lock().expect("no panic");
        script.asked.push((request.clone(), body));
        let found = script.answers.iter_mut().find(|(pattern, _)| fits(pattern, &request));
        found.and_then(
            |(_, answers)| {
                if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
            },
        )
    };
    if request == EVENTS {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        // Whoever asked may be gone by any of these.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut told = 0;
        loop {
            let all = events.borrow_and_update().clone();
            if stream.write_all(&all.as_bytes()[told..]).await.is_err() {
                return;
            }
            told = all.len();
            if events.changed().await.is_err() {
                return;
            }
        }
    }
    let nothing = || (500, format!(r#"{{"error":"the test does not answer {request}","kind":"definite"}}"#));
    let (status, body) = answer.unwrap_or_else(nothing);
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

/// Method and path, and the body.
async fn read_request(stream: &mut UnixStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole request"));
    }
    let head = String::from_utf8(head).expect("text");
    assert!(head.contains("authorization: Bearer s3cret\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.expect("a whole body");
    let request = head.split(" HTTP/1.1").next().unwrap_or_default().to_owned();
    (request, String::from_utf8(body).expect("text"))
}
