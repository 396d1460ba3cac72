//! What is due when, and why.
//!
//! Timers are set often and fire seldom: a session moves its deadline with each packet. So an entry
//! is left in the heap when its owner's time moves later, and looked at again when it comes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use antipode_base::ids::{SessionId, TrackId};
use antipode_base::media::Layer;

/// Why a timer was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// str0m's timeout, or a session's own patience. Holds its place in the table.
    Session(usize, SessionId),
    /// A client knows of a section by now.
    Begin(usize, SessionId, TrackId),
    /// A keyframe request that came too early.
    Keyframe(TrackId, Layer),
    /// What viewers need of a track may have become less for good.
    Demand(TrackId),
    /// Speakers are to be reported, silent tracks to be watched anew.
    Levels,
}

/// A heap of timers.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(Instant, Reason)>>);

impl Timers {
    /// Sets a timer.
    pub(crate) fn set(&mut self, at: Instant, reason: Reason) {
        self.0.push(Reverse((at, reason)));
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Reason> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, reason))| reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn fires_in_order_and_not_before() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.set(now + Duration::from_millis(2), Reason::Levels);
        timers.set(now + Duration::from_millis(1), Reason::Keyframe(TrackId(1), Layer(2)));
        assert_eq!(timers.take_due(now), None);
        assert_eq!(timers.next(), Some(now + Duration::from_millis(1)));
        let later = now + Duration::from_millis(2);
        assert_eq!(timers.take_due(later), Some(Reason::Keyframe(TrackId(1), Layer(2))));
        assert_eq!(timers.take_due(later), Some(Reason::Levels));
        assert_eq!(timers.take_due(later), None);
    }
}
