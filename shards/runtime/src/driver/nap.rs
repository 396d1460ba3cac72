//! Waiting with ppoll(2), for as long as traffic flows: with eighty viewers, of a packet's CPU a fifth less
//! than by way of an executor and io_uring.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::timespec;
use crate::wake::EventBell;

/// What a shard is woken by. Blocks the thread: a shard's executor has one task.
pub(crate) struct Nap {
    socket: OwnedFd,
    /// For what may wait.
    patient: Option<OwnedFd>,
    bell: EventBell,
}

impl Nap {
    /// Duplicates of the media socket and of that for what may wait.
    pub(crate) fn new(socket: OwnedFd, patient: Option<OwnedFd>, bell: EventBell) -> Self {
        Nap { socket, patient, bell }
    }

    /// Returns when the bell was rung, or at `until`, whatever the socket has meanwhile.
    pub(crate) fn pause(&self, until: Instant) -> io::Result<()> {
        self.wait(&mut [PollFd::new(&self.bell, PollFlags::IN)], until)
    }

    /// Returns when the media socket has datagrams, when the other one has and is to wake (`any`), when
    /// the bell was rung, or at `until`.
    pub(crate) fn doze(&self, any: bool, until: Instant) -> io::Result<()> {
        let [bell, socket] = [self.bell.as_fd(), self.socket.as_fd()]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match self.patient.as_ref().filter(|_| any) {
            Some(patient) => {
                self.wait(&mut [bell, socket, PollFd::new(patient, PollFlags::IN)], until)
            }
            None => self.wait(&mut [bell, socket], until),
        }
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
        (Nap::new(socket.into(), None, bell.clone()), send, bell)
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_bell_ends_both_and_is_heard_out() {
        let (nap, _, bell) = nap();
        let doze = |nap: &Nap, until| nap.doze(true, until);
        for wait in [Nap::pause, doze] {
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
    fn what_may_wait_ends_a_doze_if_it_is_to() {
        let (nap, send, _) = nap();
        let quiet = UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback");
        let Nap { socket, bell, .. } = nap;
        let nap = Nap::new(quiet.into(), Some(socket), bell);
        send();
        let until = Instant::now() + LONG;
        nap.doze(true, until).expect("no error");
        assert!(Instant::now() < until, "it is there");
        let until = Instant::now() + SHORT;
        nap.doze(false, until).expect("no error");
        assert!(Instant::now() >= until, "it may wait");
    }

    #[test]
    fn a_datagram_ends_a_doze_and_no_pause() {
        let (nap, send, _) = nap();
        send();
        let until = Instant::now() + LONG;
        nap.doze(true, until).expect("no error");
        assert!(Instant::now() < until, "it is there");
        let until = Instant::now() + SHORT;
        nap.pause(until).expect("no error");
        assert!(Instant::now() >= until, "it may gather");
    }
}
