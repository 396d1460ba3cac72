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
//!
//! | file | what it owns |
//! | --- | --- |
//! | `header` | RTP headers, as far as they are looked at |
//! | `arrivals` | transport-wide feedback |
//! | `missing` | requests for repeats |
//! | `stream` | one stream: its numbers, what is missing of it, its report block |

mod arrivals;
mod header;
mod missing;
mod stream;

use std::time::{Duration, Instant};

use antipode_core::srtp::{Opener, Seal, keys};
use str0m::Rtc;
use str0m::media::Mid;
use str0m::rtp::{Extension, Ssrc};

use crate::client::peer::format_of;
use crate::media::codec::Codec;
use crate::sink::stream::STREAMS_MAX;
use arrivals::Arrivals;
use header::Header;
use stream::Stream;

/// From one report on streams to the next (RFC 3550 §6.2 with the bandwidth of a call; browsers send them
/// of pictures as often).
const REPORTS: Duration = Duration::from_secs(1);
/// Report blocks of one packet (RFC 3550 §6.4.2: five bits).
const BLOCKS_MAX: usize = 31;
/// What a report's second half says: who sends it (RFC 3550 §6.5). An item of a name of five, and its end.
const CNAME: &[u8; 8] = b"\x01\x05bench\0";

/// What a payload type stands for.
#[derive(Clone, Copy)]
enum Type {
    Media { codec: Codec, repeated: bool },
    Repeat,
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
    streams: Vec<Stream>,
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
        let stream = &mut self.streams[index];
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
        match (kind, stream.mends) {
            (Type::Media { codec, .. }, _) => {
                Some(Heard { ssrc: header.ssrc, ext_seq, codec, payload })
            }
            (Type::Repeat, Some(mended)) => {
                // RFC 4588 §4: the number that the packet had comes first.
                let (seq, payload) = payload.split_first_chunk::<2>()?;
                let mended = self.streams.iter_mut().find(|stream| stream.ssrc == mended)?;
                let ext_seq = mended.extend(u16::from_be_bytes(*seq));
                let Type::Media { codec, .. } = mended.kind else { return None };
                let news = mended.mend(ext_seq);
                news.then_some(Heard { ssrc: mended.ssrc, ext_seq, codec, payload })
            }
            (Type::Repeat, None) => None,
        }
    }

    /// Where a packet's stream is; one that is new gets a place.
    fn stream(&mut self, header: &Header, kind: Type, rtc: &mut Rtc) -> Option<usize> {
        let ssrc = header.ssrc;
        if let Some(known) = self.streams.iter().position(|stream| stream.ssrc == ssrc) {
            return Some(known);
        }
        let mut api = rtc.direct_api();
        let mut mends = |stream: &&Stream| {
            let known = api.stream_rx(&Ssrc::from(stream.ssrc));
            known.and_then(|known| known.rtx()) == Some(Ssrc::from(ssrc))
        };
        let mended = match kind {
            Type::Media { .. } => None,
            Type::Repeat => Some(self.streams.iter().find(&mut mends)?.ssrc),
        };
        // Repeats have streams of their own.
        if self.streams.len() == 2 * STREAMS_MAX {
            return None;
        }
        self.streams.push(Stream::new(ssrc, kind, mended));
        Some(self.streams.len() - 1)
    }

    /// Takes in a compound packet of RTCP, which str0m gets as well.
    pub fn overhear(&mut self, at: Instant, datagram: &[u8]) {
        // Only a sender report begins so, and without streams there is nothing to answer.
        if datagram.get(1) != Some(&200) || self.streams.is_empty() {
            return;
        }
        let Some(plain) = self.seal.open_rtcp(datagram) else { return };
        let word =
            |at: usize| plain.get(at..at + 4)?.first_chunk().copied().map(u32::from_be_bytes);
        let (Some(ssrc), Some(seconds), Some(fraction)) = (word(4), word(8), word(12)) else {
            return;
        };
        let stream = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc);
        if let Some(stream) = stream {
            stream.sender = Some((seconds << 16 | fraction >> 16, at));
        }
    }

    /// When to call [`Ear::report`] at the latest.
    pub fn due(&self) -> Option<Instant> {
        let missing = self.streams.iter().filter_map(|stream| stream.missing.due()).min();
        [missing, self.arrivals.due(), self.report_at].into_iter().flatten().min()
    }

    /// Sends what there is to say by now.
    pub fn report(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        let mut packet = Vec::new();
        for stream in &mut self.streams {
            if stream.missing.due().is_some_and(|due| due <= now) {
                stream.missing.write(now, [self.ssrc, stream.ssrc], &mut packet);
                send(&self.seal.rtcp(&packet));
            }
        }
        while self.arrivals.due().is_some_and(|due| due <= now) {
            // Its second SSRC may be any of those that it is about.
            let any = self.streams.first().map_or(0, |stream| stream.ssrc);
            self.arrivals.write(now, [self.ssrc, any], &mut packet);
            send(&self.seal.rtcp(&packet));
        }
        if self.report_at.is_some_and(|due| due <= now) {
            self.report_at = Some(now + REPORTS);
            let media = self.streams.iter_mut().filter(|stream| stream.mends.is_none());
            for streams in media.collect::<Vec<_>>().chunks_mut(BLOCKS_MAX) {
                write_blocks(now, self.ssrc, streams, &mut packet);
                send(&self.seal.rtcp(&packet));
            }
        }
    }
}

/// A receiver report (RFC 3550 §6.4.2) and its sender's name, which no compound packet goes without.
fn write_blocks(now: Instant, own: u32, streams: &mut [&mut Stream], out: &mut Vec<u8>) {
    out.clear();
    let count = streams.len().min(BLOCKS_MAX) as u8;
    out.extend_from_slice(&[0x80 | count, 201, 0, 1 + 6 * count]);
    out.extend_from_slice(&own.to_be_bytes());
    streams.iter_mut().take(BLOCKS_MAX).for_each(|stream| stream.block(now, out));
    out.extend_from_slice(&[0x81, 202, 0, 3]);
    out.extend_from_slice(&own.to_be_bytes());
    out.extend_from_slice(CNAME);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_two_streams() {
        let now = Instant::now();
        let kind = Type::Media { codec: Codec::Vp8, repeated: true };
        let mut streams = [Stream::new(5, kind, None), Stream::new(6, kind, None)];
        // Of the first, one of four is missing; the second wraps around.
        for (stream, numbers) in [(0, [7, 8, 10]), (1, [65_534, 65_535, 0])] {
            for number in numbers {
                let ext_seq = streams[stream].extend(number);
                assert!(streams[stream].take(ext_seq, 0, now));
            }
        }
        streams[1].sender = Some((0x1234_5678, now));
        let mut out = Vec::new();
        let mut both: Vec<&mut Stream> = streams.iter_mut().collect();
        write_blocks(now + Duration::from_millis(500), 1, &mut both, &mut out);
        let want = [
            &[0x82, 201, 0, 13, 0, 0, 0, 1][..],
            &[0, 0, 0, 5, 64, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[
                0, 0, 0, 6, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80,
                0,
            ],
            &[0x81, 202, 0, 3, 0, 0, 0, 1, 1, 5, b'b', b'e', b'n', b'c', b'h', 0],
        ];
        assert_eq!(out, want.concat());
        // Nothing came since: nothing was lost since.
        write_blocks(now, 1, &mut both, &mut out);
        assert_eq!(out[12..16], [0, 0, 0, 1]);
    }
}
