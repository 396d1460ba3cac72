//! What one shard still has to send. Every datagram passes through it, in order.
//!
//! A full socket leaves the rest for the next turn; a full outbox loses its oldest datagrams, which
//! are the least useful ones, each counted.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use antipode_base::limits::{OUTBOX_MAX, SEND_AT, SEND_BATCH};
use antipode_core::Transmit;

use super::socket::keep_whole;
use super::sys::batch::SendBatch;
use super::trains::{self, Train};

/// What was sent and lost since the shard's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
    pub(crate) trains: u64,
    pub(crate) dropped: u64,
}

/// See the module's documentation.
pub(crate) struct Outbox {
    queue: VecDeque<Transmit>,
    trains: Vec<Train>,
    batch: SendBatch,
    /// Datagrams that came since the last send.
    fresh: usize,
    /// Datagrams at the head that leave one by one, since a train of them was refused.
    singles: usize,
    /// Whether the kernel and the interfaces take segmented sends.
    segmentation: bool,
    sent: Sent,
}

/// What a failed send asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// Try at the next turn.
    Wait,
    /// Try again at once.
    Again,
    /// This train is too much for its path; its datagrams may not be.
    SplitTrain,
    /// No train will ever pass.
    SplitAll,
    /// This datagram is longer than its path carries: the kernel shall cut it.
    Cut,
    /// It cannot be sent.
    Drop,
}

impl Outbox {
    /// `v6`: the socket is one of IPv6.
    pub(crate) fn new(v6: bool) -> Self {
        Outbox {
            queue: VecDeque::new(),
            trains: Vec::with_capacity(SEND_BATCH),
            batch: SendBatch::new(v6),
            fresh: 0,
            singles: 0,
            segmentation: true,
            sent: Sent::default(),
        }
    }

    /// Puts a datagram at the end; over [`OUTBOX_MAX`] the oldest is lost.
    pub(crate) fn push(&mut self, transmit: Transmit) {
        if self.queue.len() == OUTBOX_MAX {
            self.queue.pop_front();
            self.singles = self.singles.saturating_sub(1);
            self.sent.dropped += 1;
        }
        self.queue.push_back(transmit);
        self.fresh += 1;
    }

    /// Whether nothing waits for room in the socket.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether so many came since the last send that the next is due before this one, whatever that could not
    /// send. What goes to the same peer waits for one another, since it may leave as one train.
    pub(crate) fn is_ripe(&self, next: &Transmit) -> bool {
        let last = self.queue.back().map(|last| last.destination);
        self.fresh >= SEND_AT && (last != Some(next.destination) || self.fresh >= 2 * SEND_AT)
    }

    /// The counters.
    pub(crate) fn sent(&self) -> Sent {
        self.sent
    }

    /// Sends as much as the socket takes, and hands back the buffers of what left. Each lap sends, drops or
    /// splits something.
    pub(crate) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        source_of: impl Fn(SocketAddr) -> Option<IpAddr>,
        mut reuse: impl FnMut(Vec<u8>),
    ) {
        self.fresh = 0;
        while !self.queue.is_empty() {
            let singles = if self.segmentation { self.singles } else { usize::MAX };
            trains::cut(self.queue.iter(), singles, &mut self.trains);
            match self.batch.send(fd, &self.queue, &self.trains, &source_of) {
                Ok(count) => self.took(count, &mut reuse),
                Err(error) => {
                    let first = self.trains[0];
                    match remedy(&error, first.datagrams) {
                        Remedy::Wait => return,
                        Remedy::Again => {}
                        Remedy::SplitTrain => self.singles = first.datagrams,
                        Remedy::SplitAll => {
                            tracing::warn!(%error, "segmented sends are off: one datagram a send");
                            self.segmentation = false;
                        }
                        Remedy::Cut => self.cut_first(fd, &source_of, &mut reuse),
                        Remedy::Drop => self.lose(first.datagrams, &error),
                    }
                }
            }
        }
    }

    /// Sends the first datagram in fragments. That is four system calls instead of a part of one, and few
    /// paths carry so little.
    fn cut_first(
        &mut self,
        fd: BorrowedFd<'_>,
        source_of: &impl Fn(SocketAddr) -> Option<IpAddr>,
        reuse: &mut impl FnMut(Vec<u8>),
    ) {
        let cut = keep_whole(fd, false)
            .and_then(|()| self.batch.send(fd, &self.queue, &self.trains[..1], source_of));
        let whole = keep_whole(fd, true);
        match cut.and_then(|count| whole.map(|()| count)) {
            Ok(count) => self.took(count, reuse),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.lose(1, &error),
        }
    }

    fn took(&mut self, count: usize, reuse: &mut impl FnMut(Vec<u8>)) {
        for train in &self.trains[..count] {
            let sent = self.queue.drain(..train.datagrams);
            sent.for_each(|transmit| reuse(transmit.bytes));
            self.singles = self.singles.saturating_sub(train.datagrams);
            self.sent.datagrams += train.datagrams as u64;
            self.sent.bytes += train.bytes as u64;
            self.sent.trains += 1;
        }
    }

    fn lose(&mut self, datagrams: usize, error: &io::Error) {
        tracing::debug!(%error, datagrams, "the kernel refused to send");
        self.queue.drain(..datagrams);
        self.singles = self.singles.saturating_sub(datagrams);
        self.sent.dropped += datagrams as u64;
    }
}

/// A train fails as a whole with EIO where checksums cannot be offloaded (udp(7), UDP_SEGMENT), and
/// with EINVAL or EMSGSIZE where one segment is longer than the path's MTU.
fn remedy(error: &io::Error, datagrams: usize) -> Remedy {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Remedy::Wait,
        Some(libc::EINTR) => Remedy::Again,
        Some(libc::EIO | libc::ENOPROTOOPT) if datagrams > 1 => Remedy::SplitAll,
        Some(libc::EINVAL | libc::EMSGSIZE) if datagrams > 1 => Remedy::SplitTrain,
        Some(libc::EMSGSIZE) => Remedy::Cut,
        _ => Remedy::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::receive;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    fn pair() -> (UdpSocket, UdpSocket) {
        let open = || UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback");
        let (a, b) = (open(), open());
        b.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (a, b)
    }

    #[test]
    fn remedies() {
        for (errno, datagrams, want) in [
            (libc::EAGAIN, 1, Remedy::Wait),
            (libc::EAGAIN, 4, Remedy::Wait),
            (libc::EINTR, 1, Remedy::Again),
            (libc::EIO, 4, Remedy::SplitAll),
            (libc::EIO, 1, Remedy::Drop),
            (libc::EINVAL, 4, Remedy::SplitTrain),
            (libc::EMSGSIZE, 4, Remedy::SplitTrain),
            (libc::EMSGSIZE, 1, Remedy::Cut),
            (libc::EINVAL, 1, Remedy::Drop),
            (libc::ENETUNREACH, 4, Remedy::Drop),
        ] {
            assert_eq!(remedy(&io::Error::from_raw_os_error(errno), datagrams), want, "{errno}");
        }
    }

    #[test]
    fn a_train_arrives_as_its_datagrams() {
        let (from, to) = pair();
        let destination = to.local_addr().unwrap();
        let local = from.local_addr().unwrap();
        let mut outbox = Outbox::new(false);
        let lengths = [1_100, 1_100, 1_100, 600, 1_100, 60];
        for (index, length) in lengths.into_iter().enumerate() {
            outbox.push(Transmit {
                transport: antipode_core::Transport::Udp,
                local,
                destination,
                bytes: vec![index as u8; length],
            });
        }
        let mut back = 0;
        outbox.send(from.as_fd(), |local| Some(local.ip()), |_| back += 1);
        assert!(outbox.is_empty());
        assert_eq!(back, lengths.len(), "every buffer comes back");
        let bytes = lengths.iter().sum::<usize>() as u64;
        assert_eq!(outbox.sent(), Sent { datagrams: 6, bytes, trains: 2, dropped: 0 });
        let mut buffer = [0; 2_048];
        for (index, length) in lengths.into_iter().enumerate() {
            let (got, source) = receive(&to, &mut buffer);
            assert_eq!((got, buffer[0], source), (length, index as u8, local));
        }
    }

    #[test]
    fn a_socket_of_both_kinds_sends_from_the_address_of_ipv4_that_it_is_told() {
        let (_, to) = pair();
        let Ok(from) = UdpSocket::bind("[::]:0") else { return eprintln!("no IPv6 on this host") };
        let destination = to.local_addr().unwrap();
        let local = SocketAddr::from(([127, 0, 0, 2], from.local_addr().unwrap().port()));
        let mut outbox = Outbox::new(true);
        let mut buffer = [0; 2_048];
        for datagrams in [1, 3] {
            for _ in 0..datagrams {
                let transport = antipode_core::Transport::Udp;
                outbox.push(Transmit { transport, local, destination, bytes: vec![1; 1_100] });
            }
            outbox.send(from.as_fd(), |local| Some(local.ip()), drop);
            for _ in 0..datagrams {
                assert_eq!(receive(&to, &mut buffer), (1_100, local));
            }
        }
    }

    #[test]
    fn what_cannot_be_sent_is_counted_and_does_not_hold_up_the_rest() {
        let (from, to) = pair();
        let destination = to.local_addr().unwrap();
        let local = from.local_addr().unwrap();
        let mut outbox = Outbox::new(false);
        // Port 0 is no destination; EINVAL.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        outbox.push(Transmit {
            transport: antipode_core::Transport::Udp,
            local,
            destination: nowhere,
            bytes: vec![1; 20],
        });
        outbox.push(Transmit {
            transport: antipode_core::Transport::Udp,
            local,
            destination: nowhere,
            bytes: vec![1; 20],
        });
        // Longer than any datagram, also in fragments.
        outbox.push(Transmit {
            transport: antipode_core::Transport::Udp,
            local,
            destination,
            bytes: vec![1; 66_000],
        });
        outbox.push(Transmit {
            transport: antipode_core::Transport::Udp,
            local,
            destination,
            bytes: vec![2; 30],
        });
        outbox.send(from.as_fd(), |local| Some(local.ip()), drop);
        assert!(outbox.is_empty());
        assert_eq!(outbox.sent(), Sent { datagrams: 1, bytes: 30, trains: 1, dropped: 3 });
        let mut buffer = [0; 64];
        assert_eq!(receive(&to, &mut buffer).0, 30);
    }

    #[test]
    fn a_full_outbox_loses_its_oldest() {
        let mut outbox = Outbox::new(false);
        (0..OUTBOX_MAX + 3).for_each(|n| outbox.push(numbered(n, 1)));
        assert_eq!(outbox.sent().dropped, 3);
        assert_eq!(outbox.queue.front().unwrap().bytes, 3usize.to_le_bytes());
    }

    fn numbered(n: usize, port: u16) -> Transmit {
        let local = SocketAddr::from(([127, 0, 0, 1], 1));
        let destination = SocketAddr::from(([127, 0, 0, 1], port));
        let bytes = n.to_le_bytes().to_vec();
        Transmit { transport: antipode_core::Transport::Udp, local, destination, bytes }
    }

    #[test]
    fn what_goes_to_one_peer_is_sent_together() {
        let mut outbox = Outbox::new(false);
        let ripe_at = |outbox: &mut Outbox, port: &dyn Fn(usize) -> u16| {
            outbox.fresh = 0;
            (0..).find(|n| {
                let next = numbered(*n, port(*n));
                let ripe = outbox.is_ripe(&next);
                outbox.push(next);
                ripe
            })
        };
        assert_eq!(ripe_at(&mut outbox, &|n| n as u16), Some(SEND_AT));
        let train = SEND_AT - 3;
        assert_eq!(ripe_at(&mut outbox, &|n| (n / train) as u16), Some(2 * train));
        assert_eq!(ripe_at(&mut outbox, &|_| 7), Some(2 * SEND_AT), "but not for ever");
    }
}
