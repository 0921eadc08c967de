//! The door of a slot: what its program would ask, asked by the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// Events that a test has not looked at; more wait.
const EVENTS_MAX: usize = 1_024;

/// Socket and token of one slot, as its program was told.
#[derive(Clone, Debug)]
pub struct Door {
    pub slot: u16,
    pub epoch: String,
    socket: PathBuf,
    token: String,
    pid: i32,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The body of a success.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// The error, of this status.
    pub fn error(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        format!(
            "{} {}",
            self.body["kind"].as_str().unwrap_or_default(),
            self.body["error"].as_str().unwrap_or_default()
        )
    }
}

/// The slots of an application whose programs run on this machine, each in its newest run.
pub fn doors(app: &str) -> BTreeMap<u16, Door> {
    let mut doors = BTreeMap::<u16, Door>::new();
    for process in fs::read_dir("/proc").expect("processes").flatten() {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let variable = |name: &str| {
            environment.split('\0').find_map(|it| it.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        if variable("XTREEM_APP").as_deref() != Some(app) {
            continue;
        }
        let door = (|| {
            let slot = variable("XTREEM_SLOT")?.parse().ok()?;
            let (epoch, socket) = (variable("XTREEM_EPOCH")?, variable("XTREEM_SOCKET")?.into());
            let pid = process.file_name().to_str()?.parse().ok()?;
            Some(Door { slot, epoch, socket, token: variable("XTREEM_TOKEN")?, pid })
        })();
        if let Some(door) = door.filter(|door| doors.get(&door.slot).is_none_or(|it| it.epoch < door.epoch)) {
            doors.insert(door.slot, door);
        }
    }
    doors
}

impl Door {
    /// Kills its program.
    pub fn kill(&self) {
        kill(Pid::from_raw(self.pid), Signal::SIGKILL).expect("it runs");
    }

    /// Of another start of the program.
    pub fn is_another(&self, before: &Door) -> bool {
        self.token != before.token
    }

    async fn connect(&self, method: &str, path: &str, len: u64) -> std::io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {len}\r\n\
             Connection: close\r\n\r\n",
            self.token
        );
        stream.write_all(head.as_bytes()).await?;
        Ok(stream)
    }

    /// Nothing when the agent is gone.
    pub async fn try_ask(&self, method: &str, path: &str, body: &[u8]) -> Option<Answer> {
        let mut stream = self.connect(method, path, body.len() as u64).await.ok()?;
        stream.write_all(body).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        parse(&answer)
    }

    pub async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.try_ask(method, path, body).await.unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// Of a collection; what is asked stands behind its name.
    pub async fn of(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.ask(method, &format!("/v1/self/collections/{path}"), body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.of("GET", path, b"").await
    }

    pub async fn put(&self, path: &str, body: &str) -> Answer {
        self.of("PUT", path, body.as_bytes()).await
    }

    /// Sends a body of so many bytes; the agent may hang up in the middle.
    pub async fn flood(&self, method: &str, path: &str, len: u64) -> Answer {
        let mut stream = self.connect(method, path, len).await.expect("an agent");
        let (mut from, mut to) = stream.split();
        let part = vec![0; 1 << 20];
        let writing = async {
            while to.write_all(&part).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let mut answer = vec![0; 4_096];
        let len = tokio::select! {
            () = writing => 0,
            len = from.read(&mut answer) => len.expect("an answer"),
        };
        parse(&answer[..len]).expect("an answer")
    }

    /// The data of events of this name, as they come.
    pub async fn events(&self, path: &str, name: &'static str) -> mpsc::Receiver<Value> {
        let stream = self.connect("GET", path, 0).await.expect("an agent");
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let mut lines = BufReader::new(stream).lines();
        // Its head is there as soon as events are kept.
        while lines.next_line().await.expect("a line").is_some_and(|line| !line.is_empty()) {}
        tokio::spawn(async move {
            let mut is_it = false;
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(event) = line.strip_prefix("event: ") {
                    is_it = event == name;
                } else if let Some(data) = line.strip_prefix("data: ").filter(|_| is_it) {
                    let _ = sender.send(serde_json::from_str(data).expect("JSON")).await;
                }
            }
        });
        events
    }
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: serde_json::from_str(body).ok()? })
}
