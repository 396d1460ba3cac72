//! Video layers allocation, version 0: which layers a sender sends now, and at which bitrate.
//!
//! The header extension `http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00`; its
//! page in libwebrtc is all the specification that there is. A stream is one simulcast encoding, in the
//! order in which the description lists them.
//!
//! ```text
//!   |RID| NS| sl_bm |   the stream of this packet, streams - 1, spatial layers of every stream
//!   |sl0_bm |sl1_bm |   when sl_bm is 0: spatial layers of each; two streams a byte
//!   |#tl|#tl|#tl|#tl|   temporal layers - 1 of each spatial layer of each stream
//!   | leb128 kbit/s |   for each temporal layer, with all that it needs
//!   | width-1, height-1: 16 bits each; frames/s: 8 bits |   for each spatial layer; may be left out
//! ```
//!
//! A single zero byte says that nothing is sent.

use antipode_base::media::Bitrate;

use super::list::List;
use super::{Malformed, Resolution};

/// Streams of one sender: their number has two bits.
const STREAMS_MAX: usize = 4;
/// Spatial layers of one stream: one bit each.
const SPATIAL_MAX: usize = 4;
/// Temporal layers of one spatial layer: their number has two bits.
const TEMPORAL_MAX: usize = 4;
/// Spatial layers of all streams.
const LAYERS_MAX: usize = STREAMS_MAX * SPATIAL_MAX;
/// Bytes of a bitrate: 35 bits.
const LEB128_MAX: usize = 5;
/// Bytes of a resolution with its frame rate.
const PICTURE: usize = 5;

/// What a sender sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// The stream that carried the message, 0 to 3.
    pub(crate) stream: u8,
    /// Streams of the sender, 1 to 4, with those that are not sent.
    pub(crate) streams: u8,
    /// What is sent, by stream and spatial id in ascending order.
    pub(crate) layers: List<SpatialLayer, LAYERS_MAX>,
}

/// One spatial layer of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpatialLayer {
    /// Its stream, 0 to 3.
    pub(crate) stream: u8,
    /// Spatial id within the stream, 0 to 3.
    pub(crate) spatial: u8,
    /// Target for each temporal layer, 1 to 4 of them: all that a viewer must receive for it, so with
    /// lower temporal layers and with the spatial layers that it needs.
    pub(crate) bitrates: List<Bitrate, TEMPORAL_MAX>,
    /// Size and frame rate, where the sender tells.
    pub(crate) picture: Option<Picture>,
}

/// Size and frame rate of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// As encoded.
    pub(crate) resolution: Resolution,
    /// Frames per second, at most.
    pub(crate) fps_max: u8,
}

/// Reads one message.
///
/// # Errors
/// [`Malformed`] when it is cut short, has something behind its end, names a stream beyond their number,
/// or a bitrate of more than 35 bits.
pub(crate) fn parse(bytes: &[u8]) -> Result<Allocation, Malformed> {
    if bytes == [0] {
        return Ok(Allocation { streams: 1, ..Allocation::default() });
    }
    read(bytes).ok_or(Malformed)
}

fn read(mut bytes: &[u8]) -> Option<Allocation> {
    let first = take(&mut bytes)?;
    let (stream, streams) = (first >> 6, (first >> 4 & 0x03) + 1);
    (stream < streams).then_some(())?;
    let mut layers = layers(&mut bytes, streams, first & 0x0f)?;
    let (counts, mut bytes) = bytes.split_at_checked(layers.len().div_ceil(4))?;
    for (index, layer) in layers.iter_mut().enumerate() {
        let temporal_layers = (counts[index / 4] >> (6 - 2 * (index % 4)) & 0x03) + 1;
        for _ in 0..temporal_layers {
            layer.bitrates.push(bitrate(&mut bytes)?)?;
        }
    }
    // Nothing says whether the pictures are there but that bytes are left.
    if !bytes.is_empty() {
        for layer in layers.iter_mut() {
            layer.picture = Some(picture(&mut bytes)?);
        }
    }
    bytes.is_empty().then_some(Allocation { stream, streams, layers })
}

/// The layers that are sent, with nothing known of them. `common` is the mask of every stream, or 0 when
/// each has its own.
fn layers(bytes: &mut &[u8], streams: u8, common: u8) -> Option<List<SpatialLayer, LAYERS_MAX>> {
    let mut layers = List::default();
    let mut pair = 0;
    for stream in 0..streams {
        let mask = match (common, stream % 2) {
            (0, 0) => {
                pair = take(bytes)?;
                pair >> 4
            }
            (0, _) => pair & 0x0f,
            _ => common,
        };
        for spatial in (0..SPATIAL_MAX as u8).filter(|spatial| mask >> spatial & 1 == 1) {
            layers.push(SpatialLayer { stream, spatial, ..SpatialLayer::default() })?;
        }
    }
    Some(layers)
}

fn take(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

/// Kilobits per second in LEB128: seven bits a byte, the lowest first, the highest bit set in all but
/// the last.
fn bitrate(bytes: &mut &[u8]) -> Option<Bitrate> {
    let mut kbps = 0;
    for index in 0..LEB128_MAX {
        let byte = take(bytes)?;
        kbps |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(Bitrate(kbps * 1_000));
        }
    }
    None
}

fn picture(bytes: &mut &[u8]) -> Option<Picture> {
    let ([w1, w0, h1, h0, fps_max], rest) = bytes.split_first_chunk::<PICTURE>()?;
    *bytes = rest;
    let pixels = |high: &u8, low: &u8| u32::from(u16::from_be_bytes([*high, *low])) + 1;
    let resolution = Resolution { width: pixels(w1, w0), height: pixels(h1, h0) };
    Some(Picture { resolution, fps_max: *fps_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (stream, spatial, kbit/s per temporal layer, width × height @ frames/s)
    type Row<K> = (u8, u8, K, Option<(u32, u32, u8)>);

    fn rows(allocation: &Allocation) -> Vec<Row<Vec<u64>>> {
        let row = |layer: &SpatialLayer| {
            let kbps = layer.bitrates.iter().map(|bitrate| bitrate.0 / 1_000).collect();
            let picture = layer.picture.map(|Picture { resolution, fps_max }| {
                (resolution.width, resolution.height, fps_max)
            });
            (layer.stream, layer.spatial, kbps, picture)
        };
        allocation.layers.iter().map(row).collect()
    }

    fn check(bytes: &[u8], stream: u8, streams: u8, want: &[Row<&[u64]>]) {
        let allocation = parse(bytes).unwrap();
        assert_eq!((allocation.stream, allocation.streams), (stream, streams), "{bytes:x?}");
        let want: Vec<_> = want.iter().map(|(s, l, k, p)| (*s, *l, k.to_vec(), *p)).collect();
        assert_eq!(rows(&allocation), want, "{bytes:x?}");
        // With the pictures cut off it is a message of its own; any other part is none.
        let pictures = want.iter().filter(|row| row.3.is_some()).count() * PICTURE;
        for cut in 0..bytes.len() {
            let part = parse(&bytes[..cut]);
            assert_eq!(part.is_ok(), cut == bytes.len() - pictures, "{cut} of {bytes:x?}");
        }
        assert_eq!(parse(&[bytes, &[0]].concat()), Err(Malformed), "a byte too many");
    }

    #[test]
    fn golden_bytes() {
        // Three simulcast streams of L1T3 as Chromium 156 sends them, on the third.
        let simulcast = [
            0xa1,          // RID 2, three streams, spatial layer 0 of each
            0b10_10_10_00, // three temporal layers each, padding
            0x39,
            0x55,
            0x8e,
            0x01, // 57, 85, 142
            0xa8,
            0x01,
            0xfc,
            0x01,
            0xa4,
            0x03, // 168, 252, 420
            0xd8,
            0x04,
            0x84,
            0x07,
            0xdc,
            0x0b, // 600, 900, 1500
            0x01,
            0x3f,
            0x00,
            0xb3,
            27, // 320 × 180 @ 27
            0x02,
            0x7f,
            0x01,
            0x67,
            27, // 640 × 360 @ 27
            0x04,
            0xff,
            0x02,
            0xcf,
            27, // 1280 × 720 @ 27
        ];
        let want: [Row<&[u64]>; 3] = [
            (0, 0, &[57, 85, 142], Some((320, 180, 27))),
            (1, 0, &[168, 252, 420], Some((640, 360, 27))),
            (2, 0, &[600, 900, 1_500], Some((1_280, 720, 27))),
        ];
        check(&simulcast, 2, 3, &want);
        // One stream of VP9 L3T3_KEY whose upper two spatial layers the encoder does not send yet.
        let svc = [0x01, 0x80, 0x4d, 0x64, 0x8e, 0x01, 0x01, 0x3f, 0x00, 0xb3, 0x3c];
        check(&svc, 0, 1, &[(0, 0, &[77, 100, 142], Some((320, 180, 60)))]);
    }

    #[test]
    fn streams_of_unequal_layers() {
        // Stream 0 sends nothing, stream 1 its spatial layers 0 and 2, stream 2 its layer 1.
        let bytes = [
            0x20,          // RID 0, three streams, no common mask
            0b0000_0101,   // masks of streams 0 and 1
            0b0010_0000,   // mask of stream 2, padding
            0b00_01_11_00, // one, two and four temporal layers, padding
            0x00,          // 0
            0x01,
            0x7f, // 1, 127
            0x80,
            0x01,
            0x81,
            0x01,
            0xff,
            0x7f,
            0x80,
            0x80,
            0x01, // 128, 129, 16383, 16384
        ];
        let want: [Row<&[u64]>; 3] = [
            (1, 0, &[0], None),
            (1, 2, &[1, 127], None),
            (2, 1, &[128, 129, 16_383, 16_384], None),
        ];
        check(&bytes, 0, 3, &want);
    }

    #[test]
    fn as_much_as_there_can_be() {
        // Four streams of four spatial layers, five counts: four temporal layers each.
        let mut bytes = vec![0xff, 0xff, 0xff, 0xff, 0xff];
        bytes.extend([[0xff, 0xff, 0xff, 0xff, 0x7f]; 64].concat());
        let pictures = [[0xff; PICTURE]; 16].concat();
        for (bytes, picture) in
            [(bytes.clone(), None), ([&bytes[..], &pictures].concat(), Some((65_536, 65_536, 255)))]
        {
            let allocation = parse(&bytes).unwrap();
            assert_eq!(allocation.layers.len(), LAYERS_MAX);
            for (_, _, kbps, seen) in rows(&allocation) {
                assert_eq!((kbps, seen), (vec![(1 << 35) - 1; 4], picture));
            }
        }
        let mut longer = bytes.clone();
        longer[5 + 4] = 0xff;
        assert_eq!(parse(&longer), Err(Malformed), "a bitrate without an end");
    }

    #[test]
    fn nothing_sent_and_nothing_said() {
        let nothing = Allocation { stream: 0, streams: 1, layers: List::default() };
        assert_eq!(parse(&[0x00]), Ok(nothing));
        // The same in full: two streams with a mask each.
        assert_eq!(parse(&[0x50, 0x00]), Ok(Allocation { stream: 1, streams: 2, ..nothing }));
        assert_eq!(parse(&[]), Err(Malformed));
        assert_eq!(parse(&[0x10]), Err(Malformed));
        // Stream 1 of one.
        assert_eq!(parse(&[0x41, 0x00, 0x05]), Err(Malformed));
    }
}
