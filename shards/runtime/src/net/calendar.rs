//! The two clocks of a host: that of the calendar, which stamps what the kernel received, and the one that
//! never goes back.

use std::time::{Duration, Instant, SystemTime};

use antipode_base::limits::STAMP_AGE_MAX;

/// Both clocks, read one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calendar {
    since_1970: Duration,
    now: Instant,
}

impl Calendar {
    pub(crate) fn read() -> Self {
        // A clock of before 1970 makes everything arrive now.
        let since_1970 =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Calendar { since_1970, now: Instant::now() }
    }

    /// When it was read.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// The instant of a stamp: not after the reading, and at most [`STAMP_AGE_MAX`] before it.
    pub(crate) fn at(&self, stamp: Duration) -> Instant {
        let age = self.since_1970.saturating_sub(stamp).min(STAMP_AGE_MAX);
        self.now.checked_sub(age).unwrap_or(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_as_old_in_both_clocks() {
        let read = Calendar::read();
        let ago = |ms| read.since_1970 - Duration::from_millis(ms);
        assert_eq!(read.at(ago(7)), read.now - Duration::from_millis(7));
        assert_eq!(
            read.at(ago(0) + Duration::from_millis(7)),
            read.now,
            "nothing is of the future"
        );
        assert_eq!(
            read.at(ago(3_600_000)),
            read.now - STAMP_AGE_MAX,
            "a clock that was put forward"
        );
        assert_eq!(read.at(Duration::ZERO), read.now - STAMP_AGE_MAX);
    }
}
