//! What is due when, and why.
//!
//! Timers are set often and fire seldom: a session moves its deadline with each packet. So an entry
//! is left in the heap when its owner's time moves later, and looked at again when it comes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

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

/// What is due this far ahead or further may be done a beat later.
pub(crate) const FAR: Duration = Duration::from_millis(250);
/// Between two beats.
pub(crate) const BEAT: Duration = Duration::from_millis(100);

/// Moments at which what may wait is done for all sessions together: to be woken for each alone would cost
/// more than what is done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beats {
    /// The first time that anybody asked for.
    origin: Option<Instant>,
}

impl Beats {
    /// The first beat at `due` or after.
    pub(crate) fn after(&mut self, due: Instant) -> Instant {
        let origin = *self.origin.get_or_insert(due);
        // More beats than 32 bits hold come in thirteen years.
        let span = |beats| BEAT * u32::try_from(beats).unwrap_or(u32::MAX);
        match due.checked_duration_since(origin) {
            Some(since) => origin + span(since.as_nanos().div_ceil(BEAT.as_nanos())),
            None => origin - span((origin - due).as_nanos() / BEAT.as_nanos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_wait_is_done_together() {
        let mut beats = Beats::default();
        let origin = Instant::now();
        let at = |ms| origin + Duration::from_millis(ms);
        assert_eq!(beats.after(origin), origin);
        assert_eq!(beats.after(at(1)), at(100));
        assert_eq!(beats.after(at(1_300)), at(1_300));
        assert_eq!(beats.after(at(6_001)), at(6_100));
        assert_eq!(
            beats.after(origin - FAR),
            origin - 2 * BEAT,
            "who asks first may ask for later"
        );
        assert_eq!(beats.after(origin - BEAT), origin - BEAT);
    }

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
