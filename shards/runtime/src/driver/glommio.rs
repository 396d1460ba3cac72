//! Waiting in a glommio executor, that is in io_uring.
//!
//! glommio has no "wait until readable". A one-byte peek is one for a UDP socket and an eight-byte
//! read is one for an eventfd. Both stay in flight from one park to the next: to cancel and submit
//! them anew would cost more than an occasional lap for nothing.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use glommio::io::BufferedFile;
use glommio::net::UdpSocket;
use glommio::timer::Timer;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use super::Driver;
use crate::net::sys;
use crate::wake::EventBell;

/// The executor has one task, so there is nobody to yield to, and this must not expire: when it does
/// so between glommio's reaping of completions and its look at the task queue, that look is skipped,
/// and version 0.9 parks with a task that is ready and will not be run by any wake to come. At 1 ms
/// a busy two-core host lost a shard so within minutes.
const PREEMPT: Duration = Duration::from_secs(24 * 3600);
/// Registered with the ring: the peek and the read need a few bytes.
const IO_MEMORY: usize = 64 * 1024;
/// Operations in flight: a peek, a read, a timer and what glommio adds.
const RING_DEPTH: usize = 32;

type Pending = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// See the module's documentation. Lives inside an executor.
pub(crate) struct Glommio {
    socket: Rc<UdpSocket>,
    bell: Rc<BufferedFile>,
    readable: Option<Pending>,
    rung: Option<Pending>,
}

/// An executor on the calling thread, which is pinned already.
///
/// # Errors
/// When the host grants too little locked memory or forbids io_uring.
pub(crate) fn executor(name: &str) -> Result<LocalExecutor, glommio::GlommioError<()>> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .name(name)
        .preempt_timer(PREEMPT)
        .io_memory(IO_MEMORY)
        .ring_depth(RING_DEPTH)
        .make()
}

impl Glommio {
    /// Must be called inside an executor.
    pub(crate) fn new(socket: OwnedFd, bell: &EventBell) -> io::Result<Self> {
        Ok(Glommio {
            socket: Rc::new(sys::glommio_udp(socket)),
            bell: Rc::new(sys::glommio_file(bell.duplicate()?)),
            readable: None,
            rung: None,
        })
    }

    fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let pending = self.readable.get_or_insert_with(|| {
            let socket = Rc::clone(&self.socket);
            Box::pin(async move {
                socket.peek_from(&mut [0; 1]).await.map(drop).map_err(io::Error::from)
            })
        });
        let result = pending.as_mut().poll(context);
        if result.is_ready() {
            self.readable = None;
        }
        result
    }

    fn poll_rung(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let pending = self.rung.get_or_insert_with(|| {
            let bell = Rc::clone(&self.bell);
            Box::pin(async move {
                bell.read_at(0, size_of::<u64>()).await.map(drop).map_err(io::Error::from)
            })
        });
        let result = pending.as_mut().poll(context);
        if result.is_ready() {
            self.rung = None;
        }
        result
    }
}

impl Driver for Glommio {
    async fn wait(&mut self, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let mut timer = Timer::new(left);
        poll_fn(|context| {
            // All three are polled each time, so that each one is in flight.
            let readable = self.poll_readable(context);
            let rung = self.poll_rung(context);
            let due = Pin::new(&mut timer).poll(context);
            match (readable, rung, due) {
                (Poll::Ready(Err(error)), _, _) | (_, Poll::Ready(Err(error)), _) => {
                    Poll::Ready(Err(error))
                }
                (Poll::Pending, Poll::Pending, Poll::Pending) => Poll::Pending,
                _ => Poll::Ready(Ok(())),
            }
        })
        .await
    }
}
