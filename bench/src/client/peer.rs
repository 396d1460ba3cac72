//! One peer connection of a client: str0m with sources, an [`Ear`] and sinks. It reads no clock and no
//! socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antipode_core::srtp::keys;
use antipode_runtime::udp::Datagram;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec as Format;
use str0m::media::{Direction, MediaKind, Mid, Pt, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::client::ear::Ear;
use crate::clock::Now;
use crate::media::codec::Codec;
use crate::media::source::{Shape, Source, Written};
use crate::sink::stream::{Arrival, Streams, Tallies, is_media};

/// The rids of a simulcast, smallest first, as browsers' SDKs name them.
pub const RIDS: [&str; 3] = ["q", "h", "f"];
/// Its transport is called at most once a millisecond by its own clock.
const STEP: Duration = Duration::from_millis(1);
/// How often a transport may want to go on at once.
const ROUNDS_MAX: u32 = 16;
/// From one check of a settled path to the next, as libwebrtc has it
/// (`stable_writable_connection_ping_interval`).
const CHECK_EVERY: Duration = Duration::from_millis(2_500);
/// The type of a check (RFC 8489 §5).
const BINDING_REQUEST: [u8; 2] = [0, 1];
/// Repeats are sought among so many packets of a layer.
const SEND_BUFFER: usize = 1_024;

/// The data channel that every client opens.
const CHANNEL: &str = "_reliable";

/// What a peer is to publish.
pub struct Publish {
    /// The client's name of the track; its section's msid says it.
    pub track: String,
    /// What it sends.
    pub source: Source,
}

/// What an offer is to add.
#[derive(Default)]
pub struct Wanted {
    /// The data channel that clients open, with its section.
    pub channel: bool,
    /// A section for each.
    pub publish: Vec<Publish>,
    /// Sections to receive sound and pictures on.
    pub receive: [usize; 2],
    /// Name a simulcast's highest layer first: some servers take the order for the ranks.
    pub high_first: bool,
}

struct Published {
    mid: Mid,
    negotiated: bool,
    source: Source,
}

/// How far a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// ICE and DTLS are under way.
    Connecting,
    /// Both are done.
    Connected,
    /// The other side closed, or it failed.
    Closed,
}

/// See the module's documentation.
pub struct Peer {
    rtc: Rtc,
    local: SocketAddr,
    host: u32,
    stage: Stage,
    published: Vec<Published>,
    pending: Option<SdpPendingOffer>,
    /// A section that receives.
    receiving: Option<Mid>,
    /// Any section of media.
    section: Option<Mid>,
    /// Since keys are agreed on.
    ear: Option<Ear>,
    /// Where the last packet came from.
    remote: Option<SocketAddr>,
    /// Where its transport sends all but STUN, since the last description.
    chosen: Option<SocketAddr>,
    written: Vec<Written>,
    /// When the transport wants to go on.
    deadline: Instant,
    born: Instant,
    /// What it received.
    pub streams: Streams,
    /// Keyframes that it was asked for.
    pub keyframe_requests: u64,
}

impl Peer {
    /// A peer at one local address. `host`: [`crate::clock::host_tag`].
    ///
    /// # Errors
    /// The address is none that ICE takes.
    pub fn new(local: SocketAddr, host: u32, now: Instant) -> Result<Self, String> {
        let mut config = Rtc::builder()
            .set_crypto_provider(Arc::new(keys::provider()))
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .enable_h264(true)
            .set_send_buffer_video(SEND_BUFFER);
        config.set_max_stun_rto(CHECK_EVERY);
        let mut rtc = config.build(now);
        let candidate = Candidate::host(local, "udp").map_err(|error| error.to_string())?;
        rtc.add_local_candidate(candidate);
        Ok(Peer {
            rtc,
            local,
            host,
            stage: Stage::Connecting,
            published: Vec::new(),
            pending: None,
            receiving: None,
            section: None,
            ear: None,
            remote: None,
            chosen: None,
            written: Vec::new(),
            deadline: now,
            born: now,
            streams: Streams::default(),
            keyframe_requests: 0,
        })
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Packets that its sources sent.
    pub fn sent(&self) -> u64 {
        self.published.iter().map(|published| published.source.sent()).sum()
    }

    /// Answers the other side's offer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn answer(&mut self, offer: &str) -> Result<String, String> {
        let offer = SdpOffer::from_sdp_string(offer).map_err(|error| error.to_string())?;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(|error| error.to_string())?;
        self.learn();
        Ok(answer.to_sdp_string())
    }

    /// Makes an offer: sections for what is to be published, and so many to receive on. When that is
    /// nothing, the same sections are offered again.
    ///
    /// # Errors
    /// An earlier offer waits for its answer.
    pub fn offer(&mut self, wanted: Wanted) -> Result<String, String> {
        if self.pending.is_some() {
            return Err("an offer waits for its answer".into());
        }
        let mut api = self.rtc.sdp_api();
        if wanted.channel {
            api.add_channel(CHANNEL.to_owned());
        }
        for Publish { track, source } in wanted.publish {
            let kind = match source.shape() {
                Shape::Camera { .. } => MediaKind::Video,
                Shape::Microphone => MediaKind::Audio,
            };
            let layers = source.shape().layers();
            let rids = &RIDS[..layers.min(RIDS.len())];
            let simulcast = (layers > 1).then(|| {
                let mut send: Vec<_> = rids.iter().map(|rid| SimulcastLayer::new(rid)).collect();
                if wanted.high_first {
                    send.reverse();
                }
                Simulcast { send, recv: Vec::new() }
            });
            let stream = Some("bench".to_owned());
            let mid = api.add_media(kind, Direction::SendOnly, stream, Some(track), simulcast);
            self.section.get_or_insert(mid);
            self.published.push(Published { mid, negotiated: false, source });
        }
        for (kind, count) in [MediaKind::Audio, MediaKind::Video].into_iter().zip(wanted.receive) {
            for _ in 0..count {
                let mid = api.add_media(kind, Direction::RecvOnly, None, None, None);
                self.receiving.get_or_insert(mid);
                self.section.get_or_insert(mid);
            }
        }
        if let Some(mid) = self.receiving.filter(|_| !api.has_changes()) {
            // str0m offers changes only: a direction that goes and comes back is one.
            api.set_direction(mid, Direction::SendRecv);
            api.set_direction(mid, Direction::RecvOnly);
        }
        let (offer, pending) = api.apply().ok_or("nothing to offer")?;
        self.pending = Some(pending);
        Ok(offer.to_sdp_string())
    }

    /// Takes the answer to its offer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn accept(&mut self, answer: &str) -> Result<(), String> {
        let pending = self.pending.take().ok_or("an answer to no offer")?;
        let answer = SdpAnswer::from_sdp_string(answer).map_err(|error| error.to_string())?;
        let accepted = self.rtc.sdp_api().accept_answer(pending, answer);
        accepted.map_err(|error| error.to_string())?;
        self.published.iter_mut().for_each(|published| published.negotiated = true);
        self.learn();
        Ok(())
    }

    /// What a description says is for the ear too, and the transport goes on with it.
    fn learn(&mut self) {
        self.deadline = self.born;
        self.chosen = None;
        if let Some(ear) = &mut self.ear {
            ear.learn(&self.rtc, self.section);
        }
    }

    /// Takes a candidate of the other side, as an SDP attribute. Those of TCP and of names are not
    /// used.
    pub fn candidate(&mut self, candidate: &str) {
        if let Ok(candidate) = Candidate::from_sdp_string(candidate)
            && candidate.proto() == Protocol::Udp
            && candidate.addr().is_ipv4() == self.local.is_ipv4()
        {
            self.rtc.add_remote_candidate(candidate);
            self.deadline = self.born;
        }
    }

    /// Says goodbye, as far as the transport can.
    pub fn close(&mut self) {
        // Whether it can or not, it is over.
        let _ = self.rtc.close();
        self.deadline = self.born;
    }

    /// When to call [`Peer::tick`], in nanoseconds and as the transport's instant.
    pub fn deadline(&self) -> (Option<u64>, Instant) {
        let sources = self.published.iter().filter_map(|published| published.source.next()).min();
        let ear = self.ear.as_ref().and_then(Ear::due);
        let transport = ear.map_or(self.deadline, |ear| ear.min(self.deadline));
        (sources.filter(|_| self.stage == Stage::Connected), transport)
    }

    fn begin(&mut self, now: Now) {
        if self.rtc.handle_input(Input::Timeout(now.instant)).is_err() {
            self.stage = Stage::Closed;
        }
    }

    /// Takes in a datagram that came `at` that time. [`Peer::report`] follows the last of those that were
    /// read together.
    pub fn receive(
        &mut self,
        at: Now,
        datagram: Datagram<'_>,
        tallies: &mut Tallies,
        send: &mut impl FnMut(SocketAddr, &[u8]),
    ) {
        let (source, bytes) = (datagram.source, datagram.bytes);
        if is_media(bytes) {
            self.remote = Some(source);
            self.hear(at, bytes, tallies);
            return;
        }
        if let Some(ear) = &mut self.ear {
            ear.overhear(at.instant, bytes);
        }
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, bytes) else { return };
        self.begin(at);
        if self.rtc.handle_input(Input::Receive(at.instant, receive)).is_err() {
            self.stage = Stage::Closed;
        }
        self.drain(at, send);
    }

    /// Media goes past str0m, whose clock and queues it would only turn.
    fn hear(&mut self, at: Now, datagram: &[u8], tallies: &mut Tallies) {
        self.streams.see(datagram);
        let Some(ear) = &mut self.ear else { return };
        if let Some(heard) = ear.hear(at.instant, datagram, &mut self.rtc) {
            let arrival = Arrival {
                ssrc: heard.ssrc,
                ext_seq: heard.ext_seq,
                codec: heard.codec,
                payload: heard.payload,
                now_ns: at.ns,
                host: self.host,
            };
            self.streams.take(&arrival, tallies);
        }
    }

    /// Says what there is to say about what was heard.
    pub fn report(&mut self, now: Now, send: &mut impl FnMut(SocketAddr, &[u8])) {
        let Some((ear, remote)) = self.ear.as_mut().zip(self.remote) else { return };
        ear.report(now.instant, |bytes| send(remote, bytes));
    }

    /// Lets time pass: media that is due, then the transport.
    pub fn tick(&mut self, now: Now, send: &mut impl FnMut(SocketAddr, &[u8])) {
        if self.stage == Stage::Connected {
            let mut written = std::mem::take(&mut self.written);
            for at in 0..self.published.len() {
                let published = &mut self.published[at];
                if !published.negotiated {
                    continue;
                }
                published.source.begin(now.ns);
                published.source.write(now.ns, &mut written);
                for written in written.drain(..) {
                    self.write(at, now, written);
                    // str0m hands out one packet a poll; its queue is not to grow with a keyframe.
                    self.drain(now, send);
                }
            }
            self.written = written;
        }
        if self.deadline <= now.instant {
            self.begin(now);
            self.drain(now, send);
        }
        self.report(now, send);
    }

    fn write(&mut self, at: usize, now: Now, written: Written) {
        let published = &self.published[at];
        let (shape, mid) = (published.source.shape(), published.mid);
        let (format, layers) = (format_of(shape.codec()), shape.layers());
        let Some(pt) = self.payload_type(format) else { return };
        let rid = (layers > 1).then(|| Rid::from(RIDS[usize::from(written.layer)]));
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, rid) else { return };
        let extensions = ExtensionValues {
            audio_level: written.level,
            voice_activity: written.level.map(|level| level > -50),
            ..ExtensionValues::default()
        };
        let nackable = written.level.is_none();
        let (seq, time) = (written.ext_seq.into(), written.timestamp);
        stream.write_rtp(
            RtpWrite::new(pt, seq, time, now.instant, written.payload)
                .marker(written.marker)
                .nackable(nackable)
                .ext_vals(extensions),
        );
    }

    fn payload_type(&self, format: Format) -> Option<Pt> {
        let params = self.rtc.codec_config().params();
        params.iter().find(|params| params.spec().codec == format).map(|params| params.pt())
    }

    /// Polls to the timeout. The only place that does.
    fn drain(&mut self, now: Now, send: &mut impl FnMut(SocketAddr, &[u8])) {
        let mut rounds = 0;
        while self.stage != Stage::Closed {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(due)) if due <= now.instant && rounds < ROUNDS_MAX => {
                    rounds += 1;
                    if self.rtc.handle_input(Input::Timeout(now.instant)).is_err() {
                        self.stage = Stage::Closed;
                    }
                }
                Ok(Output::Timeout(due)) => {
                    self.deadline = due.max(now.instant + STEP);
                    break;
                }
                Ok(Output::Transmit(transmit)) => {
                    if self.keeps(transmit.destination, &transmit.contents) {
                        send(transmit.destination, &transmit.contents);
                    }
                }
                Ok(Output::Event(event)) => self.event(event),
                Err(_) => self.stage = Stage::Closed,
            }
        }
        if let Some(keys) = keys::take() {
            self.ear = Ear::new(&self.rtc, self.section, &keys);
        }
        if !self.rtc.is_alive() {
            self.stage = Stage::Closed;
        }
    }

    /// Once a path is chosen the others are not checked any more: SDKs prune what leaves by the same
    /// network, and str0m would check each for ever.
    fn keeps(&mut self, destination: SocketAddr, bytes: &[u8]) -> bool {
        // RFC 7983 §7: STUN begins with 0 to 3, and answers go wherever the other side asks from.
        if self.stage == Stage::Connected && bytes.first().is_some_and(|first| *first > 3) {
            self.chosen = Some(destination);
        }
        let check = bytes.starts_with(&BINDING_REQUEST);
        !check || self.chosen.is_none_or(|chosen| chosen == destination)
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected => self.stage = Stage::Connected,
            Event::Closed => self.stage = Stage::Closed,
            Event::MediaAdded(added) => drop(self.section.get_or_insert(added.mid)),
            Event::KeyframeRequest(request) => {
                self.keyframe_requests += 1;
                let layer =
                    request.rid.and_then(|rid| RIDS.iter().position(|own| rid == Rid::from(*own)));
                let of = |published: &&mut Published| published.mid == request.mid;
                self.published.iter_mut().filter(of).for_each(|published| {
                    published.source.want_keyframe(layer);
                });
            }
            _ => {}
        }
    }
}

/// As str0m calls it.
pub(super) fn format_of(codec: Codec) -> Format {
    match codec {
        Codec::Vp8 => Format::Vp8,
        Codec::H264 => Format::H264,
        Codec::Opus => Format::Opus,
    }
}
