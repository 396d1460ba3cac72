//! What a client publishes: a camera of one to three layers, or a microphone.
//!
//! A source says what is to be sent and when; the peer writes it. Numbers begin where the seed says,
//! often just below a wrap.

use std::sync::Arc;

use antipode_base::media::Kind;
use str0m::media::{Mid, Rid};

use crate::path::Micros;
use crate::payload::{self, Tag, Vp8};
use crate::seed::{below, mix};

/// The rids of a simulcast, lowest first.
pub const RIDS: [&str; 3] = ["q", "h", "f"];
/// Ticks a second of video.
const VIDEO_HZ: u64 = 90_000;
/// Ticks a second of audio.
const AUDIO_HZ: u64 = 48_000;
/// One Opus frame.
const AUDIO_INTERVAL: Micros = 20_000;
/// Bytes of a video packet that is not its frame's last.
const PACKET: usize = 1_000;

/// What a scene wants to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    /// Camera or microphone.
    pub kind: Kind,
    /// 1 to 3; 1 has no rid.
    pub layers: u8,
    /// Frames a second.
    pub fps: u64,
    /// Microphone's loudness, -dBov.
    pub level: i8,
    /// Bitrates of a camera's layers in kbit/s, lowest first; 0: a few packets a frame.
    pub kbps: [u32; 3],
}

impl Media {
    /// A microphone of that loudness in -dBov.
    pub fn audio(level: i8) -> Self {
        Media { kind: Kind::Audio, layers: 1, fps: 50, level, kbps: [0; 3] }
    }

    /// A camera.
    pub fn video(layers: u8) -> Self {
        Media { kind: Kind::Video, layers, fps: 15, level: 0, kbps: [0; 3] }
    }

    /// A camera of three layers with the bitrates of a real one, 30 frames a second.
    pub fn camera(kbps: [u32; 3]) -> Self {
        Media { kind: Kind::Video, layers: 3, fps: 30, level: 0, kbps }
    }

    /// Bytes of one frame: a keyframe is as large as fourteen others.
    fn frame_bytes(&self, layer: u8, keyframe: bool) -> usize {
        let bytes = self.kbps[usize::from(layer)] as usize * 125 / self.fps as usize;
        if keyframe { bytes * 14 } else { bytes }
    }
}

/// One packet to be written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The section's layer.
    pub rid: Option<Rid>,
    /// Extended sequence number.
    pub ext_seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Last of its frame.
    pub marker: bool,
    /// RFC 6464.
    pub audio_level: Option<i8>,
    /// RTP payload.
    pub payload: Arc<[u8]>,
}

/// One rung on its way out.
#[derive(Clone, Debug)]
struct Rung {
    rid: Option<Rid>,
    layer: u8,
    ext_seq: u64,
    timestamp: u32,
    vp8: Vp8,
    frame: u32,
    keyframe: bool,
    active: bool,
}

/// A published track.
#[derive(Clone, Debug)]
pub struct Source {
    /// The track's id.
    pub track: u64,
    /// As the client calls it.
    pub client_id: String,
    /// What it is.
    pub media: Media,
    /// Its section, once the client has offered it.
    pub mid: Option<Mid>,
    /// The answer has come: packets may be written.
    pub negotiated: bool,
    /// Nothing is sent.
    pub muted: bool,
    /// The client took it back.
    pub stopped: bool,
    /// Frames that were written, of all layers.
    pub frames: u64,
    seed: u64,
    next: Option<Micros>,
    rungs: Vec<Rung>,
}

impl Source {
    /// A source that has not begun.
    pub fn new(track: u64, client_id: String, media: Media, seed: u64) -> Self {
        let seed = mix(&[seed, track]);
        let rung = |layer: u8| {
            let number = |what: u64| mix(&[seed, u64::from(layer), what]);
            // One in two begins just below a wrap, but not so near that a receiver which misses the
            // first packets cannot know that there was a wrap (RFC 3711 §3.3.1).
            let near = |what: u64, wrap: u64| {
                let close = if wrap > 1 << 16 { VIDEO_HZ } else { 200 };
                let back = below(number(what + 10), close) + 60;
                if number(what) % 2 == 0 { wrap - back } else { below(number(what + 20), wrap) }
            };
            Rung {
                rid: (media.layers > 1).then(|| RIDS[usize::from(layer)].into()),
                layer,
                ext_seq: near(1, 1 << 16),
                timestamp: near(2, 1 << 32) as u32,
                vp8: Vp8 { picture_id: near(3, 1 << 15) as u16, tl0: number(4) as u8, tid: 0 },
                frame: 0,
                keyframe: true,
                active: true,
            }
        };
        let rungs = (0..media.layers.clamp(1, 3)).map(rung).collect();
        Source {
            track,
            client_id,
            media,
            mid: None,
            negotiated: false,
            muted: false,
            stopped: false,
            frames: 0,
            seed,
            next: None,
            rungs,
        }
    }

    /// When it has the next frame.
    pub fn next(&self) -> Option<Micros> {
        self.next.filter(|_| self.running())
    }

    /// Whether packets are to be expected of it, sooner or later.
    pub fn sends(&self) -> bool {
        !self.muted && !self.stopped && self.rungs.iter().any(|rung| rung.active)
    }

    fn running(&self) -> bool {
        self.negotiated && !self.muted && !self.stopped
    }

    /// Begins, unless it did; each source at its own moment of a frame's time.
    pub fn begin(&mut self, now: Micros) {
        let offset = below(mix(&[self.seed, 99]), self.interval());
        self.next.get_or_insert(now + offset);
    }

    /// A viewer needs a keyframe.
    pub fn want_keyframe(&mut self, rid: Option<Rid>) {
        self.rungs.iter_mut().filter(|rung| rung.rid == rid).for_each(|rung| rung.keyframe = true);
    }

    /// Switches one layer on or off, as a client does whose uplink is short.
    pub fn activate(&mut self, layer: u8, active: bool) {
        for rung in self.rungs.iter_mut().filter(|rung| rung.layer == layer) {
            rung.keyframe |= active && !rung.active;
            rung.active = active;
        }
    }

    fn interval(&self) -> Micros {
        match self.media.kind {
            Kind::Audio => AUDIO_INTERVAL,
            Kind::Video => 1_000_000 / self.media.fps.max(1),
        }
    }

    /// What is due. Frames that were due while it did not run are not sent late.
    pub fn write(&mut self, now: Micros) -> Vec<Written> {
        let mut out = Vec::new();
        let interval = self.interval();
        let Some(next) = self.next.filter(|next| *next <= now) else { return out };
        let steps = (now - next) / interval + 1;
        self.next = Some(next + steps * interval);
        let hz = if self.media.kind == Kind::Audio { AUDIO_HZ } else { VIDEO_HZ };
        let ticks = (steps * interval * hz / 1_000_000) as u32;
        let running = self.running();
        for rung in &mut self.rungs {
            rung.timestamp = rung.timestamp.wrapping_add(ticks);
            if running && rung.active {
                rung.write(self.track, &self.media, &mut out);
                self.frames += 1;
            }
        }
        out
    }
}

impl Rung {
    fn write(&mut self, track: u64, media: &Media, out: &mut Vec<Written>) {
        let keyframe = media.kind == Kind::Audio || std::mem::take(&mut self.keyframe);
        let (frame, layer) = (self.frame, self.layer);
        let count = match media.kind {
            Kind::Audio => 1,
            Kind::Video if media.kbps[usize::from(layer)] > 0 => {
                (media.frame_bytes(layer, keyframe) / PACKET) as u16 + 1
            }
            Kind::Video if keyframe => 3 + u16::from(layer),
            // Frames differ in size, and some fit one packet.
            Kind::Video => 1 + (frame % 3) as u16 + u16::from(layer) / 2,
        };
        // Two temporal layers: every other frame is of the upper one, a keyframe never.
        self.vp8.tid = if keyframe { 0 } else { (frame % 2) as u8 };
        if self.vp8.tid == 0 {
            self.vp8.tl0 = self.vp8.tl0.wrapping_add(1);
        }
        for index in 0..count {
            let tag = Tag { track, layer, frame, index, count, keyframe };
            let last = index + 1 == count;
            let payload = match media.kind {
                Kind::Audio => payload::audio(&tag, 80),
                Kind::Video => {
                    let len = if last { 200 + 37 * (frame % 11) as usize } else { PACKET };
                    payload::video(&tag, &self.vp8, len)
                }
            };
            out.push(Written {
                rid: self.rid,
                ext_seq: self.ext_seq,
                timestamp: self.timestamp,
                marker: last && media.kind == Kind::Video,
                audio_level: (media.kind == Kind::Audio).then_some(media.level),
                payload: payload.into(),
            });
            self.ext_seq += 1;
        }
        self.frame += 1;
        self.vp8.picture_id = self.vp8.picture_id.wrapping_add(1) & 0x7fff;
    }
}
