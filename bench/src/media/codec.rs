//! Codec headers as forwarders read them, around bodies that no decoder would like: the harness's
//! receivers decode nothing.
//!
//! ```text
//! VP8   | descriptor (RFC 7741 §4.2) | frame tag, start code, size: first packet only | body |
//! H264  | FU indicator, FU header (RFC 6184 §5.8) | body |      slices of more than one packet
//!       | NAL header | body |                                   slices of one packet
//!       | STAP-A: SPS, PPS, SEI with the body (§5.7.1) |        before each IDR
//! Opus  | TOC (RFC 6716 §3.1) | body |
//! ```

/// What a camera or a microphone is encoded with.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Video.
    Vp8,
    /// Video, packetization mode 1.
    H264,
    /// Sound.
    #[value(skip)]
    Opus,
}

/// Where a packet stands in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first of its frame.
    pub first: bool,
    /// The last.
    pub last: bool,
    /// Of a keyframe.
    pub keyframe: bool,
}

/// VP8's numbers of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// 15 bits.
    pub id: u16,
    /// TL0PICIDX.
    pub tl0: u8,
    /// Pixels; keyframes say them.
    pub size: (u16, u16),
}

/// SPS of a constrained baseline stream, level 3.1, and a PPS: enough for a forwarder.
const SPS: [u8; 9] = [0x67, 0x42, 0xe0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xc4];
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];
const NAL_SEI: u8 = 6;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;
/// A 20 ms frame of CELT, full band, mono, one frame a packet.
const OPUS_TOC: u8 = 31 << 3;

/// The largest header that a body may get, in bytes: VP8's first packet of a keyframe.
pub const HEADER_MAX: usize = 16;

/// Appends a VP8 header.
pub fn vp8(place: Place, picture: Picture, out: &mut Vec<u8>) {
    // X, and S at the start of the (only) partition.
    out.push(0x80 | u8::from(place.first) << 4);
    // I, L, T: picture id, TL0PICIDX, TID follow; a picture id of two bytes has M set.
    out.push(0xe0);
    out.extend_from_slice(&(picture.id | 0x8000).to_be_bytes());
    out.push(picture.tl0);
    // TID 0, and no layer sync: one temporal layer.
    out.push(0);
    if !place.first {
        return;
    }
    // RFC 6386 §9.1: bit 0 is clear for a keyframe; shown; a first partition of 64 bytes.
    let tag: u32 = u32::from(!place.keyframe) | 1 << 4 | 64 << 5;
    out.extend_from_slice(&tag.to_le_bytes()[..3]);
    if place.keyframe {
        out.extend_from_slice(&[0x9d, 0x01, 0x2a]);
        out.extend_from_slice(&picture.size.0.to_le_bytes());
        out.extend_from_slice(&picture.size.1.to_le_bytes());
    }
}

/// Appends an H264 header. `parameters`: the packet holds SPS and PPS instead of a slice; then
/// `body_len` bytes must follow.
pub fn h264(place: Place, parameters: bool, body_len: usize, out: &mut Vec<u8>) {
    if parameters {
        out.push(0x60 | NAL_STAP_A);
        for nal in [&SPS[..], &PPS[..]] {
            out.extend_from_slice(&(nal.len() as u16).to_be_bytes());
            out.extend_from_slice(nal);
        }
        out.extend_from_slice(&(body_len as u16 + 1).to_be_bytes());
        return out.push(NAL_SEI);
    }
    // An IDR slice matters most (NRI 3), another less.
    let (nri, nal) = if place.keyframe { (0x60, 5) } else { (0x40, 1) };
    if place.first && place.last {
        return out.push(nri | nal);
    }
    out.push(nri | NAL_FU_A);
    out.push(u8::from(place.first) << 7 | u8::from(place.last) << 6 | nal);
}

/// Appends an Opus header.
pub fn opus(out: &mut Vec<u8>) {
    out.push(OPUS_TOC);
}

/// The body of a packet, whatever a server made of the header in front of it. `None`: it is no
/// packet of the codec.
pub fn body(codec: Codec, payload: &[u8]) -> Option<&[u8]> {
    match codec {
        Codec::Vp8 => vp8_body(payload),
        Codec::H264 => h264_body(payload),
        Codec::Opus => payload.get(1..),
    }
}

fn vp8_body(payload: &[u8]) -> Option<&[u8]> {
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        let more = *payload.get(1)?;
        at = 2;
        if more & 0x80 != 0 {
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(more & 0x40 != 0);
        at += usize::from(more & 0x30 != 0);
    }
    // S, and partition 0: the frame's own header comes next.
    if first & 0x17 == 0x10 {
        at += if payload.get(at)? & 1 == 0 { 10 } else { 3 };
    }
    payload.get(at..)
}

fn h264_body(payload: &[u8]) -> Option<&[u8]> {
    match payload.first()? & 0x1f {
        1..=23 => payload.get(1..),
        NAL_FU_A => payload.get(2..),
        NAL_STAP_A => {
            let mut rest = &payload[1..];
            loop {
                let (length, after) = rest.split_at_checked(2)?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                let (nal, behind) = after.split_at_checked(length)?;
                if nal.first()? & 0x1f == NAL_SEI {
                    return nal.get(1..);
                }
                rest = behind;
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_found_behind_every_header() {
        let places = [(true, true), (true, false), (false, false), (false, true)];
        for (first, last) in places {
            for keyframe in [true, false] {
                let place = Place { first, last, keyframe };
                let picture = Picture { id: 0x7fff, tl0: 255, size: (1280, 720) };
                let mut out = Vec::new();
                vp8(place, picture, &mut out);
                assert!(out.len() <= HEADER_MAX, "{place:?}");
                out.extend_from_slice(b"body");
                assert_eq!(body(Codec::Vp8, &out), Some(&b"body"[..]), "{place:?}");
                let mut out = Vec::new();
                h264(place, false, 4, &mut out);
                out.extend_from_slice(b"body");
                assert_eq!(body(Codec::H264, &out), Some(&b"body"[..]), "{place:?}");
            }
        }
        let mut out = Vec::new();
        h264(Place { first: true, last: false, keyframe: true }, true, 4, &mut out);
        out.extend_from_slice(b"body");
        assert_eq!(body(Codec::H264, &out), Some(&b"body"[..]));
        let mut out = Vec::new();
        opus(&mut out);
        out.extend_from_slice(b"body");
        assert_eq!(body(Codec::Opus, &out), Some(&b"body"[..]));
    }

    /// A server may write another descriptor, as one that shortens picture ids does.
    #[test]
    fn a_body_is_found_behind_other_descriptors_of_vp8() {
        let rows: [&[u8]; 4] =
            [&[0x00], &[0x80, 0x80, 0x11], &[0x80, 0x20, 0x40], &[0x90, 0xa0, 0x12, 0x60, 1, 0, 0]];
        for header in rows {
            let mut out = header.to_vec();
            out.extend_from_slice(b"body");
            assert_eq!(body(Codec::Vp8, &out), Some(&b"body"[..]), "{header:x?}");
        }
    }

    #[test]
    fn what_is_cut_is_no_body_and_no_panic() {
        for codec in [Codec::Vp8, Codec::H264, Codec::Opus] {
            for head in 0..=255 {
                for length in 0..4 {
                    let packet = vec![head; length];
                    if let Some(found) = body(codec, &packet) {
                        assert!(found.len() < packet.len(), "{codec:?} {packet:x?}");
                    }
                }
            }
        }
    }
}
