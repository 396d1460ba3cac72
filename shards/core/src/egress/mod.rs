//! Our own way out: sealing, repeating, reporting and measuring what one viewer gets.
//!
//! str0m keeps ICE, DTLS and SCTP. What goes out as RTP goes past it, and so does what comes in (`ingress`):
//!
//! ```text
//!   Session::write -> Egress::send ---- header, seal ----> outbox
//!   viewer's RTCP  -> Egress::hear -+-> reports: the stream is known, round-trip time
//!                                   +-> NACK: Lane says which packet, the track's cache has it
//!                                   +-> transport-cc: Estimator
//! ```
//!
//! | file | what it owns |
//! | --- | --- |
//! | `wire` | RTP headers with extensions |
//! | `feedback` | what feedback leads to |
//! | `lane` | one stream: its history in a few words, its reports |
//! | `trend`, `busy`, `estimator` | what the path carries |
//! | `probe` | when to look for more, and the padding for it |
//! | `redundancy` | when sound is sent twice (RFC 2198) |
//! | `pacer` | pictures spread over time where a path is narrow |

mod busy;
pub(crate) mod estimator;
mod feedback;
pub(crate) mod lane;
pub(crate) mod pacer;
mod probe;
mod redundancy;
mod trend;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antipode_base::limits::REPORTS_MAX;
use antipode_base::media::{Bitrate, Kind};
use antipode_base::near;
use antipode_base::verdict::DropReason;
use antipode_relay::packet::{Packet, Shape};
use str0m::crypto::CryptoProvider;

use crate::forward::Rewrite;
use crate::io::{Datagram, PeerAddress, Transmit, Transport};
use crate::outbox::{Draft, Outbox};
use crate::session::codecs::PayloadTypes;
use crate::srtp::Seal;
use crate::srtp::keys::Keys;
use estimator::{Estimator, Watched};
pub(crate) use feedback::{Heard, Repeat};
use lane::Lane;
use probe::Prober;
use wire::Header;

/// Round-trip time before any is known.
const RTT_UNKNOWN: Duration = Duration::from_millis(100);
/// How long the queue of an overused path takes to empty.
const QUEUE_DRAIN: Duration = Duration::from_millis(500);
/// How long after the last picture sound counts as alone.
const SOUND_ALONE: Duration = Duration::from_secs(1);
/// Sound before any was measured, and the window in which it is.
const AUDIO_UNKNOWN: Bitrate = Bitrate(40_000);
const AUDIO_WINDOW: Duration = Duration::from_millis(400);

/// A packet of media that is to be sealed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving<'a> {
    /// The viewer's slot.
    pub(crate) slot: usize,
    /// Its payload types.
    pub(crate) types: PayloadTypes,
    /// Its numbers.
    pub(crate) rewrite: &'a Rewrite,
    /// As it came.
    pub(crate) packet: &'a Packet,
    /// Bytes of padding behind it; pictures only.
    pub(crate) padding: u8,
}

/// Where the viewer wants its media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Path {
    transport: Transport,
    local: SocketAddr,
    destination: SocketAddr,
}

impl Path {
    fn of(datagram: &Datagram<'_>) -> Self {
        let Datagram { transport, local, source, .. } = *datagram;
        Path { transport, local, destination: source }
    }

    fn transmit(self, bytes: Vec<u8>) -> Transmit {
        let Path { transport, local, destination } = self;
        Transmit { transport, local, destination, bytes }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Egress {
    seal: Option<Seal>,
    /// Our address and the viewer's, as its last authenticated nomination had them.
    path: Option<Path>,
    /// The path was of another generation of ICE.
    leaving: bool,
    /// The viewer takes all slots for one stream, and plays them in step.
    in_step: bool,
    /// By slot; `None` for a section that is not negotiated yet.
    lanes: Vec<Option<Lane>>,
    estimator: Estimator,
    prober: Prober,
    /// The viewer does not get all that it could use.
    narrow: bool,
    /// When the prober wants its next step.
    probe_at: Option<Instant>,
    /// When the last picture left.
    pictures_at: Option<Instant>,
    /// Bytes of sound since `audio_since`, and the rate before.
    audio_bytes: u64,
    audio_since: Option<Instant>,
    audio_rate: Bitrate,
    transport_seq: u64,
    rtt: Duration,
    lost: (u32, u32),
    reports_at: Option<Instant>,
    reports: Vec<(u32, Instant)>,
}

impl Default for Egress {
    fn default() -> Self {
        Egress {
            seal: None,
            path: None,
            leaving: false,
            in_step: false,
            lanes: Vec::new(),
            estimator: Estimator::default(),
            prober: Prober::default(),
            narrow: false,
            probe_at: None,
            pictures_at: None,
            audio_bytes: 0,
            audio_since: None,
            audio_rate: AUDIO_UNKNOWN,
            transport_seq: 0,
            rtt: RTT_UNKNOWN,
            lost: (0, 0),
            reports_at: None,
            reports: Vec::new(),
        }
    }
}

impl Egress {
    /// Nothing is negotiated yet. `in_step`: the viewer takes all that comes for one stream.
    pub(crate) fn new(in_step: bool) -> Self {
        Egress { in_step, ..Egress::default() }
    }

    /// DTLS is done.
    pub(crate) fn set_keys(&mut self, provider: &CryptoProvider, keys: &Keys) {
        self.seal = Seal::new(provider, keys);
    }

    /// Genuine STUN of the viewer came this way: it is where it wants its media if it says so
    /// (USE-CANDIDATE), or if it has just restarted ICE and said nothing yet. Returns whether that is new.
    pub(crate) fn offer_path(&mut self, datagram: &Datagram<'_>, nominated: bool) -> bool {
        let taken = nominated || self.leaving || self.path.is_none();
        if taken {
            self.leaving = false;
            return self.path.replace(Path::of(datagram)) != Some(Path::of(datagram));
        }
        false
    }

    /// Whether it came by the path in use.
    pub(crate) fn is_path_of(&self, datagram: &Datagram<'_>) -> bool {
        !self.leaving && self.path == Some(Path::of(datagram))
    }

    /// Where the viewer is.
    pub(crate) fn peer(&self) -> Option<PeerAddress> {
        self.path.map(|path| (path.transport, path.destination))
    }

    /// The viewer restarts ICE: its network changed, most likely.
    pub(crate) fn leave_path(&mut self) {
        self.leaving = true;
    }

    /// Puts what str0m sends on the viewer's path: it knows of a change of address later than we do.
    pub(crate) fn redirect(&self, transmit: &mut Transmit) {
        if let Some(path) = self.path.filter(|_| !is_stun(&transmit.bytes)) {
            let bytes = std::mem::take(&mut transmit.bytes);
            *transmit = path.transmit(bytes);
        }
    }

    /// The stream of a slot, if its section is negotiated.
    pub(crate) fn lane_mut(&mut self, slot: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(slot)?.as_mut()
    }

    /// Whether a slot has its stream.
    pub(crate) fn has_lane(&self, slot: usize) -> bool {
        self.lanes.get(slot).is_some_and(Option::is_some)
    }

    /// Gives a slot its stream.
    pub(crate) fn set_lane(&mut self, slot: usize, lane: Lane) {
        if self.lanes.len() <= slot {
            self.lanes.resize_with(slot + 1, || None);
        }
        self.lanes[slot] = Some(lane);
    }

    /// What the viewer's path carries; `None` when the viewer reports no arrivals, so that nobody knows.
    pub(crate) fn estimate(&self) -> Option<Bitrate> {
        let reports = self.lanes.iter().flatten().any(|lane| lane.ids.has_transport_cc());
        reports.then(|| self.estimator.estimate())
    }

    /// Packets that the viewer has not reported on.
    pub(crate) fn unreported(&self) -> usize {
        self.estimator.unreported()
    }

    /// Whether the path was overused a moment ago, so that its queue is full.
    pub(crate) fn backed_off(&self, now: Instant) -> bool {
        self.estimator.backed_off_within(QUEUE_DRAIN, now)
    }

    /// What the sound costs, measured over windows of some hundred milliseconds.
    pub(crate) fn audio_rate(&mut self, now: Instant) -> Bitrate {
        let since = *self.audio_since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= AUDIO_WINDOW {
            let bytes = std::mem::take(&mut self.audio_bytes);
            let rate = bytes as f64 * 8.0 / elapsed.as_secs_f64();
            self.audio_rate = Bitrate((self.audio_rate.0 as f64 * 0.5 + rate * 0.5) as u64);
            self.audio_since = Some(now);
        }
        self.audio_rate
    }

    /// What all that the viewer could use would come to; `None` when it has that.
    pub(crate) fn want(&mut self, rate: Option<Bitrate>, now: Instant) {
        // Sound that is sent twice would take from pictures what they do not have.
        self.narrow = rate.is_some();
        self.prober.want(rate, now);
        self.probe_at = self.prober.deadline(now);
    }

    /// Whether the viewer can be sent to in a slot: its keys and its path are known, and so is the stream.
    pub(crate) fn takes(&self, slot: usize) -> Result<(), DropReason> {
        match (&self.seal, &self.path) {
            (Some(_), Some(_)) if self.has_lane(slot) => Ok(()),
            (Some(_), Some(_)) => Err(DropReason::SessionGone),
            _ => Err(DropReason::NotConnected),
        }
    }

    /// Brings near what [`Egress::send`] needs: half of it, and each line that is asked for keeps others
    /// waiting.
    pub(crate) fn fetch(&self) {
        near::fetch(&self.seal);
        near::fetch(&self.path);
        near::fetch(&self.lanes);
        near::fetch(&self.prober);
        near::fetch(&self.transport_seq);
        near::fetch(&self.pictures_at);
        near::fetch(&self.reports_at);
        self.estimator.fetch();
    }

    /// Brings near what lies behind the pointers of an egress that is near.
    pub(crate) fn fetch_behind(&self, slot: usize) {
        if let Some(lane) = self.lanes.get(slot) {
            near::fetch(lane);
        }
        if let Some(seal) = &self.seal {
            seal.fetch_behind();
        }
        self.estimator.fetch_behind();
    }

    /// And what lies behind that.
    pub(crate) fn fetch_lane(&self, slot: usize) {
        if let Some(lane) = self.lanes.get(slot).and_then(Option::as_ref) {
            lane.fetch_behind();
        }
    }

    /// Brings near what lies behind the pointers of an egress whose viewer reports.
    pub(crate) fn fetch_reported(&self) {
        near::fetch(&self.lanes[..]);
        if let Some(seal) = &self.seal {
            seal.fetch_opener();
        }
        self.estimator.fetch_reported();
    }

    /// Seals one packet. When it finds the outbox full it is noted as sent all the same, so that the viewer
    /// can have it again.
    pub(crate) fn send(
        &mut self,
        leaving: &Leaving<'_>,
        outbox: &mut Outbox,
        now: Instant,
    ) -> Result<(), DropReason> {
        let Leaving { slot, types, rewrite, packet, padding } = *leaving;
        let kind = packet.codec.kind();
        let measured = self.note_kind(kind, now);
        let (Some(seal), Some(path)) = (&mut self.seal, self.path) else {
            return Err(DropReason::NotConnected);
        };
        let lane = self.lanes.get_mut(slot).and_then(Option::as_mut);
        let lane = lane.ok_or(DropReason::SessionGone)?;
        lane.repair_type = types.repair;
        lane.note_targets(packet);
        let numbered = measured && lane.ids.has_transport_cc();
        self.transport_seq += u64::from(numbered);
        let buffer = outbox.buffer();
        let Draft { header: written, payload: changed, described } = &mut outbox.draft;
        let wide = !self.narrow;
        let wrap = |_: &u8| lane.redundancy.wrap(types.media, rewrite, packet, wide, changed);
        let red = types.red.filter(wrap);
        let header = Header {
            payload_type: red.unwrap_or(types.media),
            marker: rewrite.marker,
            seq: rewrite.ext_seq as u16,
            timestamp: rewrite.timestamp,
            ssrc: lane.ssrc,
            mid: lane.mid(),
            transport_seq: numbered.then_some(self.transport_seq as u16),
            extensions: packet.extensions,
            descriptor: lane.describe(rewrite, packet, described),
            padded: padding > 0,
        };
        header.write(&lane.ids, written);
        let said = match packet.shape {
            Shape::Pictures(own) => own.says(rewrite.picture_id, rewrite.tl0_pic_idx),
            Shape::Plain | Shape::Block { .. } => true,
        };
        let payload = match packet.shape {
            Shape::Block { .. } if red.is_some() => &changed[..],
            _ if said && padding == 0 => &packet.payload[..],
            shape => {
                changed.clear();
                changed.extend_from_slice(&packet.payload);
                if let Shape::Pictures(own) = shape {
                    own.patch(changed, rewrite.picture_id, rewrite.tl0_pic_idx);
                }
                pad(changed, padding)
            }
        };
        let bytes = seal.rtp(buffer, written, payload, lane.ssrc, rewrite.ext_seq);
        if kind == Kind::Audio {
            self.audio_bytes += bytes.len() as u64;
        }
        lane.sent(rewrite, packet, payload.len() - usize::from(padding), now);
        self.reports_at.get_or_insert(now + lane::REPORT_INTERVAL);
        if numbered {
            let watched = watched(slot, rewrite.ext_seq as u16, packet);
            self.note_sent(bytes.len(), watched, now);
        }
        outbox.push(path.transmit(bytes))
    }

    /// Takes note that such a packet goes out; returns whether it matters when it arrives. Of sound alone
    /// nothing is held back, whatever the path carries, and the reports cost a tenth of what is heard.
    fn note_kind(&mut self, kind: Kind, now: Instant) -> bool {
        if kind == Kind::Video {
            self.pictures_at = Some(now);
        }
        let recent = |at| now.saturating_duration_since(at) < SOUND_ALONE;
        self.narrow || self.pictures_at.is_some_and(recent)
    }

    /// Seals one packet again, on the stream of repeats (RFC 4588 §4).
    pub(crate) fn repeat(
        &mut self,
        repeat: &Repeat,
        packet: &Packet,
        outbox: &mut Outbox,
        now: Instant,
    ) -> Result<(), DropReason> {
        let (Some(seal), Some(path)) = (&mut self.seal, self.path) else {
            return Err(DropReason::NotConnected);
        };
        let lane = self.lanes.get_mut(repeat.slot).and_then(Option::as_mut);
        let repair = lane.as_ref().and_then(|lane| lane.repair_ssrc.zip(lane.repair_type));
        let (Some(lane), Some((ssrc, payload_type))) = (lane, repair) else { return Ok(()) };
        let rewrite = repeat.origin.rewrite(packet);
        let ext_seq = lane.next_repair_seq();
        self.transport_seq += 1;
        let buffer = outbox.buffer();
        let Draft { header: written, payload, described } = &mut outbox.draft;
        let header = Header {
            payload_type,
            marker: rewrite.marker,
            seq: ext_seq as u16,
            timestamp: rewrite.timestamp,
            ssrc,
            mid: lane.mid(),
            transport_seq: Some(self.transport_seq as u16),
            extensions: packet.extensions,
            descriptor: lane.describe(&rewrite, packet, described),
            padded: false,
        };
        header.write(&lane.ids, written);
        payload.clear();
        payload.extend_from_slice(&repeat.seq.to_be_bytes());
        payload.extend_from_slice(&packet.payload);
        if let Shape::Pictures(pictures) = packet.shape {
            pictures.patch(&mut payload[2..], rewrite.picture_id, rewrite.tl0_pic_idx);
        }
        let bytes = seal.rtp(buffer, written, payload, ssrc, ext_seq);
        if lane.ids.has_transport_cc() {
            self.note_sent(bytes.len(), watched(repeat.slot, repeat.seq, packet), now);
        }
        outbox.push(path.transmit(bytes))
    }

    /// A packet goes out whose arrival the viewer will report.
    fn note_sent(&mut self, bytes: usize, watched: Option<Watched>, now: Instant) {
        self.estimator.sent(self.transport_seq, bytes, watched, now);
        self.prober.sent(bytes);
    }

    /// When [`Egress::reports`] wants to be called: only while something is sent.
    pub(crate) fn reports_at(&self) -> Option<Instant> {
        self.reports_at
    }

    /// Clocks of several members differ, by seconds maybe: a viewer that was told them would hold sound or
    /// picture back for as long.
    fn is_of_several(&self, now: Instant) -> bool {
        let mut members = self.lanes.iter().flatten().filter_map(|lane| lane.member(now));
        let first = members.next();
        members.any(|member| Some(member) != first)
    }

    /// Sealed sender reports that are due.
    pub(crate) fn reports(&mut self, now: Instant, mut send: impl FnMut(Transmit)) {
        if self.reports_at.is_none_or(|at| now < at) {
            return;
        }
        self.reports_at = None;
        if self.in_step && self.is_of_several(now) {
            return;
        }
        let (Some(seal), Some(path)) = (&mut self.seal, self.path) else { return };
        let mut written = Vec::new();
        for lane in self.lanes.iter_mut().flatten() {
            let Some(report) = lane.report(now) else { continue };
            if self.reports.len() == REPORTS_MAX {
                self.reports.remove(0);
            }
            self.reports.push(((report.ntp >> 16) as u32, now));
            report.write(&mut written);
            send(path.transmit(seal.rtcp(&written)));
        }
    }
}

/// Of pictures in spatial layers the viewer may not ask often enough (`feedback::Egress::mend`). VP9 says
/// of a stream only that it may have several.
fn watched(slot: usize, seq: u16, packet: &Packet) -> Option<Watched> {
    packet.mark.svc.then_some(Watched { slot: slot as u16, seq })
}

/// Padding says at its end how long it is (RFC 3550 §5.1).
fn pad(payload: &mut Vec<u8>, padding: u8) -> &[u8] {
    payload.resize(payload.len() + usize::from(padding), 0);
    if let (Some(last), true) = (payload.last_mut(), padding > 0) {
        *last = padding;
    }
    payload
}

/// RFC 7983 §7. STUN belongs to the address that it is about.
fn is_stun(bytes: &[u8]) -> bool {
    matches!(bytes, [0..=3, ..])
}
