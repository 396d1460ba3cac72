//! When to look for more bandwidth, and how hard.
//!
//! A forwarder sends what publishers produce, so its estimate cannot grow by itself beyond what it sends.
//! When a viewer could use more, a probe fills the stream up to a higher rate for a moment, with
//! padding; the estimator sees whether that arrived as fast as it was sent.
//!
//! ```text
//!   rate        ______            ________
//!   wanted  - -|      |- - - - - |        |- - - -
//!   sent  _____|      |__________|        |______      pauses grow while probes fail
//! ```

use std::time::{Duration, Instant};

use antipode_base::limits::PROBE_PACKETS_MAX;
use antipode_base::media::Bitrate;

use super::Egress;
use super::lane::Lane;
use super::wire::Header;
use crate::io::Transmit;

/// How long a probe lasts: long enough to see a queue grow at the rates of video, short enough that the
/// queue which it leaves behind is no longer than a jitter buffer.
const LENGTH: Duration = Duration::from_millis(60);
/// A probe has so many bytes at least, eight packets of padding: at low rates that takes longer. And so
/// long at most.
const BYTES_MIN: u64 = 2_400;
const LENGTH_MAX: Duration = Duration::from_millis(500);
/// Between two bursts of a probe.
const STEP: Duration = Duration::from_millis(5);
/// A probe asks for this much more than is wanted, since the estimate stays below what is measured.
const MARGIN: f64 = 1.4;
/// A probe asks for no more than this multiple of what is known to be there.
const LEAP: f64 = 2.0;
/// Pause after a probe that found what was wanted; after one that did not, at first and at most.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_FAILED: Duration = Duration::from_millis(1_000);
const PAUSE_MAX: Duration = Duration::from_millis(3_000);
/// Between two looks at a path whose queue is to empty first.
const PAUSE_QUEUE: Duration = Duration::from_millis(100);

/// Padding of one packet of a probe (RFC 3550 §5.1: its length fits one byte).
const PROBE_PADDING: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Running { since: Instant, rate: u64, bytes: u64 },
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Prober {
    state: State,
    wanted: Option<Bitrate>,
    /// The next probe begins no sooner.
    not_before: Option<Instant>,
    pause: Duration,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Wait,
    /// A probe begins; call again.
    Begin,
    /// So many bytes of padding.
    Pad(usize),
    /// The probe is over.
    End,
}

impl Default for Prober {
    fn default() -> Self {
        Prober { state: State::Idle, wanted: None, not_before: None, pause: PAUSE }
    }
}

impl Prober {
    /// What the viewer could use in all; `None` when it has that.
    pub(crate) fn want(&mut self, wanted: Option<Bitrate>, now: Instant) {
        if self.wanted.is_none() && wanted.is_some() && self.not_before.is_none() {
            self.not_before = Some(now);
        }
        self.wanted = wanted;
    }

    /// A packet of media went out.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let State::Running { bytes: sum, .. } = &mut self.state {
            *sum += bytes as u64;
        }
    }

    /// Whether the last probe found more, which is to be known later than its end; or the path was
    /// overused meanwhile. One that did is followed by another soon, one that did not by later and later
    /// ones.
    pub(crate) fn judge(&mut self, raised: bool, now: Instant) {
        let longer = (self.pause * 3 / 2).clamp(PAUSE_FAILED, PAUSE_MAX);
        self.pause = if raised { PAUSE } else { longer };
        self.not_before = Some(now + self.pause);
    }

    /// When [`Prober::step`] wants to be called.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Running { .. } => Some(now + STEP),
            State::Idle => self.wanted.and(self.not_before),
        }
    }

    /// Lets time pass. `queues`: the path is full as it is.
    pub(crate) fn step(&mut self, estimate: Bitrate, queues: bool, now: Instant) -> Step {
        match self.state {
            State::Idle => {
                let due = self.not_before.is_some_and(|at| now >= at);
                let Some(wanted) = self.wanted.filter(|_| due) else { return Step::Wait };
                let rate = (wanted.0 as f64 * MARGIN).min(estimate.0 as f64 * LEAP) as u64;
                if queues {
                    self.not_before = Some(now + PAUSE_QUEUE);
                    return Step::Wait;
                }
                self.state = State::Running { since: now, rate, bytes: 0 };
                Step::Begin
            }
            State::Running { since, rate, bytes } => {
                let elapsed = now.saturating_duration_since(since);
                let enough = bytes >= BYTES_MIN || elapsed >= LENGTH_MAX;
                if elapsed >= LENGTH && enough {
                    self.state = State::Idle;
                    self.judge(false, now);
                    return Step::End;
                }
                // The first burst is that of one step: a rate is what comes between packets.
                let due = rate * (elapsed + STEP).as_micros() as u64 / 8_000_000;
                match due.saturating_sub(bytes) {
                    0 => Step::Wait,
                    missing => Step::Pad(missing as usize),
                }
            }
        }
    }
}

impl Egress {
    /// When [`Egress::probe`] wants to be called.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        self.probe_at
    }

    /// Sends the padding of a probe that is under way, or begins one that is due.
    pub(crate) fn probe(&mut self, now: Instant, mut send: impl FnMut(Transmit)) {
        loop {
            let queues = self.estimator.queues(now);
            match self.prober.step(self.estimator.estimate(), queues, now) {
                Step::Begin => self.estimator.start_probe(self.transport_seq + 1, now),
                Step::Pad(bytes) => {
                    for _ in 0..bytes.div_ceil(PROBE_PADDING).min(PROBE_PACKETS_MAX) {
                        let Some(transmit) = self.padding(now) else { break };
                        send(transmit);
                    }
                    break;
                }
                Step::End => {
                    self.estimator.end_probe(self.transport_seq, now);
                    break;
                }
                Step::Wait => break,
            }
        }
        self.probe_at = self.prober.deadline(now);
    }

    /// One packet of padding on the first stream of repeats.
    fn padding(&mut self, now: Instant) -> Option<Transmit> {
        let path = self.path?;
        let seal = self.seal.as_mut()?;
        let usable = |lane: &&mut Lane| {
            lane.repair_ssrc.is_some() && lane.repair_type.is_some() && lane.ids.has_transport_cc()
        };
        let lane = self.lanes.iter_mut().flatten().find(usable)?;
        let (ssrc, payload_type) = (lane.repair_ssrc?, lane.repair_type?);
        let ext_seq = lane.next_repair_seq();
        self.transport_seq += 1;
        let header = Header {
            payload_type,
            marker: false,
            seq: ext_seq as u16,
            timestamp: 0,
            ssrc,
            mid: lane.mid(),
            transport_seq: Some(self.transport_seq as u16),
            extensions: Default::default(),
            descriptor: None,
            padded: true,
        };
        let mut written = Vec::new();
        header.write(&lane.ids, &mut written);
        let mut padding = [0u8; PROBE_PADDING];
        padding[PROBE_PADDING - 1] = PROBE_PADDING as u8;
        let bytes = seal.rtp(Vec::new(), &written, &padding, ssrc, ext_seq);
        self.note_sent(bytes.len(), None, now);
        Some(path.transmit(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs for so long; the times at which probes began, and bytes of padding.
    fn run(wanted: u64, media: usize, ms: u64, known: u64, raised: bool) -> (Vec<u64>, usize) {
        let start = Instant::now();
        let mut prober = Prober::default();
        let (mut begun, mut padding) = (Vec::new(), 0);
        prober.want(Some(Bitrate(wanted)), start);
        for at in 0..ms {
            let now = start + Duration::from_millis(at);
            if at % 20 == 0 {
                prober.sent(media);
            }
            while prober.deadline(now).is_some_and(|at| at <= now + STEP) {
                match prober.step(Bitrate(known), false, now) {
                    Step::Begin => begun.push(at),
                    Step::Pad(bytes) => {
                        prober.sent(bytes);
                        padding += bytes;
                    }
                    Step::End if raised => prober.judge(true, now),
                    Step::Wait | Step::End => break,
                }
            }
        }
        (begun, padding)
    }

    #[test]
    fn fills_up_to_the_rate_and_no_further() {
        // 400 kbit/s of media; twice what is known for 60 ms are 8 kB, and 3 kB are there.
        let (begun, padding) = run(1_000_000, 1_000, 200, 500_000, false);
        assert_eq!(begun, [0]);
        assert!((4_000..6_500).contains(&padding), "{padding}");
        let (_, padding) = run(100_000, 5_000, 200, 500_000, false);
        assert!(padding < 500, "media is enough: {padding}");
    }

    #[test]
    fn a_probe_of_a_thin_path_is_long_enough_to_count() {
        let (begun, padding) = run(90_000, 0, 600, 80_000, false);
        assert_eq!(begun, [0]);
        assert!((BYTES_MIN..BYTES_MIN + 300).contains(&(padding as u64)), "{padding}");
        let (_, padding) = run(20_000, 0, 1_400, 20_000, false);
        assert!(padding < BYTES_MIN as usize, "{padding} in {LENGTH_MAX:?}");
    }

    #[test]
    fn failures_space_out_and_success_goes_on() {
        let (begun, _) = run(10_000_000, 0, 12_000, 500_000, false);
        let gaps: Vec<u64> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.is_sorted() && gaps[0] >= 1_000, "{gaps:?}");
        assert!(*gaps.last().unwrap() <= 3_200, "{gaps:?}");
        let (begun, _) = run(10_000_000, 0, 2_000, 500_000, true);
        assert!(begun.len() >= 4, "{begun:?}");
    }

    #[test]
    fn a_path_that_is_full_is_not_filled_further() {
        let start = Instant::now();
        let mut prober = Prober::default();
        prober.want(Some(Bitrate(1_000_000)), start);
        assert_eq!(prober.step(Bitrate(500_000), true, start), Step::Wait);
        let next = prober.deadline(start).expect("it looks again");
        assert_eq!(next, start + PAUSE_QUEUE);
        assert_eq!(prober.step(Bitrate(500_000), false, next), Step::Begin);
    }
}
