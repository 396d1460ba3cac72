//! What media is, as far as a forwarder must know: kinds, codecs, layers, bitrates.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
}

/// What a track shows or tells, in its publisher's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// The publisher did not say.
    #[default]
    Other,
    /// A person, usually.
    Camera,
    /// A voice, usually.
    Microphone,
    /// A screen or a window.
    Screen,
    /// What the shared screen plays.
    ScreenAudio,
}

/// A codec that can be forwarded. The variants' names are those of the IANA media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 3551, G.711 µ-law.
    Pcmu,
    /// RFC 3551, G.711 A-law.
    Pcma,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// RFC 7798.
    H265,
    /// AV1 RTP specification 1.0.
    Av1,
}

impl Codec {
    /// Audio or video.
    pub fn kind(self) -> Kind {
        match self {
            Codec::Opus | Codec::Pcmu | Codec::Pcma => Kind::Audio,
            Codec::Vp8 | Codec::Vp9 | Codec::H264 | Codec::H265 | Codec::Av1 => Kind::Video,
        }
    }

    /// The media type as the SDKs spell it, for instance `video/VP8`.
    pub fn mime(self) -> &'static str {
        match self {
            Codec::Opus => "audio/opus",
            Codec::Pcmu => "audio/PCMU",
            Codec::Pcma => "audio/PCMA",
            Codec::Vp8 => "video/VP8",
            Codec::Vp9 => "video/VP9",
            Codec::H264 => "video/H264",
            Codec::H265 => "video/H265",
            Codec::Av1 => "video/AV1",
        }
    }

    /// RTP clock rate in Hz.
    pub fn clock_hz(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::Pcmu | Codec::Pcma => 8_000,
            _ => 90_000,
        }
    }
}

/// One simulcast or SVC rung of a track; 0 is the smallest picture.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Layer(pub u8);

impl Layer {
    /// The only rung of audio and of video without simulcast.
    pub const BASE: Layer = Layer(0);
    /// The top rung that any track may have.
    pub const TOP: Layer = Layer(crate::limits::LAYERS_MAX as u8 - 1);

    /// The rung's place in a table of rungs.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Bits per second.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bitrate(pub u64);

impl fmt::Debug for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bit/s", self.0)
    }
}
