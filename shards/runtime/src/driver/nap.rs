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
    apart: Option<Apart>,
    bell: EventBell,
}

/// Sockets of what is told apart.
pub(crate) struct Apart {
    /// For what may wait.
    pub(crate) patient: OwnedFd,
    pub(crate) pictures: OwnedFd,
}

impl Nap {
    /// Duplicates of a shard's sockets.
    pub(crate) fn new(socket: OwnedFd, apart: Option<Apart>, bell: EventBell) -> Self {
        Nap { socket, apart, bell }
    }

    /// Returns when the bell was rung, or at `until`, whatever the sockets have meanwhile.
    pub(crate) fn pause(&self, until: Instant) -> io::Result<()> {
        self.wait(&mut [self.bell()], until)
    }

    /// Returns when something urgent came, when the bell was rung, or at `until`, whatever pictures come.
    pub(crate) fn gather(&self, until: Instant) -> io::Result<()> {
        self.wait(&mut [self.bell(), polled(&self.socket)], until)
    }

    /// Returns when something came, if it is what may wait only where that is to wake (`any`), when the
    /// bell was rung, or at `until`.
    pub(crate) fn doze(&self, any: bool, until: Instant) -> io::Result<()> {
        let [bell, socket] = [self.bell(), polled(&self.socket)];
        match &self.apart {
            None => self.wait(&mut [bell, socket], until),
            Some(Apart { patient, pictures }) => {
                let mut all = [bell, socket, polled(pictures), polled(patient)];
                let awaited = if any { all.len() } else { all.len() - 1 };
                self.wait(&mut all[..awaited], until)
            }
        }
    }

    fn bell(&self) -> PollFd<'_> {
        PollFd::new(&self.bell, PollFlags::IN)
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

fn polled(socket: &OwnedFd) -> PollFd<'_> {
    PollFd::new(socket, PollFlags::IN)
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
        for wait in [Nap::pause, Nap::gather, doze] {
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

    fn quiet() -> OwnedFd {
        UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback").into()
    }

    /// Whether it returns before its time.
    fn ends(wait: impl Fn(Instant) -> io::Result<()>) -> bool {
        let until = Instant::now() + SHORT;
        wait(until).expect("no error");
        Instant::now() < until
    }

    #[test]
    fn what_may_wait_ends_a_doze_if_it_is_to() {
        let (Nap { socket, bell, .. }, send, _) = nap();
        let apart = Apart { patient: socket, pictures: quiet() };
        let nap = Nap::new(quiet(), Some(apart), bell);
        send();
        assert!(ends(|until| nap.doze(true, until)), "it is there");
        assert!(!ends(|until| nap.doze(false, until)), "it may wait");
        assert!(!ends(|until| nap.gather(until)));
    }

    #[test]
    fn pictures_end_a_doze_alone() {
        let (Nap { socket, bell, .. }, send, _) = nap();
        let apart = Apart { patient: quiet(), pictures: socket };
        let nap = Nap::new(quiet(), Some(apart), bell);
        send();
        assert!(ends(|until| nap.doze(false, until)));
        assert!(!ends(|until| nap.gather(until)), "they may gather");
        assert!(!ends(|until| nap.pause(until)));
    }

    #[test]
    fn what_is_urgent_ends_all_but_a_pause() {
        let (nap, send, _) = nap();
        send();
        assert!(ends(|until| nap.doze(true, until)));
        assert!(ends(|until| nap.gather(until)));
        assert!(!ends(|until| nap.pause(until)), "it comes close together");
    }
}
