//! One RTP packet as every stop after the session sees it.

use std::sync::Arc;
use std::time::Instant;

use antipode_base::ids::{MemberId, TrackId};
use antipode_base::limits::LAYERS_MAX;
use antipode_base::media::{Codec, Layer};

/// What the payload's own header holds that differs from viewer to viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    #[default]
    Plain,
    /// Opus that may be a block of redundant sound (RFC 2198), since its publisher said so; where it
    /// encrypts it does not, because a receiver opens whole payloads.
    Block {
        /// The publisher sent it so.
        sent: bool,
    },
    /// Numbers of pictures: VP8 (RFC 7741 §4.2) and VP9 (RFC 9628 §4.2).
    Pictures(Pictures),
}

/// Numbers of pictures, and where they stand in the payload. Absent ones are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    /// PictureID, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// Whether it has 15 bits.
    pub picture_id_long: bool,
    /// Offset of its first byte.
    pub picture_id_at: u8,
    /// TL0PICIDX.
    pub tl0_pic_idx: Option<u8>,
    /// Its offset.
    pub tl0_pic_idx_at: u8,
}

impl Pictures {
    /// The widest PictureID.
    pub const ID_MASK: u16 = 0x7fff;

    /// Whether the payload says these numbers as it came, as far as it has any.
    pub fn says(&self, picture_id: u16, tl0_pic_idx: u8) -> bool {
        self.picture_id.is_none_or(|own| own == picture_id)
            && self.tl0_pic_idx.is_none_or(|own| own == tl0_pic_idx)
    }

    /// Writes other numbers over those in the payload that these were read from. Widths stay.
    pub fn patch(&self, payload: &mut [u8], picture_id: u16, tl0_pic_idx: u8) {
        if self.picture_id.is_some()
            && let Some(place) = payload.get_mut(usize::from(self.picture_id_at)..)
        {
            let [high, low] = picture_id.to_be_bytes();
            match place {
                [first, second, ..] if self.picture_id_long => {
                    (*first, *second) = (high | 0x80, low);
                }
                [first, ..] if !self.picture_id_long => *first = low & 0x7f,
                _ => {}
            }
        }
        if self.tl0_pic_idx.is_some()
            && let Some(byte) = payload.get_mut(usize::from(self.tl0_pic_idx_at))
        {
            *byte = tl0_pic_idx;
        }
    }
}

/// Where a packet stands in its frame, and its frame among the layers of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// First packet of a frame; with spatial layers in one stream, of one layer's frame.
    pub begins: bool,
    /// Last packet of such a frame.
    pub ends: bool,
    /// Temporal layer, 0 the lowest; 0 too when the sender does not say.
    pub temporal: u8,
    /// A decoder that had only lower temporal layers can take up this one from here.
    pub sync: bool,
    /// A decoder that can decode this frame can decode all later ones up to this temporal layer: the
    /// switch indications of a dependency descriptor. 0 when the sender does not say.
    pub opens: u8,
    /// Spatial layers share one stream with one numbering (SVC): [`Packet::layer`] is the spatial
    /// layer then. Otherwise each layer is a stream of its own (simulcast).
    pub svc: bool,
}

/// Header extension values that travel with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 6464, in -dBov: 0 is the loudest, -127 silence.
    pub audio_level: Option<i8>,
    /// RFC 6464 V bit.
    pub voice_activity: Option<bool>,
    /// The two rotation bits of 3GPP TS 26.114 §7.4.5, as on the wire: 0..=3.
    pub orientation: Option<u8>,
}

/// The publisher's wall clock at one RTP timestamp, from its last sender report (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderClock {
    /// NTP: seconds since 1900 in the upper 32 bits.
    pub ntp: u64,
    /// RTP timestamp of the publisher's stream at that time.
    pub timestamp: u32,
}

/// What a publisher means to send, bits a second by layer and temporal layer, each with all that a viewer
/// needs for it. 0: it is not sent. Of the video layers allocation extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced(pub [[u32; Announced::TEMPORALS]; LAYERS_MAX]);

impl Announced {
    /// Temporal layers that are told apart; those above count with the last.
    pub const TEMPORALS: usize = 4;
}

/// One RTP packet, parsed once per node. Cloning shares the payload.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Whose.
    pub track: TrackId,
    /// Which rung.
    pub layer: Layer,
    /// The track's codec.
    pub codec: Codec,
    /// Extended sequence number of the publisher's stream for this layer.
    pub ext_seq: u64,
    /// RTP timestamp as on the wire, in the codec's clock.
    pub timestamp: u32,
    /// RTP marker bit.
    pub marker: bool,
    /// Whether a decoder can start with this packet.
    pub keyframe: bool,
    /// The payload's own header.
    pub shape: Shape,
    /// Its place among frames and layers.
    pub mark: Mark,
    /// Dependency descriptor (AV1 RTP specification, appendix A), as on the wire.
    pub descriptor: Option<Arc<[u8]>>,
    /// Header extensions.
    pub extensions: Extensions,
    /// What the publisher means to send, in the packets that say so.
    pub announced: Option<Arc<Announced>>,
    /// The publisher's clock; `None` before its first report.
    pub sender_clock: Option<SenderClock>,
    /// Whose microphone it is of; `None` for all that is none, shared sound among it.
    pub microphone: Option<MemberId>,
    /// When the datagram was received, on the node's monotonic clock.
    pub arrival: Instant,
    /// RTP payload without header, at most [`antipode_base::limits::RTP_MAX`] bytes.
    pub payload: Arc<[u8]>,
}

impl Packet {
    /// The stream whose numbering the packet has: its layer with simulcast, one for all with SVC.
    pub fn stream(&self) -> Layer {
        if self.mark.svc { Layer::BASE } else { self.layer }
    }
}
