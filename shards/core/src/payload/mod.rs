//! What a payload's own header tells a forwarder: where a decoder can start, and VP8's numbers.
//!
//! Pure functions over the RTP payload. They look at a handful of bytes, never follow a length
//! beyond the payload, and answer "no keyframe" where they cannot tell.
//!
//! What the layers of a track are is read beside it:
//!
//! | module | what it reads |
//! | --- | --- |
//! | [`vp8`] | the VP8 payload descriptor: numbers, temporal layer |
//! | [`vp9`] | the VP9 payload descriptor: numbers, layers, scalability structure |
//! | [`dependency`] | the dependency descriptor, a header extension of AV1 and others; rewrites it |
//! | [`allocation`] | video layers allocation, a header extension: which layers at which bitrate |

pub(crate) mod allocation;
pub(crate) mod dependency;
mod list;
pub(crate) mod vp8;
pub(crate) mod vp9;

use antipode_base::media::Codec;
use antipode_relay::packet::{Mark, Shape};

/// What was read of one payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    /// A decoder can start with this packet.
    pub(crate) keyframe: bool,
    /// Numbers that are rewritten per viewer.
    pub(crate) shape: Shape,
    /// Its place among frames and temporal layers.
    pub(crate) mark: Mark,
    /// Spatial layer, where the payload names one.
    pub(crate) layer: Option<u8>,
}

/// The payload's own header is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The size of a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolution {
    /// At most 65536.
    pub(crate) width: u32,
    /// At most 65536.
    pub(crate) height: u32,
}

/// Reads the payload of one packet.
///
/// # Errors
/// [`Malformed`] when the descriptor that the codec requires is cut short. An empty payload (padding
/// only) is malformed for every codec.
pub(crate) fn glance(codec: Codec, payload: &[u8]) -> Result<Glance, Malformed> {
    let keyframe = match codec {
        Codec::Opus | Codec::Pcmu | Codec::Pcma => {
            // Every audio packet can be decoded by itself, well enough.
            if payload.is_empty() {
                return Err(Malformed);
            }
            true
        }
        Codec::Vp8 => return vp8::glance(payload),
        Codec::Vp9 => return vp9::parse(payload).map(|vp9| vp9.glance()),
        Codec::H264 => h264_keyframe(payload).ok_or(Malformed)?,
        Codec::H265 => h265_keyframe(payload).ok_or(Malformed)?,
        Codec::Av1 => av1_keyframe(payload).ok_or(Malformed)?,
    };
    let mark = Mark { begins: keyframe, sync: true, ..Mark::default() };
    Ok(Glance { keyframe, shape: Shape::Plain, mark, layer: None })
}

/// RFC 6184 §5: an IDR slice or a sequence parameter set, alone, aggregated or the first fragment.
fn h264_keyframe(payload: &[u8]) -> Option<bool> {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    let starts = |nal: u8| matches!(nal & 0x1f, IDR | SPS);
    match payload.first()? & 0x1f {
        // STAP-A: 16-bit sizes before each unit.
        24 => Some(units(payload.get(1..)?).any(|unit| unit.first().copied().is_some_and(starts))),
        // FU-A: S bit and the type of the fragmented unit.
        28 => payload.get(1).map(|header| header & 0x80 != 0 && starts(*header)),
        _ => payload.first().copied().map(starts),
    }
}

/// RFC 7798 §4.4: a video or sequence parameter set (types 32 and 33), or the first slice of an IRAP
/// picture (16..=23). A picture parameter set alone may come between any two pictures.
fn h265_keyframe(payload: &[u8]) -> Option<bool> {
    let kind = |byte: u8| byte >> 1 & 0x3f;
    // Behind a slice's header of two bytes: first_slice_segment_in_pic_flag (H.265 §7.3.6.1).
    let starts = |kind: u8, slice: Option<&u8>| match kind {
        16..=23 => slice.is_some_and(|byte| byte & 0x80 != 0),
        other => matches!(other, 32 | 33),
    };
    let unit_starts =
        |unit: &[u8]| unit.first().is_some_and(|byte| starts(kind(*byte), unit.get(2)));
    payload.get(1)?;
    match kind(payload[0]) {
        // Aggregation packet.
        48 => Some(units(payload.get(2..)?).any(unit_starts)),
        // Fragmentation unit: S bit and the type, then what follows the unit's own header.
        49 => {
            payload.get(2).map(|header| header & 0x80 != 0 && starts(header & 0x3f, payload.get(3)))
        }
        _ => Some(unit_starts(payload)),
    }
}

/// AV1 RTP specification §4.4: the N bit says that a coded video sequence starts here.
fn av1_keyframe(payload: &[u8]) -> Option<bool> {
    payload.first().map(|aggregation| aggregation & 0x08 != 0)
}

/// Units behind 16-bit big-endian sizes; ends at the first size that does not fit.
fn units(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (size, rest) = bytes.split_first_chunk::<2>()?;
        let (unit, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        bytes = rest;
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(codec: Codec, payload: &[u8]) -> Option<bool> {
        glance(codec, payload).ok().map(|glance| glance.keyframe)
    }

    #[test]
    fn keyframes_of_the_other_codecs() {
        for (codec, payload, want) in [
            (Codec::Vp9, &[0x88, 0x81, 0x23, 0x00][..], Some(true)), // I, B; 15-bit id
            (Codec::Vp9, &[0xc8, 0x01, 0x00], Some(false)),          // predicted
            (Codec::Vp9, &[0xa8, 0x01, 0x02, 0x00], Some(false)),    // spatial layer 1
            (Codec::Vp9, &[0xa8, 0x01, 0x00, 0x00], Some(true)),     // spatial layer 0
            (Codec::Vp9, &[0x80], None),
            (Codec::H264, &[0x65, 0x88], Some(true)),
            (Codec::H264, &[0x41, 0x9a], Some(false)),
            (Codec::H264, &[0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68], Some(true)),
            (Codec::H264, &[0x78, 0, 9, 0x67], Some(false)), // size beyond the payload
            (Codec::H264, &[0x7c, 0x85, 0], Some(true)),     // first fragment of an IDR
            (Codec::H264, &[0x7c, 0x05, 0], Some(false)),    // a later one
            (Codec::H264, &[0x7c], None),
            // The beginnings of units as x265 wrote them, with two slices a picture.
            (Codec::H265, &[0x40, 0x01, 0x0c, 0x01, 0xff], Some(true)), // VPS
            (Codec::H265, &[0x42, 0x01, 0x01, 0x01, 0x60], Some(true)), // SPS
            (Codec::H265, &[0x44, 0x01, 0xc0, 0x71, 0x80], Some(false)), // PPS
            (Codec::H265, &[0x46, 0x01, 0x10], Some(false)),            // delimiter
            (Codec::H265, &[0x4e, 0x01, 0x05, 0xff, 0xff], Some(false)), // SEI
            (Codec::H265, &[0x28, 0x01, 0xad, 0xc0, 0xc7], Some(true)), // IDR_N_LP
            (Codec::H265, &[0x28, 0x01, 0x33, 0x70], Some(false)),      // its second slice
            (Codec::H265, &[0x2a, 0x01, 0xac, 0x0c, 0xf5], Some(true)), // CRA
            (Codec::H265, &[0x02, 0x01, 0xd0, 0x09, 0x78], Some(false)), // TRAIL_R
            // The first, a later and the last fragment of the IDR, and the first of its second slice.
            (Codec::H265, &[0x62, 0x01, 0x94, 0xad, 0xc0], Some(true)),
            (Codec::H265, &[0x62, 0x01, 0x14, 0xad, 0xc0], Some(false)),
            (Codec::H265, &[0x62, 0x01, 0x54, 0xad], Some(false)),
            (Codec::H265, &[0x62, 0x01, 0x94, 0x33, 0x70], Some(false)),
            (Codec::H265, &[0x62, 0x01], None),
            (Codec::H265, &[0x60, 0x01, 0, 3, 0x46, 1, 0x10, 0, 2, 0x40, 0x01], Some(true)),
            (Codec::H265, &[0x60, 0x01, 0, 3, 0x02, 1, 0xd0, 0, 9, 0x40, 0x01], Some(false)),
            (Codec::H265, &[0x40], None),
            (Codec::Av1, &[0x18, 0x0a], Some(true)),
            (Codec::Av1, &[0x10, 0x32], Some(false)),
            (Codec::Av1, &[], None),
            (Codec::Opus, &[0xfc], Some(true)),
            (Codec::Opus, &[], None),
        ] {
            assert_eq!(plain(codec, payload), want, "{codec:?} {payload:x?}");
        }
    }
}
