//! What is due when, and why.
//!
//! Sessions set their timers often, and most for a moment that others have set theirs for: all that a turn
//! sets counts from one reading of the clock, and what may wait is due at a beat. So timers are kept by
//! moment, of which there are some hundred whatever the sessions are. None is ever taken out: whoever set one
//! knows when it fires whether it is still meant ([`Armed`]).

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use antipode_base::ids::{SessionId, TrackId};
use antipode_base::media::Layer;

/// Queues that are kept, and how much room in each: what a beat of thousands of sessions needed goes back.
const SPARE_MAX: usize = 64;
const SPARE_ROOM_MAX: usize = 64;

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

/// Moments, each with what is due then. A moment has one at least.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    moments: BTreeMap<Instant, VecDeque<Reason>>,
    /// Queues of moments that are over, to be used again.
    spare: Vec<VecDeque<Reason>>,
}

impl Timers {
    /// Sets a timer.
    pub(crate) fn set(&mut self, at: Instant, reason: Reason) {
        let spare = &mut self.spare;
        let queue = self.moments.entry(at).or_insert_with(|| spare.pop().unwrap_or_default());
        queue.push_back(reason);
    }

    /// How many are set, meant or not.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.moments.values().map(VecDeque::len).sum()
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.moments.first_key_value().map(|(at, _)| *at)
    }

    /// Takes one that is due, with the time for which it was set.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Instant, Reason)> {
        let mut first = self.moments.first_entry().filter(|first| *first.key() <= now)?;
        let (at, reason) = (*first.key(), first.get_mut().pop_front()?);
        if first.get().is_empty() {
            let queue = first.remove();
            if self.spare.len() < SPARE_MAX && queue.capacity() <= SPARE_ROOM_MAX {
                self.spare.push(queue);
            }
        }
        Some((at, reason))
    }
}

/// The timers of one session that are meant: the one that fires next, and one that is set for later, so that
/// it need not be set again after each that comes between. A timer that is neither is passed over.
#[derive(Debug, Default)]
pub(crate) struct Armed {
    next: Option<Alarm>,
    later: Option<Alarm>,
}

/// When a timer fires, and the deadline for which it was set: what may wait fires after that, at a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) at: Instant,
    pub(crate) due: Instant,
}

impl Armed {
    /// The one that fires next.
    pub(crate) fn next(&self) -> Option<Alarm> {
        self.next
    }

    /// A timer was set that fires before all others.
    pub(crate) fn set(&mut self, alarm: Alarm) {
        self.later = self.next.replace(alarm);
    }

    /// A timer fires that was set for that time. Returns whether it is meant.
    pub(crate) fn fires(&mut self, at: Instant) -> bool {
        let meant = self.next.is_some_and(|alarm| alarm.at == at);
        if meant {
            self.next = self.later.take();
        }
        meant
    }

    /// None that is set is meant any more.
    pub(crate) fn disarm(&mut self) {
        *self = Armed::default();
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
        let at = |ms| now + Duration::from_millis(ms);
        let mut timers = Timers::default();
        let keyframe = |track| Reason::Keyframe(TrackId(track), Layer(2));
        timers.set(at(2), Reason::Levels);
        timers.set(at(1), keyframe(1));
        timers.set(at(2), keyframe(2));
        assert_eq!(timers.take_due(now), None);
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.take_due(at(3)), Some((at(1), keyframe(1))));
        assert_eq!(timers.take_due(at(3)), Some((at(2), Reason::Levels)));
        timers.set(at(1), keyframe(3));
        assert_eq!(timers.take_due(at(3)), Some((at(1), keyframe(3))), "late, and before the rest");
        assert_eq!(timers.take_due(at(3)), Some((at(2), keyframe(2))));
        assert_eq!((timers.take_due(at(3)), timers.next()), (None, None));
        assert!(timers.spare.len() <= 2 && timers.moments.is_empty());
    }

    #[test]
    fn what_a_crowded_moment_needed_of_memory_goes_back() {
        let now = Instant::now();
        let mut timers = Timers::default();
        for n in 0..1_000 {
            timers.set(now, Reason::Demand(TrackId(n)));
            timers.set(now + Duration::from_millis(n), Reason::Levels);
        }
        while timers.take_due(now + Duration::from_secs(1)).is_some() {}
        assert_eq!(timers.spare.len(), SPARE_MAX);
        assert!(timers.spare.iter().all(|queue| queue.capacity() <= SPARE_ROOM_MAX));
    }

    #[test]
    fn a_timer_that_was_set_for_later_is_still_meant_after_an_earlier_one() {
        let now = Instant::now();
        let alarm = |ms| {
            let at = now + Duration::from_millis(ms);
            Alarm { at, due: at }
        };
        let mut armed = Armed::default();
        assert!(!armed.fires(now));
        armed.set(alarm(100));
        armed.set(alarm(5));
        assert!(!armed.fires(alarm(100).at), "its turn has not come");
        assert!(armed.fires(alarm(5).at) && !armed.fires(alarm(5).at));
        assert_eq!(armed.next(), Some(alarm(100)));
        // Of three the last is passed over.
        armed.set(alarm(50));
        armed.set(alarm(20));
        assert!(
            armed.fires(alarm(20).at) && armed.fires(alarm(50).at) && !armed.fires(alarm(100).at)
        );
        armed.set(alarm(7));
        armed.disarm();
        assert!(!armed.fires(alarm(7).at));
    }
}
