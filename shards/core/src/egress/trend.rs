//! Whether packets queue longer and longer on their way: the slope of their one-way delay.
//!
//! Packets that were sent together form a group. From group to group, the difference between how
//! far apart they arrived and how far apart they were sent is added up; a line through the last
//! sums rises when a queue grows.
//!
//! ```text
//!   sent      | | |     | | |     | | |          every 20 ms
//!   arrived   | | |      | | |       | | |       22 ms apart, then 24: the sums rise
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use antipode_base::near;

/// Packets sent within this of a group's first belong to it.
const GROUP: Duration = Duration::from_millis(5);
/// After such a pause it begins anew: queues are empty by then, and two clocks drift apart by milliseconds a
/// minute, which would look like a queue that grows.
const PAUSE: Duration = Duration::from_secs(2);
/// Points of the line.
const WINDOW: usize = 20;
/// Weight of the past in the smoothed sum.
const SMOOTHING: f64 = 0.9;
/// Steepness is scaled by the number of points, up to this, and by the gain.
const POINTS_MAX: f64 = 60.0;
const GAIN: f64 = 4.0;
/// The floor of the delay rises by this much of the time that passes.
const FLOOR_RISE: f64 = 0.005;
/// The threshold adapts to the path's own jitter, down faster than up, in milliseconds.
const THRESHOLD: f64 = 12.5;
const THRESHOLD_MIN: f64 = 6.0;
const THRESHOLD_MAX: f64 = 600.0;
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// The line must stay steep for this long.
const STEEP_FOR_MS: f64 = 10.0;

/// What the delay says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// A queue grows.
    Over,
    /// A queue shrinks.
    Under,
    /// Neither.
    Normal,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    sent_first_us: i64,
    sent_last_us: i64,
    arrived_last_us: i64,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Trend {
    current: Option<Group>,
    previous: Option<Group>,
    points: VecDeque<(f64, f64)>,
    sum_ms: f64,
    smoothed_ms: f64,
    /// Where `smoothed_ms` was when nothing queued.
    floor_ms: f64,
    groups: f64,
    origin_us: Option<i64>,
    threshold: f64,
    steep_ms: f64,
    steepest: f64,
    last_us: Option<i64>,
}

impl Default for Trend {
    fn default() -> Self {
        Trend {
            current: None,
            previous: None,
            points: VecDeque::with_capacity(WINDOW),
            sum_ms: 0.0,
            smoothed_ms: 0.0,
            floor_ms: 0.0,
            groups: 0.0,
            origin_us: None,
            threshold: THRESHOLD,
            steep_ms: 0.0,
            steepest: 0.0,
            last_us: None,
        }
    }
}

impl Trend {
    /// Takes in one packet that arrived; both times in microseconds, by our clock and the viewer's. Says
    /// something when a group is complete.
    pub(crate) fn take(&mut self, sent_us: i64, arrived_us: i64) -> Option<Usage> {
        let group =
            Group { sent_first_us: sent_us, sent_last_us: sent_us, arrived_last_us: arrived_us };
        let Some(current) = &mut self.current else {
            self.current = Some(group);
            return None;
        };
        let since_us = sent_us - current.sent_first_us;
        if since_us < 0 {
            return None;
        }
        if since_us > PAUSE.as_micros() as i64 {
            self.forget();
            self.current = Some(group);
            return None;
        }
        if since_us <= GROUP.as_micros() as i64 {
            current.sent_last_us = sent_us;
            current.arrived_last_us = current.arrived_last_us.max(arrived_us);
            return None;
        }
        let complete = std::mem::replace(current, group);
        let previous = self.previous.replace(complete)?;
        Some(self.step(&previous, &complete))
    }

    /// Brings near what lies behind a pointer.
    pub(crate) fn fetch_behind(&self) {
        let (start, end) = self.points.as_slices();
        near::fetch(start);
        near::fetch(end);
    }

    /// How long packets wait in a queue of the path, milliseconds.
    pub(crate) fn queue_ms(&self) -> f64 {
        self.smoothed_ms - self.floor_ms
    }

    /// Begins anew, for instance after the rate was raised on purpose. The threshold is kept.
    pub(crate) fn forget(&mut self) {
        *self = Trend { threshold: self.threshold, ..Trend::default() };
    }

    fn step(&mut self, previous: &Group, group: &Group) -> Usage {
        let sent_ms = (group.sent_last_us - previous.sent_last_us) as f64 / 1e3;
        let arrived_ms = (group.arrived_last_us - previous.arrived_last_us) as f64 / 1e3;
        self.groups += 1.0;
        self.sum_ms += arrived_ms - sent_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.sum_ms;
        // The floor rises slowly, so that clocks which drift apart make no queue.
        let risen = self.floor_ms + FLOOR_RISE * arrived_ms.max(0.0);
        self.floor_ms =
            if self.groups < 2.0 { self.smoothed_ms } else { risen.min(self.smoothed_ms) };
        let origin = *self.origin_us.get_or_insert(group.arrived_last_us);
        let x = (group.arrived_last_us - origin) as f64 / 1e3;
        if self.points.len() == WINDOW {
            self.points.pop_front();
        }
        self.points.push_back((x, self.smoothed_ms));
        let slope = if self.points.len() == WINDOW { slope(&self.points) } else { None };
        self.judge(slope.unwrap_or(0.0), sent_ms, group.arrived_last_us)
    }

    fn judge(&mut self, slope: f64, sent_ms: f64, at_us: i64) -> Usage {
        let steepness = self.groups.min(POINTS_MAX) * slope * GAIN;
        let usage = if steepness > self.threshold {
            self.steep_ms += sent_ms;
            if self.steep_ms > STEEP_FOR_MS && slope >= self.steepest {
                self.steep_ms = 0.0;
                Usage::Over
            } else {
                Usage::Normal
            }
        } else {
            self.steep_ms = 0.0;
            if steepness < -self.threshold { Usage::Under } else { Usage::Normal }
        };
        self.steepest = slope;
        self.adapt(steepness, at_us);
        usage
    }

    fn adapt(&mut self, steepness: f64, at_us: i64) {
        let elapsed_ms = self.last_us.map_or(0.0, |last| (at_us - last) as f64 / 1e3);
        self.last_us = Some(at_us);
        // A spike, such as a path that changed, is no measure of its jitter.
        if steepness.abs() > self.threshold + 15.0 {
            return;
        }
        let rate = if steepness.abs() < self.threshold { THRESHOLD_DOWN } else { THRESHOLD_UP };
        let step = rate * (steepness.abs() - self.threshold) * elapsed_ms.clamp(0.0, 100.0);
        self.threshold = (self.threshold + step).clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

/// Least squares.
fn slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    let (x, y) = (x / n, y / n);
    let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), (px, py)| {
        (over + (px - x) * (py - y), under + (px - x) * (px - x))
    });
    (under > 0.0).then(|| over / under)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups every 20 ms; each arrives later than the one before by `drift_ms` plus jitter.
    fn run(groups: u32, drift_ms: f64, jitter: impl Fn(u32) -> f64) -> Vec<Usage> {
        let mut trend = Trend::default();
        (0..groups)
            .filter_map(|n| {
                let arrived = f64::from(n) * (20.0 + drift_ms) + jitter(n);
                trend.take(i64::from(n) * 20_000, (arrived * 1e3) as i64)
            })
            .collect()
    }

    #[test]
    fn a_growing_queue_is_noticed_and_a_steady_path_is_not() {
        let over = |usages: &[Usage]| usages.iter().filter(|usage| **usage == Usage::Over).count();
        assert_eq!(over(&run(200, 0.0, |_| 0.0)), 0);
        // Jitter of ±3 ms without a trend.
        assert_eq!(over(&run(400, 0.0, |n| f64::from(n * 7 % 7) - 3.0)), 0);
        // 10 % too much: 2 ms more in each group.
        let usages = run(60, 2.0, |_| 0.0);
        let first = usages.iter().position(|usage| *usage == Usage::Over).unwrap();
        assert!(first < 30, "noticed after {first} groups");
        let under = run(60, -2.0, |_| 0.0);
        assert!(under.contains(&Usage::Under));
    }

    #[test]
    fn clocks_that_drifted_apart_in_a_pause_are_no_queue() {
        let mut trend = Trend::default();
        let half_an_hour_us = 1_800_000_000;
        for n in 0..200 {
            let later_us = if n < 50 { 0 } else { half_an_hour_us };
            let sent_us = later_us + 20_000 * n;
            // 50 in a million.
            let arrived_us = sent_us * 20_001 / 20_000;
            assert_ne!(trend.take(sent_us, arrived_us), Some(Usage::Over), "group {n}");
            assert!(trend.queue_ms() < 1.0, "group {n}: {}", trend.queue_ms());
        }
    }
}
