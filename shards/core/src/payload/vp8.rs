//! The VP8 payload descriptor, RFC 7741 §4.2 and §4.3.
//!
//! ```text
//!   |X|R|N|S|R| PID |   then, if X:  |I|L|T|K| RSV |  |M| PictureID |  | TL0PICIDX |  |TID|Y|KEYIDX|
//! ```
//!
//! A sender that attaches dependency descriptors may leave all of it out, since they say the same:
//! Chromium then writes the first byte alone, without picture id and temporal layer.

use antipode_relay::packet::{Mark, Pictures, Shape};

use super::{Glance, Malformed};

const X: u8 = 0x80;
const N: u8 = 0x20;
const S: u8 = 0x10;
const PID: u8 = 0x07;
const I: u8 = 0x80;
const L: u8 = 0x40;
const T: u8 = 0x20;
const K: u8 = 0x10;
/// The 15-bit form of the picture id.
const M: u8 = 0x80;
const Y: u8 = 0x20;
/// In the first byte of a VP8 frame, RFC 7741 §4.3: the inverse key frame flag.
const P: u8 = 0x01;

/// Where a packet stands among the temporal layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vp8Layers {
    /// TID, 0 to 3; `None` when the sender does not say.
    pub(crate) temporal: Option<u8>,
    /// Y: the frame needs frames of temporal layer 0 alone, so that a viewer of lower layers can begin
    /// with this one. False without a TID.
    pub(crate) sync: bool,
    /// N: no other frame needs this one.
    pub(crate) non_reference: bool,
}

/// All fields of the descriptor that mean something to a forwarder.
struct Header {
    first: u8,
    picture_id: Option<u16>,
    picture_id_long: bool,
    picture_id_at: u8,
    tl0_pic_idx: Option<u8>,
    tl0_pic_idx_at: u8,
    /// TID, Y and KEYIDX where T says that the first two count.
    tid: Option<u8>,
    /// The first byte behind the descriptor.
    frame: u8,
}

fn header(payload: &[u8]) -> Result<Header, Malformed> {
    let mut bytes = payload.iter().copied();
    let mut next = || bytes.next().ok_or(Malformed);
    let first = next()?;
    let mut picture_id = None;
    let mut picture_id_long = false;
    let mut tl0_pic_idx = None;
    let mut tid = None;
    let (mut picture_id_at, mut tl0_pic_idx_at) = (0, 0);
    if first & X != 0 {
        let present = next()?;
        if present & I != 0 {
            picture_id_at = 2;
            let high = next()?;
            picture_id_long = high & M != 0;
            picture_id = Some(if picture_id_long {
                u16::from(high & !M) << 8 | u16::from(next()?)
            } else {
                u16::from(high)
            });
        }
        if present & L != 0 {
            tl0_pic_idx_at = 2 + u8::from(present & I != 0) + u8::from(picture_id_long);
            tl0_pic_idx = Some(next()?);
        }
        if present & (T | K) != 0 {
            let byte = next()?;
            // With K alone the byte is there, and TID and Y mean nothing.
            tid = (present & T != 0).then_some(byte);
        }
    }
    let frame = next()?;
    Ok(Header {
        first,
        picture_id,
        picture_id_long,
        picture_id_at,
        tl0_pic_idx,
        tl0_pic_idx_at,
        tid,
        frame,
    })
}

/// Whether a decoder can start here, and the numbers that are rewritten per viewer.
///
/// # Errors
/// [`Malformed`] when the descriptor is cut short, or nothing is behind it.
pub(crate) fn glance(payload: &[u8]) -> Result<Glance, Malformed> {
    let header = header(payload)?;
    let starts_frame = header.first & S != 0 && header.first & PID == 0;
    let keyframe = starts_frame && header.frame & P == 0;
    let tid = header.tid.unwrap_or(0);
    Ok(Glance {
        keyframe,
        shape: Shape::Pictures(Pictures {
            picture_id: header.picture_id,
            picture_id_long: header.picture_id_long,
            picture_id_at: header.picture_id_at,
            tl0_pic_idx: header.tl0_pic_idx,
            tl0_pic_idx_at: header.tl0_pic_idx_at,
        }),
        mark: Mark {
            begins: starts_frame,
            temporal: tid >> 6,
            sync: keyframe || tid & Y != 0,
            ..Mark::default()
        },
        layer: None,
    })
}

/// Where the packet stands among the temporal layers.
///
/// # Errors
/// As [`glance`].
pub(crate) fn layers(payload: &[u8]) -> Result<Vp8Layers, Malformed> {
    let header = header(payload)?;
    Ok(Vp8Layers {
        temporal: header.tid.map(|byte| byte >> 6),
        sync: header.tid.is_some_and(|byte| byte & Y != 0),
        non_reference: header.first & N != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(picture_id: Option<u16>, picture_id_long: bool, tl0_pic_idx: Option<u8>) -> Pictures {
        Pictures {
            picture_id,
            picture_id_long,
            picture_id_at: 2 * u8::from(picture_id.is_some()),
            tl0_pic_idx,
            tl0_pic_idx_at: if tl0_pic_idx.is_some() { 4 } else { 0 },
        }
    }

    fn seen(payload: &[u8]) -> Result<(bool, Pictures), Malformed> {
        glance(payload).map(|glance| match glance.shape {
            Shape::Pictures(pictures) => (glance.keyframe, pictures),
            Shape::Plain | Shape::Block { .. } => panic!("VP8 has picture numbers"),
        })
    }

    #[test]
    fn golden_bytes() {
        // As Chromium sends them: X, I with 15 bits, L, T.
        let key = [0x90, 0xe0, 0x92, 0x34, 0x07, 0x20, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a];
        let numbers = shape(Some(0x1234), true, Some(7));
        assert_eq!(seen(&key), Ok((true, numbers)));
        let mut delta = key;
        delta[6] |= 1;
        assert_eq!(seen(&delta), Ok((false, numbers)));
        let mut middle = key;
        middle[0] = 0x80;
        assert_eq!(seen(&middle), Ok((false, numbers)));
        // The shortest descriptor, and a 7-bit picture id.
        let bare = shape(None, false, None);
        assert_eq!(seen(&[0x10, 0x10]), Ok((true, bare)));
        let short = shape(Some(5), false, None);
        assert_eq!(seen(&[0x90, 0x80, 0x05, 0x10]), Ok((true, short)));
        for cut in 0..7 {
            assert_eq!(glance(&key[..cut]), Err(Malformed), "{cut}");
            assert_eq!(layers(&key[..cut]), Err(Malformed), "{cut}");
        }
    }

    #[test]
    fn temporal_layers() {
        let of = |temporal, sync, non_reference| Ok(Vp8Layers { temporal, sync, non_reference });
        for (payload, want) in [
            // X, S; I (15 bits), L, T; picture id 0x1234; TL0PICIDX 7; TID 0, Y.
            (&[0x90, 0xe0, 0x92, 0x34, 0x07, 0x20, 0x10][..], of(Some(0), true, false)),
            // N: TID 2 and no Y, as in the top of three layers.
            (&[0xb0, 0xe0, 0x92, 0x35, 0x07, 0x80, 0x11], of(Some(2), false, true)),
            // TID 1 with Y, and a KEYIDX of 31 behind it (K).
            (&[0x90, 0xf0, 0x92, 0x36, 0x07, 0x7f, 0x11], of(Some(1), true, false)),
            // K alone: TID 3 and Y are in the byte and do not count.
            (&[0x90, 0x10, 0xe5, 0x11], of(None, false, false)),
            // X without any field, and no X.
            (&[0x90, 0x00, 0x11], of(None, false, false)),
            (&[0x30, 0x11], of(None, false, true)),
        ] {
            assert_eq!(layers(payload), want, "{payload:x?}");
            for cut in 0..payload.len() {
                assert_eq!(layers(&payload[..cut]), Err(Malformed), "{cut} of {payload:x?}");
            }
        }
    }
}
