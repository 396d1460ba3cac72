//! How a client hears: it opens the media of a peer connection itself, past str0m, and reports on it as
//! browsers do.
//!
//! A client that str0m hears for costs as much as the server that sends to it, and then it is the harness
//! that is measured. str0m keeps ICE, DTLS, SCTP and all that a client sends as media.
//!
//! ```text
//!   RTP  -> Ear::hear ---- opened, numbered, a repeat undone ----> Streams::take
//!                +-> Arrivals, Missing, Report ---- Ear::report ----> RTCP of an SSRC of its own
//!   RTCP -> Ear::overhear: sender reports, for the answers that tell a server its round-trip time
//! ```

use std::time::{Duration, Instant};

use antipode_core::ingress::{
    AGAIN, Arrivals, BLOCKS_MAX, Header, SenderTime, Stream, write_report,
};
use antipode_core::srtp::{Opener, Seal, keys};
use str0m::Rtc;
use str0m::media::Mid;
use str0m::rtp::{Extension, Ssrc};

use crate::client::peer::format_of;
use crate::media::codec::Codec;
use crate::sink::stream::STREAMS_MAX;

/// From one report on streams to the next (RFC 3550 §6.2 with the bandwidth of a call; browsers send them
/// of pictures as often).
const REPORTS: Duration = Duration::from_secs(1);
/// Who sends them.
const CNAME: &[u8] = b"bench";

/// What a payload type stands for.
#[derive(Clone, Copy)]
enum Type {
    Media { codec: Codec, repeated: bool },
    Repeat,
}

impl Type {
    fn clock_hz(self) -> u32 {
        match self {
            // RFC 7587 §4.1; pictures: RFC 7741 §4.1, RFC 6184 §8.2.1.
            Type::Media { codec: Codec::Opus, .. } => 48_000,
            Type::Media { .. } | Type::Repeat => 90_000,
        }
    }
}

/// A stream, and what it is to others.
struct Known {
    stream: Stream,
    kind: Type,
    /// It carries repeats of this one.
    mends: Option<u32>,
}

/// A packet of media.
pub struct Heard<'a> {
    /// Its stream; of a repeat the one that it mends.
    pub ssrc: u32,
    /// Its number, extended.
    pub ext_seq: u64,
    /// Of its payload type.
    pub codec: Codec,
    /// What it carries, without padding.
    pub payload: &'a [u8],
}

/// See the module's documentation.
pub struct Ear {
    opener: Opener,
    seal: Seal,
    /// Its own, as the sender of reports.
    ssrc: u32,
    types: [Option<Type>; 128],
    /// Id of the extension with the transport-wide number; 0 without one.
    transport_cc: u8,
    arrivals: Arrivals,
    streams: Vec<Known>,
    report_at: Option<Instant>,
    plain: Vec<u8>,
}

impl Ear {
    /// With the keys that DTLS agreed on. `None` when they are for a profile that we do not know.
    pub fn new(rtc: &Rtc, section: Option<Mid>, keys: &keys::Keys) -> Option<Self> {
        let provider = keys::provider();
        let mut ear = Ear {
            opener: Opener::new(&provider, keys)?,
            seal: Seal::new(&provider, keys)?,
            ssrc: rand::random(),
            types: [None; 128],
            transport_cc: 0,
            arrivals: Arrivals::default(),
            streams: Vec::new(),
            report_at: None,
            plain: Vec::new(),
        };
        ear.learn(rtc, section);
        Some(ear)
    }

    /// Takes in what a description said. `section`: any of those that are there.
    pub fn learn(&mut self, rtc: &Rtc, section: Option<Mid>) {
        for params in rtc.codec_config().params() {
            let known = [Codec::Vp8, Codec::H264, Codec::Opus].into_iter();
            let mut of = known.filter(|codec| format_of(*codec) == params.spec().codec);
            let Some(codec) = of.next() else { continue };
            let resend = params.resend();
            let repeated = resend.is_some();
            self.types[usize::from(*params.pt() & 0x7f)] = Some(Type::Media { codec, repeated });
            if let Some(resend) = resend {
                self.types[usize::from(*resend & 0x7f)] = Some(Type::Repeat);
            }
        }
        // All sections are of one bundle, and use the same ids.
        if let Some(media) = section.and_then(|mid| rtc.media(mid)) {
            let id = media.remote_extmap().id_of(Extension::TransportSequenceNumber);
            self.transport_cc = id.unwrap_or(0);
        }
    }

    /// Takes in a packet of RTP. `None` when it is not authentic, was here before, or is no media.
    pub fn hear(&mut self, at: Instant, datagram: &[u8], rtc: &mut Rtc) -> Option<Heard<'_>> {
        let header = Header::read(datagram)?;
        let kind = self.types[usize::from(header.payload_type)]?;
        let index = self.stream(&header, kind, rtc)?;
        let Known { stream, mends, .. } = &mut self.streams[index];
        let ext_seq = stream.extend(header.seq);
        let opened =
            self.opener.rtp(datagram, header.length, header.ssrc, ext_seq, &mut self.plain)?;
        let payload = header.unpadded(opened)?;
        if let Some(number) = header.transport_seq(datagram, self.transport_cc) {
            self.arrivals.note(number, at);
        }
        if !stream.take(ext_seq, header.timestamp, at) {
            return None;
        }
        self.report_at.get_or_insert(at + REPORTS);
        match (kind, *mends) {
            (Type::Media { codec, .. }, _) => {
                Some(Heard { ssrc: header.ssrc, ext_seq, codec, payload })
            }
            (Type::Repeat, Some(mended)) => {
                // RFC 4588 §4: the number that the packet had comes first.
                let (seq, payload) = payload.split_first_chunk::<2>()?;
                let mended = self.streams.iter_mut().find(|known| known.stream.ssrc == mended)?;
                let Type::Media { codec, .. } = mended.kind else { return None };
                let mended = &mut mended.stream;
                let ext_seq = mended.extend(u16::from_be_bytes(*seq));
                let news = mended.mend(ext_seq);
                news.then_some(Heard { ssrc: mended.ssrc, ext_seq, codec, payload })
            }
            (Type::Repeat, None) => None,
        }
    }

    /// Where a packet's stream is; one that is new gets a place.
    fn stream(&mut self, header: &Header, kind: Type, rtc: &mut Rtc) -> Option<usize> {
        let ssrc = header.ssrc;
        if let Some(known) = self.streams.iter().position(|known| known.stream.ssrc == ssrc) {
            return Some(known);
        }
        let mut api = rtc.direct_api();
        let mut mends = |known: &&Known| {
            let known = api.stream_rx(&Ssrc::from(known.stream.ssrc));
            known.and_then(|known| known.rtx()) == Some(Ssrc::from(ssrc))
        };
        let mended = match kind {
            Type::Media { .. } => None,
            Type::Repeat => Some(self.streams.iter().find(&mut mends)?.stream.ssrc),
        };
        // Repeats have streams of their own.
        if self.streams.len() == 2 * STREAMS_MAX {
            return None;
        }
        let repeated = matches!(kind, Type::Media { repeated: true, .. });
        let stream = Stream::new(ssrc, kind.clock_hz(), repeated);
        self.streams.push(Known { stream, kind, mends: mended });
        Some(self.streams.len() - 1)
    }

    /// Takes in a compound packet of RTCP, which str0m gets as well.
    pub fn overhear(&mut self, at: Instant, datagram: &[u8]) {
        // Only a sender report begins so, and without streams there is nothing to answer.
        if datagram.get(1) != Some(&200) || self.streams.is_empty() {
            return;
        }
        let mut plain = Vec::new();
        let Some(plain) = self.seal.open_rtcp(datagram, &mut plain) else { return };
        let word =
            |at: usize| plain.get(at..at + 4)?.first_chunk().copied().map(u32::from_be_bytes);
        let (Some(ssrc), Some(seconds), Some(fraction), Some(timestamp)) =
            (word(4), word(8), word(12), word(16))
        else {
            return;
        };
        let ntp = u64::from(seconds) << 32 | u64::from(fraction);
        let known = self.streams.iter_mut().find(|known| known.stream.ssrc == ssrc);
        if let Some(Known { stream, .. }) = known {
            stream.sender = Some(SenderTime { ntp, timestamp, at });
        }
    }

    /// When to call [`Ear::report`] at the latest.
    pub fn due(&self) -> Option<Instant> {
        let missing = self.streams.iter().filter_map(|known| known.stream.missing.due()).min();
        [missing, self.arrivals.due(), self.report_at].into_iter().flatten().min()
    }

    /// Sends what there is to say by now.
    pub fn report(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        let mut packet = Vec::new();
        let mut leave = |packet: &mut Vec<u8>| {
            send(&self.seal.rtcp(packet));
            packet.clear();
        };
        for Known { stream, .. } in &mut self.streams {
            if stream.missing.due().is_some_and(|due| due <= now) {
                stream.missing.write(now, [self.ssrc, stream.ssrc], AGAIN, &mut packet);
                leave(&mut packet);
            }
        }
        while self.arrivals.due().is_some_and(|due| due <= now) {
            // Its second SSRC may be any of those that it is about.
            let any = self.streams.first().map_or(0, |known| known.stream.ssrc);
            self.arrivals.write(now, [self.ssrc, any], &mut packet);
            leave(&mut packet);
        }
        if self.report_at.is_some_and(|due| due <= now) {
            self.report_at = Some(now + REPORTS);
            let media = self.streams.iter_mut().filter(|known| known.mends.is_none());
            let mut media: Vec<&mut Stream> = media.map(|known| &mut known.stream).collect();
            for streams in media.chunks_mut(BLOCKS_MAX) {
                write_report(now, self.ssrc, CNAME, streams, &mut packet);
                leave(&mut packet);
            }
        }
    }
}
