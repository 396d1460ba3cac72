//! Waiting with ppoll(2), for as long as traffic flows: with eighty viewers, of a packet's CPU a fifth less
//! than by way of an executor and io_uring.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::timespec;
use crate::wake::EventBell;

/// What a shard is woken by. Blocks the thread: a shard's executor has one task.
pub(crate) struct Nap {
    socket: OwnedFd,
    bell: EventBell,
}

impl Nap {
    /// `socket`: a duplicate of the media socket.
    pub(crate) fn new(socket: OwnedFd, bell: EventBell) -> Self {
        Nap { socket, bell }
    }

    /// Returns when the bell was rung, or at `until`, whatever the socket has meanwhile.
    pub(crate) fn pause(&self, until: Instant) -> io::Result<()> {
        self.wait(&mut [PollFd::new(&self.bell, PollFlags::IN)], until)
    }

    /// Returns when the socket has datagrams, when the bell was rung, or at `until`.
    pub(crate) fn doze(&self, until: Instant) -> io::Result<()> {
        let bell = PollFd::new(&self.bell, PollFlags::IN);
        self.wait(&mut [bell, PollFd::new(&self.socket, PollFlags::IN)], until)
    }

    /// The first of `polled` is the bell; when it was rung, it is heard out.
    fn wait(&self, polled: &mut [PollFd<'_>], until: Instant) -> io::Result<()> {
        let timeout = timespec(until.saturating_duration_since(Instant::now()));
        match poll(polled, Some(&timeout)) {
            Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) if polled[0].revents().is_empty() => Ok(()),
            Ok(_) => self.bell.hear_now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use antipode_relay::doorbell::Wake;
    use std::net::UdpSocket;
    use std::time::Duration;

    /// A nap that a datagram ends, what sends one, and the bell.
    fn nap() -> (Nap, impl Fn(), EventBell) {
        let bell = EventBell::new().expect("an eventfd");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback");
        let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback");
        let to = socket.local_addr().expect("it is bound");
        let send = move || assert_eq!(peer.send_to(&[1], to).expect("loopback takes it"), 1);
        (Nap::new(socket.into(), bell.clone()), send, bell)
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_bell_ends_both_and_is_heard_out() {
        let (nap, _, bell) = nap();
        for wait in [Nap::pause, Nap::doze] {
            bell.wake();
            let until = Instant::now() + LONG;
            wait(&nap, until).expect("no error");
            assert!(Instant::now() < until, "it was rung");
            bell.hear_now().expect("a silent bell does not block");
            let until = Instant::now() + SHORT;
            wait(&nap, until).expect("no error");
            assert!(Instant::now() >= until, "it was heard out");
            wait(&nap, Instant::now() - LONG).expect("late already");
        }
    }

    #[test]
    fn a_datagram_ends_a_doze_and_no_pause() {
        let (nap, send, _) = nap();
        send();
        let until = Instant::now() + LONG;
        nap.doze(until).expect("no error");
        assert!(Instant::now() < until, "it is there");
        let until = Instant::now() + SHORT;
        nap.pause(until).expect("no error");
        assert!(Instant::now() >= until, "it may gather");
    }
}
