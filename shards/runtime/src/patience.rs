//! The socket for what may wait: viewers' reports.
//!
//! Each viewer sends some twenty of them a second, and to be woken by one costs more than to take it in:
//! 40 µs of CPU and more in a virtual machine. While they are few they wake the shard like everything else.
//! Once several come within a [`PERIOD`], they wait for media, and are taken in when that has left; where
//! none comes for a period, the shard looks for them itself:
//!
//! ```text
//!   reports    . . ... .. . ....  . .. ...  . .. . ..
//!   media         |||           |||           |||         each wakes
//!   looks            |      |      |      |      |
//! ```
//!
//! What they say comes to bear on the next picture, so little is lost by it; and when a report came, the
//! kernel has written down. Where there are too many for the socket to keep so long, the period is shorter. A
//! shard without any media looks ten times a second, since what comes by here are then checks of paths that
//! nothing uses.

use std::time::{Duration, Instant};

use socket2::Socket;

/// Between two looks, and the least of it. So much waiting may be in the round-trip time that ICE measures.
const PERIOD: Duration = Duration::from_millis(20);
const PERIOD_MIN: Duration = Duration::from_millis(1);
/// The same where no media has come for a [`LULL`].
const PERIOD_QUIET: Duration = Duration::from_millis(100);
const LULL: Duration = Duration::from_secs(1);
/// So many within a period are several.
const SEVERAL: usize = 2;
/// Bytes of a socket's buffer for each of those that one look is to find at most: the kernel counts the pages
/// that a card wrote them to, and half of the buffer is for what comes while the shard is busy.
const ROOM: usize = 2 * 4096;

/// See the module's documentation.
pub(crate) struct Patience {
    pub(crate) socket: Socket,
    /// When all that had come was taken, and what has been taken since.
    looked: Instant,
    since: usize,
    /// When the next look is due while it does not wake, and how long that was after the one before.
    next: Instant,
    period: Duration,
    several: bool,
    /// How many one look is to find at most.
    many: usize,
    /// When media came last.
    media: Instant,
}

impl Patience {
    pub(crate) fn new(socket: Socket, now: Instant) -> Self {
        let many = (socket.recv_buffer_size().unwrap_or_default() / ROOM).max(SEVERAL);
        let (looked, next, media) = (now, now, now);
        Patience { socket, looked, since: 0, next, period: PERIOD, several: false, many, media }
    }

    /// Whether a datagram is to wake the shard.
    pub(crate) fn wakes(&self) -> bool {
        !self.several
    }

    /// When it is to be looked at, at the latest; `None`: when it wakes. Behind a turn that had media that is
    /// at once, from the middle of a period.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let early = if self.media == now { self.period / 2 } else { Duration::ZERO };
        self.several.then(|| self.next - early)
    }

    /// Whether this turn takes what has come: one that has something `urgent` leaves that to the one behind
    /// it, unless it has waited too long.
    pub(crate) fn is_due(&self, urgent: bool, now: Instant) -> bool {
        let half = self.period / 2;
        !self.several || if urgent { now >= self.next + half } else { now + half >= self.next }
    }

    /// This turn had media.
    pub(crate) fn note_media(&mut self, now: Instant) {
        self.media = now;
    }

    /// A turn took so many, and may have left some to the next.
    pub(crate) fn took(&mut self, count: usize, more: bool, now: Instant) {
        self.since += count;
        if more {
            self.next = now;
            return;
        }
        let count = std::mem::take(&mut self.since);
        let span = now.saturating_duration_since(std::mem::replace(&mut self.looked, now));
        self.several = count >= SEVERAL;
        let quiet = now.saturating_duration_since(self.media) >= LULL;
        let longest = if quiet { PERIOD_QUIET } else { PERIOD };
        let period = if count > self.many {
            span.mul_f32(self.many as f32 / count as f32)
        } else if count > self.many / 2 {
            self.period
        } else {
            self.period * 2
        };
        self.period = period.clamp(PERIOD_MIN, longest);
        self.next = now + self.period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(start: Instant) -> Patience {
        let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        Patience::new(socket, start)
    }

    #[test]
    fn few_wake_and_many_are_looked_for() {
        let start = Instant::now();
        let mut patience = patience(start);
        let later = start + LULL;
        assert!(patience.wakes() && patience.is_due(true, start) && patience.due(later).is_none());
        patience.took(SEVERAL - 1, false, start);
        assert!(patience.wakes() && patience.is_due(true, start));
        patience.took(SEVERAL, false, start);
        assert!(!patience.wakes() && !patience.is_due(false, start));
        let (middle, next) = (start + PERIOD / 2, start + PERIOD);
        assert_eq!(patience.due(middle), Some(next));
        assert!(patience.is_due(false, middle), "it is awake anyway");
        patience.note_media(middle);
        assert_eq!(patience.due(middle), Some(middle), "behind media");
        assert_eq!(patience.due(next), Some(next));
        assert!(patience.is_due(false, next) && !patience.is_due(true, next), "media goes first");
        assert!(patience.is_due(true, next + PERIOD / 2), "but not for ever");
        patience.took(SEVERAL, true, next);
        assert!(patience.is_due(false, next), "there may be more");
        patience.took(0, false, next);
        assert!(!patience.wakes(), "several all the same");
        patience.took(0, false, next);
        assert!(patience.wakes());
        let later = middle + LULL;
        (0..3).for_each(|_| patience.took(SEVERAL, false, later));
        assert_eq!(patience.due(later), Some(later + PERIOD_QUIET));
        patience.note_media(later);
        patience.took(SEVERAL, false, later);
        assert_eq!(patience.due(later + PERIOD), Some(later + PERIOD));
    }

    #[test]
    fn no_look_finds_more_than_a_socket_keeps() {
        let start = Instant::now();
        let many = patience(start).many;
        // A few, just what may wait for a whole period, and of thousands of viewers.
        for per_ms in [1, many / 50, many / 10, many] {
            let mut patience = patience(start);
            let (mut now, mut last, mut found) = (start, start, 0);
            for _ in 0..50 {
                found = now.duration_since(last).as_millis() as usize * per_ms;
                last = now;
                patience.note_media(now);
                // In two turns.
                patience.took(found / 2, true, now);
                patience.took(found - found / 2, false, now);
                now = patience.next;
            }
            assert!(found <= many && found >= many.min(50 * per_ms) / 3, "{per_ms}: {found}");
        }
    }
}
