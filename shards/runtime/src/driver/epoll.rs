//! Waiting with epoll(7), for hosts that forbid io_uring.
//!
//! The deadline is a timerfd in the set: epoll's own timeout counts in milliseconds before Linux 5.11.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::Driver;
use crate::wake::EventBell;

const SOCKET: EventData = EventData::new_u64(0);
const BELL: EventData = EventData::new_u64(1);
const TIMER: EventData = EventData::new_u64(2);
const NONE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// See the module's documentation.
pub(crate) struct Epoll {
    epoll: OwnedFd,
    /// Registered in `epoll`; a descriptor that is closed would leave it.
    _sockets: Vec<OwnedFd>,
    bell: EventBell,
    timer: OwnedFd,
}

impl Epoll {
    pub(crate) fn new(sockets: Vec<OwnedFd>, bell: EventBell) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for socket in &sockets {
            epoll::add(&epoll, socket, SOCKET, EventFlags::IN)?;
        }
        epoll::add(&epoll, &bell, BELL, EventFlags::IN)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &timer, TIMER, EventFlags::IN)?;
        Ok(Epoll { epoll, _sockets: sockets, bell, timer })
    }
}

impl Driver for Epoll {
    async fn wait(&mut self, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let it_value = super::timespec(left);
        // Setting it also takes back that it fired before, so it is never read.
        let once = Itimerspec { it_interval: NONE, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: SOCKET }; 4];
        let count = match epoll::wait(&self.epoll, &mut events, None) {
            Err(rustix::io::Errno::INTR) => 0,
            other => other?,
        };
        if events[..count].iter().any(|event| event.data.u64() == BELL.u64()) {
            self.bell.hear();
        }
        Ok(())
    }
}

/// Runs a future that waits in this driver alone: the thread blocks there, hence it is never pending.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a future of the epoll driver waits for something else"),
    }
}
