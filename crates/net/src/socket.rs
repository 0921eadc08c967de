//! One UDP port for two protocols: packets whose first byte lacks QUIC's fixed bit are ours, the rest is
//! quinn's.
//!
//! Traps (measured, `grease_quic_bit` must be off): quinn may clear the fixed bit by default, and one receive
//! buffer may hold many packets of both kinds (GRO), `stride` bytes each.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;

use crate::counters::{Count, Tally};
use crate::hello::MeetError;

/// The fixed bit (RFC 9000 section 17.2).
const FIXED_BIT: u8 = 0x40;

/// Datagrams that wait for the node; beyond it the newest is dropped. A second of very heavy gossip.
pub(crate) const QUEUE_MAX: usize = 1_024;

/// The cable of an emulated host that has no network of its own: pulled out, nothing comes or goes but what
/// the host sends itself.
#[derive(Clone, Debug, Default)]
pub struct Cable(Arc<AtomicBool>);

impl Cable {
    pub fn set_cut(&self, is_cut: bool) {
        self.0.store(is_cut, Ordering::Relaxed);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Quinn's socket with our datagrams taken out of what it receives.
pub(crate) struct SharedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    datagrams: mpsc::Sender<Vec<u8>>,
    tally: Arc<Tally>,
    is_v6: bool,
    own: IpAddr,
    cable: Cable,
    /// The interface of link-local addresses that name none.
    scope: u32,
}

impl SharedSocket {
    pub(crate) fn new(
        inner: Arc<dyn AsyncUdpSocket>,
        tally: Arc<Tally>,
        cable: Cable,
        scope: u32,
    ) -> io::Result<(Arc<SharedSocket>, mpsc::Receiver<Vec<u8>>)> {
        let (datagrams, received) = mpsc::channel(QUEUE_MAX);
        let own = inner.local_addr()?.ip();
        let is_v6 = own.is_ipv6();
        Ok((Arc::new(SharedSocket { inner, datagrams, tally, is_v6, own, cable, scope }), received))
    }

    /// Sends one datagram now or not at all.
    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let destination = self.reachable(to);
        let transmit = Transmit { destination, ecn: None, contents: bytes, segment_size: None, src_ip: None };
        self.try_send(&transmit)
    }

    /// Whether anything that is sent to `addr` can leave at all. Only an IPv6 socket of all addresses reaches
    /// IPv4.
    pub(crate) fn check_family(&self, addr: SocketAddr) -> Result<(), MeetError> {
        let is_fine = match (self.own, addr.ip()) {
            (IpAddr::V4(_), there) => there.is_ipv4(),
            (IpAddr::V6(own), IpAddr::V4(_)) => own.is_unspecified() || own.to_ipv4_mapped().is_some(),
            (IpAddr::V6(_), IpAddr::V6(_)) => true,
        };
        if is_fine { Ok(()) } else { Err(MeetError::Families { own: self.own, there: addr.ip() }) }
    }

    fn is_cut_off_from(&self, addr: SocketAddr) -> bool {
        self.cable.is_cut() && addr.ip() != self.own
    }

    /// `addr` as this socket can name it: an IPv6 socket reaches IPv4 by mapped addresses, and a link-local
    /// address by an interface.
    pub(crate) fn reachable(&self, addr: SocketAddr) -> SocketAddr {
        match addr.ip() {
            IpAddr::V4(ip) if self.is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
            IpAddr::V6(ip) if ip.is_unicast_link_local() => match addr {
                SocketAddr::V6(addr) if addr.scope_id() == 0 => {
                    SocketAddrV6::new(ip, addr.port(), 0, self.scope).into()
                }
                _ => addr,
            },
            _ => addr,
        }
    }

    fn take(&self, datagram: &[u8]) {
        if self.datagrams.try_send(datagram.to_vec()).is_err() {
            self.tally.add(Count::ReceiveQueueFull);
        }
    }
}

/// Takes our packets out of a batch of packets, `stride` bytes each but for the last, and closes the gaps.
/// Returns the bytes that are left.
fn sift(batch: &mut [u8], stride: usize, mut take: impl FnMut(&[u8])) -> usize {
    let (mut kept, mut at) = (0, 0);
    while at < batch.len() {
        let end = batch.len().min(at.saturating_add(stride.max(1)));
        if batch[at] & FIXED_BIT == 0 {
            take(&batch[at..end]);
        } else {
            batch.copy_within(at..end, kept);
            kept += end - at;
        }
        at = end;
    }
    kept
}

impl AsyncUdpSocket for SharedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.is_cut_off_from(transmit.destination) {
            self.tally.add(Count::Cut);
            return Ok(());
        }
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(count) {
            // A length of zero is skipped by quinn.
            if self.is_cut_off_from(meta.addr) {
                self.tally.add(Count::Cut);
                meta.len = 0;
            }
            meta.len = sift(&mut buf[..meta.len], meta.stride, |datagram| self.take(datagram));
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for SharedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSocket").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mixed_batch_is_split_by_stride() {
        let mut batch = *b"\x40aa\x01bb\xc0cc\x02d";
        let mut ours = Vec::new();
        let kept = sift(&mut batch, 3, |datagram| ours.push(datagram.to_vec()));
        assert_eq!(&batch[..kept], b"\x40aa\xc0cc");
        assert_eq!(ours, [b"\x01bb".to_vec(), b"\x02d".to_vec()]);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_made_up(batch: Vec<u8>, stride in 0usize..40) {
            let mut left = batch.clone();
            let mut taken = 0;
            let kept = sift(&mut left, stride, |datagram| {
                assert_eq!(datagram[0] & FIXED_BIT, 0);
                taken += datagram.len();
            });
            prop_assert_eq!(kept + taken, batch.len());
        }
    }
}
