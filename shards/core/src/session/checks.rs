//! Checks that change nothing need no more than an answer (RFC 7675 §5.1).
//!
//! A client asks every few seconds whether it may go on sending. str0m would look at all that it has
//! and answer with the same bytes, at ten times the cost. It hears of a check now and then all the same,
//! since it forgets a pair that was not checked for fifteen seconds, and of all while a path is new: there
//! are things in it that go on with the next datagram alone, such as the beginning of SCTP.
//!
//! ```text
//!   checks   | | | |   |   |   |   |   |   |   |   |     often, then every 2.5 s
//!   str0m    | | | |   |           |           |
//! ```

use std::time::{Duration, Instant};

/// After so long with a path its checks may wait: what goes on with one of them goes on a little later.
const PROMPT: Duration = Duration::from_secs(1);
/// How long a path is new.
const NEW: Duration = Duration::from_secs(5);
/// After so long without a check str0m forgets a pair.
const FORGOTTEN: Duration = Duration::from_secs(15);

/// What a session remembers of the checks of its path.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// The first of the path.
    first: Option<Instant>,
    seen: Option<Instant>,
    heard: Option<Instant>,
    settled: bool,
}

impl Checks {
    /// Whether one that came just now by the path in use changes nothing.
    pub(crate) fn is_routine(&self, now: Instant) -> bool {
        let (Some(first), Some(seen), Some(heard)) = (self.first, self.seen, self.heard) else {
            return false;
        };
        // The next comes after as long a time, and that and the one behind it may be lost.
        let next = now + 3 * now.saturating_duration_since(seen);
        now >= first + NEW && next < heard + FORGOTTEN
    }

    /// It was answered without str0m. Returns what [`Checks::heard`] does.
    pub(crate) fn answered(&mut self, now: Instant) -> bool {
        self.seen = Some(now);
        self.settles(now)
    }

    /// str0m heard of it. Returns whether the path's checks may wait from now on, once for each path.
    pub(crate) fn heard(&mut self, now: Instant) -> bool {
        self.first.get_or_insert(now);
        self.seen = Some(now);
        self.heard = Some(now);
        self.settles(now)
    }

    fn settles(&mut self, now: Instant) -> bool {
        self.first.is_some_and(|first| now >= first + PROMPT)
            && !std::mem::replace(&mut self.settled, true)
    }

    /// Whether checks of this path may wait.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a minute's checks str0m hears of once the path is no longer new, and the longest time
    /// without.
    fn heard(every: Duration) -> (u32, Duration) {
        let start = Instant::now();
        let mut checks = Checks::default();
        let (mut now, mut last) = (start, start);
        let (mut count, mut longest, mut settled) = (0, Duration::ZERO, false);
        while now < start + NEW + Duration::from_secs(60) {
            if checks.is_routine(now) {
                assert!(now >= start + NEW, "a new path's are all heard");
                assert!(settled && !checks.answered(now));
            } else {
                let settles = now >= start + PROMPT && !std::mem::replace(&mut settled, true);
                assert_eq!(checks.heard(now), settles, "once");
                count += u32::from(now >= start + NEW);
                (longest, last) = (longest.max(now - last), now);
            }
            now += every;
        }
        (count, longest)
    }

    #[test]
    fn str0m_hears_of_few_and_before_it_forgets() {
        assert_eq!(heard(Duration::from_millis(2_500)), (8, Duration::from_millis(7_500)));
        assert_eq!(heard(Duration::from_millis(900)), (4, Duration::from_millis(12_600)));
        assert_eq!(heard(Duration::from_millis(3_200)), (9, Duration::from_millis(6_400)));
        assert_eq!(heard(Duration::from_secs(5)), (12, Duration::from_secs(5)), "each");
    }
}
