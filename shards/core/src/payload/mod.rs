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
//! | [`vp9`] | the VP9 payload descriptor: numbers, layers, scalability structure; patches the numbers |
//! | [`dependency`] | the dependency descriptor, a header extension of AV1 and others; rewrites it |
//! | [`allocation`] | video layers allocation, a header extension: which layers at which bitrate |

pub(crate) mod allocation;
pub(crate) mod dependency;
mod list;
pub(crate) mod vp8;
pub(crate) mod vp9;

use antipode_base::media::Codec;
use antipode_relay::packet::Shape;

/// What was read of one payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    /// A decoder can start with this packet.
    pub(crate) keyframe: bool,
    /// Numbers that are rewritten per viewer.
    pub(crate) shape: Shape,
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
        Codec::Vp9 => vp9_keyframe(payload).ok_or(Malformed)?,
        Codec::H264 => h264_keyframe(payload).ok_or(Malformed)?,
        Codec::H265 => h265_keyframe(payload).ok_or(Malformed)?,
        Codec::Av1 => av1_keyframe(payload).ok_or(Malformed)?,
    };
    Ok(Glance { keyframe, shape: Shape::Plain })
}

/// Overwrites the picture numbers of a VP8 payload, which keep their widths. A payload that has no
/// such field, or is cut short, stays as it is there.
pub(crate) fn patch_vp8(payload: &mut [u8], picture_id: Option<u16>, tl0_pic_idx: Option<u8>) {
    let [first, present, rest @ ..] = payload else { return };
    if *first & 0x80 == 0 {
        return;
    }
    let mut at = 0;
    if *present & 0x80 != 0 {
        let Some(high) = rest.first().copied() else { return };
        let long = high & 0x80 != 0;
        if let Some(id) = picture_id {
            let [upper, lower] = id.to_be_bytes();
            match rest {
                [a, b, ..] if long => (*a, *b) = (upper | 0x80, lower),
                [a, ..] if !long => *a = lower & 0x7f,
                _ => return,
            }
        }
        at = if long { 2 } else { 1 };
    }
    if *present & 0x40 != 0
        && let (Some(field), Some(value)) = (rest.get_mut(at), tl0_pic_idx)
    {
        *field = value;
    }
}

/// RFC 9628 §4.2: not predicted (P=0), begins a frame (B=1), and is the lowest spatial layer.
fn vp9_keyframe(payload: &[u8]) -> Option<bool> {
    const I: u8 = 0x80;
    const P: u8 = 0x40;
    const L: u8 = 0x20;
    const B: u8 = 0x08;
    let mut bytes = payload.iter().copied();
    let first = bytes.next()?;
    if first & I != 0 && bytes.next()? & 0x80 != 0 {
        bytes.next()?;
    }
    let spatial = if first & L != 0 { bytes.next()? >> 1 & 0x07 } else { 0 };
    Some(first & (P | B) == B && spatial == 0)
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

/// RFC 7798 §4.4: an IRAP slice (types 16..=23) or a parameter set (32..=34).
fn h265_keyframe(payload: &[u8]) -> Option<bool> {
    let kind = |byte: u8| byte >> 1 & 0x3f;
    let starts = |kind: u8| matches!(kind, 16..=23 | 32..=34);
    payload.get(1)?;
    match kind(payload[0]) {
        // Aggregation packet.
        48 => Some(units(payload.get(2..)?).any(|u| u.first().is_some_and(|b| starts(kind(*b))))),
        // Fragmentation unit: S bit and the type.
        49 => payload.get(2).map(|header| header & 0x80 != 0 && starts(header & 0x3f)),
        other => Some(starts(other)),
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
    fn patches_vp8_numbers_in_place() {
        for (name, before, id, tl0, after) in [
            (
                "long",
                &[0x90, 0xe0, 0x92, 0x34, 7, 0x20, 0][..],
                0x0123,
                9,
                &[0x90, 0xe0, 0x81, 0x23, 9, 0x20, 0][..],
            ),
            ("short", &[0x90, 0xc0, 0x12, 7, 0], 0x45, 9, &[0x90, 0xc0, 0x45, 9, 0]),
            ("no id", &[0x90, 0x60, 7, 0x20, 0], 5, 9, &[0x90, 0x60, 9, 0x20, 0]),
            ("no extension", &[0x10, 0, 1], 5, 9, &[0x10, 0, 1]),
            ("cut", &[0x90, 0x80, 0x92], 5, 9, &[0x90, 0x80, 0x92]),
            ("empty", &[], 5, 9, &[]),
        ] {
            let mut payload = before.to_vec();
            patch_vp8(&mut payload, Some(id), Some(tl0));
            assert_eq!(payload, after, "{name}");
        }
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
            (Codec::H265, &[0x40, 0x01, 0], Some(true)), // VPS
            (Codec::H265, &[0x26, 0x01, 0], Some(true)), // IDR_W_RADL
            (Codec::H265, &[0x02, 0x01, 0], Some(false)),
            (Codec::H265, &[0x62, 0x01, 0x93], Some(true)), // first fragment of an IDR
            (Codec::H265, &[0x60, 0x01, 0, 2, 0x40, 0x01], Some(true)),
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
