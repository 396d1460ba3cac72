//! Cameras and microphones: which packet is due when. Pure; times are nanoseconds of the host's clock.
//!
//! A camera's encoder is modelled by what a network sees of it: frames at a steady rate whose sizes
//! vary, keyframes ten times as large when somebody asks, smaller frames after one until the bitrate
//! is met again, equal packets within a frame, and a pacer of 2.5 times the bitrate as browsers have
//! one. A microphone speaks and pauses, and sends 50 packets a second in both.

use std::collections::VecDeque;

use crate::media::codec::{self, Codec, HEADER_MAX, Picture, Place};
use crate::media::mark::{MARK_LEN, Mark};

/// Codec payload of a full packet; browsers fill an RTP packet to 1,200 bytes.
const PAYLOAD_MAX: usize = 1_160;
const SECOND: u64 = 1_000_000_000;
/// A keyframe's size, in mean frames.
const KEYFRAME_FRAMES: u64 = 10;
/// Requests for keyframes that come closer than this are one.
const KEYFRAME_INTERVAL_MIN: u64 = SECOND / 4;
/// A source that was not called for so long starts anew instead of catching up.
const LATE_MAX: u64 = SECOND / 2;
/// What a pacer sends at once is what it may send in this time: libwebrtc's default, with which most
/// frames leave in one piece.
const BURST: u64 = 40_000_000;
/// And no more than this, lest it overflow a socket's buffer.
const BURST_BYTES_MAX: usize = 63_000;
const AUDIO_INTERVAL: u64 = 20_000_000;
/// Bytes of an Opus packet while somebody speaks (40 kbit/s) and pauses.
const SPEECH: usize = 100;
const PAUSE: usize = 48;
/// Loudness of a pause, in -dBov (RFC 6464).
const SILENCE: i8 = -127;
/// Packets that may wait in a camera's pacer: two keyframes of 8 Mbit/s.
const QUEUE_MAX: usize = 1_024;

/// One layer of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it sends, in bit/s.
    pub bitrate: u32,
    /// Pixels.
    pub size: (u16, u16),
}

/// What is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A camera.
    Camera {
        /// Its encoder.
        codec: Codec,
        /// Frames a second.
        fps: u32,
        /// Smallest first; one is no simulcast.
        layers: Vec<Layer>,
    },
    /// A microphone.
    Microphone,
}

impl Shape {
    /// The codec.
    pub fn codec(&self) -> Codec {
        match self {
            Shape::Camera { codec, .. } => *codec,
            Shape::Microphone => Codec::Opus,
        }
    }

    /// How many streams it sends.
    pub fn layers(&self) -> usize {
        match self {
            Shape::Camera { layers, .. } => layers.len(),
            Shape::Microphone => 1,
        }
    }
}

/// A packet to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Which layer.
    pub layer: u8,
    /// RTP sequence number, extended.
    pub ext_seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// The last of its frame.
    pub marker: bool,
    /// The whole RTP payload.
    pub payload: Vec<u8>,
    /// A microphone's loudness in -dBov.
    pub level: Option<i8>,
}

/// A packet that waits in the pacer.
struct Waiting {
    due: u64,
    place: Place,
    parameters: bool,
    picture: Picture,
    timestamp: u32,
    bytes: usize,
}

struct Stream {
    shape: Layer,
    sequence: u64,
    ext_seq: u64,
    picture: Picture,
    /// Bytes that frames were larger than their share, to be saved later.
    debt: i64,
    wants_keyframe: bool,
    keyframe_at: u64,
    queue: VecDeque<Waiting>,
    /// When the pacer will have caught up with all that it was given.
    paced_until: u64,
    /// When its latest burst began.
    burst_at: u64,
    /// What it holds.
    burst_bytes: usize,
}

/// See the module's documentation.
pub struct Source {
    id: u32,
    host: u32,
    shape: Shape,
    streams: Vec<Stream>,
    start: Option<u64>,
    frames: u64,
    dice: Dice,
    filler: Box<[u8]>,
    /// A microphone speaks, or pauses, until this frame; its loudness.
    turn_until: u64,
    level: i8,
}

impl Source {
    /// `id` is unique in the run and seeds what varies.
    pub fn new(id: u32, host: u32, shape: Shape) -> Self {
        let mut dice = Dice(u64::from(id) << 1 | 1);
        let none = Layer { bitrate: 0, size: (0, 0) };
        let layers = match &shape {
            Shape::Camera { layers, .. } => layers.clone(),
            Shape::Microphone => vec![none],
        };
        let streams = layers.into_iter().map(|shape| Stream {
            shape,
            sequence: 0,
            // Not from 0: a forwarder must not believe so.
            ext_seq: 1_000 + dice.below(30_000),
            picture: Picture { id: dice.below(0x8000) as u16, tl0: 0, size: shape.size },
            debt: 0,
            wants_keyframe: true,
            keyframe_at: 0,
            queue: VecDeque::new(),
            paced_until: 0,
            burst_at: 0,
            burst_bytes: 0,
        });
        let streams = streams.collect();
        let filler = (0..PAYLOAD_MAX).map(|_| dice.below(256) as u8).collect();
        let (turn_until, level) = (0, SILENCE);
        Source { id, host, shape, streams, start: None, frames: 0, dice, filler, turn_until, level }
    }

    /// What it is.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Packets sent so far.
    pub fn sent(&self) -> u64 {
        self.streams.iter().map(|stream| stream.sequence).sum()
    }

    /// Begins, if it has not begun: the first frame is due within one frame's time, not in the same
    /// moment as all other sources' frames.
    pub fn begin(&mut self, now: u64) {
        if self.start.is_none() {
            self.start = Some(now + self.dice.below(self.interval()));
            self.frames = 0;
        }
    }

    /// Somebody needs a keyframe of a layer, or of all.
    pub fn want_keyframe(&mut self, layer: Option<usize>) {
        for (at, stream) in self.streams.iter_mut().enumerate() {
            stream.wants_keyframe |= layer.is_none_or(|layer| layer == at);
        }
    }

    /// When to call [`Source::write`].
    pub fn next(&self) -> Option<u64> {
        let frame = self.start? + self.frames * self.interval();
        let queued = self.streams.iter().filter_map(|stream| Some(stream.queue.front()?.due)).min();
        Some(queued.map_or(frame, |due| due.min(frame)))
    }

    /// Takes out what is due.
    pub fn write(&mut self, now: u64, out: &mut Vec<Written>) {
        let Some(start) = self.start else { return };
        let interval = self.interval();
        if start + self.frames * interval + LATE_MAX < now {
            self.frames = (now - start) / interval;
        }
        while start + self.frames * interval <= now {
            let at = start + self.frames * interval;
            self.frames += 1;
            match self.shape {
                Shape::Camera { codec, fps, .. } => self.encode(codec, fps, at),
                Shape::Microphone => self.speak(now, out),
            }
        }
        if let Shape::Camera { codec, .. } = self.shape {
            self.release(codec, now, out);
        }
    }

    /// Nanoseconds from frame to frame.
    fn interval(&self) -> u64 {
        match &self.shape {
            Shape::Camera { fps, .. } => SECOND / u64::from(*fps),
            Shape::Microphone => AUDIO_INTERVAL,
        }
    }

    /// One frame of every layer goes into its pacer.
    fn encode(&mut self, codec: Codec, fps: u32, at: u64) {
        let frames = self.frames;
        for stream in &mut self.streams {
            let mean = u64::from(stream.shape.bitrate) / 8 / u64::from(fps);
            let spaced =
                stream.keyframe_at == 0 || at >= stream.keyframe_at + KEYFRAME_INTERVAL_MIN;
            let keyframe = stream.wants_keyframe && spaced;
            let bytes = if keyframe {
                (stream.wants_keyframe, stream.keyframe_at) = (false, at);
                mean * KEYFRAME_FRAMES
            } else {
                // Half to one and a half of the mean, a fifth less while a keyframe is paid off.
                let varied = mean / 2 + self.dice.below(mean + 1);
                if stream.debt > 0 { varied * 4 / 5 } else { varied }
            };
            // Several keyframes in a row are not all paid off: encoders forget too.
            let keyframe_bytes = (mean * KEYFRAME_FRAMES) as i64;
            stream.debt = (stream.debt + bytes as i64 - mean as i64).clamp(0, keyframe_bytes);
            stream.picture.id = (stream.picture.id + 1) & 0x7fff;
            stream.picture.tl0 = stream.picture.tl0.wrapping_add(1);
            // 90 kHz.
            let timestamp = (frames * 90_000 / u64::from(fps)) as u32;
            stream.packetize(codec, at, keyframe, bytes as usize, timestamp);
        }
    }

    fn release(&mut self, codec: Codec, now: u64, out: &mut Vec<Written>) {
        for (layer, stream) in self.streams.iter_mut().enumerate() {
            while let Some(waiting) = stream.queue.pop_front_if(|waiting| waiting.due <= now) {
                let body_len = waiting.bytes.max(MARK_LEN);
                let mut payload = Vec::with_capacity(HEADER_MAX + 16 + body_len);
                match codec {
                    Codec::H264 => {
                        codec::h264(waiting.place, waiting.parameters, body_len, &mut payload);
                    }
                    Codec::Vp8 | Codec::Opus => {
                        codec::vp8(waiting.place, waiting.picture, &mut payload);
                    }
                }
                let filler = &self.filler[..body_len - MARK_LEN];
                stream.mark(self.id, layer, self.host, now).write(filler, &mut payload);
                out.push(Written {
                    layer: layer as u8,
                    ext_seq: stream.ext_seq,
                    timestamp: waiting.timestamp,
                    marker: waiting.place.last,
                    payload,
                    level: None,
                });
            }
        }
    }

    fn speak(&mut self, now: u64, out: &mut Vec<Written>) {
        if self.frames > self.turn_until {
            let speaks = self.level == SILENCE;
            // Two to six seconds of speech, one to three of pause.
            let seconds = if speaks { 2 + self.dice.below(5) } else { 1 + self.dice.below(3) };
            self.level = if speaks { -20 - self.dice.below(20) as i8 } else { SILENCE };
            self.turn_until = self.frames + seconds * SECOND / AUDIO_INTERVAL;
        }
        let length = if self.level == SILENCE { PAUSE } else { SPEECH };
        // 48 kHz.
        let timestamp = (self.frames * 960) as u32;
        let stream = &mut self.streams[0];
        let mut payload = Vec::with_capacity(length);
        codec::opus(&mut payload);
        let filler = &self.filler[..length - 1 - MARK_LEN];
        stream.mark(self.id, 0, self.host, now).write(filler, &mut payload);
        // A microphone's loudness moves a little from packet to packet.
        let wobble = if self.level == SILENCE { 0 } else { self.dice.below(5) as i8 };
        let level = Some(self.level + wobble);
        let ext_seq = stream.ext_seq;
        out.push(Written { layer: 0, ext_seq, timestamp, marker: false, payload, level });
    }
}

impl Stream {
    /// Cuts a frame into equal packets and gives them to the pacer.
    fn packetize(&mut self, codec: Codec, at: u64, keyframe: bool, bytes: usize, timestamp: u32) {
        let picture = self.picture;
        let room = PAYLOAD_MAX - HEADER_MAX;
        let count = bytes.div_ceil(room).max(1);
        if self.queue.len() + count + 1 > QUEUE_MAX {
            // An encoder that is told to wait drops the frame and begins anew.
            self.wants_keyframe = true;
            return;
        }
        if codec == Codec::H264 && keyframe {
            let place = Place { first: true, last: false, keyframe };
            let (due, bytes) = (self.pace(at, MARK_LEN), MARK_LEN);
            let parameters = true;
            self.queue.push_back(Waiting { due, place, parameters, picture, timestamp, bytes });
        }
        for index in 0..count {
            let place = Place { first: index == 0, last: index + 1 == count, keyframe };
            let (due, bytes) = (self.pace(at, bytes / count), bytes / count);
            let parameters = false;
            self.queue.push_back(Waiting { due, place, parameters, picture, timestamp, bytes });
        }
    }

    /// When the pacer lets a packet go that it gets at `at`.
    fn pace(&mut self, at: u64, bytes: usize) -> u64 {
        let full = self.burst_bytes + bytes > BURST_BYTES_MAX;
        if self.paced_until <= at {
            (self.paced_until, self.burst_at, self.burst_bytes) = (at, at, 0);
        } else if full || self.paced_until >= self.burst_at + BURST {
            (self.burst_at, self.burst_bytes) = (self.paced_until, 0);
        }
        self.burst_bytes += bytes;
        let bitrate = u64::from(self.shape.bitrate.max(1));
        self.paced_until += bytes as u64 * 8 * SECOND * 2 / 5 / bitrate;
        self.burst_at.max(at)
    }

    /// The next packet's mark; also moves the RTP sequence on.
    fn mark(&mut self, source: u32, layer: usize, host: u32, clock_ns: u64) -> Mark {
        let sequence = self.sequence;
        self.sequence += 1;
        self.ext_seq += 1;
        Mark { source, layer: layer as u8, sequence, clock_ns, host }
    }
}

/// A small generator (xorshift*): what varies need not be unforeseeable, only the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        if bound == 0 { 0 } else { drawn % bound }
    }
}

#[cfg(test)]
mod tests;
