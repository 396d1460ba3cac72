//! One client: a whole WebRTC peer, as a browser is one, in RTP mode.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antipode_base::command::Role;
use antipode_base::ids::SessionId;
use antipode_base::media::Kind;
use str0m::channel::ChannelId;
use str0m::format::Codec;
use str0m::media::{Mid, Pt, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc, RtcError};

use crate::net::Datagram;
use crate::path::Micros;
use crate::payload::{self, Tag, Vp8};
use crate::source::{Source, Written};
use crate::talks::Talks;

/// No deadline is nearer than this: a peer is woken at most once a millisecond by its own clock.
const STEP: Micros = 1_000;
/// How often a transport may want to go on at once.
const ROUNDS_MAX: u32 = 16;
/// Labels of the two data channels.
pub const CHANNELS: [&str; 2] = ["_reliable", "_lossy"];

/// Who a peer is and where it stands.
#[derive(Clone, Debug)]
pub struct Identity {
    /// For traces.
    pub name: String,
    /// The owner, by its place among the world's members.
    pub member: usize,
    /// The session that it speaks to.
    pub session: SessionId,
    /// Which ways media flows.
    pub role: Role,
    /// Its only address.
    pub address: SocketAddr,
    /// Lanes of the net: to the node, from the node.
    pub lanes: [usize; 2],
}

/// A media packet as a client got it.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Its section.
    pub mid: Mid,
    /// Its stream.
    pub ssrc: u32,
    /// Extended by the receiver.
    pub ext_seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// What it says of itself.
    pub tag: Tag,
    /// VP8's numbers.
    pub vp8: Option<Vp8>,
    /// Microphone's loudness.
    pub audio_level: Option<i8>,
}

/// A message as a client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When.
    pub at: Micros,
    /// On which channel.
    pub reliable: bool,
    /// What.
    pub bytes: Vec<u8>,
}

/// A keyframe request as a client got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: Micros,
    /// Of which section.
    pub mid: Mid,
    /// Of which layer.
    pub rid: Option<Rid>,
}

/// What came to a client since the world last looked.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Media.
    pub arrived: Vec<Arrived>,
    /// Keyframe requests.
    pub asked: Vec<Asked>,
    /// Messages.
    pub deliveries: Vec<Delivery>,
}

/// See the module's documentation.
pub struct Peer {
    /// Who it is.
    pub id: Identity,
    /// What it publishes.
    pub sources: Vec<Source>,
    /// Its offers and answers.
    pub talks: Talks,
    /// When its transport wants to be called.
    pub deadline: Micros,
    /// It is switched off: takes nothing, says nothing.
    pub vanished: bool,
    /// ICE and DTLS are done.
    pub connected: bool,
    /// The other side closed, or a defect ended it.
    pub closed: bool,
    /// What came since it was last taken.
    pub news: News,
    /// Packets that came and were not ours, ever.
    pub foreign: u64,
    /// Messages that came and were taken, ever.
    pub deliveries: Vec<Delivery>,
    /// Keyframe requests that came and were taken, ever.
    pub asked: Vec<Asked>,
    /// What its transport refused, ever.
    pub refusals: Vec<String>,
    /// Datagrams to send.
    pub outbox: Vec<Datagram>,
    pub(crate) rtc: Rtc,
    channels: [Option<ChannelId>; 2],
    begin: bool,
    start: Instant,
}

impl Peer {
    /// A client that has said nothing yet.
    ///
    /// # Panics
    /// When its address is none that ICE takes.
    pub fn new(id: Identity, start: Instant, now: Micros) -> Self {
        // Credentials of one length: str0m's own would do, but a trace must not hang on that.
        let credentials = IceCreds::new();
        let mut rtc = Rtc::builder()
            .set_local_ice_credentials(credentials)
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .build(start + Duration::from_micros(now));
        let candidate = Candidate::host(id.address, "udp").expect("the world's addresses are good");
        rtc.add_local_candidate(candidate);
        Peer {
            id,
            sources: Vec::new(),
            talks: Talks::default(),
            deadline: now,
            vanished: false,
            connected: false,
            closed: false,
            news: News::default(),
            foreign: 0,
            deliveries: Vec::new(),
            asked: Vec::new(),
            refusals: Vec::new(),
            outbox: Vec::new(),
            rtc,
            channels: [None; 2],
            begin: false,
            start,
        }
    }

    /// Hands out what is new, and remembers requests and messages.
    pub fn take_news(&mut self) -> News {
        let news = std::mem::take(&mut self.news);
        self.asked.extend_from_slice(&news.asked);
        self.deliveries.extend_from_slice(&news.deliveries);
        news
    }

    /// When to call [`Peer::tick`].
    pub fn next(&self) -> Option<Micros> {
        if self.vanished || self.closed {
            return None;
        }
        let frames = self.sources.iter().filter_map(Source::next).min();
        Some(frames.map_or(self.deadline, |frame| frame.min(self.deadline)))
    }

    /// Takes in a datagram.
    pub fn receive(&mut self, now: Micros, datagram: &Datagram) {
        if self.vanished || self.closed {
            return;
        }
        let parsed =
            Receive::new(Protocol::Udp, datagram.source, datagram.destination, &datagram.bytes);
        let Ok(receive) = parsed else { return };
        let input = Input::Receive(self.start + Duration::from_micros(now), receive);
        if let Err(error) = self.rtc.handle_input(input) {
            self.refusals.push(error.to_string());
        }
        self.drain(now);
    }

    /// Lets time pass: media that is due, then the transport.
    pub fn tick(&mut self, now: Micros) {
        for at in 0..self.sources.len() {
            let source = &mut self.sources[at];
            if self.connected && source.negotiated {
                source.begin(now);
            }
            let (kind, mid) = (source.media.kind, source.mid);
            let written = source.write(now);
            if let Some(mid) = mid.filter(|_| self.connected) {
                written.into_iter().for_each(|written| self.write(kind, mid, now, written));
            }
        }
        let at = self.start + Duration::from_micros(now);
        if let Err(error) = self.rtc.handle_input(Input::Timeout(at)) {
            self.fail(&error);
        }
        self.drain(now);
    }

    fn write(&mut self, kind: Kind, mid: Mid, now: Micros, written: Written) {
        let Some(pt) = self.payload_type(kind) else { return };
        let wallclock = self.start + Duration::from_micros(now);
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, written.rid) else { return };
        let extensions = ExtensionValues {
            audio_level: written.audio_level,
            voice_activity: written.audio_level.map(|level| level > -50),
            ..ExtensionValues::default()
        };
        let (seq, time) = (written.ext_seq.into(), written.timestamp);
        let write = RtpWrite::new(pt, seq, time, wallclock, written.payload)
            .marker(written.marker)
            .nackable(kind == Kind::Video)
            .ext_vals(extensions);
        stream.write_rtp(write);
    }

    fn payload_type(&self, kind: Kind) -> Option<Pt> {
        let codec = if kind == Kind::Audio { Codec::Opus } else { Codec::Vp8 };
        let params = self.rtc.codec_config().params();
        params.iter().find(|params| params.spec().codec == codec).map(|params| params.pt())
    }

    /// Polls to the timeout. The only place that does.
    pub(crate) fn drain(&mut self, now: Micros) {
        let at = self.start + Duration::from_micros(now);
        let mut rounds = 0;
        while !self.closed {
            match self.rtc.poll_output() {
                // Which of several streams stops a round is up to a map; with more rounds it does
                // not matter.
                Ok(Output::Timeout(deadline)) if deadline <= at && rounds < ROUNDS_MAX => {
                    rounds += 1;
                    if let Err(error) = self.rtc.handle_input(Input::Timeout(at)) {
                        self.fail(&error);
                    }
                }
                Ok(Output::Timeout(deadline)) => {
                    let wait = deadline.saturating_duration_since(self.start).as_nanos();
                    let due = u64::try_from(wait.div_ceil(1_000)).unwrap_or(u64::MAX);
                    let due = if std::mem::take(&mut self.begin) { now } else { due };
                    self.deadline = due.max(now + STEP);
                    break;
                }
                Ok(Output::Transmit(transmit)) => self.outbox.push(Datagram {
                    source: transmit.source,
                    destination: transmit.destination,
                    bytes: transmit.contents.into(),
                }),
                Ok(Output::Event(event)) => self.event(now, event),
                Err(error) => self.fail(&error),
            }
        }
        if !self.rtc.is_alive() {
            self.closed = true;
        }
    }

    fn fail(&mut self, error: &RtcError) {
        self.refusals.push(error.to_string());
        self.closed = true;
    }

    fn event(&mut self, now: Micros, event: Event) {
        match event {
            Event::Connected => {
                self.connected = true;
                // Media begins with the next tick.
                self.begin = true;
            }
            Event::Closed => self.closed = true,
            Event::RtpPacket(packet) => self.packet(&packet),
            Event::KeyframeRequest(request) => {
                let (mid, rid) = (request.mid, request.rid);
                self.news.asked.push(Asked { at: now, mid, rid });
                let of = |source: &&mut Source| source.mid == Some(mid);
                self.sources.iter_mut().filter(of).for_each(|source| source.want_keyframe(rid));
            }
            Event::ChannelOpen(id, label) => {
                if let Some(at) = CHANNELS.iter().position(|known| *known == label) {
                    self.channels[at] = Some(id);
                }
            }
            Event::ChannelData(data) => {
                let Some(at) = self.channels.iter().position(|id| *id == Some(data.id)) else {
                    return;
                };
                let (reliable, bytes) = (at == 0, data.data);
                self.news.deliveries.push(Delivery { at: now, reliable, bytes });
            }
            _ => {}
        }
    }

    fn packet(&mut self, packet: &RtpPacket) {
        let ssrc = packet.header.ssrc;
        let mid = self.rtc.direct_api().stream_rx(&ssrc).map(|stream| stream.mid());
        match (mid, payload::read(&packet.payload)) {
            (Some(mid), Some((tag, vp8))) => self.news.arrived.push(Arrived {
                mid,
                ssrc: *ssrc,
                ext_seq: *packet.seq_no,
                timestamp: packet.header.timestamp,
                tag,
                vp8,
                audio_level: packet.header.ext_vals.audio_level,
            }),
            _ => self.foreign += 1,
        }
    }

    /// Whether both data channels are open.
    pub fn has_channels(&self) -> bool {
        self.channels.iter().all(Option::is_some)
    }

    /// Sends a message. `false` when the channel is not open or full.
    pub fn send(&mut self, now: Micros, reliable: bool, bytes: &[u8]) -> bool {
        let Some(id) = self.channels[usize::from(!reliable)] else { return false };
        let Some(mut channel) = self.rtc.channel(id) else { return false };
        let taken = channel.write(true, bytes).unwrap_or(false);
        self.tick(now);
        taken
    }

    /// Says goodbye.
    pub fn close(&mut self, now: Micros) {
        match self.rtc.close() {
            Ok(()) => self.drain(now),
            // While SCTP comes up str0m cannot say goodbye: the client is just gone.
            Err(error) => self.fail(&error),
        }
    }

    /// Our ICE ufrag and the node's, as the last descriptions had them.
    pub fn ufrags(&mut self) -> (String, Option<String>) {
        (self.rtc.direct_api().local_ice_credentials().ufrag, self.talks.node_ufrag.clone())
    }

    /// Asks for a keyframe of a track that it receives (a decoder lost the thread).
    pub fn lose_picture(&mut self, now: Micros, ssrc: u32) -> bool {
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_rx(&ssrc.into()) else { return false };
        stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
        self.tick(now);
        true
    }
}
