//! Delays counted in buckets, as `/metrics` shows them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest delay that each bucket counts, in microseconds. One more bucket counts longer ones.
pub const BOUNDS_US: [u64; 14] =
    [10, 20, 50, 100, 200, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000];

/// How many delays there were, by length. Only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delays {
    counts: [u64; BOUNDS_US.len() + 1],
    sum_us: u64,
}

impl Delays {
    /// So many more of one length.
    pub fn add(&mut self, delay: Duration, times: u64) {
        let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        // Whoever waited 10.9 µs waited for more than ten.
        let bucket = BOUNDS_US.partition_point(|bound| Duration::from_micros(*bound) < delay);
        self.counts[bucket] += times;
        self.sum_us = self.sum_us.saturating_add(us.saturating_mul(times));
    }

    /// Those of another.
    pub fn add_all(&mut self, other: &Delays) {
        for (own, more) in self.counts.iter_mut().zip(other.counts) {
            *own += more;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// How many there were up to each bound and above the one before; then how many longer than all.
    pub fn counts(&self) -> &[u64; BOUNDS_US.len() + 1] {
        &self.counts
    }

    /// All of them together, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delay_is_in_its_bucket() {
        let mut delays = Delays::default();
        for (us, times) in [(0, 1), (10, 2), (11, 4), (100_000, 8), (100_001, 16)] {
            delays.add(Duration::from_micros(us), times);
        }
        delays.add(Duration::from_nanos(20_001), 32);
        let mut both = delays.clone();
        both.add_all(&delays);
        let mut want = [0; BOUNDS_US.len() + 1];
        (want[0], want[1], want[2], want[13], want[14]) = (6, 8, 64, 16, 32);
        assert_eq!(both.counts(), &want);
        assert_eq!(both.sum_us(), 2 * (20 + 44 + 800_000 + 1_600_016 + 640));
    }

    #[test]
    fn the_longest_delay_is_counted() {
        let mut delays = Delays::default();
        delays.add(Duration::MAX, 2);
        assert_eq!((delays.counts()[14], delays.sum_us()), (2, u64::MAX));
    }
}
