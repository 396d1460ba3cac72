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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
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
/// Operations in flight: two peeks, a read, a timer and what glommio adds.
const RING_DEPTH: usize = 32;

/// One operation in flight.
///
/// glommio keeps one more waker of whoever polls an operation that is not complete, each time, and counts
/// the wakers of a task in 16 bits: a shard whose bell is silent for 32,767 laps would end there. So the
/// operation has a waker of its own, is polled when it begins, and again when that was called.
struct Pending {
    operation: Pin<Box<dyn Future<Output = io::Result<()>>>>,
    signal: Arc<Signal>,
    waker: Waker,
}

struct Signal {
    called: AtomicBool,
    task: Waker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.called.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

impl Pending {
    fn begin(
        operation: impl Future<Output = io::Result<()>> + 'static,
        context: &Context<'_>,
    ) -> Self {
        let called = AtomicBool::new(true);
        let signal = Arc::new(Signal { called, task: context.waker().clone() });
        let waker = Waker::from(Arc::clone(&signal));
        Pending { operation: Box::pin(operation), signal, waker }
    }

    fn poll(&mut self) -> Poll<io::Result<()>> {
        if !self.signal.called.swap(false, Ordering::Relaxed) {
            return Poll::Pending;
        }
        self.operation.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

/// See the module's documentation. Lives inside an executor.
pub(crate) struct Glommio {
    /// Each with the peek that is under way.
    sockets: Vec<(Rc<UdpSocket>, Option<Pending>)>,
    bell: Rc<BufferedFile>,
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
    pub(crate) fn new(sockets: Vec<OwnedFd>, bell: &EventBell) -> io::Result<Self> {
        let sockets = sockets.into_iter().map(|socket| (Rc::new(sys::glommio_udp(socket)), None));
        Ok(Glommio {
            sockets: sockets.collect(),
            bell: Rc::new(sys::glommio_file(bell.duplicate()?)),
            rung: None,
        })
    }

    fn poll_readable(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut all = Poll::Pending;
        for (socket, readable) in &mut self.sockets {
            let pending = readable.get_or_insert_with(|| {
                let socket = Rc::clone(socket);
                let peek = async move {
                    socket.peek_from(&mut [0; 1]).await.map(drop).map_err(io::Error::from)
                };
                Pending::begin(peek, context)
            });
            let result = pending.poll();
            if result.is_ready() {
                *readable = None;
                all = result;
            }
        }
        all
    }

    fn poll_rung(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let pending = self.rung.get_or_insert_with(|| {
            let bell = Rc::clone(&self.bell);
            let read = async move {
                bell.read_at(0, size_of::<u64>()).await.map(drop).map_err(io::Error::from)
            };
            Pending::begin(read, context)
        });
        let result = pending.poll();
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
            // All are polled each time, so that each one is in flight.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket as Std;

    /// More laps than glommio can count wakers of a task, with a bell that nobody rings.
    #[test]
    fn a_silent_bell_costs_nothing_a_lap() {
        let Ok(executor) = executor("laps") else {
            eprintln!("skipped: this host forbids io_uring");
            return;
        };
        let socket = Std::bind("127.0.0.1:0").expect("a socket on loopback");
        let peer = Std::bind("127.0.0.1:0").expect("a socket on loopback");
        let address = socket.local_addr().expect("it is bound");
        let own = socket.try_clone().expect("a descriptor");
        let bell = EventBell::new().expect("an eventfd");
        executor.run(async move {
            let mut driver = Glommio::new(vec![socket.into()], &bell).expect("inside an executor");
            for _ in 0..40_000 {
                peer.send_to(&[1], address).expect("loopback takes it");
                let until = Instant::now() + Duration::from_secs(5);
                driver.wait(until).await.expect("no error");
                assert!(Instant::now() < until, "the datagram woke it");
                own.recv(&mut [0; 8]).expect("it is there");
            }
            antipode_relay::doorbell::Wake::wake(&bell);
            let until = Instant::now() + Duration::from_secs(5);
            driver.wait(until).await.expect("no error");
            assert!(Instant::now() < until, "the bell woke it");
        });
    }
}
