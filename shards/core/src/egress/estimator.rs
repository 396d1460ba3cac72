//! How much a viewer's path carries, from the arrival times that the viewer reports.
//!
//! Three opinions, the lowest counts (the shape is that of Carlucci et al., "Analysis and Design of
//! the Google Congestion Control for WebRTC", 2016):
//!
//! - delay: while packets queue longer and longer on their way, the path is overused, be it slowly
//!   (`trend`) or at once (`busy`);
//! - loss: above a tenth of all packets, the path is overused, whatever the delay;
//! - probes: a short burst shows at once what an increase step by step would take seconds to find,
//!   and the only way up while we send less than the path would carry.
//!
//! A forwarder sends what publishers produce, not what it likes: so the estimate is not lowered because
//! little is sent, and not raised beyond what was proved either.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antipode_base::limits::SENT_MAX;
use antipode_base::media::Bitrate;
use antipode_base::near;

use super::busy::Busy;
use super::trend::{Trend, Usage};
use crate::rtcp::TransportFeedback;

/// Before anything is known: a phone's uplink neighbour; the first probe corrects it within a second.
const START: f64 = 1_000_000.0;
/// Below this nothing but audio goes.
const FLOOR: f64 = 30_000.0;
/// More than any single viewer's layers add up to.
const CEILING: f64 = 100_000_000.0;
/// What remains of the measured rate when the path is overused. Carlucci et al. have 0.85 (§4.3) and
/// then climb back in small steps; layers are large steps, and what is lowered stays low for a while.
const BACK_OFF: f64 = 0.9;
/// Delay that must have built up before the path counts as overused, in milliseconds; twice that while
/// less than this part of the estimate arrives.
const QUEUE_MS: f64 = 30.0;
const LITTLE: f64 = 0.75;
/// Growth a second while the path is not overused.
const GROWTH_PER_S: f64 = 0.08;
/// Growth stops at this multiple of what arrives.
const PROVED: f64 = 1.5;
/// What arrives without a queue fits: the estimate is this part of it at least.
const PROVED_PART: f64 = 0.95;
/// Loss above which the rate is lowered, and below which loss says nothing.
const LOSS_HIGH: f64 = 0.10;
/// Packets over which loss is judged.
const LOSS_WINDOW: u32 = 40;
/// What is seen so soon after the rate was lowered, beyond a round trip, may be of before: a queue that
/// was measured; and one that was smoothed, or what an overfull one still drops.
const PATIENCE: Duration = Duration::from_millis(100);
const PATIENCE_LATE: Duration = Duration::from_millis(700);
/// How long what was reported last is taken for the present.
const NEWS: Duration = Duration::from_millis(500);
/// A probe that raises the estimate by this much is worth another one soon.
const RAISED: f64 = 1.05;
/// How long the queue that a probe leaves may last.
const PROBE_DRAIN: Duration = Duration::from_millis(200);
/// Window of the arrival rate.
const RATE_WINDOW: Duration = Duration::from_millis(500);
/// Packets of one picture, which a viewer gets at once, and of one report.
const SENT_AT_ONCE: usize = 8;
const REPORTED_AT_ONCE: usize = 16;
/// Packets for which there is always room.
const ROOM_KEPT: usize = 64;
/// Window in which a queue that was just noticed has grown.
const QUEUE_WINDOW: Duration = Duration::from_millis(250);

/// Of one packet, by the viewer's clock and ours, in microseconds modulo 2^32: only differences within a
/// window are looked at. There are a thousand for each viewer of whom a probe asks much, and all are out of
/// the core's caches when the next report comes, so this and [`Sent`] are small.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    at_us: u32,
    sent_us: u32,
    bytes: u16,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Transport-wide number, modulo 2^32.
    seq: u32,
    /// Since [`Estimator::origin`], modulo 2^32.
    at_us: u32,
    bytes: u16,
    watched: Option<Watched>,
}

/// A packet of media, or its repeat, that is missed at once when the viewer reports it lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// Its slot.
    pub(crate) slot: u16,
    /// Its number there.
    pub(crate) seq: u16,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Estimator {
    /// When the first packet was sent.
    origin: Option<Instant>,
    sent: VecDeque<Sent>,
    /// Of the last report: what was lost, and when it had been sent.
    missed: Vec<(Watched, Instant)>,
    trend: Trend,
    busy: Busy,
    target: f64,
    /// Of the last [`RATE_WINDOW`], and their bytes.
    arrived: VecDeque<Arrived>,
    arrived_bytes: u64,
    updated: Option<Instant>,
    backed_off: Option<Instant>,
    loss: (u32, u32),
    probe: Probe,
    /// The last probe raised the estimate, and nobody was told yet.
    raised: bool,
    rtt: Duration,
    /// When the last probe ended, or is under way.
    probed: Option<Instant>,
    /// What the viewer itself allows (REMB); `None` when it never said.
    cap: Option<f64>,
}

/// Packets of the probe under way, by the two clocks (microseconds).
#[derive(Clone, Debug, Default)]
struct Probe {
    bytes: u64,
    first: Option<(i64, i64)>,
    last: Option<(i64, i64)>,
    packets: u32,
    /// Transport-wide numbers of its first packet and of its last, modulo 2^32.
    begin: Option<u32>,
    end: Option<u32>,
}

impl Default for Estimator {
    fn default() -> Self {
        Estimator {
            origin: None,
            sent: VecDeque::new(),
            missed: Vec::new(),
            trend: Trend::default(),
            busy: Busy::default(),
            target: START,
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            updated: None,
            backed_off: None,
            loss: (0, 0),
            probe: Probe::default(),
            raised: false,
            rtt: Duration::from_millis(100),
            probed: None,
            cap: None,
        }
    }
}

impl Estimator {
    /// What the path carries, as far as is known.
    pub(crate) fn estimate(&self) -> Bitrate {
        Bitrate(self.cap.map_or(self.target, |cap| self.target.min(cap)) as u64)
    }

    /// The viewer's own idea of what it can take (draft-alvestrand-rmcat-remb).
    pub(crate) fn set_cap(&mut self, cap: Bitrate) {
        self.cap = Some((cap.0 as f64).clamp(FLOOR, CEILING));
    }

    /// Round-trip time as the viewer's reports tell it.
    pub(crate) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt.min(Duration::from_secs(2));
    }

    /// A packet went out under the transport-wide number `seq`.
    pub(crate) fn sent(&mut self, seq: u64, bytes: usize, watched: Option<Watched>, now: Instant) {
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        let at_us = self.us(now) as u32;
        self.sent.push_back(Sent { seq: seq as u32, at_us, bytes: bytes as u16, watched });
    }

    /// Microseconds since the first packet.
    fn us(&mut self, now: Instant) -> i64 {
        let origin = *self.origin.get_or_insert(now);
        now.saturating_duration_since(origin).as_micros() as i64
    }

    /// Brings near what [`Estimator::sent`] needs.
    pub(crate) fn fetch(&self) {
        near::fetch(&self.origin);
        near::fetch(&self.sent);
    }

    /// Brings near where [`Estimator::sent`] writes.
    pub(crate) fn fetch_behind(&self) {
        if let Some(last) = self.sent.back() {
            near::fetch_on(last, SENT_AT_ONCE);
        }
    }

    /// Brings near what [`Estimator::feedback`] looks at.
    pub(crate) fn fetch_reported(&self) {
        if let Some(first) = self.sent.front() {
            near::fetch_on(first, REPORTED_AT_ONCE);
        }
        for end in [self.arrived.front(), self.arrived.back()].into_iter().flatten() {
            near::fetch_on(end, REPORTED_AT_ONCE);
        }
        self.trend.fetch_behind();
    }

    /// Packets of which no arrival or loss was reported.
    pub(crate) fn unreported(&self) -> usize {
        self.sent.len()
    }

    /// The viewer reports arrivals. Returns whether the estimate changed by more than a twentieth.
    pub(crate) fn feedback(&mut self, feedback: &TransportFeedback, now: Instant) -> bool {
        let before = self.target;
        let reference = i64::from(feedback.reference) * 64_000;
        let now_us = self.us(now);
        let mut usage = None;
        let mut over = false;
        self.missed.clear();
        for arrival in &feedback.arrivals {
            let Some(sent) = self.take_sent(arrival.seq) else { continue };
            let sent_us = now_us + i64::from(sent.at_us.wrapping_sub(now_us as u32) as i32);
            self.loss.0 += 1;
            match arrival.at {
                None => {
                    self.loss.1 += 1;
                    self.miss(&sent, sent_us);
                }
                Some(at) => {
                    let at_us = reference + at * 250;
                    let Sent { at_us: sent_low, bytes, .. } = sent;
                    self.arrive(Arrived { at_us: at_us as u32, sent_us: sent_low, bytes });
                    over |= self.probe.take(&sent, sent_us, at_us);
                    usage = self.trend.take(sent_us, at_us).or(usage);
                    self.busy.take(sent_us, at_us, bytes);
                }
            }
        }
        if over {
            self.finish_probe();
        }
        self.apply(usage, now);
        self.apply_loss(now);
        // Of what was sent most was just reported, and soon there is as much again.
        give_back(&mut self.sent, 8);
        give_back(&mut self.arrived, 3);
        (self.target - before).abs() > before / 20.0
    }

    fn miss(&mut self, sent: &Sent, sent_us: i64) {
        if let (Some(watched), Some(origin)) = (sent.watched, self.origin) {
            self.missed.push((watched, origin + Duration::from_micros(sent_us.max(0) as u64)));
        }
    }

    /// What the last report said was lost of what is watched, with the time at which it had been sent.
    pub(crate) fn missed(&self) -> &[(Watched, Instant)] {
        &self.missed
    }

    /// Numbers are reported in order; what was passed over is of a report that got lost. A feedback that
    /// names numbers at random costs hardly more than one that tells the truth.
    fn take_sent(&mut self, wire: u16) -> Option<Sent> {
        let first = self.sent.front()?.seq;
        let ahead = u32::from(wire.wrapping_sub(first as u16));
        // Where none is missing, its place is its number.
        let at = match self.sent.get(ahead as usize) {
            Some(sent) if sent.seq.wrapping_sub(first) == ahead => ahead as usize,
            _ => {
                let key = |sent: &Sent| sent.seq.wrapping_sub(first);
                self.sent.binary_search_by_key(&ahead, key).ok()?
            }
        };
        self.sent.drain(..at);
        self.sent.pop_front()
    }

    fn arrive(&mut self, arrived: Arrived) {
        let since_us = arrived.at_us.wrapping_sub(RATE_WINDOW.as_micros() as u32);
        // A viewer may say that everything came at one time.
        if self.arrived.len() == SENT_MAX {
            self.forget_arrival();
        }
        self.arrived.push_back(arrived);
        self.arrived_bytes += u64::from(arrived.bytes);
        while self.arrived.front().is_some_and(|first| after(since_us, first.at_us) > 0) {
            self.forget_arrival();
        }
    }

    fn forget_arrival(&mut self) {
        let bytes = self.arrived.pop_front().map_or(0, |arrived| u64::from(arrived.bytes));
        self.arrived_bytes -= bytes;
    }

    /// Bits a second over [`RATE_WINDOW`]; `None` while it is not a fifth full.
    fn arrival_rate(&self) -> Option<f64> {
        let (first, last) = (self.arrived.front()?, self.arrived.back()?);
        rate(self.arrived_bytes, first, last, RATE_WINDOW)
    }

    /// The same over [`QUEUE_WINDOW`].
    fn arrival_rate_lately(&self) -> Option<f64> {
        let last = self.arrived.back()?;
        let since_us = last.at_us.wrapping_sub(QUEUE_WINDOW.as_micros() as u32);
        let inside = self.arrived.iter().rev().take_while(|it| after(it.at_us, since_us) >= 0);
        let (sum, first) =
            inside.fold((0u64, last), |(sum, _), it| (sum + u64::from(it.bytes), it));
        rate(sum, first, last, QUEUE_WINDOW)
    }

    /// What was sent within the window and arrived within it, in bits a second: no less than that fits,
    /// if nothing queued.
    fn carried(&self) -> f64 {
        let (Some(first), Some(last)) = (self.arrived.front(), self.arrived.back()) else {
            return 0.0;
        };
        let arrived_us = f64::from(after(last.at_us, first.at_us));
        let sent_us = f64::from(after(last.sent_us, first.sent_us)).max(0.0);
        let bytes = self.arrived_bytes - u64::from(first.bytes);
        bytes as f64 * 8e6 / arrived_us.max(sent_us).max(RATE_WINDOW.as_micros() as f64 * 0.9)
    }

    fn apply(&mut self, usage: Option<Usage>, now: Instant) {
        let elapsed = self.updated.map_or(0.0, |at| now.duration_since(at).as_secs_f64().min(1.0));
        self.updated = Some(now);
        // A probe may fill the path: that is what it is for, and its queue drains by itself.
        let probed = self.probed.is_some_and(|at| now < at + PROBE_DRAIN + self.rtt);
        match self.busy.overfull().filter(|carried| *carried < self.target) {
            // But what it measured is what there is.
            Some(carried) if probed => self.target = carried.max(FLOOR),
            Some(carried) => return self.back_off(Some(carried), now),
            None => {}
        }
        let rate = self.arrival_rate();
        match usage.unwrap_or(Usage::Normal) {
            Usage::Over => {
                // While less is sent than is thought to fit, a picture that comes in a burst is no
                // overuse yet.
                let little = rate.is_some_and(|rate| rate < self.target * LITTLE);
                let queue_ms = if little { 2.0 * QUEUE_MS } else { QUEUE_MS };
                if self.trend.queue_ms() >= queue_ms && !probed {
                    self.back_off(None, now);
                }
            }
            // The queue drains: what arrives now is more than the path's own rate.
            Usage::Under => {}
            Usage::Normal => {
                if self.busy.idle() && rate.is_some_and(|rate| rate > self.target) {
                    self.target = self.target.max(self.carried() * PROVED_PART).min(CEILING);
                }
                let grown = self.target * (1.0 + GROWTH_PER_S * elapsed);
                let proved = rate.map_or(self.target, |rate| rate * PROVED + 10_000.0);
                self.target = grown.min(proved.max(self.target)).min(CEILING);
            }
        }
    }

    /// While packets queue, they arrive as fast as the path carries them; and that is so however often
    /// it is said. `carried`: what that is, where it was measured while a queue grew.
    fn back_off(&mut self, carried: Option<f64>, now: Instant) {
        // The smoothed line, and losses, are late with what the last answer has mended by now.
        let patience = self.rtt + if carried.is_some() { PATIENCE } else { PATIENCE_LATE };
        if self.backed_off.is_some_and(|at| now < at + patience) {
            return;
        }
        let recent = || self.arrival_rate_lately().or_else(|| self.arrival_rate());
        let carried = carried.or_else(recent).unwrap_or(self.target) * BACK_OFF;
        self.target = self.target.min(carried).max(FLOOR);
        self.backed_off = Some(now);
        self.busy.answered();
    }

    fn apply_loss(&mut self, now: Instant) {
        let (seen, lost) = self.loss;
        let queues = self.trend.queue_ms() >= QUEUE_MS;
        if seen < if queues { LOSS_WINDOW / 2 } else { LOSS_WINDOW } {
            return;
        }
        self.loss = (0, 0);
        let fraction = f64::from(lost) / f64::from(seen);
        let patience = self.rtt + PATIENCE_LATE;
        let news = self.backed_off.is_none_or(|at| now >= at + patience);
        if fraction <= LOSS_HIGH || !news {
            return;
        }
        if queues {
            // What is lost beside a queue did not fit into it, and what arrives is what the path carries.
            return self.back_off(None, now);
        }
        self.target = (self.target * (1.0 - 0.5 * fraction)).max(FLOOR);
        self.backed_off = Some(now);
    }

    /// A probe begins with the number `seq`; what the last one left is forgotten.
    pub(crate) fn start_probe(&mut self, seq: u64, now: Instant) {
        self.probed = Some(now);
        self.probe = Probe { begin: Some(seq as u32), ..Probe::default() };
    }

    /// The probe's last packet went out under that number.
    pub(crate) fn end_probe(&mut self, seq: u64, now: Instant) {
        self.probed = Some(now);
        self.probe.end = Some(seq as u32);
    }

    /// Whether the path was overused within this time.
    pub(crate) fn backed_off_within(&self, time: Duration, now: Instant) -> bool {
        self.backed_off.is_some_and(|at| now <= at + time)
    }

    /// Whether packets stand in a queue of the path by now. A path of which nothing is heard has none to
    /// be seen.
    pub(crate) fn queues(&self, now: Instant) -> bool {
        self.busy.queues() && self.updated.is_some_and(|at| now < at + NEWS)
    }

    /// Whether the probe whose last packet has just been reported raised the estimate; said once.
    pub(crate) fn take_raised(&mut self) -> bool {
        std::mem::take(&mut self.raised)
    }

    fn finish_probe(&mut self) {
        if let Some(rate) = std::mem::take(&mut self.probe).rate()
            && rate > self.target
        {
            self.raised = rate > self.target * RAISED;
            self.target = rate.min(CEILING);
            self.trend.forget();
        }
    }
}

/// A probe sends a thousand packets within a second, and a viewer's media a tenth of that for hours: what
/// the probe needed of memory goes back when less than such a part of it is in use.
fn give_back<T>(queue: &mut VecDeque<T>, part: usize) {
    if queue.capacity() > ROOM_KEPT && queue.len() < queue.capacity() / part {
        queue.shrink_to(ROOM_KEPT.max(queue.len() * 2));
    }
}

/// Bits a second from the first arrival to the last, whose bytes are `sum` in all; `None` while that is not
/// a fifth of the window.
fn rate(sum: u64, first: &Arrived, last: &Arrived, window: Duration) -> Option<f64> {
    let span = after(last.at_us, first.at_us);
    let bits = (sum - u64::from(first.bytes)) as f64 * 8.0;
    (span >= window.as_micros() as i32 / 5).then(|| bits * 1e6 / f64::from(span))
}

/// How long one time is after another, modulo 2^32 microseconds.
fn after(late_us: u32, early_us: u32) -> i32 {
    late_us.wrapping_sub(early_us) as i32
}

impl Probe {
    /// A probe counts when it had this many packets.
    const PACKETS_MIN: u32 = 6;

    /// Takes in a packet that arrived. Returns whether it was the last one, or came after that.
    fn take(&mut self, sent: &Sent, sent_us: i64, at_us: i64) -> bool {
        let behind = |seq: Option<u32>| seq.map(|seq| sent.seq.wrapping_sub(seq) as i32);
        let beyond = behind(self.end);
        if behind(self.begin).is_some_and(|n| n >= 0) && beyond.is_none_or(|n| n <= 0) {
            self.packets += 1;
            if self.first.is_some() {
                self.bytes += u64::from(sent.bytes);
            }
            self.first.get_or_insert((sent_us, at_us));
            self.last = Some((sent_us, at_us));
        }
        beyond.is_some_and(|n| n >= 0)
    }

    /// The rate at which it arrived, once it is long enough. A burst arrives no faster than the path's
    /// narrowest link lets it, and is believed no further than it was sent.
    fn rate(&self) -> Option<f64> {
        let ((first_sent, first_us), (last_sent, last_us)) = (self.first?, self.last?);
        if self.packets < Self::PACKETS_MIN {
            return None;
        }
        let sent_s = ((last_sent - first_sent) as f64 / 1e6).max(0.001);
        let arrived_s = ((last_us - first_us) as f64 / 1e6).max(0.001);
        let bits = self.bytes as f64 * 8.0;
        let (sent, arrived) = (bits / sent_s, bits / arrived_s);
        // Slower out than in: the path was filled, and its rate is what came out, with some room.
        Some(if arrived < 0.9 * sent { arrived * 0.95 } else { arrived.min(sent) })
    }
}

#[cfg(test)]
mod tests;
