//! What one client publishes, from its datagrams to packets in the clear.

mod reporting;

use std::time::{Duration, Instant};

use antipode_base::limits::INCOMING_STREAMS_MAX;
use antipode_base::media::Codec;
use antipode_base::verdict::DropReason;
use antipode_relay::packet::SenderClock;
use str0m::Rtc;
use str0m::crypto::CryptoProvider;
use str0m::media::Mid;

use reporting::REPORTS;

use super::arrivals::Arrivals;
use super::fields::{Fields, Ids};
use super::header::Header;
use super::places::{self, Described, Place};
use super::stream::{SenderTime, Stream};
use crate::session::codecs::CodecTable;
use crate::srtp::{Opener, keys::Keys};

/// What tells a packet from all others, and orders it among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The stream.
    pub(crate) ssrc: u32,
    /// The number with its rollovers.
    pub(crate) ext_seq: u64,
    /// The timestamp.
    pub(crate) timestamp: u32,
    /// The marker bit.
    pub(crate) marker: bool,
}

/// A datagram of RTP that is authentic and new.
pub(crate) struct Opened<'a> {
    /// Where its stream is.
    at: usize,
    header: Header,
    ext_seq: u64,
    fields: Fields<'a>,
    payload: &'a [u8],
}

/// A packet of media in the clear.
#[derive(Debug)]
pub(crate) struct Arrived<'a> {
    /// Of a repeat those of the packet that it repeats.
    pub(crate) numbers: Numbers,
    /// Section, layer and repeats of its stream.
    pub(crate) place: (Mid, Option<str0m::media::Rid>, Option<u32>),
    /// What it carries.
    pub(crate) codec: Codec,
    /// That in blocks (RFC 2198).
    pub(crate) blocks: bool,
    /// Its header extensions.
    pub(crate) fields: Fields<'a>,
    /// Without padding.
    pub(crate) payload: &'a [u8],
    /// The clock of its sender.
    pub(crate) sender_clock: Option<SenderClock>,
}

/// A stream, and what it is.
#[derive(Debug)]
struct Known {
    stream: Stream,
    place: Option<Place>,
    /// When something of it came last.
    at: Instant,
}

/// See the module's documentation. Who publishes nothing has the keys of it only.
#[derive(Default)]
pub(crate) struct Ingress {
    keys: Option<Keys>,
    receiver: Option<Box<Receiver>>,
}

struct Receiver {
    opener: Option<Opener>,
    ids: Ids,
    described: Described,
    streams: Vec<Known>,
    arrivals: Arrivals,
    /// Its own, as the sender of reports.
    ssrc: u32,
    /// Streams of which keyframes are wanted.
    keyframes: Vec<u32>,
    /// The first packet of all, by which our clock goes.
    origin: Option<Instant>,
    report_at: Option<Instant>,
    /// Our times that went out (RFC 3611 §4.4), by their middle bits.
    told: Vec<(u32, Instant)>,
    rtt: Option<Duration>,
    /// What was expected and received when the loss was taken last.
    counted: [u64; 2],
}

impl Ingress {
    /// DTLS is done.
    pub(crate) fn set_keys(&mut self, provider: &CryptoProvider, keys: Keys) {
        if let Some(receiver) = &mut self.receiver {
            receiver.opener = Opener::new(provider, &keys);
        }
        self.keys = Some(keys);
    }

    /// A description was agreed on that has these sections. `publishes`: some are for what the client
    /// announced.
    pub(crate) fn learn(
        &mut self,
        provider: &CryptoProvider,
        rtc: &mut Rtc,
        sections: &[Mid],
        publishes: bool,
    ) {
        let described = Described::take(rtc, sections);
        if !publishes && self.receiver.is_none() {
            return;
        }
        let keys = &self.keys;
        let receiver = self.receiver.get_or_insert_with(|| {
            Box::new(Receiver::new(keys.as_ref().and_then(|keys| Opener::new(provider, keys))))
        });
        for media in sections.iter().filter_map(|mid| rtc.media(*mid)) {
            receiver.ids.learn(media);
        }
        for known in &mut receiver.streams {
            let place = known.place.as_mut().zip(described.of(known.stream.ssrc));
            if let Some((before, now)) = place {
                *before = now;
            }
        }
        receiver.described = described;
    }

    /// Opens a datagram, which the host had at `at`, into `plain`, whatever is there.
    ///
    /// # Errors
    /// [`DropReason::UnknownSsrc`] where nothing authentic came of the stream before, else
    /// [`DropReason::NotMedia`].
    pub(crate) fn open<'a>(
        &mut self,
        datagram: &'a [u8],
        at: Instant,
        plain: &'a mut Vec<u8>,
    ) -> Result<Opened<'a>, DropReason> {
        let receiver = self.receiver.as_mut().ok_or(DropReason::UnknownSsrc)?;
        receiver.open(datagram, at, plain)
    }

    /// Finds out what it is.
    ///
    /// # Errors
    /// See [`DropReason`]. It was authentic all the same.
    pub(crate) fn place<'a>(
        &mut self,
        opened: Opened<'a>,
        codecs: &CodecTable,
    ) -> Result<Arrived<'a>, DropReason> {
        let receiver = self.receiver.as_mut().ok_or(DropReason::UnknownSsrc)?;
        receiver.place(opened, codecs)
    }

    /// A sender reported (RFC 3550 §6.4.1).
    pub(crate) fn sender(&mut self, ssrc: u32, time: SenderTime) {
        if let Some(receiver) = &mut self.receiver {
            let at = receiver.stream(ssrc, time.at);
            receiver.streams[at].stream.sender = Some(time);
        }
    }

    /// A sender answered one of our times (RFC 3611 §4.5).
    pub(crate) fn answered(&mut self, told: u32, delay: Duration, at: Instant) {
        if let Some(receiver) = &mut self.receiver
            && let Some((_, sent)) = receiver.told.iter().find(|(middle, _)| *middle == told)
        {
            receiver.rtt = Some(at.saturating_duration_since(*sent).saturating_sub(delay));
        }
    }

    /// Asks for a keyframe with the next report, which is due at once.
    pub(crate) fn request_keyframe(&mut self, ssrc: u32) {
        if let Some(receiver) = &mut self.receiver
            && !receiver.keyframes.contains(&ssrc)
        {
            receiver.keyframes.push(ssrc);
        }
    }

    /// When to call [`Ingress::report`].
    pub(crate) fn due(&self) -> Option<Instant> {
        self.receiver.as_ref()?.due()
    }

    /// When at the latest, if nothing is due before.
    pub(crate) fn report_at(&self) -> Option<Instant> {
        self.receiver.as_ref()?.report_at
    }

    /// Says what there is to say by now: compound packets, to be sealed.
    pub(crate) fn report(&mut self, now: Instant, send: impl FnMut(&[u8])) {
        if let Some(receiver) = &mut self.receiver {
            receiver.report(now, send);
        }
    }

    /// Round-trip time; `None` where the client tells of none.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.receiver.as_ref()?.rtt
    }

    /// Fraction (0..=1) of media that was lost on its way since the last call.
    pub(crate) fn take_loss(&mut self) -> f32 {
        self.receiver.as_mut().map_or(0.0, |receiver| receiver.take_loss())
    }
}

impl Receiver {
    fn new(opener: Option<Opener>) -> Self {
        Receiver {
            opener,
            ids: Ids::default(),
            described: Described::default(),
            streams: Vec::new(),
            arrivals: Arrivals::default(),
            ssrc: rand::random(),
            keyframes: Vec::new(),
            origin: None,
            report_at: None,
            told: Vec::new(),
            rtt: None,
            counted: [0; 2],
        }
    }

    fn open<'a>(
        &mut self,
        datagram: &'a [u8],
        at: Instant,
        plain: &'a mut Vec<u8>,
    ) -> Result<Opened<'a>, DropReason> {
        let header = Header::read(datagram).ok_or(DropReason::NotMedia)?;
        let ssrc = header.ssrc;
        let known = self.streams.iter().position(|known| known.stream.ssrc == ssrc);
        let (ext_seq, refused) = match known {
            Some(at) => (self.streams[at].stream.extend(header.seq), DropReason::NotMedia),
            None => (u64::from(header.seq), DropReason::UnknownSsrc),
        };
        let opener = self.opener.as_mut().ok_or(DropReason::NotConnected)?;
        let opened = opener.rtp(datagram, header.length, ssrc, ext_seq, plain).ok_or(refused)?;
        // Only what is authentic gets a place to be remembered in.
        let index = known.unwrap_or_else(|| self.stream(ssrc, at));
        let known = &mut self.streams[index];
        known.at = at;
        if !known.stream.take(ext_seq, header.timestamp, at) {
            return Err(DropReason::NotMedia);
        }
        let fields = Fields::read(&header, datagram, &self.ids);
        if let Some(number) = fields.transport_seq {
            self.arrivals.note(number, at);
        }
        self.origin.get_or_insert(at);
        self.report_at.get_or_insert(at + REPORTS);
        let payload = header.unpadded(opened).ok_or(DropReason::NotMedia)?;
        // Padding is there to be reported on, and came as it should.
        if payload.is_empty() {
            return Err(DropReason::NotMedia);
        }
        Ok(Opened { at: index, header, ext_seq, fields, payload })
    }

    fn place<'a>(
        &mut self,
        opened: Opened<'a>,
        codecs: &CodecTable,
    ) -> Result<Arrived<'a>, DropReason> {
        let Opened { at, header, ext_seq, fields, payload } = opened;
        let (codec, repeats) = codecs.sent(header.payload_type).ok_or(DropReason::NoTrack)?;
        let place = self.streams[at].place;
        let place = place.or_else(|| self.find(&header, &fields, repeats, codec, codecs));
        let place = place.ok_or(DropReason::UnknownSsrc)?;
        self.streams[at].place = Some(place);
        let Header { timestamp, marker, .. } = header;
        let (known, ext_seq, payload) = match place {
            Place::Media { .. } => (&self.streams[at], ext_seq, payload),
            Place::Repeats(of) => {
                // RFC 4588 §4: the number that the packet had comes first.
                let (seq, payload) =
                    payload.split_first_chunk::<2>().ok_or(DropReason::NotMedia)?;
                let mut streams = self.streams.iter_mut();
                let mended = streams.find(|known| known.stream.ssrc == of);
                let mended = mended.ok_or(DropReason::NotMedia)?;
                let ext_seq = mended.stream.extend(u16::from_be_bytes(*seq));
                if payload.is_empty() || !mended.stream.mend(ext_seq) {
                    return Err(DropReason::NotMedia);
                }
                (&*mended, ext_seq, payload)
            }
        };
        let Some(Place::Media { mid, rid, repair }) = known.place else {
            return Err(DropReason::UnknownSsrc);
        };
        let sender = known.stream.sender;
        Ok(Arrived {
            numbers: Numbers { ssrc: known.stream.ssrc, ext_seq, timestamp, marker },
            place: (mid, rid, repair),
            codec,
            blocks: codecs.red() == Some(header.payload_type),
            fields,
            payload,
            sender_clock: sender
                .map(|SenderTime { ntp, timestamp, .. }| SenderClock { ntp, timestamp }),
        })
    }

    /// The place of a stream that has none yet.
    fn find(
        &mut self,
        header: &Header,
        fields: &Fields<'_>,
        repeats: bool,
        codec: Codec,
        codecs: &CodecTable,
    ) -> Option<Place> {
        let placed =
            self.streams.iter().filter_map(|known| Some((known.stream.ssrc, known.place?)));
        let place = self.described.of(header.ssrc);
        let place = place.or_else(|| places::named(fields, repeats, placed))?;
        let known = self.streams.iter_mut().find(|known| known.stream.ssrc == header.ssrc)?;
        known.stream.clock_hz = codec.clock_hz();
        known.stream.repeated = matches!(place, Place::Media { .. }) && codecs.is_repeated(codec);
        Some(place)
    }

    /// Where a stream is; a new one takes the place of the one that was silent longest where there are
    /// too many.
    fn stream(&mut self, ssrc: u32, at: Instant) -> usize {
        if let Some(known) = self.streams.iter().position(|known| known.stream.ssrc == ssrc) {
            return known;
        }
        if self.streams.len() >= INCOMING_STREAMS_MAX {
            let silent = self.streams.iter().enumerate().min_by_key(|(_, known)| known.at);
            if let Some((silent, _)) = silent {
                self.streams.remove(silent);
            }
        }
        let stream = Stream::new(ssrc, Codec::Vp8.clock_hz(), false);
        self.streams.push(Known { stream, place: None, at });
        self.streams.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_that_was_silent_longest_is_forgotten() {
        let (mut receiver, start) = (Receiver::new(None), Instant::now());
        let streams = INCOMING_STREAMS_MAX as u32;
        for ssrc in 0..streams {
            receiver.stream(ssrc, start + Duration::from_millis(ssrc.into()));
        }
        // The first one speaks again.
        receiver.streams[0].at = start + Duration::from_secs(9);
        receiver.stream(streams, start + Duration::from_secs(10));
        let known: Vec<u32> = receiver.streams.iter().map(|known| known.stream.ssrc).collect();
        assert_eq!(known.len(), INCOMING_STREAMS_MAX);
        assert!(known.contains(&0) && !known.contains(&1) && known.contains(&streams));
    }
}
