//! Whether the path's narrowest link cannot keep up: a stretch of time in which it was never idle, and in
//! which the queue before it grew.
//!
//! A smoothed line ([`super::trend`]) sees a queue that grows slowly, and needs time for it. A link that
//! shrinks to a half fills its queue within a few pictures. But while packets queue, they arrive at the
//! link's own pace: a stretch of a tenth of a second shows both that it is too narrow and how wide it is.
//! Single packets do not count, as a picture that leaves at once always queues for a moment; what counts
//! is the shortest wait, which is that of the packets before which the queue was shortest.
//!
//! ```text
//!   wait   .                  . |           early: never less than 10 ms
//!         .  .   .          . . |           late:  never less than 40 ms, so the queue has grown
//!   ....      . .   .     .     |
//!              early |  late    |           bytes of both / their time: what the link carries
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use antipode_base::limits::BUSY_PACKETS_MAX;

/// A packet that waited less found an idle link.
const IDLE: Duration = Duration::from_millis(8);
/// What is looked at, and the least that says something.
const WINDOW: Duration = Duration::from_millis(250);
const SPAN_MIN: Duration = Duration::from_millis(90);
/// What leaves within this is one picture, and says nothing by itself.
const PICTURE: Duration = Duration::from_millis(25);
/// The shortest wait of the later half, and how much longer it must be than that of the earlier half.
const WAIT: Duration = Duration::from_millis(30);
const GROWTH: Duration = Duration::from_millis(20);
/// Arrivals for which there is always room.
const ROOM_KEPT: usize = 64;
/// The floor of the delay rises by this much of the time that passes, as clocks drift apart.
const FLOOR_RISE: f64 = 0.005;

#[derive(Clone, Copy, Debug)]
struct Arrival {
    sent_us: i64,
    at_us: i64,
    wait_us: i64,
    bytes: u16,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    /// The least that arrival was ever behind sending, by two clocks of which none knows the other.
    floor_us: Option<f64>,
    last_us: i64,
    /// What the last packet waited.
    wait_us: i64,
    /// Arrivals of the stretch so far, of the window at most.
    stretch: VecDeque<Arrival>,
}

impl Busy {
    /// Takes in one packet that arrived; both times in microseconds, by our clock and the viewer's.
    pub(crate) fn take(&mut self, sent_us: i64, at_us: i64, bytes: u16) {
        let behind_us = at_us - sent_us;
        let passed_us = (at_us - self.last_us).max(0) as f64;
        self.last_us = at_us;
        let floor_us =
            self.floor_us.map_or(behind_us as f64, |floor| floor + passed_us * FLOOR_RISE);
        let floor_us = floor_us.min(behind_us as f64);
        self.floor_us = Some(floor_us);
        let wait_us = behind_us - floor_us as i64;
        self.wait_us = wait_us;
        if wait_us < IDLE.as_micros() as i64 {
            return self.forget();
        }
        let old = |first: &Arrival| at_us - first.at_us > WINDOW.as_micros() as i64;
        while self.stretch.front().is_some_and(old) || self.stretch.len() == BUSY_PACKETS_MAX {
            self.stretch.pop_front();
        }
        self.stretch.push_back(Arrival { sent_us, at_us, wait_us, bytes });
    }

    /// What the narrowest link carries, in bits a second, if more is sent over it than that.
    pub(crate) fn overfull(&self) -> Option<f64> {
        let (first, last) = (self.stretch.front()?, self.stretch.back()?);
        let span_us = last.at_us - first.at_us;
        let sent_span_us = last.sent_us - first.sent_us;
        if span_us < SPAN_MIN.as_micros() as i64 || sent_span_us < PICTURE.as_micros() as i64 {
            return None;
        }
        let (mut early_us, mut late_us, mut bytes) = (i64::MAX, i64::MAX, 0);
        for arrival in &self.stretch {
            let half = if (arrival.at_us - first.at_us) * 2 < span_us {
                &mut early_us
            } else {
                &mut late_us
            };
            *half = arrival.wait_us.min(*half);
            bytes += u64::from(arrival.bytes);
        }
        let grows = late_us - early_us >= GROWTH.as_micros() as i64;
        let carried = (bytes - u64::from(first.bytes)) as f64 * 8e6 / span_us as f64;
        (grows && late_us >= WAIT.as_micros() as i64).then_some(carried)
    }

    /// Whether the last packet that arrived stood in a queue worth mentioning.
    pub(crate) fn queues(&self) -> bool {
        self.wait_us >= WAIT.as_micros() as i64
    }

    /// Whether it found the link idle, as far as can be seen.
    pub(crate) fn idle(&self) -> bool {
        self.wait_us < IDLE.as_micros() as i64
    }

    /// What was seen has been answered; more needs new evidence.
    pub(crate) fn answered(&mut self) {
        self.forget();
    }

    /// Begins a new stretch; what a long one needed of memory goes back.
    fn forget(&mut self) {
        self.stretch.clear();
        self.stretch.shrink_to(ROOM_KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures of `packets` of 1,000 bytes every 33 ms over a link of `kbps`, which delays each packet
    /// by another `jitter` milliseconds; after how many pictures it is overfull, and what it carries.
    fn run(packets: u64, kbps: u64, jitter: impl Fn(u64) -> u64) -> Option<(u64, f64)> {
        let mut busy = Busy::default();
        let mut free_us = 0;
        (0..90).find_map(|picture| {
            let sent_us = picture * 33_000;
            for packet in 0..packets {
                free_us = sent_us.max(free_us) + 8_000_000 / kbps;
                let at_us = free_us + jitter(picture * packets + packet) * 1_000;
                busy.take(sent_us as i64, at_us as i64, 1_000);
            }
            Some(picture).zip(busy.overfull())
        })
    }

    #[test]
    fn a_link_that_is_too_narrow_is_known_and_measured_within_some_pictures() {
        // Three packets in 33 ms are 727 kbit/s.
        for kbps in [150, 350, 500] {
            let (pictures, carried) = run(3, kbps, |_| 0).expect("overfull");
            assert!((1..=8).contains(&pictures), "{kbps}: after {pictures} pictures");
            let measured = carried / 1e3 / kbps as f64;
            assert!((0.9..1.1).contains(&measured), "{kbps}: measured {carried}");
        }
    }

    #[test]
    fn pictures_that_queue_for_a_moment_and_jitter_are_nothing() {
        assert_eq!(run(3, 800, |_| 0), None, "just wide enough");
        assert_eq!(run(10, 2_700, |_| 0), None, "large pictures");
        // Some 30 ms, without a trend.
        assert_eq!(run(3, 100_000, |n| n * 7_919 % 31), None);
        // A path that got longer at once.
        assert_eq!(run(3, 100_000, |n| if n > 50 { 80 } else { 0 }), None);
        // A receiver that stood still for 200 ms.
        assert_eq!(
            run(3, 100_000, |n| if (50..56).contains(&n) { 33 * (56 - n) } else { 0 }),
            None
        );
    }
}
