//! The socket for what may wait: viewers' reports.
//!
//! Each viewer sends some twenty of them a second, and to be woken by one costs more than to take it in:
//! 38 µs of CPU in a virtual machine. While they are few they wake the shard like everything else. Once
//! several come within a [`PERIOD`], the shard looks for them itself, once in a period, and after media:
//!
//! ```text
//!   reports    . . ... .. . ....  . .. ...  .
//!   looks      |         |         |         |
//!   media         |||        ||  |||             each wakes
//! ```
//!
//! Nothing is lost by it but up to a period: when a report came, the kernel has written down. A shard without
//! any media looks ten times a second, since what comes by here are then checks of paths that nothing uses.

use std::time::{Duration, Instant};

use socket2::Socket;

/// Between two looks. Browsers report every 50 ms and more.
const PERIOD: Duration = Duration::from_millis(10);
/// The same where no media has come for a [`LULL`].
const PERIOD_QUIET: Duration = Duration::from_millis(100);
const LULL: Duration = Duration::from_secs(1);
/// A shard that is awake for something else looks so much earlier.
const EARLY: Duration = Duration::from_millis(5);
/// So many within a period are several.
const SEVERAL: usize = 2;

/// See the module's documentation.
pub(crate) struct Patience {
    pub(crate) socket: Socket,
    /// When the next look is due while it does not wake.
    next: Instant,
    several: bool,
    /// When media came last.
    media: Instant,
}

impl Patience {
    pub(crate) fn new(socket: Socket, now: Instant) -> Self {
        Patience { socket, next: now, several: false, media: now }
    }

    /// Whether a datagram is to wake the shard.
    pub(crate) fn wakes(&self) -> bool {
        !self.several
    }

    /// When it is to be looked at, at the latest; `None`: when it wakes.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.several.then_some(self.next)
    }

    /// Whether this turn takes what has come: one that has media lets reports wait once more (`urgent`), and
    /// one that has not is as good as that which would be due soon.
    pub(crate) fn is_due(&self, urgent: bool, now: Instant) -> bool {
        !self.several || if urgent { now >= self.next + PERIOD } else { now + EARLY >= self.next }
    }

    /// This turn had media.
    pub(crate) fn note_media(&mut self, now: Instant) {
        self.media = now;
    }

    /// A turn took so many, and may have left some to the next.
    pub(crate) fn took(&mut self, count: usize, more: bool, now: Instant) {
        self.several = count >= SEVERAL;
        let quiet = now.saturating_duration_since(self.media) >= LULL;
        let period = if quiet { PERIOD_QUIET } else { PERIOD };
        self.next = if more { now } else { now + period };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_wake_and_many_are_looked_for() {
        let start = Instant::now();
        let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        let mut patience = Patience::new(socket, start);
        assert!(patience.wakes() && patience.is_due(true, start) && patience.due().is_none());
        patience.took(SEVERAL - 1, false, start);
        assert!(patience.wakes() && patience.is_due(true, start));
        patience.took(SEVERAL, false, start);
        assert!(!patience.wakes() && !patience.is_due(false, start));
        let next = patience.due().unwrap();
        assert_eq!(next, start + PERIOD);
        assert!(patience.is_due(false, next - EARLY), "it is awake anyway");
        assert!(patience.is_due(false, next) && !patience.is_due(true, next), "media goes first");
        assert!(patience.is_due(true, next + PERIOD), "but not for ever");
        patience.took(SEVERAL, true, next);
        assert!(patience.is_due(false, next), "there may be more");
        patience.took(0, false, next);
        assert!(patience.wakes());
        let later = start + LULL;
        patience.took(SEVERAL, false, later);
        assert_eq!(patience.due(), Some(later + PERIOD_QUIET));
        patience.note_media(later);
        patience.took(SEVERAL, false, later);
        assert_eq!(patience.due(), Some(later + PERIOD));
    }
}
