//! Batched UDP for tools that stand beside a node, as the load harness does: the node's own system
//! calls behind a small surface. The node itself does not come here.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Instant;

use antipode_core::{Transmit, Transport};
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::socket::grow_buffers;
use crate::net::sys::batch::{Received, RecvBatch, SendBatch};
use crate::net::trains::Train;
use crate::net::{self, sys};

/// Opens a socket that does not block, whose received datagrams the kernel joins where it can (UDP_GRO)
/// and stamps with the time (SO_TIMESTAMPNS), and whose buffers take `buffer` bytes, as far as the host
/// grants that.
///
/// # Errors
/// What the kernel says: no descriptor or port left, no such address.
pub fn open(address: SocketAddr, buffer: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(buffer)?;
    socket.set_send_buffer_size(buffer)?;
    // An older kernel than Linux 5.0 delivers datagrams one by one.
    let _ = sys::set_int(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1);
    sys::set_int(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The same for a socket of many peers, which tells to which of the host's addresses a datagram was sent
/// (IP_PKTINFO), with the bytes that its buffers take: `buffer` where the host grants that.
///
/// # Errors
/// As above.
pub fn open_for_many(address: SocketAddr, buffer: usize) -> io::Result<(Socket, usize)> {
    let socket = open(address, buffer)?;
    grow_buffers(&socket, buffer)?;
    sys::set_int(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    // The kernel says twice what it was asked for (socket(7)).
    let granted = socket.recv_buffer_size()? / 2;
    Ok((socket, granted))
}

/// Has the kernel refuse what is longer than its path carries, instead of cutting it, as a node does: that
/// takes less of it for each datagram.
///
/// # Errors
/// What the kernel says.
pub fn keep_whole(socket: &impl AsFd) -> io::Result<()> {
    net::socket::keep_whole(socket.as_fd(), true)
}

/// A datagram that came.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Who sent it; IPv4 is given as IPv4.
    pub source: SocketAddr,
    /// To which address of the host, of a socket that tells.
    pub local: Option<IpAddr>,
    /// What it carries.
    pub bytes: &'a [u8],
    /// When the kernel had it; where it does not say, when it was read.
    pub arrived: Instant,
}

/// Buffers for `recvmmsg`; one serves any number of sockets, one after the other.
pub struct Receiver(RecvBatch);

impl Receiver {
    /// Takes about 4 MiB of address space; memory as it is touched.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Receiver(RecvBatch::new())
    }

    /// Hands each datagram that the socket has now to `take`. Returns whether there may be more.
    ///
    /// # Errors
    /// `WouldBlock` when there was nothing, and what the kernel says of earlier sends.
    pub fn receive(
        &mut self,
        socket: &impl AsFd,
        mut take: impl FnMut(Datagram<'_>),
    ) -> io::Result<bool> {
        let count = self.0.recv(socket.as_fd())?;
        for message in (0..count).filter_map(|index| self.0.message(index)) {
            if message.bytes.is_empty() {
                continue;
            }
            for bytes in message.bytes.chunks(message.segment) {
                let Received { source, local, arrived, .. } = message;
                take(Datagram { source, local, bytes, arrived });
            }
        }
        Ok(count == antipode_base::limits::RECV_BATCH)
    }
}

/// Sends datagrams one by one, each at once, by any number of sockets.
pub struct Sender {
    batch: SendBatch,
    queue: VecDeque<Transmit>,
}

impl Sender {
    /// A sender.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Sender { batch: SendBatch::new(false), queue: VecDeque::with_capacity(1) }
    }

    /// Sends one datagram, `from` that address of the host or one that the kernel chooses.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(
        &mut self,
        socket: &impl AsFd,
        from: Option<IpAddr>,
        destination: SocketAddr,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut buffer = self.queue.pop_front().map_or(Vec::new(), |last| last.bytes);
        buffer.clear();
        buffer.extend_from_slice(bytes);
        let (transport, local) = (Transport::Udp, destination);
        self.queue.push_back(Transmit { transport, local, destination, bytes: buffer });
        let train = Train { first: 0, datagrams: 1, segment: 0, bytes: bytes.len() };
        loop {
            match self.batch.send(socket.as_fd(), &self.queue, &[train], |_| from) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(drop),
            }
        }
    }
}

/// A queue of datagrams that all leave in trains of one fixed length: for measuring what a send
/// costs.
pub struct Trains {
    batch: SendBatch,
    queue: VecDeque<Transmit>,
    trains: Vec<Train>,
}

impl Trains {
    /// Datagrams for each of `peers`, `length` to a train, each of the bytes given.
    pub fn new(local: SocketAddr, peers: &[SocketAddr], length: usize, bytes: &[u8]) -> Self {
        let datagram = |destination: &SocketAddr| Transmit {
            transport: Transport::Udp,
            local,
            destination: *destination,
            bytes: bytes.to_vec(),
        };
        let queue: VecDeque<Transmit> =
            peers.iter().flat_map(|peer| (0..length).map(move |_| datagram(peer))).collect();
        let segment = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let train = |index: usize| Train {
            first: index * length,
            datagrams: length,
            segment,
            bytes: length * bytes.len(),
        };
        let trains = (0..peers.len()).map(train).collect();
        Trains { batch: SendBatch::new(local.is_ipv6()), queue, trains }
    }

    /// The datagrams, to be sealed anew before each send.
    pub fn datagrams(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        self.queue.iter_mut().map(|transmit| &mut transmit.bytes)
    }

    /// Sends everything once; waits by trying again while the socket is full.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&mut self, socket: &impl AsFd) -> io::Result<()> {
        let mut done = 0;
        while done < self.trains.len() {
            match self.batch.send(socket.as_fd(), &self.queue, &self.trains[done..], |_| None) {
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
