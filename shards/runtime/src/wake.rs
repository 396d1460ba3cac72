//! Waking and stopping threads that wait in the kernel: eventfd(2).

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use antipode_relay::doorbell::Wake;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// An eventfd as a bell: each ring makes it readable until it is read. Clones are the same bell.
///
/// It is a blocking one, since io_uring answers a read of a non-blocking descriptor at once with
/// EAGAIN; so read it only when it is known to be readable.
#[derive(Clone, Debug)]
pub(crate) struct EventBell(Arc<OwnedFd>);

impl EventBell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(EventBell(Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?)))
    }

    /// Takes all rings so far. Blocks while there are none.
    pub(crate) fn hear(&self) {
        let mut count = [0; 8];
        // An error leaves the bell ringing: the next wait ends at once and tries again.
        let _ = rustix::io::read(&*self.0, &mut count);
    }

    /// Takes all rings so far, if there are any.
    pub(crate) fn hear_now(&self) -> io::Result<()> {
        let mut count = [0; 8];
        let mut into = [IoSliceMut::new(&mut count)];
        // An eventfd has no places; this one means "here".
        match preadv2(&*self.0, &mut into, u64::MAX, ReadWriteFlags::NOWAIT) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Another descriptor of the same bell, for those who want to own one.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

impl Wake for EventBell {
    fn wake(&self) {
        // It fails only when nobody has heard 2^64 - 2 rings.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

impl AsFd for EventBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Ends a node. Clones are the same token; [`StopToken::stop`] may be called from any thread.
#[derive(Clone, Debug, Default)]
pub struct StopToken(Arc<Stop>);

#[derive(Debug, Default)]
struct Stop {
    stopped: AtomicBool,
    /// Set by the node that the token ends, before it looks at `stopped` for the first time.
    bell: OnceLock<EventBell>,
}

impl StopToken {
    /// A token of something that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the end. Idempotent, never blocks.
    pub fn stop(&self) {
        if !self.0.stopped.swap(true, Ordering::SeqCst)
            && let Some(bell) = self.0.bell.get()
        {
            bell.wake();
        }
    }

    /// Whether the end was asked for.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    /// A bell that rings at [`StopToken::stop`], and that nobody hears out: it stays readable.
    /// Look at [`StopToken::is_stopped`] afterwards; the stop may have come before.
    pub(crate) fn bell(&self) -> io::Result<EventBell> {
        let bell = EventBell::new()?;
        Ok(self.0.bell.get_or_init(|| bell).clone())
    }
}
