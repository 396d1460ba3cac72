//! Checks that change nothing need no more than an answer (RFC 7675 §5.1).
//!
//! A client asks every few seconds whether it may go on sending. str0m would look at all that it has
//! and answer with the same bytes, at ten times the cost. It hears of a check now and then all the same,
//! since it forgets a pair that was not checked for fifteen seconds:
//!
//! ```text
//!   checks   |   |   |   |   |   |   |   |   |     every 2.5 s
//!   str0m    |           |           |
//! ```

use std::time::{Duration, Instant};

/// Time after which str0m hears of the next one.
const HEARD: Duration = Duration::from_secs(6);
/// Checks that come less often than this are all for str0m: of its fifteen seconds some may be lost.
const OFTEN: Duration = Duration::from_secs(3);

/// What a session remembers of the checks of its path.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    seen: Option<Instant>,
    heard: Option<Instant>,
    settled: bool,
}

impl Checks {
    /// Whether one that came just now by the path in use changes nothing.
    pub(crate) fn is_routine(&self, now: Instant) -> bool {
        let within = |at: Option<Instant>, span| at.is_some_and(|at| now < at + span);
        within(self.heard, HEARD) && within(self.seen, OFTEN)
    }

    /// It was answered without str0m. Returns whether it was the path's first such.
    pub(crate) fn answered(&mut self, now: Instant) -> bool {
        self.seen = Some(now);
        !std::mem::replace(&mut self.settled, true)
    }

    /// str0m heard of it.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.seen = Some(now);
        self.heard = Some(now);
    }

    /// Whether checks of this path were answered already.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a minute's checks str0m hears of, and the longest time without.
    fn heard(every: Duration) -> (u32, Duration) {
        let start = Instant::now();
        let mut checks = Checks::default();
        let (mut now, mut last) = (start, start);
        let (mut count, mut longest) = (0, Duration::ZERO);
        while now < start + Duration::from_secs(60) {
            if checks.is_routine(now) {
                assert_eq!(checks.answered(now), count == 1 && now == start + every);
            } else {
                checks.heard(now);
                (count, longest, last) = (count + 1, longest.max(now - last), now);
            }
            now += every;
        }
        (count, longest)
    }

    #[test]
    fn str0m_hears_of_few_and_before_it_forgets() {
        assert_eq!(heard(Duration::from_millis(2_500)), (8, Duration::from_millis(7_500)));
        assert_eq!(heard(Duration::from_millis(900)), (10, Duration::from_millis(6_300)));
        assert_eq!(heard(Duration::from_secs(5)), (12, Duration::from_secs(5)), "each");
    }
}
