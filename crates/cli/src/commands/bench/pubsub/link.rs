//! One client's connection.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::proto::{Hello, Proto, Step, Walker};

/// Longest time for a server to take a connection and to answer on it (our guess for a loaded machine).
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Bytes that are read at one time: what fits a processor's own cache.
const READ_MAX: usize = 256 << 10;

/// Where all links of one thread read into.
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// For links whose messages have `frame_len` bytes.
    pub fn new(frame_len: usize) -> Buffer {
        // One that is not whole, and one more read.
        Buffer(vec![0; frame_len + READ_MAX])
    }
}

pub struct Link {
    proto: Proto,
    stream: TcpStream,
    walker: Walker,
    /// Read, and not whole yet.
    partial: Vec<u8>,
}

/// What came of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// So many bytes lie in the buffer.
    Bytes(usize),
    Nothing,
    /// The server has closed the connection.
    End,
}

impl Link {
    /// Connects, and subscribes to `topic` if there is one. On return the server has said that it is done.
    /// Messages of `len` bytes will come.
    pub fn open(proto: Proto, addr: SocketAddr, topic: Option<&str>, len: usize) -> io::Result<Link> {
        let mut stream = TcpStream::connect_timeout(&addr, ANSWER_MAX)?;
        stream.set_nodelay(true)?;
        let Hello { bytes, answers } = proto.hello(topic);
        stream.write_all(&bytes)?;
        let walker = Walker::new(proto, topic.unwrap_or_default(), len);
        let mut link = Link { proto, stream, walker, partial: Vec::new() };
        link.answered(answers)?;
        link.stream.set_nonblocking(true)?;
        Ok(link)
    }

    fn answered(&mut self, answers: usize) -> io::Result<()> {
        let (deadline, mut missing) = (Instant::now() + ANSWER_MAX, answers);
        // What a server says at first is short.
        let mut buffer = Buffer(vec![0; 8 << 10]);
        while missing > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::other("the server takes the connection and does not answer"));
            }
            self.stream.set_read_timeout(Some(left))?;
            let len = match self.fill(&mut buffer)? {
                Came::Bytes(len) => len,
                Came::Nothing => continue,
                Came::End => return Err(io::Error::other("the server closes the connection")),
            };
            let mut refused = None;
            let pings = self.walk(&buffer, len, |step| match step {
                Step::Ready => missing = missing.saturating_sub(1),
                Step::Refused(words) => refused = Some(words),
                _ => {}
            })?;
            self.answer(pings)?;
            if let Some(words) = refused {
                return Err(io::Error::other(format!("the server says no: {words}")));
            }
        }
        Ok(())
    }

    /// Bytes of one message as it comes.
    pub fn frame_len(&self) -> usize {
        self.walker.frame_len()
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Reads once, behind what was not whole.
    pub fn fill(&self, buffer: &mut Buffer) -> io::Result<Came> {
        let kept = self.partial.len();
        let room = buffer.0.get_mut(..kept).map(|front| front.copy_from_slice(&self.partial));
        if room.is_none() || kept == buffer.0.len() {
            return Err(io::Error::other(format!("{kept} bytes came without the end of a message")));
        }
        match (&self.stream).read(&mut buffer.0[kept..]) {
            Ok(0) => Ok(Came::End),
            Ok(len) => Ok(Came::Bytes(kept + len)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(Came::Nothing),
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(Came::End),
            Err(e) => Err(e),
        }
    }

    /// Hands on what is whole of that many bytes, which [`Link::fill`] counted, and keeps the rest. How often
    /// the server wants an answer, see [`Link::answer`].
    pub fn walk(&mut self, buffer: &Buffer, len: usize, mut take: impl FnMut(Step<'_>)) -> io::Result<usize> {
        let (mut at, mut pings) = (0, 0);
        loop {
            let (taken, step) = self.walker.next(&buffer.0[at..len]);
            at += taken;
            match step {
                Step::More => break,
                Step::Ping => pings += 1,
                Step::Refused(words) if taken == 0 => {
                    return Err(io::Error::other(format!("the server is out of step: {words}")));
                }
                step => take(step),
            }
        }
        self.partial.clear();
        self.partial.extend_from_slice(&buffer.0[at..len]);
        Ok(pings)
    }

    /// Answers pings of the server. Whoever writes other things as well does this between two of them.
    pub fn answer(&self, pings: usize) -> io::Result<()> {
        // A few bytes, once in minutes: there is room for them.
        (0..pings).try_for_each(|_| (&self.stream).write_all(self.proto.pong()))
    }

    /// Writes as much as there is room for.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match (&self.stream).write(bytes) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            written => written,
        }
    }
}
