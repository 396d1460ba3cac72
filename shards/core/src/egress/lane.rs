//! One stream towards one viewer: what a slot must remember to number, repeat and report its packets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antipode_base::ids::TrackId;
use antipode_base::limits::{MID_PACKETS_MAX, REPEATS_MAX, STRETCHES_MAX};
use antipode_base::media::Layer;
use antipode_base::near;
use antipode_relay::packet::{Packet, SenderClock};

use super::redundancy::Redundancy;
use super::wire::ExtensionIds;
use crate::forward::{Rewrite, Shift, Target};
use crate::payload::dependency::{self, DESCRIPTOR_MAX, Structure};
use crate::rtcp::SenderReport;

/// Reports while the stream runs (RFC 3550 §6.2 asks for no more than every 5 s; sound and picture
/// find together sooner with more).
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Sequence numbers that stand for one input, in one way. What lies between two stretches was never
/// seen here, and nobody can tell how it would have been numbered.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    ext_seq_from: u64,
    ext_seq_to: u64,
    track: TrackId,
    stream: Layer,
    within: Option<Target>,
    shift: Shift,
}

/// What was sent under a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The track.
    pub(crate) track: TrackId,
    /// Its stream.
    pub(crate) stream: Layer,
    /// Its extended sequence number there.
    pub(crate) ext_seq: u64,
    /// What the viewer got of the stream.
    within: Option<Target>,
    /// From there to here.
    shift: Shift,
}

impl Origin {
    /// How the packet was written.
    pub(crate) fn rewrite(&self, packet: &Packet) -> Rewrite {
        self.shift.apply(packet, self.within)
    }
}

/// The last packet, for reports.
#[derive(Clone, Copy, Debug)]
struct Last {
    timestamp: u32,
    sent: Instant,
    clock_hz: u32,
    /// The publisher's wall clock at this packet: NTP, 32.32 bits.
    ntp: Option<u64>,
}

/// The decode targets of what is sent.
#[derive(Debug)]
struct Targets {
    structure: Arc<Structure>,
    /// Those that the publisher sends.
    active: u32,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Lane {
    /// The stream.
    pub(crate) ssrc: u32,
    /// The stream of repeats (RFC 4588); `None` when it was not negotiated.
    pub(crate) repair_ssrc: Option<u32>,
    /// The payload type of repeats of what was sent last; `None` before.
    pub(crate) repair_type: Option<u8>,
    /// Ids of the section's header extensions.
    pub(crate) ids: ExtensionIds,
    /// Of sound: what is sent twice.
    pub(crate) redundancy: Redundancy,
    mid: String,
    mid_known: bool,
    cname: String,
    packets: u32,
    bytes: u32,
    stretches: VecDeque<Stretch>,
    ext_seq_max: u64,
    repair_seq: u64,
    repeated: VecDeque<(u16, Instant)>,
    targets: Option<Targets>,
    last: Option<Last>,
    reported: Option<Instant>,
}

impl Lane {
    /// A stream on which nothing was sent. `repair_seq` is where the repeats' numbers begin.
    pub(crate) fn new(
        ssrc: u32,
        repair_ssrc: Option<u32>,
        mid: &str,
        ids: ExtensionIds,
        repair_seq: u16,
    ) -> Self {
        Lane {
            ssrc,
            repair_ssrc,
            repair_type: None,
            ids,
            redundancy: Redundancy::default(),
            mid: mid.to_owned(),
            mid_known: false,
            cname: String::new(),
            packets: 0,
            bytes: 0,
            stretches: VecDeque::new(),
            ext_seq_max: 0,
            repair_seq: u64::from(repair_seq >> 1) + 1,
            repeated: VecDeque::new(),
            targets: None,
            last: None,
            reported: None,
        }
    }

    /// Another member's track is in the slot from now on.
    pub(crate) fn set_cname(&mut self, cname: &str) {
        cname.clone_into(&mut self.cname);
    }

    /// `a=mid` for the next packet, while the viewer may need it.
    pub(crate) fn mid(&self) -> Option<&str> {
        (!self.mid_known && self.packets < MID_PACKETS_MAX).then_some(&self.mid)
    }

    /// The viewer reports on the stream, so it knows where it belongs.
    pub(crate) fn acknowledge(&mut self) {
        self.mid_known = true;
    }

    /// Takes note of the decode targets that a packet tells of, before it is described.
    pub(crate) fn note_targets(&mut self, packet: &Packet) {
        let bytes = packet.descriptor.as_deref().filter(|_| self.ids.has_descriptor());
        let Some(bytes) = bytes.filter(|bytes| dependency::tells_targets(bytes)) else { return };
        let known = self.targets.as_ref().map(|targets| &*targets.structure);
        let Ok(read) = dependency::parse(bytes, known) else { return };
        let Some(active) = read.active_targets else { return };
        match (read.attached, &mut self.targets) {
            (Some(structure), targets) => *targets = Some(Targets { structure, active }),
            (None, Some(targets)) => targets.active = active,
            (None, None) => {}
        }
    }

    /// The packet's dependency descriptor for this viewer, if it takes any. Where the viewer gets fewer
    /// layers than there are, each says so: no packet of those that could say it once need arrive.
    pub(crate) fn describe<'out>(
        &self,
        rewrite: &Rewrite,
        packet: &Packet,
        out: &'out mut [u8; DESCRIPTOR_MAX],
    ) -> Option<&'out [u8]> {
        let bytes = packet.descriptor.as_deref().filter(|_| self.ids.has_descriptor())?;
        if let (Some(targets), Some(within)) = (&self.targets, rewrite.within) {
            let Targets { structure, active } = targets;
            let mask = structure.targets_within(within.layer.0, within.temporal) & active;
            let number = rewrite.frame_number;
            // A packet from before the last keyframe goes without a mask.
            let written = if mask == *active {
                None
            } else {
                dependency::rewrite(bytes, structure, number, Some(mask), out).ok()
            };
            let length = written.map(<[u8]>::len);
            if let Some(length) = length {
                return out.get(..length);
            }
        }
        dependency::renumber(bytes, rewrite.frame_number, out)
    }

    /// Takes note of a packet that goes out, with its payload's length there.
    pub(crate) fn sent(&mut self, rewrite: &Rewrite, packet: &Packet, bytes: usize, now: Instant) {
        let newest = rewrite.ext_seq > self.ext_seq_max;
        if newest {
            self.stretch(rewrite, packet);
        }
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes as u32);
        if newest {
            self.ext_seq_max = rewrite.ext_seq;
            let clock_hz = packet.codec.clock_hz();
            let ntp = packet.sender_clock.map(|clock| ntp_at(&clock, packet.timestamp, clock_hz));
            self.last = Some(Last { timestamp: rewrite.timestamp, sent: now, clock_hz, ntp });
        }
    }

    fn stretch(&mut self, rewrite: &Rewrite, packet: &Packet) {
        if let Some(last) = self.stretches.back_mut()
            && (last.track, last.stream) == (packet.track, packet.stream())
            && (last.shift, last.within) == (rewrite.shift, rewrite.within)
        {
            last.ext_seq_to = rewrite.ext_seq;
            return;
        }
        let other = |last: &Stretch| (last.track, last.stream) != (packet.track, packet.stream());
        if self.stretches.back().is_some_and(other) {
            // It began with a keyframe: nobody needs what came before.
            self.stretches.clear();
        }
        if self.stretches.len() == STRETCHES_MAX {
            self.stretches.pop_front();
        }
        self.stretches.push_back(Stretch {
            ext_seq_from: rewrite.ext_seq,
            ext_seq_to: rewrite.ext_seq,
            track: packet.track,
            stream: packet.stream(),
            within: rewrite.within,
            shift: rewrite.shift,
        });
    }

    /// Brings near what lies behind a pointer.
    pub(crate) fn fetch_behind(&self) {
        if let Some(last) = self.stretches.back() {
            near::fetch(last);
        }
    }

    /// What was sent is not to be repeated any more: something else is about to take its place.
    pub(crate) fn abandon(&mut self) {
        self.stretches.clear();
    }

    /// What was sent under a number that the viewer misses; `None` when it is too long ago, was never
    /// sent, or was repeated after `since`.
    pub(crate) fn missing(&mut self, seq: u16, since: Instant, now: Instant) -> Option<Origin> {
        let behind = (self.ext_seq_max as u16).wrapping_sub(seq);
        let ext_seq = self.ext_seq_max.checked_sub(u64::from(behind))?;
        if behind > u16::MAX / 2 {
            return None;
        }
        let stretch = self.stretches.iter().rev().find(|s| s.ext_seq_from <= ext_seq)?;
        let fresh = |(known, at): &(u16, Instant)| *known == seq && *at > since;
        if ext_seq > stretch.ext_seq_to || self.repeated.iter().any(fresh) {
            return None;
        }
        if self.repeated.len() == REPEATS_MAX {
            self.repeated.pop_front();
        }
        self.repeated.push_back((seq, now));
        Some(Origin {
            track: stretch.track,
            stream: stretch.stream,
            ext_seq: stretch.shift.input(ext_seq),
            within: stretch.within,
            shift: stretch.shift,
        })
    }

    /// The next number of the stream of repeats.
    pub(crate) fn next_repair_seq(&mut self) -> u64 {
        self.repair_seq += 1;
        self.repair_seq
    }

    /// Whose media it carries, while it carries any.
    pub(crate) fn member(&self, now: Instant) -> Option<&str> {
        let runs = self.last.is_some_and(|last| now < last.sent + 2 * REPORT_INTERVAL);
        runs.then_some(self.cname.as_str())
    }

    /// The report that is due, if one is: only while the stream runs, and only when the publisher
    /// told its wall clock, since sound and picture must be reported by the same one.
    pub(crate) fn report(&mut self, now: Instant) -> Option<SenderReport<'_>> {
        let last = self.last.filter(|last| now < last.sent + 2 * REPORT_INTERVAL)?;
        let ntp = last.ntp?;
        if self.reported.is_some_and(|at| now < at + REPORT_INTERVAL) {
            return None;
        }
        self.reported = Some(now);
        let since = now.duration_since(last.sent);
        let ticks = since.as_micros() * u128::from(last.clock_hz) / 1_000_000;
        Some(SenderReport {
            ssrc: self.ssrc,
            ntp: ntp.wrapping_add(ntp_span(since)),
            timestamp: last.timestamp.wrapping_add(ticks as u32),
            packets: self.packets,
            bytes: self.bytes,
            cname: &self.cname,
        })
    }
}

/// The publisher's wall clock at an RTP timestamp near its last report.
fn ntp_at(clock: &SenderClock, timestamp: u32, clock_hz: u32) -> u64 {
    let ticks = i64::from(timestamp.wrapping_sub(clock.timestamp) as i32);
    clock.ntp.wrapping_add_signed((ticks << 32) / i64::from(clock_hz))
}

/// A span as NTP's 32.32 bits of seconds.
fn ntp_span(span: Duration) -> u64 {
    (span.as_nanos() * (1 << 32) / 1_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::{Rewriter, testing};
    use str0m::rtp::ExtensionMap;

    use crate::forward::Target;
    use crate::payload::dependency::tests::{CHROMIUM_L3T3, hex};
    use crate::session::descriptors;

    fn packet(track: u64, layer: u8, ext_seq: u64, timestamp: u32, now: Instant) -> Packet {
        Packet {
            track: TrackId(track),
            layer: Layer(layer),
            marker: true,
            sender_clock: Some(SenderClock { ntp: 100 << 32, timestamp: 90_000 }),
            arrival: now,
            ..testing::packet(ext_seq, timestamp)
        }
    }

    #[test]
    fn finds_what_a_number_stood_for_across_a_switch() {
        let now = Instant::now();
        let rtt = Duration::from_millis(50);
        let mut rewriter = Rewriter::new(0); // first number 1
        let mut lane = Lane::new(1, Some(2), "0", ExtensionIds::default(), 0);
        for (layer, ext_seq) in [(0, 100), (0, 101), (0, 102), (2, 900), (2, 901)] {
            let packet = packet(7, layer, ext_seq, 0, now);
            let rewrite = if ext_seq == 100 || ext_seq == 900 {
                rewriter.start(&packet, true)
            } else {
                rewriter.go_on(&packet, true).unwrap()
            };
            lane.sent(&rewrite, &packet, packet.payload.len(), now);
        }
        let mut find =
            |seq, now: Instant| lane.missing(seq, now - rtt, now).map(|o| (o.stream.0, o.ext_seq));
        assert_eq!(find(2, now), None, "a keyframe has taken its place");
        assert_eq!(find(5, now), Some((2, 901)));
        assert_eq!(find(5, now), None, "asked twice within a round trip");
        assert_eq!(find(5, now + rtt), Some((2, 901)));
        assert_eq!(find(5, now + rtt + rtt / 2), None);
        assert_eq!(find(5, now + 2 * rtt), Some((2, 901)));
        assert_eq!(find(6, now), None, "not sent yet");
        assert_eq!(find(0, now), None, "before the first");
        lane.abandon();
        assert!(lane.missing(4, now - rtt, now).is_none());
    }

    #[test]
    fn reports_by_the_publishers_clock() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(0);
        let mut lane = Lane::new(1, None, "0", ExtensionIds::default(), 0);
        lane.set_cname("PA_x");
        assert!(lane.report(now).is_none(), "nothing was sent");
        // Half a second after the publisher's report.
        let packet = packet(7, 0, 1, 135_000, now);
        lane.sent(&rewriter.start(&packet, true), &packet, packet.payload.len(), now);
        let report = lane.report(now + Duration::from_millis(500)).unwrap();
        assert_eq!(report.ntp, 101 << 32);
        assert_eq!(report.timestamp, 180_000);
        assert_eq!((report.packets, report.bytes, report.cname), (1, 100, "PA_x"));
        assert!(lane.report(now + Duration::from_millis(900)).is_none(), "once a second");
        assert!(lane.report(now + Duration::from_secs(3)).is_none(), "the stream stands");
    }

    #[test]
    fn a_viewer_of_fewer_layers_is_told_so() {
        let now = Instant::now();
        let mut map = ExtensionMap::empty();
        map.set(12, descriptors::extension());
        let mut lane = Lane::new(1, None, "0", ExtensionIds::from_map(&map), 0);
        let mut rewriter = Rewriter::new(0);
        let mut describe = |lane: &mut Lane, bytes: &[u8], within| {
            let described = Packet { descriptor: Some(bytes.into()), ..packet(7, 0, 1, 0, now) };
            lane.note_targets(&described);
            let rewrite = Rewrite { within, ..rewriter.start(&described, true) };
            let mut out = [0; DESCRIPTOR_MAX];
            lane.describe(&rewrite, &described, &mut out).map(<[u8]>::to_vec)
        };
        let within = |layer, temporal| Some(Target { layer: Layer(layer), temporal });
        let key = hex(CHROMIUM_L3T3);
        let structure = dependency::parse(&key, None).unwrap().attached.unwrap();
        let mask =
            |bytes: &[u8]| dependency::parse(bytes, Some(&structure)).unwrap().active_targets;
        // The sender begins with two of three spatial layers; what it does not send is not promised.
        assert_eq!(describe(&mut lane, &key, within(2, 2)), Some(key.clone()));
        let fewer = describe(&mut lane, &key, within(0, 1)).unwrap();
        assert_eq!(mask(&fewer), Some(0b000_000_011));
        let frame = [0xc2, 0, 5];
        let plain = describe(&mut lane, &frame, within(1, 2)).unwrap();
        assert_eq!((plain.len(), mask(&plain)), (3, None));
        assert_eq!(mask(&describe(&mut lane, &frame, within(1, 0)).unwrap()), Some(0b000_001_001));
        // The third layer begins.
        let all = hex("c80008 5ffd1400706060");
        assert_eq!(mask(&describe(&mut lane, &all, within(1, 2)).unwrap()), Some(0b000_111_111));
        assert_eq!(mask(&describe(&mut lane, &frame, within(1, 2)).unwrap()), Some(0b000_111_111));
        // Of a structure that is not known any more: as it came, but for its number.
        let old = describe(&mut lane, &[0xff, 9, 9], within(0, 0)).unwrap();
        assert_eq!((old.len(), old[0]), (3, 0xff));
        let mut deaf = Lane::new(1, None, "0", ExtensionIds::default(), 0);
        assert_eq!(describe(&mut deaf, &key, within(0, 0)), None);
    }
}
