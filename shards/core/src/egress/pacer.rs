//! Spreads pictures over time where a path is narrow.
//!
//! A keyframe that leaves at once fills the queue of a narrow link, and all sound behind it waits. So
//! while a viewer gets less than it wants, pictures leave no faster than somewhat above the estimate;
//! sound never waits here. A viewer that has all it wants is not paced: its path is wide.
//!
//! ```text
//!   unpaced   |||||||||||||            ||               sound: late by the whole keyframe
//!   paced     | | | | | | | | | | | |  | |              sound: between two packets
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antipode_base::limits::PACED_PACKETS_MAX;
use antipode_base::media::Bitrate;

/// Above the estimate, so that the queue here empties sooner than the next pictures come.
const MARGIN: f64 = 1.3;
/// The same while the path's own queue is full and must empty.
const MARGIN_FULL: f64 = 0.9;
/// Between two bursts.
const STEP: Duration = Duration::from_millis(5);
/// What may leave at once after a pause: a small picture.
const BURST: Duration = Duration::from_millis(15);
/// How long pictures wait at most for what went out beside them.
const DEBT: Duration = Duration::from_millis(100);

/// A queue of what is to leave, of any kind of item with a length in bytes.
#[derive(Debug)]
pub(crate) struct Pacer<T> {
    queue: VecDeque<(usize, T)>,
    rate: Option<f64>,
    /// Bytes that may leave now; below 0 after a packet that was larger than what was left.
    credit: f64,
    refilled: Option<Instant>,
}

impl<T> Default for Pacer<T> {
    fn default() -> Self {
        Pacer { queue: VecDeque::new(), rate: None, credit: 0.0, refilled: None }
    }
}

impl<T> Pacer<T> {
    /// The path's estimate while it is too narrow; `None`: nothing is paced. `full`: the path's own queue
    /// is, and must empty first.
    pub(crate) fn set_rate(&mut self, estimate: Option<Bitrate>, full: bool) {
        let margin = if full { MARGIN_FULL } else { MARGIN };
        self.rate = estimate.map(|rate| rate.0 as f64 / 8.0 * margin);
    }

    /// Whether so many bytes may leave at once: they are accounted for then. Else they are to wait.
    pub(crate) fn passes(&mut self, bytes: usize, now: Instant) -> bool {
        self.queue.is_empty() && self.pass(bytes, now)
    }

    /// Lets an item wait. `false` when too many do.
    pub(crate) fn wait(&mut self, bytes: usize, item: T) -> bool {
        let fits = self.queue.len() < PACED_PACKETS_MAX;
        if fits {
            self.queue.push_back((bytes, item));
        }
        fits
    }

    /// The next item that may leave.
    pub(crate) fn take(&mut self, now: Instant) -> Option<T> {
        let bytes = self.queue.front()?.0;
        if !self.pass(bytes, now) {
            return None;
        }
        self.queue.pop_front().map(|(_, item)| item)
    }

    /// Takes out what need not be sent any more.
    pub(crate) fn forget(&mut self, needless: impl Fn(&T) -> bool) {
        self.queue.retain(|(_, item)| !needless(item));
    }

    /// Something that does not wait here goes out: the rest has so much less.
    pub(crate) fn spend(&mut self, bytes: usize) {
        if let Some(rate) = self.rate {
            self.credit = (self.credit - bytes as f64).max(-rate * DEBT.as_secs_f64());
        }
    }

    /// When [`Pacer::take`] may have more.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        (!self.queue.is_empty()).then_some(now + STEP)
    }

    fn pass(&mut self, bytes: usize, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let since = self.refilled.map_or(BURST, |at| now.saturating_duration_since(at));
        self.refilled = Some(now);
        let most = rate * BURST.as_secs_f64();
        self.credit = (self.credit + rate * since.as_secs_f64()).min(most);
        let passes = self.credit > 0.0;
        if passes {
            self.credit -= bytes as f64;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_paths_wait_for_nothing_and_narrow_ones_keep_the_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        assert!((0..100).all(|_| pacer.passes(1_000, start)));
        pacer.set_rate(Some(Bitrate(400_000)), false);
        let at_once = (0..40)
            .filter(|n| {
                let passes = pacer.passes(1_000, start);
                assert!(passes || pacer.wait(1_000, *n));
                passes
            })
            .count();
        assert_eq!(at_once, 1, "975 bytes may leave at once");
        let mut left = Vec::new();
        for step in 1..200u32 {
            let now = start + STEP * step;
            while let Some(item) = pacer.take(now) {
                left.push((step, item));
            }
            assert_eq!(pacer.deadline(now).is_none(), left.len() == 39);
        }
        assert!(left.iter().map(|(_, item)| *item).eq(1..40), "in order: {left:?}");
        // 39 kB at 65 kB a second.
        let last = STEP * left.last().unwrap().0;
        assert!((560..640).contains(&last.as_millis()), "{last:?}");
    }

    #[test]
    fn a_queue_has_an_end_and_a_wide_path_empties_it() {
        let now = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(Some(Bitrate(30_000)), false);
        assert!(pacer.passes(1_000, now) && !pacer.passes(1_000, now));
        let kept = (0..2 * PACED_PACKETS_MAX).filter(|n| pacer.wait(1_000, *n));
        assert_eq!(kept.count(), PACED_PACKETS_MAX);
        pacer.spend(1_000);
        pacer.forget(|item| item % 2 == 0);
        pacer.set_rate(None, false);
        assert_eq!(std::iter::from_fn(|| pacer.take(now)).count(), PACED_PACKETS_MAX / 2);
    }
}
