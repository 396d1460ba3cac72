//! What a client is told of what it publishes, and when.

use std::time::{Duration, Instant};

use antipode_base::limits::REPORTS_MAX;

use super::{Known, Receiver};
use crate::ingress::missing::AGAIN;
use crate::ingress::places::Place;
use crate::ingress::report::{BLOCKS_MAX, write_report};
use crate::ingress::stream::Stream;

/// From one report on streams to the next (RFC 3550 §6.2 with the bandwidth of a call).
pub(super) const REPORTS: Duration = Duration::from_secs(1);
/// Who reports.
const CNAME: &[u8] = b"antipode";
/// Bytes of a compound packet to which nothing more is added: with what is longest behind it, and sealed,
/// it fits every path.
const COMPOUND_FULL: usize = 100;
/// A request is repeated after a round trip and this, and not at once where that is short.
const AGAIN_MARGIN: Duration = Duration::from_millis(5);
/// See [`AGAIN_MARGIN`].
const AGAIN_MIN: Duration = Duration::from_millis(33);

impl Receiver {
    pub(super) fn due(&self) -> Option<Instant> {
        let missing = self.streams.iter().filter_map(|known| known.stream.missing.due()).min();
        [missing, self.arrivals.due()].into_iter().flatten().min()
    }

    pub(super) fn report(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        let own = self.ssrc;
        let mut compound = Vec::new();
        let mut leave = |compound: &mut Vec<u8>, full: usize| {
            if compound.len() > full {
                send(compound);
                compound.clear();
            }
        };
        if self.report_at.is_some_and(|due| due <= now) {
            // Where nothing comes any more there is nothing to tell.
            let last = self.streams.iter().map(|known| known.at).max();
            self.report_at =
                Some(now + REPORTS).filter(|_| last.is_some_and(|at| at + REPORTS > now));
            let heard = self.streams.iter_mut().filter(|known| known.is_reported());
            let mut heard: Vec<&mut Stream> = heard.map(|known| &mut known.stream).collect();
            for streams in heard.chunks_mut(BLOCKS_MAX) {
                write_report(now, own, CNAME, streams, &mut compound);
                leave(&mut compound, COMPOUND_FULL);
            }
            self.write_time(now, &mut compound);
        }
        for ssrc in self.keyframes.drain(..) {
            write_keyframe_request(own, ssrc, &mut compound);
            leave(&mut compound, COMPOUND_FULL);
        }
        let again = self.rtt.map_or(AGAIN, |rtt| (rtt + AGAIN_MARGIN).max(AGAIN_MIN));
        for Known { stream, .. } in &mut self.streams {
            while stream.missing.due().is_some_and(|due| due <= now) {
                stream.missing.write(now, [own, stream.ssrc], again, &mut compound);
                leave(&mut compound, COMPOUND_FULL);
            }
        }
        // Its second SSRC may be any of those that it is about.
        let any = self.streams.first().map_or(0, |known| known.stream.ssrc);
        while self.arrivals.due().is_some_and(|due| due <= now) {
            self.arrivals.write(now, [own, any], &mut compound);
            leave(&mut compound, COMPOUND_FULL);
        }
        leave(&mut compound, 0);
    }

    /// Our time, to be told how long ago it came when the next sender report leaves (RFC 3611 §4.4).
    fn write_time(&mut self, now: Instant, out: &mut Vec<u8>) {
        let since = now.saturating_duration_since(self.origin.unwrap_or(now));
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        let ntp = since.as_secs() << 32 | fraction;
        if self.told.len() == REPORTS_MAX {
            self.told.remove(0);
        }
        self.told.push(((ntp >> 16) as u32, now));
        out.extend_from_slice(&[0x80, 207, 0, 4]);
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&[4, 0, 0, 2]);
        out.extend_from_slice(&ntp.to_be_bytes());
    }

    pub(super) fn take_loss(&mut self) -> f32 {
        let media = self.streams.iter().filter(|known| known.is_reported());
        let counts = media.map(|known| known.stream.counts());
        let sum = counts.fold([0; 2], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
        // A stream that was forgotten is missing from both.
        let [expected, received] = [0, 1].map(|at| sum[at].saturating_sub(self.counted[at]));
        self.counted = sum;
        let lost = expected.saturating_sub(received);
        if expected == 0 { 0.0 } else { lost as f32 / expected as f32 }
    }
}

impl Known {
    /// Whether reports are about it: it is media, and some came.
    fn is_reported(&self) -> bool {
        matches!(self.place, Some(Place::Media { .. })) && self.stream.is_heard()
    }
}

/// A picture is lost (RFC 4585 §6.3.1).
fn write_keyframe_request(own: u32, ssrc: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x81, 206, 0, 2]);
    out.extend_from_slice(&own.to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use antipode_base::limits::INCOMING_STREAMS_MAX;

    use super::*;

    #[test]
    fn whatever_there_is_to_say_fits_every_path() {
        let (mut receiver, now) = (Receiver::new(None), Instant::now());
        for ssrc in 0..INCOMING_STREAMS_MAX as u32 {
            let at = receiver.stream(ssrc, now);
            let Known { stream, place, .. } = &mut receiver.streams[at];
            *place = Some(Place::Media { mid: "1".into(), rid: None, repair: None });
            stream.repeated = true;
            (0..500).for_each(|nth| assert!(stream.take(nth * 20, 0, now)));
            receiver.keyframes.push(ssrc);
        }
        for nth in 0..2_000 {
            receiver.arrivals.note(nth * 3, now + Duration::from_millis(u64::from(nth) % 90));
        }
        receiver.report_at = Some(now);
        let mut kinds = std::collections::BTreeSet::new();
        receiver.report(now + Duration::from_secs(1), |compound| {
            assert!(compound.len() <= 1_200 && compound.len().is_multiple_of(4));
            kinds.insert(compound[1]);
        });
        assert!(kinds.is_superset(&[201, 205, 206].into()), "{kinds:?}");
        receiver.report(now + Duration::from_secs(1), |_| panic!("all was said"));
    }
}
