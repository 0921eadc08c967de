//! Unix sockets of which at most so many connections are served at one time, and none that asks nothing.

use std::fs;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, fchmod};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Connections that wait in the kernel.
const BACKLOG: i32 = 128;
/// After a failed accept, for example for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for the head of a connection's first request: whoever connects and is silent must not keep
/// the room from others (our guess; a request is a few hundred bytes on one machine).
const HEAD_MAX: Duration = Duration::from_secs(10);
/// What ends the head of a request (RFC 9112, section 2.1).
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Opens the socket with these permission bits.
///
/// The bits are set before the file exists: Linux makes the file with those of the socket (unix(7)), so that
/// there is no moment in which others could connect. The umask takes some of them away; they are given back
/// before anybody can connect at all. A file that a dead agent left is replaced.
pub(super) fn open(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent()
        && !dir.exists()
    {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    }
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another agent answers there"));
        }
        fs::remove_file(path)?;
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&fd, Mode::from_bits_truncate(mode))?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    UnixListener::from_std(fd.into())
}

/// Accepts while there is room; the others wait in the kernel's queue.
pub(super) struct Bounded {
    listener: UnixListener,
    room: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(listener: UnixListener, connections_max: usize) -> Self {
        Bounded { listener, room: Arc::new(Semaphore::new(connections_max)) }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = ();

    async fn accept(&mut self) -> (Connection, ()) {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = self.room.clone().acquire_owned().await else { continue };
            match self.listener.accept().await {
                Ok((stream, _)) => return (Connection::new(stream, permit), ()),
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

/// A connection that gives its room back when it ends.
pub(super) struct Connection {
    stream: UnixStream,
    /// Until the first request is there.
    head: Option<Head>,
    _permit: OwnedSemaphorePermit,
}

/// The head of a request, as far as it came.
struct Head {
    deadline: Pin<Box<Sleep>>,
    /// Bytes of its end that came in a row.
    ended: usize,
}

impl Head {
    /// Takes the next bytes; says whether the head is whole.
    fn is_whole_with(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            self.ended = match *byte {
                byte if byte == HEAD_END[self.ended] => self.ended + 1,
                b'\r' => 1,
                _ => 0,
            };
            if self.ended == HEAD_END.len() {
                return true;
            }
        }
        false
    }
}

impl Connection {
    fn new(stream: UnixStream, permit: OwnedSemaphorePermit) -> Self {
        let head = Head { deadline: Box::pin(sleep(HEAD_MAX)), ended: 0 };
        Connection { stream, head: Some(head), _permit: permit }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(head) = &mut self.head else { return polled };
        if polled.is_ready() && head.is_whole_with(&buffer.filled()[before..]) {
            self.head = None;
        } else if head.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
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

    async fn pair() -> (UnixStream, Connection) {
        let (asker, asked) = UnixStream::pair().unwrap();
        let room = Arc::new(Semaphore::new(1));
        (asker, Connection::new(asked, room.acquire_owned().await.unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_nothing_is_sent_away() {
        for said in [&b""[..], b"GET /v1/node HTTP/1.1\r\nHost: x\r\n"] {
            let (mut asker, mut asked) = pair().await;
            asker.write_all(said).await.unwrap();
            let mut heard = Vec::new();
            let end = asked.read_to_end(&mut heard).await.unwrap_err();
            assert_eq!((end.kind(), &heard[..]), (io::ErrorKind::TimedOut, said));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_asked_may_wait_for_the_answer() {
        let (mut asker, mut asked) = pair().await;
        for part in [&b"GET / HTTP/1.1\r\nA: b\r"[..], b"\n\r\n"] {
            asker.write_all(part).await.unwrap();
            asked.read_exact(&mut vec![0; part.len()]).await.unwrap();
        }
        let mut more = [0];
        let silence = tokio::time::timeout(10 * HEAD_MAX, asked.read(&mut more)).await;
        assert!(silence.is_err(), "{silence:?}");
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_it_is_cut() {
        let text = b"GET / HTTP/1.1\r\nA: \r\r\n\r\n";
        for cut in 0..text.len() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _guard = runtime.enter();
            let mut head = Head { deadline: Box::pin(sleep(HEAD_MAX)), ended: 0 };
            assert!(!head.is_whole_with(&text[..cut]));
            assert!(head.is_whole_with(&text[cut..]));
        }
    }
}
