//! What a viewer's RTCP leads to: repeats, keyframes, another estimate.

use std::time::{Duration, Instant};

use antipode_base::limits::{MISSED_PER_REPORT_MAX, REPEATS_PER_REPORT_MAX};

use super::lane::{Lane, Origin};
use super::{Egress, RTT_UNKNOWN};
use crate::io::Transmit;
use crate::rtcp::{self, Feedback};

/// What a viewer's RTCP asks for.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Packets to send again.
    pub(crate) repeats: Vec<Repeat>,
    /// Slots whose decoders lost the thread.
    pub(crate) keyframes: Vec<usize>,
    /// The estimate changed much.
    pub(crate) estimate_moved: bool,
    /// Missing packets that one compound packet made us look at.
    pub(crate) missed: usize,
}

/// A repeat that the shard must look up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat {
    /// The slot.
    pub(crate) slot: usize,
    /// The number that the viewer misses.
    pub(crate) seq: u16,
    /// What was sent under it.
    pub(crate) origin: Origin,
}

impl Egress {
    /// Opens RTCP of the peer into `out`. `None` when it is not authentic, or came before.
    pub(crate) fn open<'a>(&mut self, sealed: &[u8], out: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        self.seal.as_mut()?.open_rtcp(sealed, out)
    }

    /// Seals RTCP to the peer; `None` when nobody knows how or where to.
    pub(crate) fn seal(&mut self, compound: &[u8]) -> Option<Transmit> {
        let path = self.path?;
        Some(path.transmit(self.seal.as_mut()?.rtcp(compound)))
    }

    /// Takes in what a viewer says, which the host had since `at`.
    pub(crate) fn hear(
        &mut self,
        feedback: Feedback,
        at: Instant,
        now: Instant,
        heard: &mut Heard,
    ) {
        match feedback {
            Feedback::Report(block) => self.report(&block, at),
            Feedback::Nack { ssrc, first, mask } => {
                self.nack(ssrc, first, mask, now, heard);
            }
            Feedback::Keyframe { ssrc } => {
                let slot = self.slot_of(ssrc).filter(|slot| !heard.keyframes.contains(slot));
                heard.keyframes.extend(slot);
            }
            Feedback::Transport(feedback) => {
                heard.estimate_moved |= self.estimator.feedback(&feedback, now);
                self.mend(now, heard);
                let raised = self.estimator.take_raised();
                let over = self.estimator.backed_off_within(Duration::ZERO, now);
                if raised || over {
                    self.prober.judge(!over, now);
                    self.probe_at = self.prober.deadline(now);
                }
            }
            Feedback::Cap(rate) => self.estimator.set_cap(rate),
            // It is about what the peer sends itself.
            Feedback::Sender { .. } | Feedback::TimeHeard { .. } => {}
        }
    }

    fn slot_of(&self, ssrc: u32) -> Option<usize> {
        let is = |lane: &Option<Lane>| lane.as_ref().is_some_and(|lane| lane.ssrc == ssrc);
        self.lanes.iter().position(is)
    }

    fn report(&mut self, block: &rtcp::ReportBlock, at: Instant) {
        let lane = self.lanes.iter_mut().flatten().find(|lane| lane.ssrc == block.ssrc);
        let Some(lane) = lane else { return };
        lane.acknowledge();
        lane.redundancy.report(block.fraction_lost, at);
        self.lost.0 += u32::from(block.fraction_lost);
        self.lost.1 += 1;
        let sent = self.reports.iter().rev().find(|(ntp, _)| *ntp == block.last_sr);
        if let Some((_, sent)) = sent {
            let rtt = at.saturating_duration_since(*sent).saturating_sub(block.delay);
            self.rtt = (self.rtt * 7 + rtt) / 8;
            self.estimator.set_rtt(self.rtt);
        }
    }

    fn nack(&mut self, ssrc: u32, first: u16, mask: u16, now: Instant, heard: &mut Heard) {
        heard.missed += 1 + mask.count_ones() as usize;
        if heard.missed > MISSED_PER_REPORT_MAX {
            return;
        }
        let Some(slot) = self.slot_of(ssrc) else { return };
        let Some(lane) = self.lanes[slot].as_mut() else { return };
        // What was repeated within a round trip is on its way.
        let since = now.checked_sub(self.rtt).unwrap_or(now);
        let more = (0..16).filter(|bit| mask >> bit & 1 == 1).map(|bit| bit + 1);
        for offset in std::iter::once(0).chain(more) {
            let seq = first.wrapping_add(offset);
            if heard.repeats.len() < REPEATS_PER_REPORT_MAX
                && let Some(origin) = lane.missing(seq, since, now)
            {
                heard.repeats.push(Repeat { slot, seq, origin });
            }
        }
    }

    /// Repeats what was reported lost of pictures in spatial layers, as long as it is. Chromium stops
    /// asking for a packet of a higher layer once the next picture's lower one can be decoded: when its
    /// one request or the repeat gets lost too, the picture stands still for three seconds.
    fn mend(&mut self, now: Instant, heard: &mut Heard) {
        for (watched, sent) in self.estimator.missed() {
            let (slot, seq) = (usize::from(watched.slot), watched.seq);
            let Some(lane) = self.lanes.get_mut(slot).and_then(Option::as_mut) else { continue };
            if heard.repeats.len() < REPEATS_PER_REPORT_MAX
                && let Some(origin) = lane.missing(seq, *sent, now)
            {
                heard.repeats.push(Repeat { slot, seq, origin });
            }
        }
    }

    /// Round-trip time; `None` before the viewer told of one.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        (self.rtt != RTT_UNKNOWN).then_some(self.rtt)
    }

    /// Mean fraction lost (0..=1) over the viewer's reports since the last call.
    pub(crate) fn take_loss(&mut self) -> f32 {
        let (sum, count) = std::mem::take(&mut self.lost);
        if count == 0 { 0.0 } else { sum as f32 / count as f32 / 256.0 }
    }
}
