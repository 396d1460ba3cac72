//! What is due when, and why.
//!
//! Sessions set their timers often, and most for a moment that others have set theirs for: all that a turn
//! sets counts from one reading of the clock, and what may wait is due at a beat. So timers are kept by
//! moment, of which there are some hundred whatever the sessions are. Few are ever taken out: whoever set one
//! knows when it fires whether it is still meant ([`Armed`]).
//!
//! What is due at a beat is done with whatever the shard is awake for next, which is media where there is
//! any: to be woken costs more than what it is woken for. Where nothing comes, it is woken [`LATE`].

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use antipode_base::ids::{SessionId, TrackId};
use antipode_base::media::Layer;

/// Queues that are kept, and how much room in each: what a beat of thousands of sessions needed goes back.
const SPARE_MAX: usize = 64;
const SPARE_ROOM_MAX: usize = 64;

/// The most that a moment has where one of them is looked for.
const UNSET_MAX: usize = 64;

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

/// What is due when. A moment has one at least.
type Moments = BTreeMap<Instant, VecDeque<Reason>>;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    prompt: Moments,
    /// What need not wake the shard.
    patient: Moments,
    /// Queues of moments that are over, to be used again.
    spare: Vec<VecDeque<Reason>>,
}

impl Timers {
    /// Sets a timer.
    pub(crate) fn set(&mut self, at: Instant, reason: Reason) {
        add(&mut self.prompt, &mut self.spare, at, reason);
    }

    /// Sets a timer for something that may be done later.
    pub(crate) fn set_patient(&mut self, at: Instant, reason: Reason) {
        add(&mut self.patient, &mut self.spare, at, reason);
    }

    /// Takes out one that [`Timers::set`] set and for which the shard would be woken for nothing. Returns
    /// whether it is gone: of a crowded moment something is meant in all likelihood.
    pub(crate) fn unset(&mut self, at: Instant, reason: Reason) -> bool {
        let Some(queue) = self.prompt.get_mut(&at).filter(|queue| queue.len() <= UNSET_MAX) else {
            return false;
        };
        let Some(place) = queue.iter().position(|set| *set == reason) else { return false };
        queue.remove(place);
        if queue.is_empty()
            && let Some(queue) = self.prompt.remove(&at)
        {
            self.keep(queue);
        }
        true
    }

    /// How many are set, meant or not.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.prompt.values().chain(self.patient.values()).map(VecDeque::len).sum()
    }

    /// When the shard is to be awake for the next one.
    pub(crate) fn next(&self) -> Option<Instant> {
        let patient = first(&self.patient).map(|at| at + LATE);
        [first(&self.prompt), patient].into_iter().flatten().min()
    }

    /// Takes one that is due, with the time for which it was set: the earliest.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Instant, Reason)> {
        let (prompt, patient) = (first(&self.prompt), first(&self.patient));
        let is_patient = patient.is_some_and(|at| prompt.is_none_or(|prompt| at < prompt));
        let moments = if is_patient { &mut self.patient } else { &mut self.prompt };
        let mut entry = moments.first_entry().filter(|entry| *entry.key() <= now)?;
        let (at, reason) = (*entry.key(), entry.get_mut().pop_front()?);
        if entry.get().is_empty() {
            let queue = entry.remove();
            self.keep(queue);
        }
        Some((at, reason))
    }

    /// A moment is over.
    fn keep(&mut self, queue: VecDeque<Reason>) {
        if self.spare.len() < SPARE_MAX && queue.capacity() <= SPARE_ROOM_MAX {
            self.spare.push(queue);
        }
    }
}

fn add(moments: &mut Moments, spare: &mut Vec<VecDeque<Reason>>, at: Instant, reason: Reason) {
    moments.entry(at).or_insert_with(|| spare.pop().unwrap_or_default()).push_back(reason);
}

fn first(moments: &Moments) -> Option<Instant> {
    moments.first_key_value().map(|(at, _)| *at)
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
    /// Set by [`Timers::set_patient`].
    pub(crate) patient: bool,
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
/// How long after a beat the shard is woken for it: longer than from one picture to the next.
const LATE: Duration = Duration::from_millis(50);

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
        assert!(timers.spare.len() <= 2 && timers.len() == 0);
    }

    #[test]
    fn what_may_wait_is_done_when_something_else_is() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set_patient(at(10), Reason::Levels);
        timers.set_patient(at(30), Reason::Demand(TrackId(1)));
        timers.set(at(20), Reason::Demand(TrackId(2)));
        assert_eq!(timers.next(), Some(at(20)), "it wakes nobody before");
        assert_eq!(timers.take_due(at(9)), None);
        assert_eq!(timers.take_due(at(20)), Some((at(10), Reason::Levels)));
        assert_eq!(timers.take_due(at(20)), Some((at(20), Reason::Demand(TrackId(2)))));
        assert_eq!(timers.take_due(at(20)), None);
        assert_eq!(timers.next(), Some(at(30) + LATE), "but not for ever");
        assert_eq!(timers.take_due(at(30)), Some((at(30), Reason::Demand(TrackId(1)))));
        assert_eq!((timers.next(), timers.len()), (None, 0));
    }

    #[test]
    fn what_is_not_meant_any_more_can_be_taken_out() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let demand = |track| Reason::Demand(TrackId(track));
        let mut timers = Timers::default();
        timers.set(at(1), Reason::Levels);
        (0..3).for_each(|track| timers.set(at(2), demand(track)));
        timers.set_patient(at(3), Reason::Levels);
        assert!(!timers.unset(at(1), demand(1)), "it is another");
        assert!(timers.unset(at(1), Reason::Levels) && !timers.unset(at(1), Reason::Levels));
        assert!(timers.unset(at(2), demand(1)) && !timers.unset(at(3), Reason::Levels));
        assert_eq!((timers.next(), timers.len(), timers.spare.len()), (Some(at(2)), 3, 1));
        assert_eq!(timers.take_due(at(2)), Some((at(2), demand(0))));
        assert_eq!(timers.take_due(at(2)), Some((at(2), demand(2))));
        (0..=UNSET_MAX as u64).for_each(|track| timers.set(at(4), demand(track)));
        assert!(!timers.unset(at(4), demand(0)), "too many to look at");
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
            Alarm { at, due: at, patient: false }
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
