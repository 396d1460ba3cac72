//! Waking a shard that sleeps, and only then.
//!
//! A shard that is about to park says so, looks at its rings once more and parks. Whoever puts a
//! parcel into a ring afterwards sees the flag and rings. A busy shard is never rung: it finds the
//! parcel at its next turn, and no system call is spent on it.
//!
//! ```text
//!   sleeper                          sender
//!   say_sleeping()  --- SeqCst ---   push parcel
//!   rings empty?                     ring_if_sleeping()
//!   park                             (at most one ring per sleep)
//! ```
//!
//! The fences on both sides make one of them see the other: either the sleeper finds the parcel or
//! the sender finds the flag.

use std::sync::atomic::{AtomicBool, Ordering, fence};

/// What makes a parked executor run again; an eventfd in the runtime, a counter in tests.
pub trait Wake: Send + Sync {
    /// Must not block. Called from other threads.
    fn wake(&self);
}

/// One per shard, shared by all that may wake it.
pub struct Doorbell {
    sleeping: AtomicBool,
    waker: Box<dyn Wake>,
}

impl std::fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doorbell").field("sleeping", &self.sleeping).finish_non_exhaustive()
    }
}

impl Doorbell {
    /// A bell of a shard that is awake.
    pub fn new(waker: Box<dyn Wake>) -> Self {
        Doorbell { sleeping: AtomicBool::new(false), waker }
    }

    /// The shard will park unless it finds work in one more look at its rings and channels.
    pub fn say_sleeping(&self) {
        self.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The shard runs again.
    pub fn say_awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// After work was put where the shard will look.
    pub fn ring_if_sleeping(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    struct Count(Arc<AtomicUsize>);

    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn rings_once_per_sleep_and_never_awake() {
        let count = Arc::new(AtomicUsize::new(0));
        let bell = Doorbell::new(Box::new(Count(count.clone())));
        bell.ring_if_sleeping();
        assert_eq!(count.load(Ordering::SeqCst), 0);
        bell.say_sleeping();
        bell.ring_if_sleeping();
        bell.ring_if_sleeping();
        assert_eq!(count.load(Ordering::SeqCst), 1);
        bell.say_sleeping();
        bell.say_awake();
        bell.ring_if_sleeping();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
