//! Unix sockets of which at most so many connections are served at one time, and none that asks nothing.

use std::fs;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::middleware::from_fn;
use axum::serve::{IncomingStream, Listener};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, listen, recv, socket,
};
use nix::sys::stat::{Mode, fchmod};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep};

use xtreem_pubsub::broker::Access;

use super::body;
use super::guests::{self, Guest, Guests, HEAD_MAX, Verdict, Visitor};
use crate::agent::Agent;

/// Longest path of a socket: the kernel's address has 108 bytes, of which the last is zero (unix(7)).
pub(crate) const PATH_MAX_BYTES: usize = 107;
/// Connections that wait in the kernel.
const BACKLOG: i32 = 128;
/// Connections of one socket that speak the protocol of publish/subscribe: nobody takes all descriptors of
/// the agent (our guess: a program has a few, people some dozens).
const OVER_MAX: usize = 256;
/// After a failed accept, for example for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens the socket with these permission bits.
///
/// The bits are set before the file exists: Linux makes the file with those of the socket (unix(7)), so that
/// there is no moment in which others could connect. The umask takes some of them away; they are given back
/// before anybody can connect at all. A socket that a dead agent left is replaced, and nothing else.
pub(super) fn open(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let address = UnixAddr::new(path).map_err(|_| too_long(path))?;
    if let Some(dir) = path.parent() {
        make_dir(dir)?;
    }
    remove_stale(path, &address)?;
    let fd = stream_socket()?;
    fchmod(&fd, Mode::from_bits_truncate(mode))?;
    bind(fd.as_raw_fd(), &address)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    UnixListener::from_std(fd.into())
}

/// Whether a socket can lie there: the kernel takes so many bytes (unix(7)).
pub(crate) fn check_path(path: &Path) -> io::Result<()> {
    UnixAddr::new(path).map(drop).map_err(|_| too_long(path))
}

fn too_long(path: &Path) -> io::Error {
    let (len, max) = (path.as_os_str().len(), PATH_MAX_BYTES);
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("its path has {len} bytes, and that of a socket at most {max}: name a shorter one"),
    )
}

fn stream_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)
}

/// Makes `dir` and what is missing above it, for all to enter whatever the umask: the socket's own bits say
/// who may connect. What is there is left as it is.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.exists() {
        return Ok(());
    }
    if let Some(above) = dir.parent() {
        make_dir(above)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o755))),
    }
}

/// Removes a socket at which nobody listens any more.
fn remove_stale(path: &Path, address: &UnixAddr) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        let words =
            "something is there that is no socket, and it is left alone: move it away or name another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, words));
    }
    match connect(stream_socket()?.as_raw_fd(), address) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path),
        // A full queue is somebody's, too.
        Ok(()) | Err(Errno::EAGAIN) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another agent answers there"))
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Removes the socket at the end of an agent, unless something else lies there by now.
pub(super) fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        // What cannot be removed is replaced at the next start.
        let _ = fs::remove_file(path);
    }
}

/// Answers at this socket, at most so many connections at one time, until it is aborted.
///
/// A connection that begins with a verb of publish/subscribe goes over to that.
pub(super) async fn serve(
    listener: UnixListener,
    connections_max: usize,
    routes: Router,
    over: Over,
) -> io::Result<()> {
    let routes = routes.layer(from_fn(body::check_query)).layer(from_fn(guests::attend));
    let bounded = Bounded { listener, over, guests: Guests::new(connections_max) };
    axum::serve(bounded, routes.into_make_service_with_connect_info::<Visitor>()).await
}

/// Accepts while there is room; the others wait in the kernel's queue.
struct Bounded {
    listener: UnixListener,
    over: Over,
    guests: Arc<Guests>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = ();

    async fn accept(&mut self) -> (Connection, ()) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.guests.make_room().await;
                    return (Connection::new(stream, self.guests.enter(), Some(self.over.clone())), ());
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the local API could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Connected<IncomingStream<'_, Bounded>> for Visitor {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        stream.io().guest.visitor()
    }
}

/// Takes a connection that speaks the protocol of publish/subscribe.
pub(super) type Over = Arc<dyn Fn(std::os::unix::net::UnixStream) + Send + Sync>;

/// Such connections go to the agent's broker, at most so many of one socket, and may do this there.
pub(super) fn over(agent: &Arc<Agent>, access: Access) -> Over {
    let (agent, room) = (agent.clone(), Arc::new(Semaphore::new(OVER_MAX)));
    Arc::new(move |stream| match room.clone().try_acquire_owned() {
        Ok(permit) => agent.pubsub.take(stream, access.clone(), Some(permit)),
        // Dropping it ends it.
        Err(_) => tracing::warn!(OVER_MAX, "a connection of publish/subscribe was not taken"),
    })
}

/// Whether a connection that begins so asks for publish/subscribe. No method of HTTP that is answered here
/// begins so.
fn is_pubsub(begin: &[u8]) -> bool {
    [&b"SUBSCRIBE"[..], b"PUBLISH", b"CANCEL", b"CONNECT", b"AUTH"]
        .iter()
        .any(|verb| begin.len() >= 3 && verb.starts_with(&begin[..begin.len().min(verb.len())]))
}

/// A connection that gives its room back when it ends, and ends when it asks nothing.
struct Connection {
    stream: UnixStream,
    /// Until its first bytes have come.
    over: Option<Over>,
    /// It went over: another part of the agent has the socket.
    is_gone: bool,
    guest: Guest,
    alarm: Pin<Box<Sleep>>,
}

impl Connection {
    fn new(stream: UnixStream, guest: Guest, over: Option<Over>) -> Self {
        Connection { stream, over, is_gone: false, guest, alarm: Box::pin(sleep(HEAD_MAX)) }
    }
}

impl Connection {
    /// Looks at the first bytes and hands the socket over, if they ask for it; they stay unread.
    fn look(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(over) = self.over.clone() else { return Poll::Ready(Ok(())) };
        loop {
            if self.stream.poll_read_ready(context)?.is_pending() {
                return Poll::Pending;
            }
            let mut begin = [0; 9];
            let fd = self.stream.as_raw_fd();
            let peek = || recv(fd, &mut begin, MsgFlags::MSG_PEEK).map_err(io::Error::from);
            let len = match self.stream.try_io(Interest::READABLE, peek) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                looked => looked?,
            };
            self.over = None;
            if is_pubsub(&begin[..len]) {
                self.is_gone = true;
                self.guest.visitor().leave();
                over(self.stream.as_fd().try_clone_to_owned()?.into());
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = match self.look(context)? {
            // Nothing more comes here.
            Poll::Ready(()) if self.is_gone => return Poll::Ready(Ok(())),
            Poll::Ready(()) => Pin::new(&mut self.stream).poll_read(context, buffer),
            Poll::Pending => Poll::Pending,
        };
        if polled.is_ready() {
            return polled;
        }
        match self.guest.verdict(context) {
            Verdict::Busy => Poll::Pending,
            Verdict::SentAway => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Verdict::IdleUntil(end) => {
                self.alarm.as_mut().reset(end);
                ready!(self.alarm.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_gone {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_socket_has_the_bits_that_were_asked_for_whatever_the_umask() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o660, 0o666] {
            let path = dir.path().join(format!("{mode:o}"));
            let _socket = open(&path, mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
    }

    /// The bits in a process that makes files for nobody. The umask is the whole process's, so this test runs
    /// itself again.
    #[test]
    fn an_umask_takes_no_bits_of_a_socket_and_its_directory() {
        const AGAIN: &str = "XTREEM_TEST_SOCKET_DIR";
        let Some(dir) = std::env::var_os(AGAIN) else {
            let dir = tempfile::tempdir().unwrap();
            let name = "api::listener::tests::an_umask_takes_no_bits_of_a_socket_and_its_directory";
            let me = std::env::current_exe().unwrap();
            let script = format!("umask 0777; exec \"$0\" --exact {name}");
            let status = std::process::Command::new("/bin/sh")
                .args(["-c", &script])
                .arg(me)
                .env(AGAIN, dir.path())
                .status()
                .unwrap();
            return assert!(status.success());
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        let bits = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for mode in [0o600, 0o660, 0o666] {
            let path = Path::new(&dir).join(format!("{mode:o}/run/socket"));
            let _socket = open(&path, mode).unwrap();
            assert_eq!(bits(&path), mode);
            assert!(path.ancestors().skip(1).take(2).all(|dir| bits(dir) == 0o755));
        }
    }

    #[tokio::test]
    async fn a_dead_agents_socket_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let words = |path: &Path| open(path, 0o600).map(drop).unwrap_err().to_string();
        drop(open(&path, 0o600).unwrap());
        let alive = open(&path, 0o600).expect("the old one is replaced");
        assert!(words(&path).contains("another agent answers there"));
        drop(alive);
        for (name, content) in [("file", Some("precious")), ("dir", None)] {
            let there = dir.path().join(name);
            match content {
                Some(content) => fs::write(&there, content).unwrap(),
                None => fs::create_dir(&there).unwrap(),
            }
            assert!(words(&there).contains("is no socket, and it is left alone"), "{}", words(&there));
            remove(&there);
            assert!(there.exists());
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(words(&link).contains("left alone"));
        let long = dir.path().join("x".repeat(PATH_MAX_BYTES));
        assert!(words(&long).contains("at most 107"), "{}", words(&long));
    }

    fn connection() -> (UnixStream, Connection) {
        let (asker, asked) = UnixStream::pair().unwrap();
        (asker, Connection::new(asked, Guests::new(1).enter(), None))
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_nothing_is_sent_away() {
        for said in [&b""[..], b"GET /v1/node HTTP/1.1\r\nHost: x\r\n"] {
            let (mut asker, mut asked) = connection();
            asker.write_all(said).await.unwrap();
            let mut heard = Vec::new();
            let end = asked.read_to_end(&mut heard).await.unwrap_err();
            assert_eq!((end.kind(), &heard[..]), (io::ErrorKind::TimedOut, said));
        }
    }

    /// Serves two connections at a time; `/wait` is answered with a first byte, and the rest never comes.
    struct Served {
        dir: tempfile::TempDir,
        serving: tokio::task::JoinHandle<io::Result<()>>,
    }

    impl Drop for Served {
        fn drop(&mut self) {
            self.serving.abort();
        }
    }

    impl Served {
        fn new() -> Served {
            let dir = tempfile::tempdir().unwrap();
            let socket = open(&dir.path().join("socket"), 0o600).unwrap();
            let endless = || async {
                let first = futures_util::stream::once(async { Ok::<_, io::Error>("x") });
                let rest = futures_util::stream::pending();
                axum::body::Body::from_stream(futures_util::StreamExt::chain(first, rest))
            };
            let leave =
                async move |axum::extract::ConnectInfo(visitor): axum::extract::ConnectInfo<Visitor>| {
                    visitor.leave();
                    endless().await
                };
            let routes = Router::new()
                .route("/leave", axum::routing::get(leave))
                .route("/now", axum::routing::get(|| async { "now" }))
                .route("/wait", axum::routing::get(endless));
            Served { dir, serving: tokio::spawn(serve(socket, 2, routes, Arc::new(drop))) }
        }

        async fn connect(&self) -> UnixStream {
            UnixStream::connect(self.dir.path().join("socket")).await.unwrap()
        }
    }

    /// Asks, and reads the beginning of the answer.
    async fn ask(stream: &mut UnixStream, path: &str) -> String {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    const OK: &str = "HTTP/1.1 200 OK";

    #[tokio::test]
    async fn a_query_that_is_not_utf8_is_refused_at_every_path() {
        let served = Served::new();
        assert_eq!(ask(&mut served.connect().await, "/now?key=%C3%A4").await, OK);
        let mut asker = served.connect().await;
        assert_eq!(ask(&mut asker, "/now?key=%ff").await, "HTTP/1.1 400 Ba");
    }

    #[tokio::test]
    async fn the_longest_idle_makes_room_and_whoever_waits_for_an_answer_stays() {
        let served = Served::new();
        let mut waiting = served.connect().await;
        assert_eq!(ask(&mut waiting, "/wait").await, OK);
        let mut silent = served.connect().await;
        for _ in 0..3 {
            let mut asker = served.connect().await;
            assert_eq!(ask(&mut asker, "/now").await, OK);
            let mut rest = Vec::new();
            // Whoever was idle longest is gone, and the connection ends without a word.
            silent.read_to_end(&mut rest).await.unwrap();
            silent = asker;
        }
        let more = tokio::time::timeout(Duration::from_millis(50), async {
            let mut all = Vec::new();
            waiting.read_to_end(&mut all).await
        });
        assert!(more.await.is_err(), "who waits was sent away");
    }

    #[tokio::test]
    async fn who_goes_over_to_another_protocol_takes_no_room_from_others() {
        let served = Served::new();
        let mut gone = Vec::new();
        for _ in 0..3 {
            let mut asker = served.connect().await;
            assert_eq!(ask(&mut asker, "/leave").await, OK);
            gone.push(asker);
        }
        let mut other = served.connect().await;
        assert_eq!(ask(&mut other, "/now").await, OK);
    }

    #[tokio::test]
    async fn when_all_wait_for_answers_a_newcomer_waits_for_one_of_them_to_go() {
        let served = Served::new();
        let (mut first, mut second) = (served.connect().await, served.connect().await);
        assert_eq!((ask(&mut first, "/wait").await, ask(&mut second, "/wait").await), (OK.into(), OK.into()));
        let mut third = served.connect().await;
        let mut asking = Box::pin(ask(&mut third, "/now"));
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut asking).await.is_err());
        drop(first);
        assert_eq!(asking.await, OK);
    }
}
