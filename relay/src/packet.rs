//! One RTP packet as every stop after the session sees it.

use std::sync::Arc;
use std::time::Instant;

use antipode_base::ids::TrackId;
use antipode_base::media::{Codec, Layer};

/// What the forwarder needs of the payload's own header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing beyond [`Packet::keyframe`].
    Plain,
    /// RFC 7741 §4.2. Absent fields are `None`.
    Vp8 {
        /// PictureID, 7 or 15 bits.
        picture_id: Option<u16>,
        /// Whether it has 15 bits.
        picture_id_long: bool,
        /// TL0PICIDX.
        tl0_pic_idx: Option<u8>,
    },
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
    /// Header extensions.
    pub extensions: Extensions,
    /// The publisher's clock; `None` before its first report.
    pub sender_clock: Option<SenderClock>,
    /// When the datagram was received, on the node's monotonic clock.
    pub arrival: Instant,
    /// RTP payload without header, at most [`antipode_base::limits::RTP_MAX`] bytes.
    pub payload: Arc<[u8]>,
}
