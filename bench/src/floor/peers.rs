//! Whom the floor's packets go to.
//!
//! Nobody reads what comes to the first kind: the kernel delivers until a socket is full and then drops,
//! and the sender's core has all to itself. The second kind stands where a load's clients stand (behind
//! their [`Doors`], on their cores) and reads: memory comes back from another core then, and somebody is
//! woken, at the sender's expense.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use antipode_base::limits::BENCH_SOCKET_BUFFER;
use antipode_runtime::udp::{Receiver, open};
use mio::{Events, Poll, Waker};
use socket2::Socket;

use crate::client::door::Doors;
use crate::client::worker;
use crate::error::BenchError;
use crate::hosted::Cores;

/// Sockets of which one look tells.
const EVENTS: usize = 64;

/// They are gone with this.
pub(super) enum Peers {
    Unread { _sockets: Vec<Socket>, addresses: Vec<SocketAddr> },
    Read(Readers),
}

impl Peers {
    /// So many, each at an address of its own; on those cores' harness side if they are to read.
    ///
    /// # Errors
    /// No sockets, no thread.
    pub(super) fn open(count: usize, readers: Option<&Cores>) -> Result<Self, BenchError> {
        if let Some(cores) = readers {
            return cores.as_harness(|| Readers::start(count))?.map(Peers::Read);
        }
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let peer = || open(any, BENCH_SOCKET_BUFFER);
        let sockets: Vec<Socket> = std::iter::repeat_with(peer)
            .take(count)
            .collect::<Result<_, _>>()
            .map_err(BenchError::host("a UDP socket for each peer"))?;
        let address = |socket: &Socket| {
            socket.local_addr()?.as_socket().ok_or(std::io::ErrorKind::Unsupported.into())
        };
        let addresses = sockets.iter().map(address).collect::<Result<_, _>>();
        let addresses = addresses.map_err(BenchError::host("addresses"))?;
        Ok(Peers::Unread { _sockets: sockets, addresses })
    }

    pub(super) fn addresses(&self) -> &[SocketAddr] {
        match self {
            Peers::Unread { addresses, .. } => addresses,
            Peers::Read(readers) => &readers.addresses,
        }
    }

    /// Datagrams that were read so far; `None`: nobody reads.
    pub(super) fn read(&self) -> Option<u64> {
        match self {
            Peers::Unread { .. } => None,
            Peers::Read(readers) => Some(readers.shared.read.load(Ordering::Relaxed)),
        }
    }
}

/// One thread that reads for all.
pub(super) struct Readers {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    read: AtomicU64,
}

impl Readers {
    fn start(count: usize) -> Result<Self, BenchError> {
        let (poll, waker) = worker::poll().map_err(BenchError::host("a poll"))?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut doors = Doors::default();
        let addresses = (0..count)
            .map(|id| Ok(doors.open(id, any, poll.registry())?.local))
            .collect::<std::io::Result<_>>()
            .map_err(BenchError::host("a UDP socket for each peer"))?;
        let shared = Arc::<Shared>::default();
        let told = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("bench-floor".into())
            .spawn(move || read(poll, &doors, &told))
            .map_err(BenchError::host("a thread"))?;
        Ok(Readers { addresses, shared, waker, thread: Some(thread) })
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = self.waker.wake();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn read(mut poll: Poll, doors: &Doors, shared: &Shared) {
    let mut events = Events::with_capacity(EVENTS);
    let mut receiver = Receiver::new();
    while !shared.stop.load(Ordering::Relaxed) {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return,
            Ok(()) => {}
        }
        for door in events.iter().filter_map(|event| doors.get(event.token().0)) {
            let mut read = 0;
            while let Ok(true) = receiver.receive(&door.socket, |_| read += 1) {}
            shared.read.fetch_add(read, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use antipode_runtime::udp::Sender;

    use super::*;

    #[test]
    fn what_comes_to_readers_is_read_and_they_end_with_it() {
        let cores = crate::proc::cores();
        let cores = Cores { server: cores.clone(), harness: cores };
        let peers = Peers::open(3, Some(&cores)).expect("loopback is there");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let socket = open(any, BENCH_SOCKET_BUFFER).expect("a socket");
        for address in peers.addresses() {
            Sender::new().send(&socket, None, *address, &[7; 100]).expect("it is there");
        }
        let patience = Instant::now() + Duration::from_secs(10);
        while peers.read() != Some(3) {
            assert!(Instant::now() < patience, "read: {:?}", peers.read());
            std::thread::yield_now();
        }
    }
}
