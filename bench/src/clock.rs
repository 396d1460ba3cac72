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

/// Turns times of the host's calendar clock, which stamps what the kernel received, into those of
/// [`Clock`]. The calendar is put right now and then: good for some milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Calendar {
    /// Both clocks, read one after the other.
    since_1970: Duration,
    now: Now,
}

impl Calendar {
    /// When it was read.
    pub fn now(&self) -> Now {
        self.now
    }

    /// The time of a stamp; one of the future, which only a clock that was put back gives, is now.
    pub fn at(&self, stamp: Duration) -> Now {
        let ago = self.since_1970.saturating_sub(stamp);
        let instant = self.now.instant.checked_sub(ago).unwrap_or(self.now.instant);
        Now { instant, ns: self.now.ns.saturating_sub(ago.as_nanos() as u64) }
    }
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

    /// Reads both clocks.
    pub fn calendar(&self) -> Calendar {
        let read = clock_gettime(ClockId::Realtime);
        let since_1970 = Duration::new(read.tv_sec as u64, read.tv_nsec as u32);
        Calendar { since_1970, now: self.now() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_as_old_in_both_clocks() {
        let clock = Clock::new();
        let read = clock.calendar();
        let ago = Duration::from_millis(7);
        let at = read.at(read.since_1970 - ago);
        assert_eq!((at.instant, at.ns), (read.now.instant - ago, read.now.ns - 7_000_000));
        assert_eq!(read.at(read.since_1970 + ago).ns, read.now.ns, "nothing is of the future");
    }
}
