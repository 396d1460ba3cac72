//! Synthetic media that says of itself what it is, so that an oracle can judge it anywhere.
//!
//! ```text
//!   VP8 descriptor (RFC 7741 §4.2), 15-bit PictureID, TL0PICIDX, TID     6 bytes
//!   first byte of the frame: P bit as VP8 has it (0 in a keyframe)       1 byte
//!   mark | track | layer | frame | index | count | keyframe              4+8+1+4+2+2+1 bytes
//!   filling
//! ```
//!
//! Audio has an Opus TOC byte in place of descriptor and frame byte.

/// Says that the rest is ours.
const MARK: [u8; 4] = *b"ANTI";
/// Bytes behind the codec's own header.
const BODY: usize = 22;
/// Bytes of the VP8 descriptor as it is written here.
const DESCRIPTOR: usize = 6;
/// Opus TOC: CELT fullband 20 ms, stereo, one frame (RFC 6716 §3.1).
const OPUS: u8 = 0xfc;

/// What one packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// The track's id.
    pub track: u64,
    /// Rung, 0 for audio.
    pub layer: u8,
    /// Number of the frame within the layer.
    pub frame: u32,
    /// The packet's place in its frame.
    pub index: u16,
    /// Packets of the frame.
    pub count: u16,
    /// Whether the frame is a keyframe; audio always is.
    pub keyframe: bool,
}

impl Tag {
    /// Whether a decoder can start here.
    pub fn starts(&self) -> bool {
        self.keyframe && self.index == 0
    }
}

/// VP8's own numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vp8 {
    /// 15 bits.
    pub picture_id: u16,
    /// TL0PICIDX.
    pub tl0: u8,
    /// Temporal layer.
    pub tid: u8,
}

/// Writes a video packet of at least `len` bytes.
pub fn video(tag: &Tag, vp8: &Vp8, len: usize) -> Vec<u8> {
    let start = if tag.index == 0 { 0x10 } else { 0 };
    let [high, low] = vp8.picture_id.to_be_bytes();
    let frame = if tag.index == 0 { u8::from(!tag.keyframe) } else { 0xab };
    // X; I, L and T present; M says that the PictureID is long; Y is not set.
    // Y: frames of the upper temporal layer need the lower one alone.
    let sync = if vp8.tid > 0 { 0x20 } else { 0 };
    let mut out = vec![0x80 | start, 0xe0, 0x80 | high, low, vp8.tl0, vp8.tid << 6 | sync, frame];
    body(tag, &mut out);
    fill(&mut out, len);
    out
}

/// Writes an audio packet of at least `len` bytes.
pub fn audio(tag: &Tag, len: usize) -> Vec<u8> {
    let mut out = vec![OPUS];
    body(tag, &mut out);
    fill(&mut out, len);
    out
}

fn body(tag: &Tag, out: &mut Vec<u8>) {
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&tag.track.to_be_bytes());
    out.push(tag.layer);
    out.extend_from_slice(&tag.frame.to_be_bytes());
    out.extend_from_slice(&tag.index.to_be_bytes());
    out.extend_from_slice(&tag.count.to_be_bytes());
    out.push(u8::from(tag.keyframe));
}

fn fill(out: &mut Vec<u8>, len: usize) {
    let filling = 0x55;
    out.resize(len.max(out.len()), filling);
}

/// Reads a packet. `None` for what was not written here.
pub fn read(payload: &[u8]) -> Option<(Tag, Option<Vp8>)> {
    if *payload.first()? == OPUS {
        return Some((read_body(payload.get(1..)?)?, None));
    }
    let head = payload.get(..DESCRIPTOR + 1)?;
    if head[0] & 0x80 == 0 || head[1] != 0xe0 || head[2] & 0x80 == 0 {
        return None;
    }
    let picture_id = u16::from_be_bytes([head[2] & 0x7f, head[3]]);
    let vp8 = Vp8 { picture_id, tl0: head[4], tid: head[5] >> 6 };
    Some((read_body(&payload[DESCRIPTOR + 1..])?, Some(vp8)))
}

fn read_body(body: &[u8]) -> Option<Tag> {
    let body = body.first_chunk::<BODY>()?;
    let (mark, rest) = body.split_first_chunk::<4>()?;
    let (track, rest) = rest.split_first_chunk::<8>()?;
    let (layer, rest) = rest.split_first()?;
    let (frame, rest) = rest.split_first_chunk::<4>()?;
    let (index, rest) = rest.split_first_chunk::<2>()?;
    let (count, rest) = rest.split_first_chunk::<2>()?;
    (*mark == MARK).then_some(Tag {
        track: u64::from_be_bytes(*track),
        layer: *layer,
        frame: u32::from_be_bytes(*frame),
        index: u16::from_be_bytes(*index),
        count: u16::from_be_bytes(*count),
        keyframe: *rest.first()? == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (index, keyframe) in [(0, true), (1, true), (0, false), (2, false)] {
            let tag = Tag { track: 7, layer: 2, frame: 9, index, count: 3, keyframe };
            let vp8 = Vp8 { picture_id: 0x7ffe, tl0: 200, tid: 1 };
            let payload = video(&tag, &vp8, 300);
            assert_eq!(payload.len(), 300);
            assert_eq!(read(&payload), Some((tag, Some(vp8))));
        }
        let tag = Tag { track: 7, layer: 0, frame: 9, index: 0, count: 1, keyframe: true };
        assert_eq!(read(&audio(&tag, 10)), Some((tag, None)));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0x80; 40]), None);
    }
}
