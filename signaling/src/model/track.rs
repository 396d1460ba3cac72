//! A published track as the control plane knows it.

use antipode_base::command::{Command, Priority, Tune};
use antipode_base::ids::{SessionId, TrackId};
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
    /// Which layers the viewers need; `None` until a shard says so: then all of them.
    pub demand: Option<Demand>,
    /// When it last changed, in microseconds since 1970.
    pub version_us: i64,
}

/// What the viewers of a track need together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Demand {
    /// Nobody watches.
    Nothing,
    /// Layers up to this one.
    UpTo(Layer),
}

/// How a viewer describes what it wants to see of a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// By rung: 0 low, 1 medium, 2 high.
    Quality(u8),
    /// By the size in pixels in which it is shown.
    Size(u16, u16),
    /// By the rung itself, 0 the smallest.
    Layer(u8),
}

/// How a viewer wants to receive a track, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewing {
    /// Nothing for now.
    pub paused: bool,
    /// How much of it.
    pub wish: Wish,
    /// Frames a second that suffice; 0: all.
    pub fps: u8,
    /// 1 is the viewer's most important track; 0: it did not say.
    pub rank: u8,
}

/// What holds until a viewer says otherwise.
impl Default for Viewing {
    fn default() -> Self {
        Viewing { paused: false, wish: Wish::Quality(2), fps: 0, rank: 0 }
    }
}

impl Viewing {
    /// Three temporal layers of a camera of 30 frames a second carry 7.5, 15 and 30 (the W3C's
    /// scalability mode L1T3). Shards know no frame rate either before they have seen the track.
    fn temporal_max(self) -> u8 {
        match self.fps {
            1..=7 => 0,
            8..=15 => 1,
            _ => Tune::TEMPORAL_ALL,
        }
    }

    fn is_thumbnail(self) -> bool {
        match self.wish {
            Wish::Quality(quality) => quality == 0,
            Wish::Size(width, height) => u32::from(width) * u32::from(height) <= THUMBNAIL_PIXELS,
            Wish::Layer(_) => false,
        }
    }
}

/// The largest picture that counts as a thumbnail: the SDKs' lowest layer, 320×180.
const THUMBNAIL_PIXELS: u32 = 320 * 180;

impl Track {
    /// What its publisher's shard is told of it. Idempotent there: said again, it is answered by
    /// what the shard knows.
    pub(crate) fn announcement(&self, session: SessionId) -> Command {
        let spec = &self.spec;
        Command::Publish {
            session,
            track: self.id,
            kind: spec.kind,
            client_id: spec.client_id.clone(),
            codec: spec.codec,
            source: spec.source.of_media(),
            // A receiver decrypts whole payloads: blocks that we made would be noise to it.
            red: !spec.marks.disable_red && spec.marks.encryption == 0,
            stereo: spec.marks.stereo,
        }
    }

    /// How a shard is to send the track to a viewer.
    pub(crate) fn tune_for(&self, viewing: Option<Viewing>) -> Tune {
        let viewing = viewing.unwrap_or_default();
        if self.spec.kind == Kind::Audio {
            return Tune { paused: viewing.paused, ..Tune::default() };
        }
        Tune {
            paused: viewing.paused,
            layer_max: self.layer_for(viewing.wish),
            temporal_max: viewing.temporal_max(),
            priority: self.priority_for(viewing),
        }
    }

    fn priority_for(&self, viewing: Viewing) -> Priority {
        let unsaid = match self.spec.source {
            Source::ScreenShare => Priority::Screen,
            _ if viewing.is_thumbnail() => Priority::Thumbnail,
            _ => Priority::Camera,
        };
        match viewing.rank {
            0 => unsaid,
            1 => unsaid.max(Priority::Pinned),
            2 => unsaid.max(Priority::Camera),
            _ => Priority::Thumbnail,
        }
    }

    /// Which of the qualities low, medium and high the publisher shall send.
    pub(crate) fn qualities_wanted(&self) -> [bool; 3] {
        let max = match self.demand {
            None => return [true; 3],
            Some(Demand::Nothing) => return [false; 3],
            Some(Demand::UpTo(max)) => max.index(),
        };
        let layers = &self.spec.layers;
        // A track of one layer calls it as it likes: at the top all three names are said.
        let quality = if max + 1 >= layers.len() { 2 } else { layers[max].quality };
        [0, 1, 2].map(|each| each <= quality)
    }

    /// The highest layer that serves a wish.
    pub(crate) fn layer_for(&self, wish: Wish) -> Layer {
        let layers = &self.spec.layers;
        let top = layers.len().checked_sub(1);
        // Whoever names a rung knows of it from the track itself.
        if let Wish::Layer(rung) = wish {
            return Layer(rung).min(Layer::TOP);
        }
        let index = match wish {
            Wish::Quality(quality) => layers.iter().rposition(|l| l.quality <= quality).or(Some(0)),
            // The smallest picture that need not be blown up, whichever way it is turned.
            Wish::Size(width, height) => layers.iter().position(|l| {
                suffices(l.width.max(l.height), width.max(height))
                    && suffices(l.width.min(l.height), width.min(height))
            }),
            Wish::Layer(_) => None,
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

/// Whether a picture may be blown up from `has` to `shown` pixels: by a tenth nobody sees it, and
/// the next layer costs three times as much.
fn suffices(has: u32, shown: u16) -> bool {
    u64::from(has) * 11 >= u64::from(shown) * 10
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::model) fn track(rungs: &[(u8, u32, u32)]) -> Track {
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
            demand: None,
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
            (three, Wish::Size(352, 198), Layer(0)),
            (three, Wish::Size(353, 198), Layer(1)),
            (three, Wish::Size(0, 0), Layer(0)),
            (three, Wish::Size(u16::MAX, 1), Layer::TOP),
            (three, Wish::Size(200, 200), Layer(1)),
            (three, Wish::Size(4000, 3000), Layer::TOP),
            (two, Wish::Quality(1), Layer(0)),
            (two, Wish::Quality(2), Layer::TOP),
            (three, Wish::Layer(1), Layer(1)),
            (three, Wish::Layer(9), Layer::TOP),
            (&[][..], Wish::Layer(0), Layer(0)),
            (one, Wish::Quality(0), Layer::TOP),
            (&[][..], Wish::Quality(0), Layer::TOP),
            (&[][..], Wish::Size(1, 1), Layer::TOP),
        ] {
            assert_eq!(track(rungs).layer_for(wish), want, "{rungs:?} {wish:?}");
        }
    }

    #[test]
    fn viewings_become_tunes() {
        let rungs = &[(0, 320, 180), (1, 640, 360), (2, 1280, 720)][..];
        let view = |wish, fps, rank| Viewing { paused: false, wish, fps, rank };
        let (large, small) = (Wish::Quality(2), Wish::Size(160, 90));
        use Priority::{Camera, Pinned, Screen, Thumbnail};
        use Source as S;
        let all = Tune::TEMPORAL_ALL;
        for (source, viewing, temporal_max, priority) in [
            (S::Camera, view(large, 0, 0), all, Camera),
            (S::Camera, view(small, 0, 0), all, Thumbnail),
            (S::Camera, view(Wish::Quality(0), 0, 0), all, Thumbnail),
            (S::Camera, view(Wish::Size(u16::MAX, u16::MAX), 0, 0), all, Camera),
            (S::Camera, view(small, 0, 1), all, Pinned),
            (S::Camera, view(small, 0, 2), all, Camera),
            (S::Camera, view(large, 0, 3), all, Thumbnail),
            (S::Camera, view(large, 0, 255), all, Thumbnail),
            (S::ScreenShare, view(small, 0, 0), all, Screen),
            (S::ScreenShare, view(small, 0, 1), all, Screen),
            (S::ScreenShare, view(large, 0, 9), all, Thumbnail),
            (S::Unknown, view(large, 1, 0), 0, Camera),
            (S::Unknown, view(large, 7, 0), 0, Camera),
            (S::Unknown, view(large, 8, 0), 1, Camera),
            (S::Unknown, view(large, 15, 0), 1, Camera),
            (S::Unknown, view(large, 16, 0), all, Camera),
            (S::Unknown, view(large, 255, 0), all, Camera),
        ] {
            let mut track = track(rungs);
            track.spec.source = source;
            let tune = track.tune_for(Some(viewing));
            assert_eq!((tune.temporal_max, tune.priority), (temporal_max, priority), "{viewing:?}");
        }
        let mut sound = track(rungs);
        assert_eq!(sound.tune_for(None), Tune::default());
        sound.spec.kind = Kind::Audio;
        let paused = Viewing { paused: true, ..view(small, 1, 1) };
        assert_eq!(sound.tune_for(Some(paused)), Tune { paused: true, ..Tune::default() });
    }

    #[test]
    fn demand_becomes_qualities() {
        let three = &[(0, 320, 180), (1, 640, 360), (2, 1280, 720)][..];
        let two = &[(0, 320, 180), (1, 1280, 720)][..];
        let odd = &[(0, 320, 180), (2, 1280, 720)][..];
        let one = &[(2, 1280, 720)][..];
        let up_to = |rung| Some(Demand::UpTo(Layer(rung)));
        for (rungs, demand, want) in [
            (three, None, [true, true, true]),
            (three, Some(Demand::Nothing), [false, false, false]),
            (three, up_to(0), [true, false, false]),
            (three, up_to(1), [true, true, false]),
            (three, up_to(2), [true, true, true]),
            (three, up_to(255), [true, true, true]),
            (two, up_to(0), [true, false, false]),
            (two, up_to(1), [true, true, true]),
            (odd, up_to(0), [true, false, false]),
            (odd, up_to(1), [true, true, true]),
            (one, up_to(0), [true, true, true]),
            (one, Some(Demand::Nothing), [false, false, false]),
            (&[][..], up_to(0), [true, true, true]),
        ] {
            let track = Track { demand, ..track(rungs) };
            assert_eq!(track.qualities_wanted(), want, "{rungs:?} {demand:?}");
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
