//! How a shard waits. The loop is one for all drivers; a driver only parks the thread.
//!
//! Being woken in io_uring costs 40 to 100 µs of CPU, in ppoll(2) less, and looking for the next datagram
//! without a pause the whole core. So a shard that has traffic naps outside its executor, which has no other
//! task, and a shard to which datagrams come close together lets them gather in its socket for a
//! moment: it sleeps for the rest of a short period and then takes them all. A turn that lasts longer than
//! that is followed by the next at once, and where datagrams are few each is taken when it comes. What was
//! taken, sound and pictures alike, leaves in the same turn.
//!
//! ```text
//!   none        |turn                                  parked until one comes
//!   few         .|turn         .|turn                  dozing until one comes
//!   many        |turn|  . .. . |turn|  .. .. |turn|    a turn a period
//!   very many   |turn . . ..... |turn . ... . .. |     no pause at all
//! ```

pub(crate) mod epoll;
pub(crate) mod glommio;
pub(crate) mod nap;

use std::io;
use std::time::{Duration, Instant};

use rustix::event::Timespec;

use self::nap::Nap;
use crate::shard_thread::{Core, ShardThread, Turn};
use crate::wake::StopToken;

/// Between the beginnings of two turns, while datagrams come close together.
const PERIOD: Duration = Duration::from_micros(500);
/// Mean time between two datagrams below which they are worth gathering.
const CLOSE: Duration = Duration::from_micros(300);
/// A shard to which nothing comes for so long is parked. Two reports of one viewer lie nearer together.
const DOZE: Duration = Duration::from_millis(500);
/// A gap counts as at most this, so that a quiet minute is soon forgotten.
const GAP_MAX: Duration = Duration::from_millis(1);
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
    nap: &Nap,
    stop: &StopToken,
) -> io::Result<()> {
    let mut rhythm = Rhythm::new(Instant::now());
    let mut failures = 0;
    while !stop.is_stopped() {
        let turn = shard.turn();
        let rest = rhythm.rest(turn);
        if rest == Rest::Skip {
            continue;
        }
        if shard.fall_asleep() && !stop.is_stopped() {
            let until = shard.wake_at(turn.now);
            let waited = match rest {
                Rest::Pause => nap.pause(until.min(turn.now + PERIOD)),
                Rest::Doze => nap.doze(shard.is_patience_over(), until.min(turn.now + DOZE)),
                Rest::Park | Rest::Skip => driver.wait(until).await,
            };
            match waited {
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

/// A span as the kernel takes it.
fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: span.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: span.subsec_nanos().into(),
    }
}

/// What follows a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// The next turn: this one took longer than a period.
    Skip,
    /// The rest of the period.
    Pause,
    /// Sleep until something comes, which will be soon.
    Doze,
    /// Sleep until something comes, as an executor does.
    Park,
}

/// How close together datagrams and parcels come, and what to do about it.
struct Rhythm {
    traffic_last: Instant,
    /// The same, with what may wait.
    seen_last: Instant,
    gap_mean: Duration,
}

impl Rhythm {
    fn new(now: Instant) -> Self {
        Rhythm { traffic_last: now, seen_last: now, gap_mean: GAP_MAX }
    }

    fn rest(&mut self, turn: Turn) -> Rest {
        if !self.gathers(turn) {
            let quiet = turn.now.saturating_duration_since(self.seen_last) >= DOZE;
            if quiet { Rest::Park } else { Rest::Doze }
        } else if turn.now.elapsed() >= PERIOD {
            Rest::Skip
        } else {
            Rest::Pause
        }
    }

    fn gathers(&mut self, turn: Turn) -> bool {
        let since = turn.now.saturating_duration_since(self.traffic_last);
        if turn.traffic + turn.patient > 0 {
            self.seen_last = turn.now;
        }
        if turn.traffic > 0 {
            let gap = (since / turn.traffic as u32).min(GAP_MAX);
            // The mean over the last sixteen or so; one turn is half of it at most.
            let weight = (turn.traffic as u32).min(8);
            self.gap_mean = (self.gap_mean * (16 - weight) + gap * weight) / 16;
            self.traffic_last = turn.now;
        }
        self.gap_mean < CLOSE && since < GAP_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard whose datagrams come every `gap`, for a second; how many turns it takes, and how many of
    /// them it is woken for.
    fn turns(gap: Duration) -> (u32, u32) {
        let start = Instant::now() - Duration::from_secs(1);
        let mut rhythm = Rhythm::new(start);
        let (mut now, mut next) = (start, start);
        let (mut turns, mut parks) = (0, 0);
        while now < start + Duration::from_secs(1) - PERIOD {
            let mut traffic = 0;
            while next <= now {
                (traffic, next) = (traffic + 1, next + gap);
            }
            turns += 1;
            now = match rhythm.gathers(Turn { now, traffic, patient: 0 }) {
                true => now + PERIOD,
                false => {
                    parks += 1;
                    next
                }
            };
        }
        (turns, parks)
    }

    #[test]
    fn what_comes_close_together_gathers() {
        for micros in [5, 20, 60, 200] {
            let (turns, parks) = turns(Duration::from_micros(micros));
            assert!(turns < 2_600 && parks < 80, "{micros} µs: {turns} turns, {parks} parks");
        }
        // Each one is taken when it comes.
        for micros in [400, 1_000, 20_000] {
            let (turns, parks) = turns(Duration::from_micros(micros));
            assert_eq!(turns, parks, "{micros} µs");
        }
    }

    #[test]
    fn the_end_of_traffic_ends_the_gathering() {
        let mut rhythm = Rhythm::new(Instant::now());
        let mut now = Instant::now();
        for _ in 0..100 {
            now += PERIOD;
            rhythm.gathers(Turn { now, traffic: 10, patient: 0 });
        }
        assert!(rhythm.gathers(Turn { now: now + PERIOD, traffic: 0, patient: 0 }));
        assert!(!rhythm.gathers(Turn { now: now + GAP_MAX, traffic: 0, patient: 0 }));
        let quiet = |after| Turn { now: now + after, traffic: 0, patient: 0 };
        assert_eq!(rhythm.rest(quiet(DOZE / 2)), Rest::Doze);
        assert_eq!(rhythm.rest(quiet(DOZE)), Rest::Park);
    }
}
