//! How long to wait before a child that died is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(2);
/// A child that ran for this long was well: its next death counts as the first.
const WELL: Duration = Duration::from_secs(10);

/// Doubles from 100 ms to 2 s while the child dies young.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Backoff { next: FIRST }
    }

    /// The wait after a life of `ran`.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= WELL {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(MAX);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_while_lives_are_short() {
        let mut backoff = Backoff::new();
        let rows = [(0, 100), (1, 200), (0, 400), (9, 800), (0, 1600), (0, 2000), (0, 2000)];
        for (ran_s, wait_ms) in rows {
            assert_eq!(backoff.after(Duration::from_secs(ran_s)).as_millis(), wait_ms);
        }
        assert_eq!(backoff.after(WELL).as_millis(), 100);
        assert_eq!(backoff.after(Duration::ZERO).as_millis(), 200);
    }
}
