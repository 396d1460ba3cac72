//! How a shard waits. The loop is one for all drivers; a driver only parks the thread.
//!
//! Being woken in io_uring costs 40 to 100 µs of CPU, in ppoll(2) less, and looking for the next datagram
//! without a pause the whole core. So a shard that has traffic naps outside its executor, which has no
//! other task, and lets what comes close together gather in its sockets for a moment. How long depends on
//! what it is:
//!
//! - What is urgent, sound above all, is taken when it comes. Where it comes faster than every 0.3 ms, as
//!   that of hundreds of rooms does, it is taken every 0.5 ms instead.
//! - Pictures gather the longer the busier the core is, up to 2 ms from the beginning of one turn to that
//!   of the next. A turn for something else takes them along.
//!
//! A turn that lasts longer than that is followed by the next at once. Where the kernel cannot tell
//! pictures apart, everything is urgent. What was taken leaves in the same turn, but for
//! a part of a picture: that waits for its rest, and the core's deadline ends the wait.
//!
//! ```text
//!   none        |turn                                  parked until one comes
//!   few         .|turn         .|turn                  dozing until one comes
//!   many        |turn|  . .. . |turn|  .. .. |turn|    gathering, or a turn a period
//!   very many   |turn . . ..... |turn . ... . .. |     no pause at all
//! ```

pub(crate) mod epoll;
pub(crate) mod glommio;
pub(crate) mod nap;

use std::io;
use std::time::{Duration, Instant};

use rustix::event::Timespec;

use self::nap::Nap;
use crate::shard_thread::{Core, ShardThread, Taken, Turn};
use crate::wake::StopToken;

/// Between the beginnings of two turns, while urgent datagrams come close together.
const PERIOD: Duration = Duration::from_micros(500);
/// Mean time between two of them below which they are worth gathering.
const CLOSE: Duration = Duration::from_micros(300);
/// Between the beginnings of two turns, while pictures gather, on a core that is half busy or more; less on
/// one that is less busy.
const GATHER_MAX: Duration = Duration::from_millis(2);
/// Over so long the load is a mean.
const LOAD_SPAN: Duration = Duration::from_millis(100);
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
        let rest = rhythm.rest(turn, turn.now.elapsed());
        if rest == Rest::Skip {
            continue;
        }
        if shard.fall_asleep() && !stop.is_stopped() {
            let until = shard.wake_at(turn.now);
            let waited = match rest {
                Rest::Pause => nap.pause(until.min(turn.now + PERIOD)),
                Rest::Gather(time) => nap.gather(until.min(turn.now + time)),
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
    /// Sleep until so long after the turn began, or until something urgent comes.
    Gather(Duration),
    /// Sleep until something comes, which will be soon.
    Doze,
    /// Sleep until something comes, as an executor does.
    Park,
}

/// How close together datagrams and parcels come, how busy that keeps the core, and what to do about it.
struct Rhythm {
    urgent: Pace,
    pictures: Pace,
    /// When anything came, were it what may wait.
    seen_last: Instant,
    turn_last: Instant,
    /// The part of its time that the shard works.
    load: f32,
}

impl Rhythm {
    fn new(now: Instant) -> Self {
        let pace = || Pace { last: now, gap_mean: GAP_MAX };
        Rhythm { urgent: pace(), pictures: pace(), seen_last: now, turn_last: now, load: 0.0 }
    }

    /// `worked`: how long the turn took.
    fn rest(&mut self, turn: Turn, worked: Duration) -> Rest {
        let Turn { now, taken } = turn;
        self.note_load(now, worked);
        if taken != Taken::default() {
            self.seen_last = now;
        }
        let close = self.urgent.note(taken.urgent, now) < CLOSE;
        let gather = GATHER_MAX.mul_f32((self.load * 2.0).min(1.0));
        let thick = self.pictures.note(taken.pictures, now) < gather;
        // Where nothing came by the end of a period, what comes next is awaited.
        if close && taken.urgent > 0 {
            if worked < PERIOD { Rest::Pause } else { Rest::Skip }
        } else if thick && taken.pictures > 0 {
            if worked < gather { Rest::Gather(gather) } else { Rest::Skip }
        } else {
            let quiet = now.saturating_duration_since(self.seen_last) >= DOZE;
            if quiet { Rest::Park } else { Rest::Doze }
        }
    }

    /// Of a turn that began at `now`, and of the rest since the one before.
    fn note_load(&mut self, now: Instant, worked: Duration) {
        let span = now.saturating_duration_since(self.turn_last).max(worked);
        self.turn_last = now;
        if !span.is_zero() {
            let weight = span.div_duration_f32(LOAD_SPAN).min(1.0);
            self.load += (worked.div_duration_f32(span) - self.load) * weight;
        }
    }
}

/// How close together something comes.
struct Pace {
    last: Instant,
    gap_mean: Duration,
}

impl Pace {
    /// So many came with a turn. Returns the mean time between two of the last sixteen or so; one turn is
    /// half of it at most.
    fn note(&mut self, count: usize, now: Instant) -> Duration {
        if count > 0 {
            let since = now.saturating_duration_since(self.last);
            let gap = (since / count as u32).min(GAP_MAX);
            let weight = (count as u32).min(8);
            self.gap_mean = (self.gap_mean * (16 - weight) + gap * weight) / 16;
            self.last = now;
        }
        self.gap_mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shard does that is this busy and to which so much of each class comes every `gap`, for a
    /// second: how many turns it takes, and how many of them it is woken for.
    fn turns(gap: Duration, each: Taken, worked: Duration) -> (u32, u32) {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(start);
        let (mut now, mut next) = (start, start);
        let (mut turns, mut woken) = (0, 0);
        while now < start + Duration::from_secs(1) {
            let mut taken = Taken::default();
            while next <= now {
                taken.urgent += each.urgent;
                taken.pictures += each.pictures;
                next += gap;
            }
            turns += 1;
            now = match rhythm.rest(Turn { now, taken }, worked) {
                Rest::Skip => now + worked,
                Rest::Pause => now + PERIOD,
                Rest::Gather(time) if each.urgent == 0 => now + time,
                Rest::Gather(time) => next.min(now + time),
                Rest::Doze | Rest::Park => {
                    woken += 1;
                    next.max(now + worked)
                }
            };
        }
        (turns, woken)
    }

    const SOUND: Taken = Taken { urgent: 1, pictures: 0, patient: 0 };
    const PICTURE: Taken = Taken { urgent: 0, pictures: 1, patient: 0 };

    #[test]
    fn what_comes_close_together_gathers() {
        let short = Duration::from_micros(10);
        for micros in [5, 20, 60, 200] {
            let (turns, woken) = turns(Duration::from_micros(micros), SOUND, short);
            assert!(turns < 2_600 && woken < 80, "{micros} µs: {turns} turns, woken {woken} times");
        }
        // Each one is taken when it comes.
        for micros in [400, 1_000, 20_000] {
            let (turns, woken) = turns(Duration::from_micros(micros), SOUND, short);
            assert_eq!(turns, woken, "{micros} µs");
        }
    }

    #[test]
    fn pictures_gather_the_longer_the_busier_the_core() {
        let gap = Duration::from_micros(100);
        let at = |worked| turns(gap, PICTURE, Duration::from_micros(worked));
        // 40 µs of work for each turn.
        let (few, woken) = at(40);
        assert!((1_000..6_000).contains(&few) && woken < few, "{few} turns, woken {woken} times");
        // Of a millisecond and more: half of the core and all of it.
        let (busy, woken) = at(1_000);
        assert!((450..550).contains(&busy) && woken < 60, "{busy} turns, woken {woken} times");
        assert!((300..=334).contains(&at(3_000).0), "one after the other");
    }

    #[test]
    fn sound_is_taken_when_it_comes_whatever_gathers() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(start);
        let mut rest = Rest::Park;
        for turn in 0..400 {
            let taken = Taken { pictures: 20, ..Taken::default() };
            let now = start + GATHER_MAX * turn;
            rest = rhythm.rest(Turn { now, taken }, GATHER_MAX / 2);
        }
        let Rest::Gather(time) = rest else { panic!("{rest:?}") };
        assert!(time > GATHER_MAX * 9 / 10 && time <= GATHER_MAX, "{time:?}");
        let taken = Taken { urgent: 1, ..Taken::default() };
        let now = start + GATHER_MAX * 400;
        assert_eq!(rhythm.rest(Turn { now, taken }, GATHER_MAX / 2), Rest::Doze, "pictures too");
    }

    #[test]
    fn the_end_of_traffic_ends_the_gathering() {
        let mut now = Instant::now();
        let mut rhythm = Rhythm::new(now);
        let mut rest = |after: Duration, urgent| {
            now += after;
            let taken = Taken { urgent, ..Taken::default() };
            rhythm.rest(Turn { now, taken }, Duration::ZERO)
        };
        for _ in 0..100 {
            rest(PERIOD, 10);
        }
        assert_eq!(rest(PERIOD, 10), Rest::Pause);
        assert_eq!(rest(PERIOD, 0), Rest::Doze);
        assert_eq!(rest(DOZE, 0), Rest::Park);
    }
}
