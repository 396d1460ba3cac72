//! A published track as the control plane knows it.

use antipode_base::ids::TrackId;
use antipode_base::media::{self, Codec, Kind, Layer};
use antipode_base::notice::LayerInfo;
use serde::{Deserialize, Serialize};

/// What a track shows or tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The publisher did not say.
    #[default]
    Unknown,
    /// A person, usually.
    Camera,
    /// A voice, usually.
    Microphone,
    /// A screen or a window.
    ScreenShare,
    /// What the shared screen plays.
    ScreenShareAudio,
}

impl Source {
    /// The word in a token.
    pub fn claim(self) -> &'static str {
        match self {
            Source::Unknown => "unknown",
            Source::Camera => "camera",
            Source::Microphone => "microphone",
            Source::ScreenShare => "screen_share",
            Source::ScreenShareAudio => "screen_share_audio",
        }
    }

    /// The word that a shard understands.
    pub(crate) fn of_media(self) -> media::Source {
        match self {
            Source::Unknown => media::Source::Other,
            Source::Camera => media::Source::Camera,
            Source::Microphone => media::Source::Microphone,
            Source::ScreenShare => media::Source::Screen,
            Source::ScreenShareAudio => media::Source::ScreenAudio,
        }
    }

    /// The source of that word.
    pub fn from_claim(word: &str) -> Self {
        [Source::Camera, Source::Microphone, Source::ScreenShare, Source::ScreenShareAudio]
            .into_iter()
            .find(|source| source.claim() == word)
            .unwrap_or_default()
    }
}

/// One rung as its publisher announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSpec {
    /// 0 low, 1 medium, 2 high.
    pub quality: u8,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bits per second.
    pub bitrate: u32,
}

/// What the publisher says of a track for the others' clients alone; handed on as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Two channels.
    pub stereo: bool,
    /// No redundant audio (RFC 2198).
    pub disable_red: bool,
    /// No discontinuous transmission.
    pub disable_dtx: bool,
    /// How the clients encrypt the payload among themselves.
    pub encryption: i32,
    /// Audio processing that is on.
    pub audio_features: Vec<i32>,
    /// What the publisher wants to happen for viewers that lack its codec.
    pub backup_codec_policy: i32,
    /// How the layers of the codec share streams.
    pub layer_mode: i32,
}

/// A track as announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackSpec {
    /// The client's own id of it.
    pub client_id: String,
    /// Audio or video.
    pub kind: Kind,
    /// What it shows.
    pub source: Source,
    /// Chosen by the publisher.
    pub name: String,
    /// Tracks of one stream belong together.
    pub stream: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Lowest first; empty when the publisher did not say.
    pub layers: Vec<LayerSpec>,
    /// What the publisher wants to send.
    pub codec: Option<Codec>,
    /// Not sending at the moment.
    pub muted: bool,
    /// For the others.
    pub marks: Marks,
}

/// What negotiation made of a track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Live {
    /// The publisher's `a=mid`.
    pub mid: String,
    /// What is sent.
    pub codec: Codec,
    /// Lowest first.
    pub layers: Vec<LayerInfo>,
}

/// A track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Track {
    /// Inner id.
    pub id: TrackId,
    /// Public id.
    pub sid: String,
    /// As announced, and as changed since.
    pub spec: TrackSpec,
    /// `None` until negotiated; only then others hear of it.
    pub live: Option<Live>,
    /// Someone received a packet of it.
    pub watched: bool,
    /// When it last changed, in microseconds since 1970.
    pub version_us: i64,
}

/// How a viewer describes what it wants to see of a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// By rung: 0 low, 1 medium, 2 high.
    Quality(u8),
    /// By the size in pixels in which it is shown.
    Size(u32, u32),
}

impl Track {
    /// The highest layer that serves a wish.
    pub(crate) fn layer_for(&self, wish: Wish) -> Layer {
        let layers = &self.spec.layers;
        let top = layers.len().checked_sub(1);
        let index = match wish {
            Wish::Quality(quality) => layers.iter().rposition(|l| l.quality <= quality).or(Some(0)),
            // The smallest picture that need not be blown up, whichever way it is turned.
            Wish::Size(width, height) => layers.iter().position(|l| {
                l.width.max(l.height) >= width.max(height)
                    && l.width.min(l.height) >= width.min(height)
            }),
        };
        // A track of one rung is sent whatever the wish; so is one of unknown rungs.
        match top {
            Some(top) if top > 0 => {
                let index = index.unwrap_or(top).min(Layer::TOP.index());
                if index == top { Layer::TOP } else { Layer(index as u8) }
            }
            _ => Layer::TOP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(rungs: &[(u8, u32, u32)]) -> Track {
        let layers = rungs
            .iter()
            .map(|&(quality, width, height)| LayerSpec { quality, width, height, bitrate: 0 })
            .collect();
        Track {
            id: TrackId(1),
            sid: "TR_VC1".into(),
            spec: TrackSpec {
                client_id: "c".into(),
                kind: Kind::Video,
                source: Source::Camera,
                name: String::new(),
                stream: String::new(),
                width: 0,
                height: 0,
                layers,
                codec: None,
                muted: false,
                marks: Marks::default(),
            },
            live: None,
            watched: false,
            version_us: 0,
        }
    }

    #[test]
    fn wishes_become_layers() {
        let three = &[(0, 320, 180), (1, 640, 360), (2, 1280, 720)][..];
        let two = &[(0, 320, 180), (2, 1280, 720)][..];
        let one = &[(2, 1280, 720)][..];
        for (rungs, wish, want) in [
            (three, Wish::Quality(0), Layer(0)),
            (three, Wish::Quality(1), Layer(1)),
            (three, Wish::Quality(2), Layer::TOP),
            (three, Wish::Quality(7), Layer::TOP),
            (three, Wish::Size(100, 100), Layer(0)),
            (three, Wish::Size(320, 180), Layer(0)),
            (three, Wish::Size(180, 320), Layer(0)),
            (three, Wish::Size(321, 180), Layer(1)),
            (three, Wish::Size(200, 200), Layer(1)),
            (three, Wish::Size(4000, 3000), Layer::TOP),
            (two, Wish::Quality(1), Layer(0)),
            (two, Wish::Quality(2), Layer::TOP),
            (one, Wish::Quality(0), Layer::TOP),
            (&[][..], Wish::Quality(0), Layer::TOP),
            (&[][..], Wish::Size(1, 1), Layer::TOP),
        ] {
            assert_eq!(track(rungs).layer_for(wish), want, "{rungs:?} {wish:?}");
        }
    }

    #[test]
    fn claims_are_read_as_they_are_written() {
        for source in [Source::Camera, Source::Microphone, Source::ScreenShareAudio] {
            assert_eq!(Source::from_claim(source.claim()), source);
        }
        assert_eq!(Source::from_claim("smell"), Source::Unknown);
    }
}
