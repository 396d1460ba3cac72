//! The host's monotonic clock as nanoseconds, which every process of the host reads alike.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Turns instants into nanoseconds of `CLOCK_MONOTONIC`, which `Instant` reads on Linux but does not
/// show. The two ends of a measured path may be two processes of one host.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Instant,
    base_ns: u64,
}

/// One reading of the clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For str0m.
    pub instant: Instant,
    /// For what travels.
    pub ns: u64,
}

impl Clock {
    /// Ties the two forms together, within the time of one system call.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let read = clock_gettime(ClockId::Monotonic);
        let base = Instant::now();
        let base_ns = read.tv_sec as u64 * 1_000_000_000 + read.tv_nsec as u64;
        Clock { base, base_ns }
    }

    /// Reads the clock.
    pub fn now(&self) -> Now {
        self.at(Instant::now())
    }

    /// An instant in both forms.
    pub fn at(&self, instant: Instant) -> Now {
        let since = instant.saturating_duration_since(self.base);
        Now { instant, ns: self.base_ns.saturating_add(since.as_nanos() as u64) }
    }

    /// The instant of a time in nanoseconds.
    pub fn instant(&self, ns: u64) -> Instant {
        self.base + Duration::from_nanos(ns.saturating_sub(self.base_ns))
    }
}

/// A number that two processes share exactly when one clock serves both: the host's boot.
pub fn host_tag() -> u32 {
    // Without one, as in odd containers, processes of one host still agree.
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    crc32fast::hash(&boot)
}
