//! Sockets of clients: as the door hands them over, and as the serving thread uses them.

use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use tokio::io::{Interest, Ready};

/// A socket on its way to the thread that serves it.
#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// One that is served.
#[derive(Debug)]
pub(super) enum Socket {
    Unix(tokio::net::UnixStream),
    Tcp(tokio::net::TcpStream),
}

impl Socket {
    /// On the runtime that will serve it.
    pub(super) fn new(stream: Stream) -> io::Result<Socket> {
        Ok(match stream {
            Stream::Unix(stream) => {
                stream.set_nonblocking(true)?;
                Socket::Unix(tokio::net::UnixStream::from_std(stream)?)
            }
            Stream::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                // Events are written as they come: many at once go in one call.
                stream.set_nodelay(true)?;
                Socket::Tcp(tokio::net::TcpStream::from_std(stream)?)
            }
        })
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Socket::Unix(stream) => stream.ready(interest).await,
            Socket::Tcp(stream) => stream.ready(interest).await,
        }
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.try_read(buffer),
            Socket::Tcp(stream) => stream.try_read(buffer),
        }
    }

    pub(super) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.try_write_vectored(parts),
            Socket::Tcp(stream) => stream.try_write_vectored(parts),
        }
    }
}
