//! The VP9 payload descriptor, RFC 9628 §4.2, read whole.
//!
//! ```text
//!   |I|P|L|F|B|E|V|Z|
//!   |M| picture id  |   I; another byte of it behind M
//!   | TID |U| SID |D|   L
//!   |   TL0PICIDX   |   L without F
//!   |   P_DIFF    |N|   P and F; another one behind N, three at most
//!   | structure ... |   V
//! ```

use std::sync::Arc;

use antipode_relay::packet::{Mark, Pictures, Shape};

use super::list::List;
use super::{Glance, Malformed, Resolution};

const I: u8 = 0x80;
const P: u8 = 0x40;
const L: u8 = 0x20;
const F: u8 = 0x10;
const B: u8 = 0x08;
const E: u8 = 0x04;
const V: u8 = 0x02;
const Z: u8 = 0x01;
/// Of the layer indices: the frame needs the one of the next lower spatial layer.
const D: u8 = 0x01;
/// The 15-bit form of the picture id.
const M: u8 = 0x80;
/// Reference indices of one frame.
const DIFFS_MAX: usize = 3;
/// Spatial layers: their number has three bits.
const SPATIAL_MAX: usize = 8;

/// One descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vp9 {
    /// A decoder can start with this packet: the first of a frame of spatial layer 0 that needs no
    /// earlier picture.
    pub(crate) keyframe: bool,
    /// P: the frame needs frames of earlier pictures.
    pub(crate) predicted: bool,
    /// B: first packet of a frame. A frame is one spatial layer of a picture.
    pub(crate) begins_frame: bool,
    /// E: last packet of a frame.
    pub(crate) ends_frame: bool,
    /// Z: frames of higher spatial layers do not need this frame.
    pub(crate) not_reference: bool,
    /// L: the layer indices are there.
    pub(crate) layered: bool,
    /// SID, 0 to 7.
    pub(crate) spatial: u8,
    /// TID, 0 to 7.
    pub(crate) temporal: u8,
    /// U: a viewer of lower temporal layers can go on with this one and those above from here.
    pub(crate) switching_up: bool,
    /// D: the frame needs the frame of the next lower spatial layer of its picture.
    pub(crate) inter_layer: bool,
    /// F: the frame names what it needs, in `diffs`.
    pub(crate) flexible: bool,
    /// How many pictures back the frames are that this one needs; empty outside the flexible mode.
    pub(crate) diffs: List<u8, DIFFS_MAX>,
    /// The picture id, if it is there.
    pub(crate) picture_id: Option<PictureId>,
    /// TL0PICIDX, if it is there.
    pub(crate) tl0_pic_idx: Option<Tl0PicIdx>,
    /// The scalability structure; with keyframes.
    pub(crate) structure: Option<Scalability>,
    /// Length of the descriptor in bytes.
    pub(crate) length: usize,
}

/// A picture id, and where it stands. It is common to all spatial layers of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureId {
    /// 7 or 15 bits.
    pub(crate) value: u16,
    /// It has 15 bits.
    pub(crate) long: bool,
    /// Offset of its first byte in the payload.
    pub(crate) at: usize,
}

/// The running number of pictures of temporal layer 0, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tl0PicIdx {
    /// Wraps at 256.
    pub(crate) value: u8,
    /// Offset in the payload.
    pub(crate) at: usize,
}

/// The scalability structure, as far as a forwarder needs it. What each picture of a group refers to is
/// checked and left out: the layers and switching points stand in every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalability {
    /// Spatial layers of the stream, 1 to 8.
    pub(crate) spatial_layers: u8,
    /// Per spatial layer; empty when the sender did not say.
    pub(crate) resolutions: List<Resolution, SPATIAL_MAX>,
    /// The group of pictures that repeats, if there is one.
    pub(crate) group: Option<Group>,
}

/// A group of pictures that repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// N_G.
    pub(crate) pictures: u8,
    /// The highest TID among them.
    pub(crate) temporal_max: u8,
}

impl Vp9 {
    /// What a forwarder keeps of it.
    pub(crate) fn glance(&self) -> Glance {
        let (id, tl0) = (self.picture_id, self.tl0_pic_idx);
        // Both stand within the first five bytes.
        let at = |at: usize| at as u8;
        Glance {
            keyframe: self.keyframe,
            shape: Shape::Pictures(Pictures {
                picture_id: id.map(|id| id.value),
                picture_id_long: id.is_some_and(|id| id.long),
                picture_id_at: id.map_or(0, |id| at(id.at)),
                tl0_pic_idx: tl0.map(|tl0| tl0.value),
                tl0_pic_idx_at: tl0.map_or(0, |tl0| at(tl0.at)),
            }),
            mark: Mark {
                begins: self.begins_frame,
                ends: self.ends_frame,
                temporal: self.temporal,
                sync: self.switching_up || !self.predicted,
                opens: 0,
                svc: self.layered,
            },
            layer: self.layered.then_some(self.spatial),
        }
    }
}

/// Reads the descriptor of one packet.
///
/// # Errors
/// [`Malformed`] when it is cut short, or names more than three references.
pub(crate) fn parse(payload: &[u8]) -> Result<Vp9, Malformed> {
    read(&mut Bytes { payload, at: 0 }).ok_or(Malformed)
}

/// A copy of the first packet of a frame, which says that the frame needs the one of the next lower spatial
/// layer of its picture. `None` when it says so already, or is no such packet.
pub(crate) fn tie(payload: &[u8]) -> Option<Arc<[u8]>> {
    let vp9 = parse(payload).ok()?;
    let open = vp9.layered && vp9.spatial > 0 && vp9.begins_frame && !vp9.inter_layer;
    let id = vp9.picture_id.filter(|_| open)?;
    let mut copy: Arc<[u8]> = payload.into();
    let indices = Arc::get_mut(&mut copy)?.get_mut(id.at + 1 + usize::from(id.long))?;
    *indices |= D;
    Some(copy)
}

/// The payload, and how far it was read.
struct Bytes<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.payload.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn pixels(&mut self) -> Option<u32> {
        Some(u32::from(self.next()?) << 8 | u32::from(self.next()?))
    }
}

fn read(bytes: &mut Bytes<'_>) -> Option<Vp9> {
    let first = bytes.next()?;
    let has = |bit: u8| first & bit != 0;
    let picture_id = if has(I) { Some(picture_id(bytes)?) } else { None };
    let indices = if has(L) { bytes.next()? } else { 0 };
    let tl0_pic_idx = if has(L) && !has(F) {
        let at = bytes.at;
        Some(Tl0PicIdx { value: bytes.next()?, at })
    } else {
        None
    };
    let diffs = if has(P) && has(F) { diffs(bytes)? } else { List::default() };
    let structure = if has(V) { Some(scalability(bytes)?) } else { None };
    let spatial = indices >> 1 & 0x07;
    Some(Vp9 {
        keyframe: !has(P) && has(B) && spatial == 0,
        predicted: has(P),
        begins_frame: has(B),
        ends_frame: has(E),
        not_reference: has(Z),
        layered: has(L),
        spatial,
        temporal: indices >> 5,
        switching_up: indices & 0x10 != 0,
        inter_layer: indices & D != 0,
        flexible: has(F),
        diffs,
        picture_id,
        tl0_pic_idx,
        structure,
        length: bytes.at,
    })
}

fn picture_id(bytes: &mut Bytes<'_>) -> Option<PictureId> {
    let at = bytes.at;
    let high = bytes.next()?;
    let long = high & M != 0;
    let mut value = u16::from(high & !M);
    if long {
        value = value << 8 | u16::from(bytes.next()?);
    }
    Some(PictureId { value, long, at })
}

fn diffs(bytes: &mut Bytes<'_>) -> Option<List<u8, DIFFS_MAX>> {
    let mut diffs = List::default();
    loop {
        let byte = bytes.next()?;
        diffs.push(byte >> 1)?;
        if byte & 1 == 0 {
            return Some(diffs);
        }
    }
}

/// RFC 9628 §4.2.1.
///
/// ```text
///   | N_S |Y|G|-|-|-|
///   | width, height |   Y: 16 bits each, N_S + 1 times
///   |      N_G      |   G
///   | T |U| R |-|-|     N_G times, with R bytes of P_DIFF behind each
/// ```
fn scalability(bytes: &mut Bytes<'_>) -> Option<Scalability> {
    let first = bytes.next()?;
    let spatial_layers = (first >> 5) + 1;
    let mut resolutions = List::default();
    if first & 0x10 != 0 {
        for _ in 0..spatial_layers {
            let (width, height) = (bytes.pixels()?, bytes.pixels()?);
            resolutions.push(Resolution { width, height })?;
        }
    }
    let group = if first & 0x08 != 0 { Some(group(bytes)?) } else { None };
    Some(Scalability { spatial_layers, resolutions, group })
}

fn group(bytes: &mut Bytes<'_>) -> Option<Group> {
    let mut group = Group { pictures: bytes.next()?, temporal_max: 0 };
    for _ in 0..group.pictures {
        let picture = bytes.next()?;
        group.temporal_max = group.temporal_max.max(picture >> 5);
        for _ in 0..picture >> 2 & 0x03 {
            bytes.next()?;
        }
    }
    Some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes other numbers into a copy of a payload. Returns whether they were its own.
    fn patch(payload: &[u8], copy: &mut [u8], picture_id: u16, tl0_pic_idx: u8) -> bool {
        match parse(payload).unwrap().glance().shape {
            Shape::Pictures(pictures) => {
                pictures.patch(copy, picture_id, tl0_pic_idx);
                pictures.says(picture_id, tl0_pic_idx)
            }
            Shape::Plain | Shape::Block { .. } => panic!("VP9 has picture numbers"),
        }
    }

    /// The first packet of a keyframe with three spatial and three temporal layers, not flexible.
    const KEY: [u8; 35] = [
        0xaa, // I, L, B, V
        0x92, 0x34, // M, picture id 0x1234
        0x10, // TID 0, U, SID 0, no D
        0x07, // TL0PICIDX
        0x58, // three spatial layers, Y, G
        0x01, 0x40, 0x00, 0xb4, // 320 × 180
        0x02, 0x80, 0x01, 0x68, // 640 × 360
        0x05, 0x00, 0x02, 0xd0, // 1280 × 720
        0x04, // four pictures:
        0x04, 0x04, // TID 0, one reference, 4 back
        0x54, 0x01, // TID 2, U, 1 back
        0x34, 0x02, // TID 1, U, 2 back
        0x5c, 0x01, 0x03, 0x02, // TID 2, U, three references
        0x82, 0x49, 0x83, 0x42, 0x00, 0x13, // the frame's first bytes
    ];
    const KEY_DESCRIPTOR: usize = 29;

    #[test]
    fn a_keyframe_with_its_structure() {
        let read = parse(&KEY).unwrap();
        let mut resolutions = List::default();
        for (width, height) in [(320, 180), (640, 360), (1_280, 720)] {
            resolutions.push(Resolution { width, height }).unwrap();
        }
        let want = Vp9 {
            keyframe: true,
            predicted: false,
            begins_frame: true,
            ends_frame: false,
            not_reference: false,
            layered: true,
            spatial: 0,
            temporal: 0,
            switching_up: true,
            inter_layer: false,
            flexible: false,
            diffs: List::default(),
            picture_id: Some(PictureId { value: 0x1234, long: true, at: 1 }),
            tl0_pic_idx: Some(Tl0PicIdx { value: 7, at: 4 }),
            structure: Some(Scalability {
                spatial_layers: 3,
                resolutions,
                group: Some(Group { pictures: 4, temporal_max: 2 }),
            }),
            length: KEY_DESCRIPTOR,
        };
        assert_eq!(read, want);
        for cut in 0..KEY_DESCRIPTOR {
            assert_eq!(parse(&KEY[..cut]), Err(Malformed), "{cut}");
        }
        assert_eq!(parse(&KEY[..KEY_DESCRIPTOR]), Ok(want), "without a frame");
    }

    #[test]
    fn packets_of_chromium() {
        // L3T3: I, L, F, B, V; 15-bit id 0x2608; U; three layers with their sizes; the sync code of VP9.
        let key = [
            0xba, 0xa6, 0x08, 0x10, 0x50, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68, 0x05,
            0x00, 0x02, 0xd0, 0x83, 0x49, 0x83, 0x42,
        ];
        let read = parse(&key).unwrap();
        assert!(read.keyframe && read.flexible && read.switching_up && !read.not_reference);
        assert_eq!((read.tl0_pic_idx, read.length), (None, 17));
        assert_eq!(read.picture_id, Some(PictureId { value: 0x2608, long: true, at: 1 }));
        let structure = read.structure.unwrap();
        assert_eq!((structure.spatial_layers, structure.group), (3, None));
        let top = Resolution { width: 1_280, height: 720 };
        assert_eq!(structure.resolutions.last(), Some(&top));
        // The next picture: I, P, L, F, B, E, Z; TID 2, U, SID 0; one picture back.
        let delta = parse(&[0xfd, 0x8b, 0x62, 0x50, 0x02, 0x87]).unwrap();
        assert!(delta.begins_frame && delta.ends_frame && delta.not_reference && !delta.keyframe);
        assert_eq!((delta.temporal, delta.spatial, &*delta.diffs), (2, 0, &[1][..]));
        assert_eq!((delta.switching_up, delta.inter_layer, delta.length), (true, false, 5));
    }

    #[test]
    fn layers_of_a_picture() {
        // P, L, E, Z; TID 2, U, SID 2, D; TL0PICIDX 0xff; no picture id.
        let top = parse(&[0x65, 0x55, 0xff, 0x00]).unwrap();
        assert!(top.predicted && top.ends_frame && top.not_reference);
        assert!(top.switching_up && top.inter_layer);
        assert!(!top.keyframe && !top.begins_frame && !top.flexible);
        assert_eq!((top.temporal, top.spatial, top.picture_id), (2, 2, None));
        assert_eq!(top.tl0_pic_idx, Some(Tl0PicIdx { value: 0xff, at: 2 }));
        // The upper layer of a keyframe needs no earlier picture, and is no place to begin.
        let upper = parse(&[0xa8, 0x05, 0x03, 0x07, 0x00]).unwrap();
        assert!(!upper.predicted && upper.inter_layer && !upper.keyframe);
        assert_eq!(upper.picture_id, Some(PictureId { value: 5, long: false, at: 1 }));
        // The same without layers is one; its second packet is not.
        assert!(parse(&[0x88, 0x05, 0x00]).unwrap().keyframe);
        assert!(!parse(&[0x80, 0x05, 0x00]).unwrap().keyframe);
    }

    #[test]
    fn references_of_the_flexible_mode() {
        // I, P, L, F, B: TID 1, SID 1, D, no TL0PICIDX; 1, 2 and 127 pictures back.
        let three = [0xf8, 0x05, 0x23, 0x03, 0x05, 0xfe, 0x00];
        let read = parse(&three).unwrap();
        assert_eq!((&*read.diffs, read.tl0_pic_idx), (&[1, 2, 127][..], None));
        assert_eq!((read.temporal, read.spatial, read.length), (1, 1, 6));
        for cut in 0..6 {
            assert_eq!(parse(&three[..cut]), Err(Malformed), "{cut}");
        }
        // A fourth.
        assert_eq!(parse(&[0xf8, 0x05, 0x23, 0x03, 0x05, 0xff, 0x02, 0x00]), Err(Malformed));
        // Without P there are none, whatever F says.
        assert_eq!(parse(&[0xb8, 0x05, 0x23, 0x03]).unwrap().length, 3);
    }

    #[test]
    fn numbers_are_patched_in_their_own_width() {
        for payload in
            [&[0xaa, 0x92, 0x34, 0x10, 0x07, 0x00, 0x99][..], &[0xa0, 0x12, 0x10, 7, 0x99]]
        {
            let mut copy = payload.to_vec();
            let read = parse(&copy).unwrap();
            let id = read.picture_id.unwrap();
            assert!(patch(payload, &mut copy, id.value, 7), "they are the same");
            assert_eq!(copy, payload, "the same numbers");
            assert!(!patch(payload, &mut copy, id.value, 8) && !patch(payload, &mut copy, 0, 7));
            assert!(!patch(payload, &mut copy, 0xffff, 0xee));
            let again = parse(&copy).unwrap();
            let all = if id.long { 0x7fff } else { 0x7f };
            assert_eq!(again.picture_id, Some(PictureId { value: all, ..id }));
            assert_eq!(again.tl0_pic_idx.map(|index| index.value), Some(0xee));
            assert_eq!(again.length, read.length);
            assert_eq!(copy.last(), Some(&0x99));
            // A shorter payload than the one that was read.
            for cut in 0..copy.len() {
                patch(payload, &mut copy[..cut], 1, 1);
            }
        }
        // Nothing to patch.
        let mut bare = [0x0c, 0x99];
        assert!(patch(&bare.clone(), &mut bare, 0xffff, 0xff));
        assert_eq!(bare, [0x0c, 0x99]);
    }

    #[test]
    fn a_frame_can_be_tied_to_the_one_below_it() {
        for (payload, want) in [
            // I, P, L, B; 15 and 7 bits of picture id; temporal layer 1, spatial layer 2.
            (
                &[0xe8, 0x92, 0x34, 0x24, 0x07, 0x99][..],
                Some(&[0xe8, 0x92, 0x34, 0x25, 7, 0x99][..]),
            ),
            (&[0xe8, 0x12, 0x24, 0x07, 0x99], Some(&[0xe8, 0x12, 0x25, 0x07, 0x99])),
            // It is; of the lowest layer; not the first packet; without layers; cut short.
            (&[0xe8, 0x12, 0x25, 0x07, 0x99], None),
            (&[0xe8, 0x12, 0x20, 0x07, 0x99], None),
            (&[0xe0, 0x12, 0x24, 0x07, 0x99], None),
            (&[0xc8, 0x12, 0x99], None),
            (&[0xe8, 0x92], None),
        ] {
            assert_eq!(tie(payload).as_deref(), want, "{payload:x?}");
        }
    }

    #[test]
    fn the_longest_structure_is_read_to_its_end() {
        // V; eight layers with sizes; 255 pictures of three references.
        let mut longest = vec![0x02, 0xf8];
        longest.extend([0xff; 32]);
        longest.push(255);
        longest.extend([0xfc, 1, 2, 3].repeat(255));
        let structure = parse(&longest).unwrap().structure.unwrap();
        assert_eq!(structure.spatial_layers, 8);
        assert_eq!(structure.resolutions.len(), SPATIAL_MAX);
        assert_eq!(structure.group, Some(Group { pictures: 255, temporal_max: 7 }));
        assert_eq!(parse(&longest[..longest.len() - 1]), Err(Malformed));
    }

    #[test]
    fn no_single_flipped_bit_goes_beyond_the_payload() {
        for bit in 0..KEY.len() * 8 {
            let mut flipped = KEY;
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            for cut in 0..=flipped.len() {
                if let Ok(read) = parse(&flipped[..cut]) {
                    assert!(read.length <= cut, "{bit} {cut}");
                }
            }
        }
    }
}
