//! One receiver's streams. Two looks at each packet:
//!
//! ```text
//!   datagram --- wire: SSRC and sequence, in the clear ----> missed, reordered, duplicate
//!      | str0m: opens it, asks for repeats, undoes them
//!   packet ----- media: extended sequence, mark -----------> lost, filled, corrupt, latency
//! ```
//!
//! Loss is counted by the numbers of the stream as the server sends it, so a change of layer is no
//! loss; the marks, numbered by the publisher, show what the server held back.

use antipode_core::ingress::{Seen, Window};
use serde::Serialize;

use crate::media::codec::{self, Codec};
use crate::media::mark::{Mark, Unread};
use crate::sink::pulse::{Pulse, Pulses};
use crate::sink::tally::{Counts, Tally};

/// RTP, by its first bytes (RFC 7983, and RFC 5761 §4: RTCP's types are 192 to 223).
pub(crate) fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram, [first, kind, ..] if first >> 6 == 2 && !(192..=223).contains(kind))
}

/// Streams of one receiver that are told apart; a meeting's viewer has one for each track.
pub(crate) const STREAMS_MAX: usize = 1_024;

/// The sums of one worker, by kind.
#[derive(Clone, Debug)]
pub struct Tallies {
    /// Cameras.
    pub video: Tally,
    /// Microphones.
    pub audio: Tally,
}

impl Tallies {
    /// Empty.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Tallies { video: Tally::new(), audio: Tally::new() }
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Tallies) {
        self.video.add(&other.video);
        self.audio.add(&other.audio);
    }

    /// Both kinds.
    pub fn all(&self) -> Tally {
        let mut all = self.video.clone();
        all.add(&self.audio);
        all
    }

    /// The sums of a codec's kind.
    pub(crate) fn of(&mut self, codec: Codec) -> &mut Tally {
        if codec == Codec::Opus { &mut self.audio } else { &mut self.video }
    }
}

/// One stream as it is reported.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct StreamReport {
    /// Who received it.
    pub receiver: String,
    /// Of which source, as far as anything came.
    pub source: Option<u32>,
    /// Its codec.
    pub codec: Codec,
    /// What came and what did not.
    pub counts: Counts,
    /// Mean latency in milliseconds.
    pub latency_ms_mean: f64,
    /// Highest latency in milliseconds.
    pub latency_ms_max: f64,
}

/// A stream by its SSRC, as datagrams show it.
struct Wire {
    ssrc: u32,
    window: Window,
    missed: u64,
    reordered: u64,
    duplicates: u64,
}

struct Stream {
    ssrc: u32,
    codec: Codec,
    window: Window,
    counts: Counts,
    /// The last mark's source and layer.
    last: Option<(u32, u8)>,
    /// Marks of that source and layer.
    marks: Window,
    latency_ns_sum: u64,
    latency_ns_max: u64,
    latency_count: u64,
}

/// A packet of media as the transport hands it out.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its stream.
    pub ssrc: u32,
    /// Its number, extended.
    pub ext_seq: u64,
    /// What its payload type says.
    pub codec: Codec,
    /// Its payload.
    pub payload: &'a [u8],
    /// When it came, in nanoseconds of our clock.
    pub now_ns: u64,
    /// Which clock that is.
    pub host: u32,
}

/// See the module's documentation.
#[derive(Default)]
pub struct Streams {
    wires: Vec<Wire>,
    streams: Vec<Stream>,
    audio: Option<Pulse>,
    video: Option<Pulse>,
}

impl Streams {
    /// Takes a look at a datagram before the transport gets it.
    pub fn see(&mut self, datagram: &[u8]) {
        let Some(head) = datagram.first_chunk::<12>().filter(|head| is_media(*head)) else {
            return;
        };
        let seq = u16::from_be_bytes([head[2], head[3]]);
        let ssrc = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        let known = self.wires.iter_mut().position(|wire| wire.ssrc == ssrc);
        let at = match known {
            Some(at) => at,
            None if self.wires.len() < 2 * STREAMS_MAX => {
                let window = Window::default();
                self.wires.push(Wire { ssrc, window, missed: 0, reordered: 0, duplicates: 0 });
                self.wires.len() - 1
            }
            None => return,
        };
        let wire = &mut self.wires[at];
        match wire.window.offer_wire(seq) {
            Seen::Ahead(gap) => wire.missed += gap,
            Seen::Late => wire.reordered += 1,
            Seen::Duplicate => wire.duplicates += 1,
            Seen::First | Seen::Ancient => {}
        }
    }

    /// Takes a packet of media.
    pub fn take(&mut self, arrival: &Arrival<'_>, tallies: &mut Tallies) {
        let known = self.streams.iter().position(|stream| stream.ssrc == arrival.ssrc);
        let at = match known {
            Some(at) => at,
            None if self.streams.len() < STREAMS_MAX => {
                self.streams.push(Stream::new(arrival.ssrc, arrival.codec));
                self.streams.len() - 1
            }
            None => return,
        };
        if !arrival.payload.is_empty() {
            let sound = arrival.codec == Codec::Opus;
            let pulse = if sound { &mut self.audio } else { &mut self.video };
            Pulse::beat(pulse, arrival.now_ns);
        }
        self.streams[at].take(arrival, tallies.of(arrival.codec));
    }

    /// When media came to this peer, of a name that the report knows.
    pub fn pulses(&self, peer: &str) -> Pulses {
        Pulses { peer: peer.to_owned(), audio: self.audio, video: self.video }
    }

    /// Whether any media came.
    pub fn any(&self) -> bool {
        self.streams.iter().any(|stream| stream.counts.packets > 0)
    }

    /// Forgets what was counted, not what has come.
    pub fn reset(&mut self, now_ns: u64) {
        let pulses = [&mut self.audio, &mut self.video];
        pulses.into_iter().flatten().for_each(|pulse| pulse.reset(now_ns));
        for wire in &mut self.wires {
            (wire.missed, wire.reordered, wire.duplicates) = (0, 0, 0);
        }
        for stream in &mut self.streams {
            stream.counts = Counts::default();
            (stream.latency_ns_sum, stream.latency_ns_max, stream.latency_count) = (0, 0, 0);
        }
    }

    /// Each stream; what the wire showed of it is added here.
    pub fn report(&self, receiver: &str) -> Vec<StreamReport> {
        let report = |stream: &Stream| {
            let mut counts = stream.counts;
            if let Some(wire) = self.wires.iter().find(|wire| wire.ssrc == stream.ssrc) {
                counts.missed += wire.missed;
                counts.reordered += wire.reordered;
                counts.duplicates += wire.duplicates;
            }
            // A lost payload leaves a gap among the marks as well.
            counts.withheld = counts.withheld.saturating_sub(counts.lost);
            let mean = stream.latency_ns_sum / stream.latency_count.max(1);
            StreamReport {
                receiver: receiver.to_owned(),
                source: stream.last.map(|(source, _)| source),
                codec: stream.codec,
                counts,
                latency_ms_mean: mean as f64 / 1e6,
                latency_ms_max: stream.latency_ns_max as f64 / 1e6,
            }
        };
        self.streams.iter().map(report).collect()
    }
}

impl Stream {
    fn new(ssrc: u32, codec: Codec) -> Self {
        Stream {
            ssrc,
            codec,
            window: Window::default(),
            counts: Counts::default(),
            last: None,
            marks: Window::default(),
            latency_ns_sum: 0,
            latency_ns_max: 0,
            latency_count: 0,
        }
    }

    fn take(&mut self, arrival: &Arrival<'_>, tally: &mut Tally) {
        match self.window.offer(arrival.ext_seq) {
            Seen::Ahead(gap) => self.counts.lost += gap,
            Seen::Late | Seen::Ancient => {
                // It may have been lost before the counters were reset.
                self.counts.lost = self.counts.lost.saturating_sub(1);
                self.counts.filled += 1;
            }
            Seen::Duplicate => {
                self.counts.duplicates += 1;
                return;
            }
            Seen::First => {}
        }
        if arrival.payload.is_empty() {
            self.counts.padding += 1;
            return;
        }
        let body = codec::body(arrival.codec, arrival.payload).unwrap_or_default();
        let mark = match Mark::read(body) {
            Ok(mark) => mark,
            Err(Unread::Foreign) => {
                self.counts.foreign += 1;
                return;
            }
            Err(Unread::Corrupt) => {
                self.counts.corrupt += 1;
                return;
            }
        };
        self.place(&mark);
        self.counts.packets += 1;
        self.counts.bytes += arrival.payload.len() as u64;
        if mark.host == arrival.host {
            let ns = arrival.now_ns.saturating_sub(mark.clock_ns);
            tally.latency.record(ns);
            self.latency_ns_sum += ns;
            self.latency_ns_max = self.latency_ns_max.max(ns);
            self.latency_count += 1;
        }
    }

    /// Where a payload stands among those of its source and layer.
    fn place(&mut self, mark: &Mark) {
        let of = (mark.source, mark.layer);
        if self.last != Some(of) {
            let switched = self.last.is_some_and(|(source, _)| source == mark.source);
            self.counts.switches += u64::from(switched);
            self.last = Some(of);
            self.marks = Window::default();
        }
        match self.marks.offer(mark.sequence) {
            Seen::Ahead(gap) => self.counts.withheld += gap,
            Seen::Late => self.counts.withheld = self.counts.withheld.saturating_sub(1),
            Seen::Duplicate => self.counts.duplicates += 1,
            Seen::First | Seen::Ancient => {}
        }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
