//! One slot as a client received it: its packets by sequence number, judged pair by pair.

use std::collections::BTreeMap;

use crate::path::Micros;
use crate::payload::{Tag, Vp8};
use crate::peer::Arrived;

/// What is kept of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// First arrival.
    pub at: Micros,
    /// RTP timestamp.
    pub timestamp: u32,
    /// What it says of itself.
    pub tag: Tag,
    /// VP8's numbers.
    pub vp8: Option<Vp8>,
}

/// All that came on one section.
#[derive(Clone, Debug)]
pub struct Received {
    /// The stream's SSRC: a slot keeps it for ever.
    pub ssrc: u32,
    /// By extended sequence number.
    pub packets: BTreeMap<u64, Kept>,
    /// Sequence number and timestamp of the packet that came first.
    pub first: Option<(u64, u32)>,
    /// Packets that came twice.
    pub repeats: u64,
}

/// Newest packets that stay: judging is local, and a long run must not grow.
const KEPT_MAX: usize = 20_000;

impl Received {
    /// Nothing yet.
    pub fn new(ssrc: u32) -> Self {
        Received { ssrc, packets: BTreeMap::new(), first: None, repeats: 0 }
    }

    /// Takes a packet in.
    ///
    /// # Errors
    /// What it breaks.
    pub fn take(&mut self, now: Micros, arrived: &Arrived) -> Result<(), String> {
        if arrived.ssrc != self.ssrc {
            return Err(format!("the slot {} has got another SSRC", arrived.mid));
        }
        let (timestamp, tag, vp8) = (arrived.timestamp, arrived.tag, arrived.vp8);
        let kept = Kept { at: now, timestamp, tag, vp8 };
        self.first.get_or_insert((arrived.ext_seq, timestamp));
        if let Some(before) = self.packets.get(&arrived.ext_seq) {
            self.repeats += 1;
            let same = Kept { at: before.at, ..kept } == *before;
            let seq = arrived.ext_seq;
            return same
                .then_some(())
                .ok_or_else(|| format!("number {seq} was {before:?} and is {kept:?}"));
        }
        let below = self.packets.range(..arrived.ext_seq).next_back();
        let above = self.packets.range(arrived.ext_seq..).next();
        let low = below.map(|(seq, low)| pair((*seq, low), (arrived.ext_seq, &kept)));
        let high = above.map(|(seq, high)| pair((arrived.ext_seq, &kept), (*seq, high)));
        low.unwrap_or(Ok(()))?;
        high.unwrap_or(Ok(()))?;
        self.packets.insert(arrived.ext_seq, kept);
        if self.packets.len() > KEPT_MAX {
            self.packets.pop_first();
        }
        Ok(())
    }

    /// Frames of a track and layer that came whole, since some time: when their last packet came.
    pub fn frames(&self, track: u64, layer: Option<u8>, since: Micros) -> Vec<Micros> {
        let mut frames: BTreeMap<(u8, u32), (u16, u16, Micros)> = BTreeMap::new();
        for kept in self.packets.values().filter(|kept| kept.at >= since) {
            let tag = kept.tag;
            if tag.track == track && layer.is_none_or(|layer| layer == tag.layer) {
                let frame = frames.entry((tag.layer, tag.frame)).or_insert((0, tag.count, 0));
                frame.0 += 1;
                frame.2 = frame.2.max(kept.at);
            }
        }
        frames.values().filter(|(have, count, _)| have == count).map(|(.., at)| *at).collect()
    }
}

/// Judges two packets of which no packet between is known.
///
/// # Errors
/// What they break.
fn pair((a_seq, a): (u64, &Kept), (b_seq, b): (u64, &Kept)) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {a_seq} {a:?}, then {b_seq} {b:?}"));
    let ahead = b.timestamp.wrapping_sub(a.timestamp) as i32;
    let same_frame = frame(&a.tag) == frame(&b.tag);
    if ahead < 0 {
        return fail("time runs backwards");
    }
    if !same_frame && ahead == 0 {
        return fail("two frames at one time");
    }
    let (Some(a8), Some(b8)) = (a.vp8, b.vp8) else { return Ok(()) };
    let pictures = b8.picture_id.wrapping_sub(a8.picture_id) & 0x7fff;
    let same_layer = (a.tag.track, a.tag.layer) == (b.tag.track, b.tag.layer);
    if b_seq > a_seq + 1 {
        // Something lies between that was lost or is late: bounds only.
        // A picture has a packet at least, and a layer's frames only go on.
        if (same_layer && b.tag.frame < a.tag.frame) || u64::from(pictures) > b_seq - a_seq {
            return fail("picture ids, frames and numbers do not agree");
        }
        return Ok(());
    }
    if same_frame {
        if pictures != 0 || ahead != 0 || b.tag.index != a.tag.index + 1 {
            return fail("one frame, but not one picture");
        }
        return Ok(());
    }
    if pictures != 1 {
        return fail("picture ids do not go on by one");
    }
    let whole = a.tag.index + 1 == a.tag.count;
    // The next frame, or one before which only frames were left out that it does not need: those of
    // the upper temporal layer, since the lower one counts its own.
    let next = b.tag.frame == a.tag.frame + 1;
    let counted = b8.tl0.wrapping_sub(a8.tl0) == u8::from(b8.tid == 0);
    let thinned = b.tag.frame > a.tag.frame && counted;
    let goes_on = same_layer && (next || thinned) && whole && b.tag.index == 0;
    if goes_on || b.tag.starts() {
        return Ok(());
    }
    fail("a decoder cannot go on")
}

fn frame(tag: &Tag) -> (u64, u8, u32) {
    (tag.track, tag.layer, tag.frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(layer: u8, frame: u32, index: u16, keyframe: bool, ts: u32, picture_id: u16) -> Kept {
        let tag = Tag { track: 1, layer, frame, index, count: 2, keyframe };
        Kept { at: 0, timestamp: ts, tag, vp8: Some(Vp8 { picture_id, tl0: 0, tid: 0 }) }
    }

    /// A frame behind the fifth, of a temporal layer.
    fn counted(frame: u32, tl0: u8, tid: u8) -> Kept {
        let kept = kept(0, frame, 0, false, 200, 8);
        Kept { vp8: Some(Vp8 { picture_id: 8, tl0, tid }), ..kept }
    }

    #[test]
    fn pairs_table() {
        let key0 = kept(0, 5, 0, true, 100, 7);
        let key1 = kept(0, 5, 1, true, 100, 7);
        for (name, a, b, gap, good) in [
            ("one frame", key0, key1, 0, true),
            ("index again", key0, key0, 0, false),
            ("next frame", key1, kept(0, 6, 0, false, 200, 8), 0, true),
            ("cut frame", key0, kept(0, 6, 0, false, 200, 8), 0, false),
            ("upper layer left out", key1, counted(7, 1, 0), 0, true),
            ("lower layer left out", key1, counted(7, 2, 0), 0, false),
            ("upper layer after a hole", key1, counted(8, 1, 1), 0, false),
            ("same time", key1, kept(0, 6, 0, false, 100, 8), 0, false),
            ("backwards", key1, kept(0, 6, 0, false, 99, 8), 0, false),
            ("picture skipped", key1, kept(0, 6, 0, false, 200, 9), 0, false),
            ("switch at a keyframe", key1, kept(1, 3, 0, true, 200, 8), 0, true),
            ("switch without one", key1, kept(1, 3, 0, false, 200, 8), 0, false),
            ("switch within one", key1, kept(1, 3, 1, true, 200, 8), 0, false),
            ("gap", key1, kept(0, 9, 1, false, 200, 11), 3, true),
            ("gap, pictures ahead", key1, kept(0, 6, 0, false, 200, 12), 3, false),
        ] {
            assert_eq!(pair((10, &a), (11 + gap, &b)).is_ok(), good, "{name}");
        }
    }
}
