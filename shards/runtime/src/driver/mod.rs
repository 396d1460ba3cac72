//! How a shard waits. The loop is one for all drivers; a driver only parks the thread.
//!
//! Parking and being woken costs 50 to 100 µs of CPU, so a shard with traffic keeps looking for a
//! while before it parks, but only when the next packet is likely to come within that while.

pub(crate) mod epoll;
pub(crate) mod glommio;

use std::io;
use std::time::{Duration, Instant};

use crate::shard_thread::{Core, ShardThread, Turn};
use crate::wake::StopToken;

/// About what a park costs: looking for longer than that is dearer than parking.
const SPIN_MAX: Duration = Duration::from_micros(100);
/// A gap between packets counts as at most this, so that a quiet minute is soon forgotten.
const GAP_MAX: Duration = Duration::from_micros(400);
/// Waits that may fail one after the other. A single failure is a shortage of the moment; a shard
/// that can never wait would burn its core.
const WAIT_FAILURES_MAX: u32 = 100;

/// Parks a shard's thread.
pub(crate) trait Driver {
    /// Returns when the socket has datagrams, when the bell was rung since the last call, or at
    /// `until`; sometimes without any of these.
    async fn wait(&mut self, until: Instant) -> io::Result<()>;
}

/// Turns until the token says stop.
///
/// # Errors
/// When the driver cannot wait, again and again.
pub(crate) async fn drive<C: Core>(
    shard: &mut ShardThread<C>,
    driver: &mut impl Driver,
    stop: &StopToken,
) -> io::Result<()> {
    let mut spin = Spin::new(Instant::now());
    let mut failures = 0;
    while !stop.is_stopped() {
        let turn = shard.turn();
        if spin.goes_on(turn) {
            std::hint::spin_loop();
            continue;
        }
        if shard.fall_asleep() && !stop.is_stopped() {
            match driver.wait(shard.wake_at(turn.now)).await {
                Ok(()) => failures = 0,
                Err(error) if failures < WAIT_FAILURES_MAX => {
                    failures += 1;
                    tracing::warn!(%error, failures, "a shard could not wait; it takes another turn");
                }
                Err(error) => return Err(error),
            }
        }
        shard.wake_up();
    }
    Ok(())
}

/// Whether to look again at once: the mean gap between turns with traffic tells.
struct Spin {
    traffic_last: Instant,
    gap_mean: Duration,
}

impl Spin {
    fn new(now: Instant) -> Self {
        Spin { traffic_last: now, gap_mean: GAP_MAX }
    }

    fn goes_on(&mut self, turn: Turn) -> bool {
        let gap = turn.now.saturating_duration_since(self.traffic_last);
        if turn.traffic {
            self.gap_mean = (self.gap_mean * 7 + gap.min(GAP_MAX)) / 8;
            self.traffic_last = turn.now;
            return self.gap_mean < SPIN_MAX;
        }
        self.gap_mean < SPIN_MAX && gap < SPIN_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Laps of a shard whose packets come every `gap`, at 5 µs a lap; the share of laps that spin.
    fn spinning(gap: Duration, laps: u32) -> u32 {
        let start = Instant::now();
        let lap = Duration::from_micros(5);
        let mut spin = Spin::new(start);
        let (mut now, mut next, mut spun) = (start, start, 0);
        for _ in 0..laps {
            let traffic = now >= next;
            if traffic {
                next = now + gap;
            }
            if spin.goes_on(Turn { now, traffic }) {
                spun += 1;
                now += lap;
            } else {
                now = now.max(next);
            }
        }
        spun * 100 / laps
    }

    #[test]
    fn spins_under_dense_traffic_only() {
        assert!(spinning(Duration::from_micros(40), 10_000) > 90);
        assert_eq!(spinning(Duration::from_micros(500), 10_000), 0);
        assert_eq!(spinning(Duration::from_millis(20), 10_000), 0);
    }

    #[test]
    fn stops_spinning_when_traffic_ends() {
        let mut now = Instant::now();
        let mut spin = Spin::new(now);
        for _ in 0..100 {
            now += Duration::from_micros(20);
            assert!(spin.goes_on(Turn { now, traffic: true }) || spin.gap_mean >= SPIN_MAX);
        }
        assert!(spin.goes_on(Turn { now: now + Duration::from_micros(60), traffic: false }));
        assert!(!spin.goes_on(Turn { now: now + SPIN_MAX, traffic: false }));
    }
}
